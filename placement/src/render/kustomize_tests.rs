//! What a kustomization needs, and what is refused of one.

use super::super::Trees;
use super::super::{Release, needs};
use super::*;
use crate::catalog::{BlobId, FileKind, KustomizeSaid, Said, Source, SourceChange, TreeEntry, WhatSaid};

const RELEASE: Release<'static> = Release { app: "web", namespace: None, is_tenants: false };

fn tree(files: &[(&str, &str)]) -> (Tree, Contents) {
    let entry = |text: &str| match text.strip_prefix("-> ") {
        Some(_) => TreeEntry { kind: FileKind::Symlink, blob: BlobId("link".into()), size: 1 },
        None => TreeEntry { kind: FileKind::File, blob: BlobId(text.into()), size: text.len() as u64 },
    };
    let tree = files.iter().map(|(path, text)| ((*path).into(), entry(text))).collect();
    let contents = files.iter().map(|(path, text)| ((*path).into(), Arc::from(text.as_bytes()))).collect();
    (tree, contents)
}

/// What it needs once all that is asked for was read.
fn closure(path: &str, components: &[&str], files: &[(&str, &str)]) -> Result<super::super::Needs, String> {
    let (tree, all) = tree(files);
    let components = components.iter().map(|path| Said::of(&(*path).into())).collect();
    let path = Some(Said::of(&path.into()));
    let what = WhatSaid::Kustomize(KustomizeSaid { path, components: Some(components) });
    let source = Source::of(SourceChange { git: None, what: Some(what) }).expect("it is whole");
    let mut read = Contents::new();
    loop {
        match needs(&source, RELEASE, Trees::of_catalog(&tree), &read).map_err(|error| error.to_string())? {
            Needed::Whole(needs) => return Ok(needs),
            Needed::Charts(charts) => panic!("{charts:?}"),
            Needed::More(more) => {
                assert!(more.iter().all(|path| !read.contains_key(path)), "{more:?} again");
                read.extend(more.into_iter().map(|path| (path.clone(), all[&path].clone())));
            }
        }
    }
}

fn files(needs: &super::super::Needs) -> Vec<&str> {
    needs.files.keys().map(|path| &**path).collect()
}

#[test]
fn everything_that_is_read_from_a_file_is_in_the_closure_and_nothing_else() {
    let prod = "\
resources: [../../base, namespace.yaml, ../../shared/quota]
bases: [./more]
components: [../../components/tls]
crds: [crds.yaml]
configurations: [names.yaml]
generators: [generator.yaml]
transformers: [labels.yaml, \"kind: LabelTransformer\\nmetadata: {name: x}\"]
validators: [check.yaml]
patches:
- path: replicas.yaml
- patch: '{kind: Deployment, metadata: {name: web}}'
patchesStrategicMerge: [old.yaml, \"kind: Deployment\\nmetadata: {name: web}\"]
patchesJson6902: [{target: {kind: Service, name: web}, path: ops.json}]
replacements: [{path: replacement.yaml}, {source: {kind: Service}, targets: []}]
configMapGenerator: [{name: a, files: [app.conf, key=other.conf], envs: [a.env], literals: [x=y]}]
secretGenerator: [{name: b, env: b.env}]
openapi: {path: schema.json}
namePrefix: prod-
";
    let given = [
        ("apps/web/prod/kustomization.yaml", prod),
        ("apps/web/prod/namespace.yaml", ""),
        ("apps/web/prod/more/Kustomization", "resources: []"),
        ("apps/web/prod/crds.yaml", ""),
        ("apps/web/prod/names.yaml", ""),
        ("apps/web/prod/generator.yaml", "kind: ConfigMapGenerator\nfiles: [generated.conf, absent.conf]"),
        ("apps/web/prod/generated.conf", ""),
        ("apps/web/prod/labels.yaml", "kind: PatchTransformer\npath: transformed.yaml"),
        ("apps/web/prod/transformed.yaml", ""),
        ("apps/web/prod/check.yaml", ""),
        ("apps/web/prod/replicas.yaml", ""),
        ("apps/web/prod/old.yaml", ""),
        ("apps/web/prod/ops.json", ""),
        ("apps/web/prod/replacement.yaml", ""),
        ("apps/web/prod/app.conf", ""),
        ("apps/web/prod/other.conf", ""),
        ("apps/web/prod/a.env", ""),
        ("apps/web/prod/b.env", ""),
        ("apps/web/prod/schema.json", ""),
        ("apps/base/kustomization.yml", "resources: [deployment.yaml]"),
        ("apps/base/deployment.yaml", ""),
        ("apps/shared/quota/kustomization.yaml", "kind: Kustomization"),
        ("apps/components/tls/kustomization.yaml", "kind: Component\npatches: [{path: tls.yaml}]"),
        ("apps/components/tls/tls.yaml", ""),
    ];
    let unused = [("apps/web/prod/unused.yaml", ""), ("apps/base/README.md", ""), ("top.yaml", "")];
    let needs = closure("apps/web/prod", &[], &[&given[..], &unused[..]].concat()).expect("it is whole");
    let mut expected: Vec<&str> =
        given.iter().map(|(path, _)| path.strip_prefix("apps/").expect("below apps")).collect();
    expected.sort_unstable();
    assert_eq!((files(&needs), &*needs.source), (expected, "apps"));
    let Engine::Kustomize(kustomization) = &needs.engine else { panic!("a kustomization") };
    assert_eq!(&*kustomization.directory, "web/prod");
}

#[test]
fn a_digest_tells_arguments_and_content_apart_and_not_where_a_source_stands() {
    let below = |top: &str, content: &'static str, components: &[&str]| {
        let path = |name: &str| format!("{top}/{name}");
        let paths = [path("k/kustomization.yaml"), path("k/a.yaml"), path("c/kustomization.yaml")];
        let given =
            [(&*paths[0], "resources: [a.yaml]"), (&*paths[1], content), (&*paths[2], "kind: Component")];
        let components: Vec<String> = components.iter().map(|name| path(name)).collect();
        let components: Vec<&str> = components.iter().map(String::as_str).collect();
        closure(&path("k"), &components, &given).expect("it is whole").digest()
    };
    let first = below("x", "1", &[]);
    assert_eq!(first, below("y/z", "1", &[]));
    assert_ne!(first, below("x", "2", &[]));
    assert_ne!(first, below("x", "1", &["c"]));
}

#[test]
fn what_is_missing_elsewhere_or_a_plugin_is_refused_by_name() {
    let one = |line: &'static str| vec![("k/kustomization.yaml", line)];
    let with =
        |line: &'static str, file: (&'static str, &'static str)| vec![("k/kustomization.yaml", line), file];
    let elsewhere = "which is not in this repository; copy it into this repository";
    let rows: Vec<(Vec<(&str, &str)>, String)> = vec![
        (vec![("k/other.yaml", "")], "there is no kustomization.yaml in \"k\"".into()),
        (
            one("resources: [gone.yaml]"),
            "k/kustomization.yaml: resources names \"gone.yaml\", which is not in this commit".into(),
        ),
        (
            one("resources: [../../out]"),
            "resources names \"../../out\", but \"../../out\" leaves the repository".into(),
        ),
        (one("resources: [/etc/passwd]"), "\"/etc/passwd\" is absolute".into()),
        (
            one("resources: ['https://example.com/a.yaml']"),
            format!("resources names \"https://example.com/a.yaml\", {elsewhere}"),
        ),
        (one("resources: ['git@example.com:a/b']"), elsewhere.into()),
        (one("bases: ['example.com/a/b?ref=v1']"), elsewhere.into()),
        (one("resources: [github.com/a/b]"), elsewhere.into()),
        (one("patches: [{path: 'http://example.com/p.yaml'}]"), elsewhere.into()),
        (one("components: [a.yaml]"), "components names \"a.yaml\", which is not in this commit".into()),
        (
            with("components: [a.yaml]", ("k/a.yaml", "")),
            "which is a file; name the component's directory".into(),
        ),
        (with("crds: [d]", ("k/d/x", "")), "which is a directory; name a file".into()),
        (with("resources: [d]", ("k/d/x", "")), "there is no kustomization.yaml in \"k/d\"".into()),
        (
            one("helmCharts: [{name: x, repo: 'https://example.com'}]"),
            "helmCharts renders a chart by a plugin, which is not run".into(),
        ),
        (
            with(
                "transformers: [f.yaml]",
                ("k/f.yaml", "metadata: {annotations: {config.kubernetes.io/function: x}}"),
            ),
            "k/f.yaml: config.kubernetes.io/function runs a container or a program".into(),
        ),
        (
            one("generators: [\"kind: HelmChartInflationGenerator\\nmetadata: {name: x}\"]"),
            "HelmChartInflationGenerator is a plugin".into(),
        ),
        (
            with("resources: [a.yaml]", ("k/a.yaml", "-> /etc/passwd")),
            "\"k/a.yaml\" is a symbolic link".into(),
        ),
        (with("resources: [d/a.yaml]", ("k/d", "-> ..")), "\"k/d\" is a symbolic link".into()),
        (one("resources: [a"), "k/kustomization.yaml:1:".into()),
    ];
    for (given, expected) in rows {
        let told = closure("k", &[], &given).expect_err(&expected);
        assert!(told.contains(&expected), "{given:?}: {told}");
    }
}

#[test]
fn kustomizations_that_name_each_other_end() {
    let given =
        [("a/kustomization.yaml", "resources: [../b]"), ("b/kustomization.yaml", "resources: [../a]")];
    assert_eq!(files(&closure("a", &[], &given).expect("kustomize itself tells of it")).len(), 2);
    let deep: Vec<(String, String)> =
        (0..40).map(|n| (format!("{n}/kustomization.yaml"), format!("resources: [../{}]", n + 1))).collect();
    let deep: Vec<(&str, &str)> = deep.iter().map(|(path, text)| (&**path, &**text)).collect();
    let told = closure("0", &[], &deep).expect_err("it is too deep");
    assert!(told.contains("\"33\" is the end of more than 32 kustomizations"), "{told}");
}
