//! What of a template's apps is in effect: what a commit adds, what it takes away, and what stays while the template is broken.

use super::directories::{NAMES, TEMPLATE, TREE};
use super::*;

const ALL: [&str; 3] = ["App/svc-db@1", "App/svc-job@1", "App/svc-web@1"];
/// In the place of a file's content: it is not there.
const DELETED: &str = "";

/// [`TREE`] with these files instead of those of the same paths.
fn with<'a>(changed: Commit<'a>) -> Vec<(&'a str, &'a str)> {
    let replaced = TREE.iter().filter(|(path, _)| !changed.iter().any(|(p, _)| p == path));
    replaced.chain(changed.iter().filter(|(_, text)| *text != DELETED)).copied().collect()
}

/// What is in effect, and told, where commit `1` is [`TREE`] and commit `2` has these files instead.
#[track_caller]
fn check(changed: Commit<'_>, objects: &[&str], problems: &[&str]) {
    let before = assembled("1", TREE, &LastGood::new());
    assert_eq!((effective(&before), shown(&before.problems)), (ALL.map(str::to_owned).to_vec(), vec![]));
    let after = assembled("2", &with(changed), &before.objects);
    assert_eq!(effective(&after), objects, "{changed:?}");
    assert_eq!(shown(&after.problems), problems, "{changed:?}");
    // What is in effect stays so when the same is read again, and is found again where the records say that it is.
    let again = assembled("3", &with(changed), &after.objects);
    assert_eq!(again.objects, after.objects);
    for (id, effective) in &after.objects {
        let files = if &*effective.commit.0 == "1" { TREE.to_vec() } else { with(changed) };
        let file = &effective.object.origin.file;
        let (_, text) = files.iter().find(|(path, _)| *path == &**file).expect("the file is in that commit");
        let parsed = parse_file(file, text.as_bytes());
        let tree = tree(&files);
        assert_eq!(object_of(&parsed, &tree, id).as_ref(), Some(&effective.object));
        // So it is with no more of the tree than a snapshot has.
        let paths = paths_of(&parsed, &tree, &[id.clone()].into());
        let part: Tree = paths.iter().map(|path| (path.clone(), tree[path].clone())).collect();
        assert_eq!(object_of(&parsed, &part, id).as_ref(), Some(&effective.object));
    }
}

#[test]
fn a_directory_that_makes_no_name_is_a_problem_of_its_own() {
    check(
        &[("services/Web_2/c.yaml", MANIFEST)],
        &ALL,
        &[&format!(
            "apps.yaml:5:25: error: App/svc-*: spec.source.directories: no app is made of services/Web_2: \"svc-Web_2\" is not a valid app name: {NAMES}; rename the directory, or have the pattern leave it out"
        )],
    );
}

#[test]
fn one_directory_more_is_one_app_more_and_one_that_is_gone_is_removed() {
    check(
        &[("services/new/c.yaml", MANIFEST)],
        &["App/svc-db@1", "App/svc-job@1", "App/svc-new@2", "App/svc-web@1"],
        &[],
    );
    check(&[("services/web/c.yaml", DELETED)], &["App/svc-db@1", "App/svc-job@1"], &[]);
    // What it holds now is of another engine.
    check(
        &[("services/web/kustomization.yaml", "resources: [c.yaml]\n")],
        &["App/svc-db@1", "App/svc-job@1", "App/svc-web@2"],
        &[],
    );
    check(&[("apps.yaml", DELETED), ("README.md", "nave.dev/")], &[], &[]);
    check(
        &[("apps.yaml", &TEMPLATE.replace("svc-*", "app-*"))],
        &["App/app-db@2", "App/app-job@2", "App/app-web@2"],
        &[],
    );
}

#[test]
fn while_a_template_is_broken_all_that_it_made_stays() {
    let gone = ("services/web/c.yaml", DELETED);
    // It stays although its directory is gone: nobody knows what the template means.
    let broken = TEMPLATE.replace("source:", "sorce:");
    let before = assembled("1", TREE, &LastGood::new());
    let after = assembled("2", &with(&[("apps.yaml", &broken), gone]), &before.objects);
    assert_eq!(effective(&after), ALL);
    assert!(
        after.problems.iter().all(|p| p.object.as_ref().is_some_and(|id| id.means("svc-web"))),
        "{:?}",
        after.problems
    );
    let rows = [
        TEMPLATE.replace("directories", "directory"),
        TEMPLATE.replace("directories: ./services/*", "path: ./services/web"),
        TEMPLATE.replace("./services/*", "./services/"),
        TEMPLATE.replace("./services/*", "./service/*"),
        TEMPLATE.replace("v1alpha1", "v1"),
        TEMPLATE.replace("nave.dev", "nvae.dev"),
        TEMPLATE.replace("nave.dev", "other.dev"),
        TEMPLATE.replace("svc-*", "svc-"),
        TEMPLATE.replace("svc-*", "svc-all"),
        TEMPLATE.replace("svc-*", "svc-**"),
        TEMPLATE.replace("kind: App", "kind: Ap"),
        TEMPLATE.replace("metadata: {", "metadata: {{"),
        TEMPLATE.replace("labels: {tier: web}", "labels: {tier: 1}"),
        TEMPLATE.replace("name: svc-*", "name: *svc"),
        // Two slips: no name is any of theirs, and what it makes cannot be told.
        TEMPLATE.replace("svc-*", "svc").replace("source:", "ource:"),
        TEMPLATE.replace("svc-*", "svc").replace("spec:", "sepc:"),
    ];
    for text in rows {
        for files in [with(&[("apps.yaml", &text)]), with(&[("apps.yaml", &text), gone])] {
            let after = assembled("2", &files, &before.objects);
            assert_eq!(effective(&after), ALL, "{text}");
            assert!(after.problems.iter().any(Problem::is_error), "{text}");
        }
    }
    // Two plain apps become directories of a template that is not right: they stay.
    let plain = |name: &str| WEB.replace("name: web", &format!("name: {name}"));
    let (web, db) = (plain("svc-web"), plain("svc-db"));
    let plain =
        assembled("1", &[("a.yaml", &web), ("b.yaml", &db), ("web/c.yaml", MANIFEST)], &LastGood::new());
    let after = assembled("2", &[("apps.yaml", &broken), ("web/c.yaml", MANIFEST)], &plain.objects);
    assert_eq!(effective(&after), ["App/svc-db@1", "App/svc-web@1"]);
}

#[test]
fn a_thousand_directories_are_the_most() {
    let path = |number: usize| format!("services/d{number:04}/c.yaml");
    let many = |count: usize| (0..count).map(path).collect::<Vec<_>>();
    let (most, more) = (many(1_000), many(1_001));
    fn commit(paths: &[String]) -> Vec<(&str, &str)> {
        paths.iter().map(|path| (path.as_str(), MANIFEST)).chain([("apps.yaml", TEMPLATE)]).collect()
    }
    let before = assembled("1", &commit(&most), &LastGood::new());
    assert_eq!((before.objects.len(), before.problems.len()), (1_000, 0));
    let after = assembled("2", &commit(&more), &before.objects);
    assert_eq!(after.objects, before.objects);
    assert_eq!(
        shown(&after.problems),
        [
            "apps.yaml:5:25: error: App/svc-*: spec.source.directories: 1001 directories are \"./services/*\", and 1000 are the most; its apps stay as they are: make two templates of it, e.g. with ./services/a* and ./services/b*"
        ]
    );
}

#[test]
fn two_of_one_name_keep_their_last_good_form() {
    let plain = WEB.replace("name: web", "name: svc-web").replace("./web", "./services/web");
    check(
        &[("x.yaml", &plain)],
        &ALL,
        &[
            "apps.yaml:1:1: error: App/svc-web: it stands at x.yaml:1:1 too; rename one of them",
            "x.yaml:1:1: error: App/svc-web: App/svc-* at apps.yaml:1:1 makes it of services/web too; rename one of them",
        ],
    );
    let other = TEMPLATE.replace("svc-*", "'*-web'").replace("./services", "./other");
    check(
        &[("x.yaml", &other), ("other/svc/c.yaml", MANIFEST)],
        &ALL,
        &[
            "apps.yaml:1:1: error: App/svc-web: App/*-web at x.yaml:1:1 makes it of other/svc too; rename one of them",
            "x.yaml:1:1: error: App/svc-web: App/svc-* at apps.yaml:1:1 makes it of services/web too; rename one of them",
        ],
    );
    // So it is while one of them is not valid, and where neither was before.
    let broken = TEMPLATE.replace("labels: {tier: web}", "labels: {tier: 1}");
    let after = assembled("2", &with(&[("apps.yaml", &broken), ("x.yaml", &plain)]), &LastGood::new());
    assert_eq!(effective(&after), Vec::<String>::new());
}

#[test]
fn references_and_former_names_are_of_the_apps_that_are_made() {
    let placement = document(
        "kind: Placement\nmetadata: {name: p}\nspec: {apps: {names: [svc-web, svc-wep]}, clusters: {selector: {}}}\n",
    );
    check(
        &[("p.yaml", &placement)],
        &[&ALL[..], &["Placement/p@2"]].concat(),
        &[
            "p.yaml:4:32: error: Placement/p: App/svc-wep is not in this catalog; did you mean svc-web?; add it, or remove the name",
        ],
    );
    // A template that cannot be read may mean them.
    let broken = TEMPLATE.replace("directories", "directory");
    let told = assembled("1", &with(&[("apps.yaml", &broken), ("p.yaml", &placement)]), &LastGood::new());
    assert!(told.problems.iter().all(|problem| &*problem.file == "apps.yaml"), "{:?}", told.problems);
    let text = TEMPLATE.replace(
        "spec:\n",
        "spec:\n  formerly: ['old-*', 'x.*']\n  dependsOn: [{app: svc-db}, {app: base}]\n",
    );
    let catalog = assembled("1", &with(&[("apps.yaml", &text)]), &LastGood::new());
    let base = "App/base is not in this catalog; add it, or remove the name";
    assert_eq!(
        shown(&catalog.problems),
        ["db", "job", "web"].map(|name| format!("apps.yaml:6:36: error: App/svc-{name}: {base}"))
    );
    let (_, web) = catalog.app("svc-web").expect("it is made");
    assert_eq!(web.formerly.iter().collect::<Vec<_>>(), ["old-web", "x.web"]);
    // The one that all wait for does not wait for itself.
    let waits = |name: &str| catalog.app(name).map(|(_, app)| app.depends_on.as_ref().map_or(0, Vec::len));
    assert_eq!((waits("svc-web"), waits("svc-db")), (Some(2), Some(1)));
    // A name that is still somebody's.
    let old = WEB.replace("name: web", "name: old-web").replace("./web", "./services/web");
    let text = TEMPLATE.replace("spec:\n", "spec:\n  formerly: ['old-*']\n");
    let catalog = assembled("1", &with(&[("apps.yaml", &text), ("o.yaml", &old)]), &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        [
            "apps.yaml:5:14: error: App/svc-web: App/old-web is still in effect; remove it, or this name from spec.formerly"
        ]
    );
}

#[test]
fn documents_below_a_directory_are_its_apps_manifests() {
    let placement = document(
        "kind: Placement\nmetadata: {name: p}\nspec: {apps: {names: [svc-web]}, clusters: {selector: {}}}\n",
    );
    check(
        &[("services/web/p.yaml", &placement)],
        &ALL,
        &[
            "services/web/p.yaml:1:1: warning: Placement/p: this document stands below services/web, the source of App/svc-web, and is none of the catalog's; move it out of there",
        ],
    );
}

#[test]
fn a_directory_without_a_manifest_is_a_problem_of_its_app() {
    check(
        &[("services/doc/README.md", "hello")],
        &["App/svc-db@1", "App/svc-doc@2", "App/svc-job@1", "App/svc-web@1"],
        &[
            "apps.yaml:5:25: error: App/svc-doc: spec.source.directories: there is no .yaml, .yml or .json file below \"services/doc\"; an app without objects would remove all it has",
        ],
    );
}
