//! Absence never deletes: what stays in effect when a commit is broken, and what is removed when it is not.

use super::*;

const GOOD: Commit<'static> =
    &[("web.yaml", WEB), ("db.yaml", DB), ("web/c.yaml", MANIFEST), ("db/c.yaml", MANIFEST)];

/// Commit `1` is [`GOOD`]; `changed` replaces files of it, one whose content is empty of any letter is deleted.
#[track_caller]
fn check(changed: Commit<'_>, objects: &[&str], problems: &[&str]) {
    let before = assembled("1", GOOD, &LastGood::new());
    assert_eq!(shown(&before.problems), Vec::<String>::new());
    let replaced = GOOD.iter().filter(|(path, _)| !changed.iter().any(|(p, _)| p == path));
    let files: Vec<(&str, &str)> =
        replaced.chain(changed.iter().filter(|(_, text)| *text != DELETED)).copied().collect();
    let after = assembled("2", &files, &before.objects);
    assert_eq!(effective(&after), objects, "{changed:?}");
    assert_eq!(shown(&after.problems), problems, "{changed:?}");
}

const DELETED: &str = "";
const BROKEN: &str = "apiVersion: nave.dev/v1alpha1\nkind: [\n";
const NOT_YAML: &str = "error: this is not valid YAML: unclosed bracket '['";

#[test]
fn an_object_that_does_not_change_keeps_its_commit() {
    check(
        &[("web/c.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\n")],
        &["App/db@1", "App/web@1"],
        &[],
    );
    let below = format!("# further down\n{WEB}");
    check(&[("web.yaml", &below)], &["App/db@1", "App/web@1"], &[]);
    // Where it stands now, the older commit does not have it.
    check(&[("web.yaml", DELETED), ("x.yaml", WEB)], &["App/db@1", "App/web@2"], &[]);
    let changed = WEB.replace("}}\n", "}, prune: false}\n");
    check(&[("web.yaml", &changed)], &["App/db@1", "App/web@2"], &[]);
}

#[test]
fn an_object_that_is_plainly_dropped_is_removed() {
    check(&[("web.yaml", DELETED)], &["App/db@1"], &[]);
    check(&[("web.yaml", "# nothing here any more\n")], &["App/db@1"], &[]);
    check(&[("web.yaml", MANIFEST)], &["App/db@1"], &[]);
    check(&[("web.yaml", &DB.replace("name: db", "name: other"))], &["App/db@1", "App/other@2"], &[]);
}

#[test]
fn a_broken_object_keeps_its_last_good_form() {
    check(
        &[("web.yaml", &WEB.replace("source", "sorce"))],
        &["App/db@1", "App/web@1"],
        &[
            "web.yaml:4:8: error: App/web: spec.sorce is no known field; did you mean source? (valid fields are source, parameters, substitute, namespace, protect, prune, onRemove, formerly, rollout, dependsOn, group, mode, adopt, onImmutable, conflicts, drift, ignore, health, serviceAccount, timeout)",
        ],
    );
    check(
        &[("web.yaml", &WEB.replace("v1alpha1", "v1"))],
        &["App/db@1", "App/web@1"],
        &[
            "web.yaml:1:13: error: App/web: apiVersion nave.dev/v1 is not supported by this version of Nave; write nave.dev/v1alpha1",
        ],
    );
}

#[test]
fn nothing_is_removed_while_a_file_cannot_be_read() {
    let gone = "no document defines it any more, but it could stand in this file, which cannot be read; its last good form stays in effect until it can";
    check(
        &[("web.yaml", BROKEN), ("db.yaml", DELETED)],
        &["App/db@1", "App/web@1"],
        &[
            &format!("web.yaml:2:7: {NOT_YAML}"),
            &format!("web.yaml:2:7: warning: App/db: {gone}"),
            &format!("web.yaml:2:7: warning: App/web: {gone}"),
        ],
    );
    // A document whose kind or name cannot be told may be any object.
    check(
        &[
            (
                "new.yaml",
                "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {}\nspec: {source: {path: ./web}}\n",
            ),
            ("db.yaml", DELETED),
        ],
        &["App/db@1", "App/web@1"],
        &[
            "new.yaml:3:11: error: metadata.name is missing; name the object",
            &format!("new.yaml:3:11: warning: App/db: {gone}"),
        ],
    );
}

#[test]
fn a_document_that_is_no_longer_ours_is_a_problem_not_a_removal() {
    let kept = "this document is no catalog object, but one stood in this file; its last good form stays in effect: write apiVersion nave.dev/v1alpha1 and its kind, or remove the document, or move it to another file";
    let rows = [
        WEB.replace("nave.dev", "nvae.dev"),
        WEB.replace("nave.dev", "other.dev"),
        WEB.replace("apiVersion: nave.dev/v1alpha1\n", ""),
        "just: something\n".to_owned(),
        "a scalar\n".to_owned(),
    ];
    for text in &rows {
        let expected = format!("web.yaml:1:1: error: App/web: {kept}");
        check(&[("web.yaml", text)], &["App/db@1", "App/web@1"], &[&expected]);
    }
}

#[test]
fn a_file_that_is_only_hidden_is_a_problem_not_a_removal() {
    check(
        &[("web.yaml", "-> db.yaml")],
        &["App/db@1", "App/web@1"],
        &[
            "web.yaml:1:1: error: App/web: this file is now a symbolic link, which is not followed; its last good form stays in effect: put the file itself here",
        ],
    );
    check(
        &[(".naveignore", "web.yaml\n")],
        &["App/db@1", "App/web@1"],
        &[
            "web.yaml:1:1: error: App/web: the file that held it is now ignored, in a Helm chart or outside the catalog's directory; its last good form stays in effect: remove the document to remove the object",
        ],
    );
}

#[test]
fn an_object_in_two_places_keeps_its_last_good_form() {
    check(
        &[("x.yaml", &WEB.replace("./web}", "./db}"))],
        &["App/db@1", "App/web@1"],
        &[
            "web.yaml:1:1: error: App/web: it stands at x.yaml:1:1 too; remove one of them",
            "x.yaml:1:1: error: App/web: it stands at web.yaml:1:1 too; remove one of them",
        ],
    );
    let new = WEB.replace("name: web", "name: new");
    check(
        &[("x.yaml", &new), ("y.yaml", &new)],
        &["App/db@1", "App/web@1"],
        &[
            "x.yaml:1:1: error: App/new: it stands at y.yaml:1:1 too; remove one of them",
            "y.yaml:1:1: error: App/new: it stands at x.yaml:1:1 too; remove one of them",
        ],
    );
}

#[test]
fn there_is_one_fleet_at_most() {
    let fleet = |name: &str| document(&format!("kind: Fleet\nmetadata: {{name: {name}}}\n"));
    let (a, b) = (fleet("a"), fleet("b"));
    let before = assembled("1", &[("a.yaml", &a)], &LastGood::new());
    let after = assembled("2", &[("a.yaml", &a), ("b.yaml", &b)], &before.objects);
    assert_eq!(effective(&after), ["Fleet/a@1"]);
    assert_eq!(
        shown(&after.problems),
        [
            "a.yaml:1:1: error: Fleet/a: Fleet/b at b.yaml:1:1 is a Fleet too, there is at most one; remove one of them",
            "b.yaml:1:1: error: Fleet/b: Fleet/a at a.yaml:1:1 is a Fleet too, there is at most one; remove one of them",
        ]
    );
}

#[test]
fn only_the_root_catalog_holds_clusters() {
    let text = document("kind: Cluster\nmetadata: {name: fra-1}\n");
    let parsed = Files::from([("a.yaml".into(), Arc::new(parse_file("a.yaml", text.as_bytes())))]);
    let name = CatalogName::new("team-a").expect("valid");
    let tree = tree(&[("a.yaml", &text)]);
    let catalog = assemble(&name, &CommitId("1".into()), false, &tree, &parsed, &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        ["a.yaml:1:1: error: Cluster/fra-1: kind Cluster exists only in the root catalog; move it there"]
    );
    assert!(catalog.objects.is_empty() && !catalog.empty);
}

#[test]
fn documents_below_a_source_are_manifests() {
    let placement = document(
        "kind: Placement\nmetadata: {name: p}\nspec: {apps: {names: [web]}, clusters: {selector: {}}}\n",
    );
    let says = "Placement/p: this document stands below web, the source of App/web, and is none of the catalog's; move it out of there";
    // Apps are the catalog's wherever they stand.
    let app = WEB.replace("name: web", "name: inner").replace("./web", ".");
    check(
        &[("web/p.yaml", &placement), ("web/app.yaml", &app)],
        &["App/db@1", "App/inner@2", "App/web@1"],
        &[&format!("web/p.yaml:1:1: warning: {says}").replace("App/web", "App/inner")],
    );
    // One that was in effect stays so.
    let before = assembled(
        "1",
        &[("p/p.yaml", &placement), ("web.yaml", WEB), ("web/c.yaml", MANIFEST)],
        &LastGood::new(),
    );
    let commit: Commit<'_> = &[("web/p.yaml", &placement), ("web.yaml", WEB), ("web/c.yaml", MANIFEST)];
    let after = assembled("2", commit, &before.objects);
    assert_eq!(effective(&after), ["App/web@1", "Placement/p@1"]);
    assert_eq!(shown(&after.problems), [format!("web/p.yaml:1:1: error: {says}")]);
    // A copy of one that is in effect does no harm.
    let commit: Commit<'_> =
        &[("p/p.yaml", &placement), ("web/p.yaml", &placement), ("web.yaml", WEB), ("web/c.yaml", MANIFEST)];
    let copied = assembled("2", commit, &before.objects);
    assert_eq!(effective(&copied), ["App/web@1", "Placement/p@1"]);
    assert_eq!(shown(&copied.problems), [format!("web/p.yaml:1:1: warning: {says}")]);
}

#[test]
fn a_commit_without_a_single_document_is_empty() {
    let before = assembled("1", GOOD, &LastGood::new());
    let after = assembled("2", &[("README.md", "nave.dev/")], &before.objects);
    assert!(after.empty && !before.empty);
    assert!(!assembled("2", &[("web.yaml", WEB)], &before.objects).empty);
}
