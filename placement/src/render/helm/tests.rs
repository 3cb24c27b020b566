//! What a chart needs, and what is refused of one.

use serde_json::json;

use super::super::Trees;
use super::super::{Needs, needs};
use super::*;
use crate::catalog::{BlobId, FileKind, HelmSaid, Remote, Said, Source, SourceChange, TreeEntry, WhatSaid};

const CHART: (&str, &str) = ("charts/web/Chart.yaml", "name: web\nversion: 1.0.0\n");

type Row<'a> = (&'a [&'a str], Vec<(&'a str, &'a str)>, &'a str);

fn closure(values_files: &[&str], files: &[(&str, &str)]) -> Result<Needs, String> {
    closure_with(values_files, files, &mut Vec::new())
}

/// The same; charts elsewhere that are asked for are told, and have one file each, which says where they are from.
fn closure_with(
    values_files: &[&str],
    files: &[(&str, &str)],
    asked: &mut Vec<Remote>,
) -> Result<Needs, String> {
    let entry = |text: &str| {
        let kind = if text.starts_with("-> ") { FileKind::Symlink } else { FileKind::File };
        TreeEntry { kind, blob: BlobId(text.into()), size: text.len() as u64 }
    };
    let tree: Tree = files.iter().map(|(path, text)| ((*path).into(), entry(text))).collect();
    let values = json!({"b": 1, "a": null}).as_object().cloned().expect("a mapping");
    let values_files = values_files.iter().map(|path| Said::of(&(*path).into())).collect();
    let chart = Some(Said::of(&"charts/web".into()));
    let what = HelmSaid { chart, values_files: Some(values_files), values, ..HelmSaid::default() };
    let said = SourceChange { git: None, what: Some(WhatSaid::Helm(what)) };
    let source = Source::of(said).expect("it is whole");
    let release = Release { app: "shop", namespace: Some("prod"), is_tenants: false };
    let mut read = Contents::new();
    loop {
        let elsewhere = |remote: &Remote| Tree::from([("Chart.yaml".into(), entry(&remote.shown()))]);
        let brought: Vec<(Remote, Tree)> = asked.iter().map(|r| (r.clone(), elsewhere(r))).collect();
        let charts = brought.iter().map(|(remote, tree)| (remote.clone(), tree)).collect();
        let trees = Trees { charts: &charts, ..Trees::of_catalog(&tree) };
        match needs(&source, release, trees, &read).map_err(|error| error.to_string())? {
            Needed::Charts(charts) => {
                assert!(charts.iter().all(|chart| !asked.contains(chart)), "{charts:?} again");
                asked.extend(charts);
            }
            Needed::Whole(needs) => return Ok(needs),
            Needed::More(more) => {
                assert!(more.iter().all(|path| !read.contains_key(path)), "{more:?} again");
                let text =
                    |path: &Arc<str>| files.iter().find(|(p, _)| **p == **path).expect("it is there").1;
                read.extend(more.iter().map(|path| (path.clone(), Arc::from(text(path).as_bytes()))));
            }
        }
    }
}

#[test]
fn a_chart_is_all_that_helm_reads_of_it_and_the_files_of_values() {
    let given = [
        CHART,
        ("charts/web/.helmignore", "*.md\nci/\n"),
        ("charts/web/values.yaml", ""),
        ("charts/web/templates/a.yaml", ""),
        ("charts/web/templates/.swp", ""),
        ("charts/web/charts/redis/Chart.yaml", "name: redis"),
        ("charts/web/README.md", ""),
        ("charts/web/ci/test.yaml", "-> elsewhere"),
        ("charts/webs/x.yaml", ""),
        ("values/prod.yaml", ""),
        ("values/dev.yaml", ""),
    ];
    let needs = closure(&["values/prod.yaml"], &given).expect("it is whole");
    let files: Vec<&str> = needs.files.keys().map(|path| &**path).collect();
    let expected = [
        "charts/web/.helmignore",
        "charts/web/Chart.yaml",
        "charts/web/charts/redis/Chart.yaml",
        "charts/web/templates/a.yaml",
        "charts/web/values.yaml",
        "values/prod.yaml",
    ];
    assert_eq!(files, expected);
    let Engine::Helm(chart) = &needs.engine else { panic!("a chart") };
    assert_eq!((&*chart.release, &*chart.namespace, &*chart.directory), ("shop", "prod", "charts/web"));
    assert_eq!(chart.values_document(), "{\"a\":null,\"b\":1}");
    let depends = ("charts/web/Chart.yaml", "name: web\ndependencies: [{name: redis}]");
    closure(&[], &[depends, ("charts/web/charts/redis-1.0.0.tgz", "")]).expect("it is packed, and there");
    let alone = closure(&[], &given[..5]).expect("it is whole");
    assert_eq!((&*alone.source, alone.files.contains_key("Chart.yaml")), ("charts/web", true));
}

#[test]
fn what_a_chart_does_not_bring_is_told() {
    let depends = ("charts/web/Chart.yaml", "name: web\ndependencies: [{name: redis}, {name: common}]");
    let common = ("charts/web/charts/common/Chart.yaml", "name: common");
    // (files of values, files, what is told)
    let rows: Vec<Row<'_>> = vec![
        (&[], vec![("charts/web/values.yaml", "")], "there is no Chart.yaml in \"charts/web\""),
        (
            &[],
            vec![depends, common],
            "charts/web/Chart.yaml: the chart depends on redis, which its charts directory",
        ),
        (
            &[],
            vec![CHART, ("charts/web/requirements.yaml", "dependencies: [{name: old}]")],
            "requirements.yaml: the chart depends on old",
        ),
        (
            &[],
            vec![depends, common, ("charts/web/charts/redis2-1.tgz", "")],
            "the chart depends on redis, which",
        ),
        (&["gone.yaml"], vec![CHART], "valuesFiles names \"gone.yaml\", which is no file in this commit"),
        (
            &["a,http://x/b"],
            vec![CHART, ("a,http://x/b", "")],
            "valuesFiles names \"a,http://x/b\", whose name holds a comma",
        ),
        (&["v.yaml"], vec![CHART, ("v.yaml", "-> /etc/passwd")], "\"v.yaml\" is a symbolic link"),
        (
            &[],
            vec![CHART, ("charts/web/templates/a.yaml", "-> /etc/passwd")],
            "\"charts/web/templates/a.yaml\" is a symbolic link",
        ),
        (&[], vec![("charts/web/Chart.yaml", "name: [")], "charts/web/Chart.yaml:1:"),
    ];
    for (values_files, given, expected) in rows {
        let told = closure(values_files, &given).expect_err(expected);
        assert!(told.contains(expected), "{given:?}: {told}");
    }
}

/// A chart whose dependencies stand beside it.
fn beside(name: &str, dependencies: &str) -> String {
    format!("name: {name}\nversion: 1.0.0\ndependencies: [{dependencies}]\n")
}

#[test]
fn charts_beside_it_are_put_where_helm_looks_for_them() {
    let local = |name: &str| format!("{{name: {name}, version: 1.x, repository: 'file://../{name}'}}");
    let web = beside("web", &[local("common"), local("own"), "{name: packed}".to_owned()].join(", "));
    let (common, names) = (beside("common", &local("names")), beside("names", ""));
    let given = [
        ("charts/web/Chart.yaml", &*web),
        ("charts/web/.helmignore", "charts/\n*.tpl\n"),
        ("charts/web/charts/own/Chart.yaml", "name: own"),
        ("charts/web/charts/packed-1.0.0.tgz", ""),
        ("charts/own/Chart.yaml", "name: own"),
        ("charts/common/Chart.yaml", &*common),
        ("charts/common/.helmignore", "*.md\n"),
        ("charts/common/README.md", ""),
        ("charts/common/templates/_a.tpl", ""),
        ("charts/names/Chart.yaml", &*names),
        ("charts/names/templates/b.yaml", ""),
    ];
    let needs = closure(&[], &given).expect("it is whole");
    let files: Vec<&str> = needs.files.keys().map(|path| &**path).collect();
    // Its own rules leave out what it brings, and nothing of what is put into it.
    let expected = [
        "Chart.yaml",
        "charts/common/.helmignore",
        "charts/common/Chart.yaml",
        "charts/common/charts/names/Chart.yaml",
        "charts/common/charts/names/templates/b.yaml",
        "charts/common/templates/_a.tpl",
    ];
    assert_eq!((files.as_slice(), &*needs.source), (&expected[..], "charts/web"));
    let places = [
        ("Chart.yaml", "charts/web/Chart.yaml"),
        ("charts/common/templates/_a.tpl", "charts/common/templates/_a.tpl"),
        ("charts/common/charts/names/templates/b.yaml", "charts/names/templates/b.yaml"),
    ];
    for (file, place) in places {
        assert_eq!(&*super::super::path_of(&needs, file), place);
    }
}

/// A chart that depends on others of repositories.
fn with(more: &[(&str, &str)], dependencies: &str, asked: &mut Vec<Remote>) -> Result<Needs, String> {
    let web = beside("web", dependencies);
    closure_with(&[], &[&[("charts/web/Chart.yaml", &*web)], more].concat(), asked)
}

#[test]
fn charts_of_repositories_are_asked_for_and_put_where_helm_looks() {
    let redis = "{name: redis, version: ^1, repository: 'https://charts.example.com/stable'}";
    let other = "{name: redis, version: ^2, repository: 'oci://registry.example.com/charts', alias: second}";
    let mut asked = Vec::new();
    let needs = with(&[], &format!("{redis}, {other}, {redis}"), &mut asked).expect("it is whole");
    let shown: Vec<String> = asked.iter().map(Remote::shown).collect();
    let expected = [
        "chart redis ^1 of https://charts.example.com/stable",
        "chart redis ^2 of oci://registry.example.com/charts",
    ];
    assert_eq!(shown, expected);
    let of =
        |chart: &str| needs.files.iter().find(|(_, blob)| *blob.0 == *chart).map(|(path, _)| path.clone());
    assert_eq!(of(expected[0]).as_deref(), Some("charts/redis/Chart.yaml"));
    let second = of(expected[1]).expect("it is there");
    assert!(second.starts_with("charts/redis-") && second.ends_with("/Chart.yaml"), "{second}");
    let place = super::super::path_of(&needs, "charts/redis/Chart.yaml");
    assert_eq!(&*place, "https://charts.example.com/stable/redis/Chart.yaml");
    // What is there already is not asked for.
    let mut asked = Vec::new();
    with(&[("charts/web/charts/redis-1.2.3.tgz", "")], redis, &mut asked).expect("it is whole");
    assert_eq!(asked, []);
    // Nor what a chart beside it brings, which depends on it; what that lacks is.
    let local = beside("a", redis);
    let beside_it = ("charts/a/Chart.yaml", &*local);
    let a = "{name: a, version: 1.0.0, repository: 'file://../a'}";
    let needs = with(&[beside_it], a, &mut asked).expect("it is whole");
    assert!(needs.files.contains_key("charts/a/charts/redis/Chart.yaml"), "{:?}", needs.files.keys());
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_lock_says_which_version_and_is_held_to_what_it_locks() {
    let redis = "{name: redis, version: ^1, repository: 'https://charts.example.com'}";
    let lock = |version: &str, repository: &str| {
        format!(
            "dependencies: [{{name: redis, version: {version}, repository: '{repository}'}}]\ndigest: sha256:0\n"
        )
    };
    let good = lock("1.4.2", "https://charts.example.com");
    let mut asked = Vec::new();
    with(&[("charts/web/Chart.lock", &good)], redis, &mut asked).expect("it is whole");
    assert_eq!(asked[0].shown(), "chart redis 1.4.2 of https://charts.example.com");
    for lock in [
        lock("2.0.0", "https://charts.example.com"),
        lock("1.4.2", "https://other.example.com"),
        String::new(),
    ] {
        let told = with(&[("charts/web/Chart.lock", &lock)], redis, &mut Vec::new()).expect_err("it lies");
        let expected = "the chart depends on redis ^1, and charts/web/Chart.lock names no such version of https://charts.example.com; run helm dependency update";
        assert!(told.contains(expected), "{told}");
    }
    let link = with(&[("charts/web/Chart.lock", "-> /etc/passwd")], redis, &mut Vec::new());
    assert!(link.expect_err("a link").contains("\"charts/web/Chart.lock\" is a symbolic link"));
    let requirements = ("charts/web/requirements.yaml", &*format!("dependencies: [{redis}]"));
    let mut asked = Vec::new();
    with(&[requirements, ("charts/web/requirements.lock", &good)], "", &mut asked).expect("it is whole");
    assert_eq!(asked[0].shown(), "chart redis 1.4.2 of https://charts.example.com");
}

#[test]
fn charts_of_repositories_that_cannot_be_asked_for_are_told() {
    let of = |version: &str, repository: &str| {
        format!("{{name: redis, version: '{version}', repository: '{repository}'}}")
    };
    let many: Vec<String> = (0..65).map(|n| of("1.0.0", &format!("https://h{n}.example.com"))).collect();
    // (what it depends on, what is told)
    let rows = [
        (of("1.0.0", "@stable"), "names \"@stable\", a name that is known on somebody's machine alone"),
        (of("1.0.0", "alias:stable"), "names \"alias:stable\", a name that is known"),
        (of("newest", "https://h"), "names \"redis\", whose version is none: \"newest\" is no version"),
        (of("1.0.0", "https://me:secret@h"), "which cannot be fetched: the repository's URL holds a user"),
        (of("1.0.0", "ftp://h"), "which cannot be fetched: \"ftp://h\" is no repository of charts"),
        (of("1.0.0", ""), "the chart depends on redis, which its charts directory does not hold"),
        (many.join(", "), "more than 64 charts of repositories are part of it"),
    ];
    for (dependencies, expected) in rows {
        let told = with(&[], &dependencies, &mut Vec::new()).expect_err(expected);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn charts_beside_it_that_cannot_be_taken_are_told() {
    let local = |path: &str| format!("{{name: a, version: 1.0.0, repository: 'file://{path}'}}");
    let a = |dependencies: &str| beside("a", dependencies);
    // (what the chart depends on, the chart beside it, what is told)
    let rows = [
        (
            local("../gone"),
            a(""),
            "dependencies names \"file://../gone\", where this commit has no Chart.yaml",
        ),
        (local("../../../a"), a(""), "\"../../../a\" leaves the repository"),
        (local("/etc/a"), a(""), "\"/etc/a\" is absolute"),
        (local("../link"), a(""), "\"charts/link\" is a symbolic link"),
        (
            local("../a"),
            a(&local("../a")),
            "part of itself: charts/web → charts/a → charts/a; break the circle",
        ),
        (
            local("../a"),
            a("{name: web, version: 1.0.0, repository: 'file://../web'}"),
            "part of itself: charts/web → charts/a → charts/web",
        ),
        (
            local("../a"),
            a("{name: b}"),
            "charts/a/Chart.yaml: the chart depends on b, which its charts directory",
        ),
        (local("../a"), beside("b", ""), "the chart depends on a, and the one at file://../a is called b"),
        (
            local("../a"),
            a("").replace("1.0.0", "1.0.1"),
            "depends on a 1.0.0, and the one at file://../a is 1.0.1",
        ),
        (
            format!("{}, {}", local("../a"), local("../c")),
            a(""),
            "two charts that it depends on, \"charts/a\" and \"charts/c\", are called a",
        ),
    ];
    for (web, a, expected) in rows {
        let (web, c) = (beside("web", &web), beside("a", ""));
        let given = [
            ("charts/web/Chart.yaml", &*web),
            ("charts/a/Chart.yaml", &*a),
            ("charts/c/Chart.yaml", &*c),
            ("charts/link", "-> /etc"),
        ];
        let told = closure(&[], &given).expect_err(expected);
        assert!(told.contains(expected), "{told}");
    }
    let layers: Vec<(String, String)> = (0..8)
        .map(|n| {
            let next = format!("{{name: c{}, version: 1.x, repository: 'file://../c{}'}}", n + 1, n + 1);
            let name = if n == 0 { "web".to_owned() } else { format!("c{n}") };
            (format!("charts/{name}/Chart.yaml"), beside(&name, &next))
        })
        .collect();
    let layers: Vec<(&str, &str)> = layers.iter().map(|(path, text)| (&**path, &**text)).collect();
    let told = closure(&[], &layers).expect_err("it is too deep");
    assert!(told.contains("the end of more than 5 charts that depend on each other"), "{told}");
}
