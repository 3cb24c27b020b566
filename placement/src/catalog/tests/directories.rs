//! One app for each directory: what templates make, what is wrong with them, and what stays while they are broken.

use super::*;

const TEMPLATE: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: svc-*, labels: {tier: web}}\nspec:\n  source: {directories: ./services/*}\n";
const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
const TREE: Commit<'static> = &[
    ("apps.yaml", TEMPLATE),
    ("services/web/c.yaml", MANIFEST),
    ("services/db/Chart.yaml", CHART),
    ("services/db/templates/c.yaml", MANIFEST),
    ("services/job/kustomization.yaml", "resources: [c.yaml]\n"),
    ("services/job/c.yaml", MANIFEST),
];
const ALL: [&str; 3] = ["App/svc-db@1", "App/svc-job@1", "App/svc-web@1"];
/// In the place of a file's content: it is not there.
const DELETED: &str = "";
const NAMES: &str = "use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters";

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

/// The apps that one template makes of these files: name, engine, directory; and what is told.
fn made(rest: &str, files: Commit<'_>) -> (Vec<String>, Vec<String>) {
    let text = document(&format!("kind: App\n{rest}"));
    let files = [&[("apps/all.yaml", text.as_str())], files].concat();
    let catalog = assembled("1", &files, &LastGood::new());
    let line = |(effective, app): (&Effective, &App)| {
        format!("{}: {} {}", effective.object.id.name, app.source.word(), app.source.path())
    };
    (catalog.apps().map(line).collect(), shown(&catalog.problems))
}

#[test]
fn every_directory_makes_an_app_by_what_it_holds() {
    let rest = "metadata: {name: svc-*}\nspec: {source: {directories: ../services/*/}}\n";
    let (apps, told) = made(rest, &TREE[1..]);
    assert_eq!(
        (apps, told),
        (
            vec![
                "svc-db: helm services/db".to_owned(),
                "svc-job: kustomize services/job".to_owned(),
                "svc-web: path services/web".to_owned(),
            ],
            vec![]
        )
    );
    let catalog = assembled("1", TREE, &LastGood::new());
    for (effective, _) in catalog.apps() {
        assert_eq!(effective.object.labels["tier"], "web");
        assert_eq!(effective.object.origin, Origin { file: "apps.yaml".into(), line: 1, column: 1 });
    }
}

#[test]
fn a_star_is_one_level_and_no_dot_at_the_beginning() {
    let files: Commit<'_> = &[
        ("web-a/c.yaml", MANIFEST),
        ("web-a/deep/er/c.yaml", MANIFEST),
        ("web-a.x/c.yaml", MANIFEST),
        ("web-b/Kustomization", "resources: [c.yaml]\n"),
        ("web-b/c.yaml", MANIFEST),
        ("web-c", "a file"),
        ("web-d", "-> web-a"),
        ("web-e/link", "-> ../web-a"),
        (".web-f/c.yaml", MANIFEST),
        ("web/c.yaml", MANIFEST),
        ("api/c.yaml", MANIFEST),
    ];
    // (name, directories, apps)
    let rows: [(&str, &str, &[&str]); 6] = [
        ("'*'", "../web-*", &["web-a: path web-a", "web-a.x: path web-a.x", "web-b: kustomize web-b"]),
        (
            "'*-x'",
            "'../*'",
            &[
                "api-x: path api",
                "web-a-x: path web-a",
                "web-a.x-x: path web-a.x",
                "web-b-x: kustomize web-b",
                "web-x: path web",
            ],
        ),
        ("a*b", "../*-b", &["aweb-bb: kustomize web-b"]),
        ("'*'", "../web*x", &["web-a.x: path web-a.x"]),
        ("x*", "../.web-*", &["x.web-f: path .web-f"]),
        ("svc-*", "../web-a/*", &["svc-deep: path web-a/deep"]),
    ];
    for (name, directories, apps) in rows {
        let rest = format!("metadata: {{name: {name}}}\nspec: {{source: {{directories: {directories}}}}}\n");
        let (mut found, told) = made(&rest, files);
        // The template's own directory is one too.
        found.retain(|app| !app.starts_with("apps"));
        assert_eq!(found, apps, "{name} of {directories}: {told:?}");
    }
}

#[test]
fn an_engine_beside_directories_is_that_of_all() {
    let files: Commit<'_> = &[
        ("s/a/Chart.yaml", CHART),
        ("s/a/prod.yaml", "a: 1\n"),
        ("s/b/Chart.yaml", CHART),
        ("s/b/prod.yaml", "a: 1\n"),
        ("apps/all-values.yaml", "b: 1\n"),
    ];
    let source = "{directories: ../s/*, helm: {valuesFiles: [./all-values.yaml, 'chart:prod.yaml'], values: {c: 1}, releaseName: r}}";
    let text = document(&format!("kind: App\nmetadata: {{name: '*'}}\nspec: {{source: {source}}}\n"));
    let catalog = assembled("1", &[&[("apps/all.yaml", text.as_str())], files].concat(), &LastGood::new());
    assert_eq!(shown(&catalog.problems), Vec::<String>::new());
    let (_, app) = catalog.app("b").expect("it is made");
    let What::Helm(helm) = &app.source.what else { panic!("{:?}", app.source) };
    assert_eq!((&*helm.chart, helm.release_name.as_deref()), ("s/b", Some("r")));
    assert_eq!(
        helm.values_files,
        [ValuesFile::Here("apps/all-values.yaml".into()), ValuesFile::WithChart("s/b/prod.yaml".into())]
    );
    assert_eq!(helm.values["c"], 1);
    // An override changes it as it changes any.
    let change = document(
        "kind: Override\nmetadata: {name: o}\nspec: {apps: {names: [b]}, clusters: {selector: {}}, source: {helm: {values: {c: 2}}}}\n",
    );
    let parsed = parse_file("o.yaml", change.as_bytes());
    let Some(Spec::Override(change)) = parsed.documents[0].object.as_ref().map(|o| o.spec.clone()) else {
        panic!("{:?}", parsed.problems)
    };
    let changed = app.source.with(&"b".into(), &change.source.expect("it has one")).expect("it fits");
    let What::Helm(helm) = &changed.what else { panic!("{changed:?}") };
    assert_eq!((&*helm.chart, helm.values_files.len(), &helm.values["c"]), ("s/b", 2, &2.into()));

    // It is so for one that is something else, too: the problem names it.
    let (apps, told) = made(
        "metadata: {name: '*'}\nspec: {source: {directories: ../s/*, kustomize: {components: [../c]}}}\n",
        &[("s/a/c.yaml", MANIFEST), ("c/kustomization.yaml", "kind: Component\n")],
    );
    assert_eq!(apps, ["a: kustomize s/a"]);
    assert_eq!(
        told,
        [
            "apps/all.yaml:4:30: error: App/a: spec.source.directories: there is no kustomization.yaml in \"s/a\"; correct the path, or add one"
        ]
    );
    // A file of values that would leave the repository from one of them.
    let (apps, told) = made(
        "metadata: {name: '*'}\nspec: {source: {directories: '../*', helm: {valuesFiles: ['chart:../../x.yaml']}}}\n",
        &[("a/Chart.yaml", CHART)],
    );
    assert_eq!(apps, Vec::<String>::new());
    assert_eq!(
        told[0],
        "apps/all.yaml:4:30: error: App/a: spec.source.helm.valuesFiles: \"chart:../../x.yaml\" leaves the repository; name a path inside it"
    );
}

#[test]
fn what_is_wrong_with_a_template_is_told_at_its_place() {
    // (source, at what it is told, what is told)
    let rows = [
        (
            "{path: ../s/a}",
            "{path",
            ": metadata.name has a *, which stands for the name of a directory; say which ones, e.g. spec.source.directories: ./services/*, or write a name without *",
        ),
        (
            "{directories: ../s/*, path: ./a}",
            "./a",
            ".path says where one app's files are, directories where those of each are; keep one of them",
        ),
        (
            "{directories: ../s/*, git: {url: 'https://git.example.com/shop'}}",
            "{url",
            ".git says where one app's files are, directories where those of each are; keep one of them",
        ),
        (
            "{directories: ../s/*, helm: {chart: ./a}}",
            "./a",
            ".helm.chart says where one app's files are, directories where those of each are; remove one of them",
        ),
        (
            "{directories: ../s/*, helm: {repository: 'oci://a.example'}}",
            "'oci",
            ".helm.repository says where one app's files are, directories where those of each are; remove one of them",
        ),
        (
            "{directories: ../s/*, helm: {version: 1.0.0}}",
            "1.0.0",
            ".helm.version says where one app's files are, directories where those of each are; remove one of them",
        ),
        (
            "{directories: ../s/*, kustomize: {path: ./a}}",
            "./a",
            ".kustomize.path says where one app's files are, directories where those of each are; remove one of them",
        ),
        (
            "{directories: ../s/*, kustomize: {}, helm: {}}",
            "{directories",
            " has helm and kustomize; keep one of them",
        ),
        (
            "{directories: ../s}",
            "../s",
            ".directories: \"../s\" needs one * in its last part, and no other wildcard: write e.g. ./services/* or ./services/web-*",
        ),
        (
            "{directories: ../*/a}",
            "../*",
            ".directories: \"../*/a\" needs one * in its last part, and no other wildcard: write e.g. ./services/* or ./services/web-*",
        ),
        (
            "{directories: ../**}",
            "../*",
            ".directories: \"../**\" needs one * in its last part, and no other wildcard: write e.g. ./services/* or ./services/web-*",
        ),
        (
            "{directories: '../s/[ab]*'}",
            "'../",
            ".directories: \"../s/[ab]*\" needs one * in its last part, and no other wildcard: write e.g. ./services/* or ./services/web-*",
        ),
        (
            "{directories: ../../s/*}",
            "../..",
            ".directories: \"../../s/*\" leaves the repository; name a path inside it",
        ),
        (
            "{directories: /s/*}",
            "/s",
            ".directories: \"/s/*\" is absolute; write it relative to the directory of this file",
        ),
        (
            "{directories: ../t/*}",
            "../t",
            ".directories: no directory of this commit is \"../t/*\"; its apps stay as they are: correct it, or remove the document to remove them all",
        ),
    ];
    for (source, at, message) in rows {
        let spec = format!("spec: {{source: {source}}}");
        let column = spec.find(at).map_or(0, |before| before + 1);
        let (apps, told) = made(&format!("metadata: {{name: '*'}}\n{spec}\n"), &[("s/a/c.yaml", MANIFEST)]);
        let expected = format!("apps/all.yaml:4:{column}: error: App/*: spec.source{message}");
        assert_eq!((apps, told), (vec![], vec![expected]), "{source}");
    }
    let invalid = format!("metadata.name: \"Svc-*\" is not a valid app name: {NAMES}");
    // (name, formerly, what is told)
    let rows = [
        (
            "svc",
            "[]",
            "App/svc: spec.source.directories makes an app of each directory: write one * in the place of its name in metadata.name, e.g. name: \"svc-*\"",
        ),
        (
            "'*-*'",
            "[]",
            "metadata.name: \"*-*\" has 2 *; the name of a template has one, which stands for the directory's name",
        ),
        ("Svc-*", "[]", &invalid),
        (
            "svc-*",
            "[old]",
            "App/svc-*: spec.formerly[0]: \"old\" would be a former name of all apps of this template; write one * in the place of the directory's name, or remove it",
        ),
        ("svc-*", "[svc-*]", "App/svc-*: spec.formerly names the app itself; remove the name"),
    ];
    for (name, formerly, expected) in rows {
        let rest = format!(
            "metadata: {{name: {name}}}\nspec: {{formerly: {formerly}, source: {{directories: ../s/*}}}}\n"
        );
        let (apps, told) = made(&rest, &[("s/a/c.yaml", MANIFEST)]);
        assert_eq!(apps, Vec::<String>::new(), "{name}");
        assert!(told[0].ends_with(&format!(" error: {expected}")), "{name}: {told:?}");
    }
    let text = document(
        "kind: Override\nmetadata: {name: o}\nspec: {apps: {names: [a]}, clusters: {selector: {}}, source: {directories: ./s/*}}\n",
    );
    let told = parse_file("o.yaml", text.as_bytes()).problems;
    assert_eq!(
        shown(&told),
        [
            "o.yaml:4:76: error: Override/o: spec.source.directories is for an App, which is made for each of them; an override changes those: remove it, or write path, helm or kustomize"
        ]
    );
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
    fn commit<'a>(paths: &'a [String]) -> Vec<(&'a str, &'a str)> {
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
