//! One app for each directory: what templates make, and what is wrong with them.

use super::*;

pub(super) const TEMPLATE: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: svc-*, labels: {tier: web}}\nspec:\n  source: {directories: ./services/*}\n";
pub(super) const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
pub(super) const TREE: Commit<'static> = &[
    ("apps.yaml", TEMPLATE),
    ("services/web/c.yaml", MANIFEST),
    ("services/db/Chart.yaml", CHART),
    ("services/db/templates/c.yaml", MANIFEST),
    ("services/job/kustomization.yaml", "resources: [c.yaml]\n"),
    ("services/job/c.yaml", MANIFEST),
];
pub(super) const NAMES: &str = "use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters";

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
