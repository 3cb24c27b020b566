//! Dependencies, groups, and apps that wait for each other.

use super::*;

fn app(name: &str, spec: &str) -> (String, String) {
    let text = format!("kind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: ./m}}\n{spec}");
    (format!("{name}.yaml"), document(&text))
}

fn catalog(commit: &str, apps: &[(String, String)], last_good: &LastGood) -> Catalog {
    let files = apps.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let files: Vec<(&str, &str)> = files.chain([("m/c.yaml", MANIFEST)]).collect();
    assembled(commit, &files, last_good)
}

#[test]
fn a_dependency_that_could_not_be_met_is_a_problem() {
    let rows = [
        (
            "app: web",
            "spec.dependsOn[0].app: an app cannot wait for itself; for one cluster after the other use a Rollout with before.healthyOn",
        ),
        ("app: dbb", "App/dbb is not in this catalog; did you mean db?; add it, or remove the name"),
        (
            "app: db, selector: {matchLabels: {a: b}}",
            "spec.dependsOn[0].app: a dependency has app or selector, not both; remove one of them",
        ),
        (
            "until: Applied",
            "spec.dependsOn[0].app is missing; say which app comes first, or by selector which apps",
        ),
        (
            "selector: {}",
            "spec.dependsOn[0].selector: it means every app, its own too; write e.g. {matchLabels: {tier: base}}",
        ),
        (
            "app: db, clusters: {}",
            "spec.dependsOn[0].clusters.selector is missing; say where it has to be first, e.g. {matchLabels: {env: staging}}",
        ),
        (
            "app: db, clusters: {selector: {}}",
            "spec.dependsOn[0].clusters.selector: it means every cluster, so each would wait for all others; write e.g. {matchLabels: {tier: base}}",
        ),
        ("app: db, until: Ready", "spec.dependsOn[0].until: \"Ready\" is none of Applied, Healthy"),
    ];
    for (dependency, message) in rows {
        let web = app("web", &format!("  dependsOn: [{{{dependency}}}]\n"));
        let catalog = catalog("c1", &[web, app("db", "")], &LastGood::new());
        let told: Vec<&str> = catalog.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(told, [message], "{dependency}");
    }
}

#[test]
fn apps_that_wait_for_each_other_stay_as_they_were() {
    let before = catalog("c1", &[app("a", ""), app("b", "  dependsOn: [{app: a}]\n")], &LastGood::new());
    assert_eq!(shown(&before.problems), Vec::<String>::new());
    let last_good: LastGood = before.objects.into_iter().collect();
    let apps = [
        app("a", "  dependsOn: [{app: c, clusters: {selector: {matchLabels: {env: test}}}}]\n"),
        app("b", "  dependsOn: [{app: a}]\n"),
        app("c", "  dependsOn: [{app: b}]\n"),
        app("d", "  dependsOn: [{app: c}]\n"),
    ];
    let after = catalog("c2", &apps, &last_good);
    assert_eq!(effective(&after), ["App/a@c1", "App/b@c1", "App/d@c2"]);
    let circle = "depends on App/c, which depends on App/b, which depends on App/a; remove one of these from dependsOn: until then they stay as they were";
    assert_eq!(
        shown(&after.problems)[0],
        format!("a.yaml:1:1: error: App/a: it waits for itself: App/a {circle}")
    );
    assert_eq!(after.problems.iter().filter(|p| p.message.starts_with("it waits for itself")).count(), 3);
}

#[test]
fn a_circle_through_a_group_or_by_the_fleet_s_default_is_found_too() {
    let grouped = [
        app("a", "  group: shop\n  dependsOn: [{app: x}]\n"),
        app("b", "  group: shop\n"),
        app("x", "  dependsOn: [{app: b}]\n"),
    ];
    let told = catalog("c1", &grouped, &LastGood::new());
    assert_eq!(effective(&told), ["App/a@c1"], "the others were not there before");
    let circle = "App/b depends on App/x, which depends on App/b (apps of a group wait";
    assert!(told.problems.iter().any(|problem| problem.message.contains(circle)), "{:?}", told.problems);

    let fleet = |default: &str| {
        let text =
            format!("kind: Fleet\nmetadata: {{name: f}}\nspec: {{defaults: {{dependsOn: [{default}]}}}}\n");
        ("fleet.yaml".to_owned(), document(&text))
    };
    let apps = [app("base", "  dependsOn: [{app: web}]\n"), app("web", "")];
    let before = catalog("c1", &[&apps[..], &[fleet("")]].concat(), &LastGood::new());
    assert_eq!(shown(&before.problems), Vec::<String>::new());
    let last_good: LastGood = before.objects.into_iter().collect();
    let after = catalog("c2", &[&apps[..], &[fleet("{app: base}")]].concat(), &last_good);
    assert_eq!(effective(&after), ["Fleet/f@c1", "App/base@c1", "App/web@c1"]);
    assert!(after.problems[0].message.starts_with("it waits for itself"), "{:?}", after.problems);

    let own = app(
        "a",
        "  group: shop\n  dependsOn: [{app: b, clusters: {selector: {matchLabels: {env: test}}}}]\n",
    );
    let told = catalog("c1", &[own, app("b", "  group: shop\n")], &LastGood::new());
    assert!(told.problems[0].message.contains("an app of its own group shop"), "{:?}", told.problems);
}

#[test]
fn a_group_that_would_move_by_two_rollouts_is_a_problem() {
    let rollout = document("kind: Rollout\nmetadata: {name: slow}\nspec: {waves: [{name: one, count: 1}]}\n");
    let apps = [
        app("api", "  group: shop\n"),
        app("web", "  group: shop\n  rollout: slow\n"),
        app("free", "  rollout: slow\n"),
        ("slow.yaml".to_owned(), rollout),
    ];
    let catalog = catalog("c1", &apps, &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        [
            "web.yaml:1:1: error: App/web: it is in group shop, which moves by the Rollout of App/api; give both the same spec.rollout"
        ]
    );
    assert_eq!(catalog.group("shop").count(), 2);
}
