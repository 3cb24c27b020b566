//! Overrides, values, names, protection.

use nave_placement::fleet::{Fact, Facts};
use nave_placement::guard::HoldCause;

use super::*;

#[tokio::test]
async fn overrides_reach_the_clusters_that_they_select_and_what_cannot_be_rendered_stays() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 0..30 {
        world.member(&format!("small-{number}"), &[]);
    }
    world.member("big-1", &[("size", "big")]);
    world.obeys = true;
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 2), "each variant is rendered once");
    let (big, small) = (world.entry("big-1").expect("it runs"), world.entry("small-1").expect("it runs"));
    assert_ne!(big.bundle, small.bundle);
    assert_eq!(world.entry("small-29").expect("it runs").bundle, small.bundle);
    assert_eq!(small.values, [("cluster.name".to_owned(), "small-1".into())].into());
    let records: Vec<String> =
        world.state.forms.keys().map(|(app, variant)| format!("{app} {variant}")).collect();
    assert_eq!(records, ["web ", "web big"]);

    // A label without a commit: one that is named changes the values, one that selects the override the variant.
    world.member("small-1", &[("owner", "ann"), ("color", "red")]);
    world.member("small-2", &[("size", "big")]);
    world.decide().await;
    let owned = world.entry("small-1").expect("it runs");
    assert_eq!((owned.bundle, owned.values["labels.owner"].clone()), (small.bundle, "ann".into()));
    let told = world.state.told(&"small-1".parse().expect("a name"));
    world.member("small-1", &[("owner", "ann"), ("color", "blue")]);
    world.decide().await;
    assert_eq!(world.state.told(&"small-1".parse().expect("a name")), told, "nothing names that label");
    assert_eq!(world.entry("small-2").expect("it runs").bundle, big.bundle);
    assert_eq!(world.rendered, 2);

    // The patch loses its target: the override's clusters keep what they have, also after the hub forgot all but its records.
    world.files.insert("web/web.yaml".into(), config_map("other"));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(world.problems.len(), 1, "{:?}", world.problems);
    assert!(world.problems[0].contains("Override/big: app web has no object"), "{:?}", world.problems);
    assert_eq!(world.entry("big-1"), Some(big.clone()));
    assert_ne!(world.entry("small-3").expect("it runs").bundle, small.bundle);

    // Mended, everybody has the newest.
    world.files.insert("apps.yaml".into(), APPS.replace("name: web}, patch", "name: other}, patch"));
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!(world.problems, Vec::<String>::new());
    assert_ne!(world.entry("big-1").expect("it runs").bundle, big.bundle);
}

#[tokio::test]
async fn a_value_that_lacks_keeps_one_entry_and_no_other() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for name in ["a", "b", "c"] {
        world.member(name, &[("zone", "z")]);
    }
    world.obeys = true;
    world.commit("1111111111111111111111111111111111111111").await;
    let before = world.entry("b");
    world.files.insert("web/web.yaml".into(), config_map("web").replace("cluster.name", "labels.zone"));
    world.member("b", &[]);
    world.commit("2222222222222222222222222222222222222222").await;
    let decided = world.decide().await;
    assert_eq!(world.entry("b"), before);
    assert_eq!(world.entry("a").expect("it runs").values["labels.zone"], "z");
    let lacks: Vec<String> = decided.lacking.iter().map(|l| format!("{}: {}", l.cluster, l.lack)).collect();
    assert_eq!(
        lacks,
        ["b: ${labels.zone} has no value; give the cluster the label, or write ${labels.zone:-DEFAULT}"]
    );
    world.member("b", &[("zone", "y")]);
    world.decide().await;
    assert_eq!(world.entry("b").expect("it runs").values["labels.zone"], "y");
}

#[tokio::test]
async fn a_renamed_app_that_cannot_be_rendered_loses_nothing() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let before = world.entry("a");
    let renamed = APPS.replace("name: web}\nspec: {source", "name: shop}\nspec: {formerly: [web], source");
    world.files.insert("apps.yaml".into(), renamed.replace("names: [web]", "names: [shop]"));
    world.files.insert("web/web.yaml".into(), config_map("web").replace("cluster.name", "labels.zone"));
    world.commit("2222222222222222222222222222222222222222").await;
    let told = world.state.told(&"a".parse().expect("a name"));
    assert_eq!((world.entry("a"), told.assignment.leaving.len()), (before, 0), "{:?}", world.problems);
    world.member("a", &[("zone", "z")]);
    world.decide().await;
    let told = world.state.told(&"a".parse().expect("a name"));
    let apps: Vec<String> = told.assignment.entries.keys().map(ToString::to_string).collect();
    assert_eq!((apps, told.assignment.leaving.len()), (vec!["shop".to_owned()], 0));
}

#[tokio::test]
async fn whether_an_override_applies_is_not_guessed_while_a_fact_is_unknown() {
    let facts = |nodes: Fact<u32>| json(&Facts { nodes, ..Facts::default() });
    let mut world = World::default();
    let apps = APPS.replace("selector: {matchLabels: {size: big}}", "where: facts.nodes > 3");
    world.files.insert("apps.yaml".into(), apps);
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for (name, nodes) in [("large", Fact::Present(9)), ("small", Fact::Present(2)), ("silent", Fact::Unknown)]
    {
        world.member(name, &[]);
        world.fold(&format!("facts/{name}"), Some(facts(nodes)));
    }
    world.obeys = true;
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 2));
    let bundle = |world: &World, name: &str| world.entry(name).map(|entry| entry.bundle);
    assert_ne!(bundle(&world, "large"), bundle(&world, "small"));
    assert_eq!(world.entry("silent"), None, "unknown never adds");
    let decided = world.decide().await;
    let lacks: Vec<String> = decided.lacking.iter().map(|l| format!("{}: {}", l.cluster, l.lack)).collect();
    assert_eq!(
        lacks,
        [
            "silent: whether Override/big applies is not known yet: facts.nodes is not known, so the answer stays what it was; clusters.where is facts.nodes > 3"
        ]
    );
    assert!(
        super::super::lacking::lacks(
            &world.revision.as_ref().expect("a commit was made").catalog,
            &decided.lacking
        )
        .iter()
        .all(|problem| !problem.is_error())
    );

    world.fold("facts/silent", Some(facts(Fact::Present(4))));
    world.decide().await;
    assert_eq!(bundle(&world, "silent"), bundle(&world, "large"));
    let before = world.entry("large");
    world.fold("facts/large", Some(facts(Fact::Unknown)));
    world.decide().await;
    assert_eq!(world.entry("large"), before, "it stays as it was");
    world.fold("facts/large", Some(facts(Fact::Absent)));
    world.decide().await;
    assert_eq!((bundle(&world, "large"), world.rendered), (bundle(&world, "small"), 2));
}

#[tokio::test]
async fn a_step_looks_only_at_what_changed_since_the_one_before() {
    let mut world = World::default();
    let region = |n: usize| {
        let app = format!("kind: App\nmetadata: {{name: app-{n}}}\nspec: {{source: {{path: ./web}}}}\n");
        let clusters = format!("{{selector: {{matchLabels: {{region: r{n}}}}}}}");
        let spec = format!("{{apps: {{names: [app-{n}]}}, clusters: {clusters}}}");
        let placement = format!("kind: Placement\nmetadata: {{name: region-{n}}}\nspec: {spec}\n");
        [app, placement].map(|object| format!("---\napiVersion: nave.dev/v1alpha1\n{object}")).concat()
    };
    let over = "---\napiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {name: gold}\nspec: {apps: {selector: {}}, clusters: {where: \"labels.team == 'a'\"}, patches: [{target: {kind: ConfigMap}, patch: {data: {team: some}}}]}\n";
    world.files.insert("apps.yaml".into(), (0..50).map(region).collect::<String>() + over);
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 0..100 {
        world.member(&format!("c{number}"), &[("region", &format!("r{}", number % 50))]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    let apps = |world: &World| -> Vec<String> {
        let told = world.state.told(&"c7".parse().expect("a name"));
        told.assignment.entries.keys().map(ToString::to_string).collect()
    };
    assert_eq!(apps(&world), ["app-7"], "{:?}", world.problems);
    let work = async |world: &mut World| {
        let before = world.kept.work();
        world.decide().await;
        let after = world.kept.work();
        (after.rules - before.rules, after.pairs - before.pairs, after.evaluations - before.evaluations)
    };
    let bundle = |world: &World, cluster: &str, app: &str| {
        let told = world.state.told(&cluster.parse().expect("a name"));
        let entry = told.assignment.entries.get(&app.parse::<AppKey>().expect("a name"));
        entry.map(|entry| nave_proto::decode_entry(&entry.bytes).expect("ours").bundle)
    };
    assert_eq!(work(&mut world).await, (0, 0, 0), "nothing changed");
    world.member("c7", &[("region", "r8")]);
    assert_eq!(work(&mut world).await, (0, 2, 0), "the rule that it left, and the one that it came to");
    assert_eq!(apps(&world), ["app-8"]);
    world.member("c7", &[("region", "r8"), ("team", "a")]);
    assert_eq!(work(&mut world).await, (0, 0, 1), "the override's expression, once for all apps");
    assert_ne!(bundle(&world, "c7", "app-8"), bundle(&world, "c8", "app-8"), "{:?}", world.problems);
    world.member("c100", &[("region", "r9")]);
    assert_eq!(
        work(&mut world).await,
        (0, 50, 1),
        "who is new is looked at by every rule, and nobody else is"
    );
}

#[tokio::test]
async fn no_commit_takes_away_what_the_one_before_protects() {
    let mut world = World::default();
    let protected = APPS.replace("spec: {source", "spec: {protect: true, source");
    assert_ne!(protected, APPS);
    let nothing = "apiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: prod}\n".to_owned();
    world.files.insert("apps.yaml".into(), protected.clone());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let ran = world.entry("a");
    assert!(ran.is_some());
    let held =
        |world: &World| world.state.holds.values().map(|hold| hold.hold.to_string()).collect::<Vec<_>>();
    let waits =
        ["app web is protected and would leave 1 of its 1 clusters; none may go without approval".to_owned()];

    // It vanishes, and nothing of the commits after it says a word of it.
    for commit in ["2222222222222222222222222222222222222222", "3333333333333333333333333333333333333333"] {
        world.files.insert("apps.yaml".into(), nothing.replace("prod", &format!("s{}", &commit[..1])));
        world.commit(commit).await;
        assert_eq!((world.entry("a"), held(&world)), (ran.clone(), waits.to_vec()), "{commit}");
    }

    // It comes back and loses its placement together with its protection; that is one commit too early, and another that
    // has nothing to do with it lets nothing through.
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    assert!(app_alone.contains("kind: App"));
    world.files.insert("apps.yaml".into(), protected.clone());
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((world.entry("a").is_some(), held(&world)), (true, Vec::new()));
    for (commit, more) in [
        ("5555555555555555555555555555555555555555", ""),
        ("6666666666666666666666666666666666666666", "---\n"),
    ] {
        let more = if more.is_empty() { String::new() } else { format!("{more}{nothing}") };
        world.files.insert("apps.yaml".into(), app_alone.clone() + &more);
        world.commit(commit).await;
        assert_eq!((world.entry("a").is_some(), held(&world)), (true, waits.to_vec()), "{commit}");
    }

    // First the protection goes, then the app.
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("7777777777777777777777777777777777777777").await;
    world.files.insert("apps.yaml".into(), protected);
    world.commit("8888888888888888888888888888888888888888").await;
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("9999999999999999999999999999999999999999").await;
    world.files.insert("apps.yaml".into(), app_alone);
    world.commit("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_eq!((world.entry("a"), held(&world)), (None, Vec::new()));
}

#[tokio::test]
async fn what_the_commit_in_effect_protects_no_label_takes_away() {
    let mut world = World::default();
    let selected =
        APPS.replace("clusters: {selector: {}}}", "clusters: {selector: {matchLabels: {env: prod}}}}");
    assert_ne!(selected, APPS);
    world.files.insert("apps.yaml".into(), selected.replace("spec: {source", "spec: {protect: true, source"));
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[("env", "prod")]);
    // The very first commit binds itself.
    world.commit("1111111111111111111111111111111111111111").await;
    assert!(world.entry("a").is_some(), "{:?}", world.problems);
    world.member("a", &[]);
    world.decide().await;
    let held: Vec<_> = world.state.holds.values().map(|hold| hold.hold.cause.clone()).collect();
    let app = "web".parse().expect("a name");
    assert_eq!((world.entry("a").is_some(), held), (true, vec![HoldCause::ProtectedApp { app }]));

    // Nor does a commit that takes the protection away and is taken while the hold is shown no more.
    world.state.holds.clear();
    world.files.insert("apps.yaml".into(), selected.clone());
    world.commit("2222222222222222222222222222222222222222").await;
    world.state.holds.clear();
    world.files.insert(
        "apps.yaml".into(),
        format!("{selected}---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {{name: prod}}\n"),
    );
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!((world.entry("a").is_some(), world.state.holds.len()), (true, 1));
}
