//! What a chart needs, and what is refused of one.

use serde_json::json;

use super::super::Trees;
use super::super::{Needs, needs};
use super::*;
use crate::catalog::{BlobId, FileKind, HelmSaid, Said, Source, SourceChange, TreeEntry, WhatSaid};

const CHART: (&str, &str) = ("charts/web/Chart.yaml", "name: web\nversion: 1.0.0\n");

type Row<'a> = (&'a [&'a str], Vec<(&'a str, &'a str)>, &'a str);

fn closure(values_files: &[&str], files: &[(&str, &str)]) -> Result<Needs, String> {
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
    let release = Release { app: "shop", namespace: Some("prod") };
    let mut read = Contents::new();
    loop {
        match needs(&source, release, Trees::of_catalog(&tree), &read).map_err(|error| error.to_string())? {
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
