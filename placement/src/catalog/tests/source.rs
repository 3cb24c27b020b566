//! Where an app's manifests come from: one engine, and a place that is there.

use super::*;

/// What is told of an app with this source, which stands in line 5 beside a manifest in `web`.
#[track_caller]
fn check_app(spec: &str, expected: &[&str]) {
    let text = document(&format!("kind: App\nmetadata: {{name: web}}\nspec:\n  {spec}"));
    let catalog = assembled("1", &[("a.yaml", &text), ("web/c.yaml", MANIFEST)], &LastGood::new());
    assert_eq!(shown(&catalog.problems), expected, "\n{text}");
}

#[test]
fn a_source_is_of_one_engine_and_says_where_it_is() {
    let at = |column: u32, message: &str| format!("a.yaml:5:{column}: error: App/web: spec.source{message}");
    let where_ = "say where the manifests are: path: ./manifests, helm: {chart: ./chart} or kustomize: {path: ./overlay}";
    let rows = [
        ("{}", at(11, &format!(" is empty; {where_}"))),
        ("{path: ./web, helm: {chart: ./web}}", at(11, " has path and helm; keep one of them")),
        (
            "{helm: {values: {a: 1}}}",
            at(11, ".helm.chart is missing; name the chart's directory, e.g. chart: ./chart"),
        ),
        (
            "{kustomize: {components: [./c]}}",
            at(
                11,
                ".kustomize.path is missing; name the kustomization's directory, e.g. path: ./overlays/prod",
            ),
        ),
        (
            "{kustomize: {path: ./web, components: [/c]}}",
            at(
                50,
                ".kustomize.components[0]: \"/c\" is absolute; write it relative to the directory of this file",
            ),
        ),
        (
            "{helm: {chart: ./web, valuesFiles: [../x]}}",
            at(47, ".helm.valuesFiles[0]: \"../x\" leaves the repository; name a path inside it"),
        ),
        (
            "{helm: {chart: ./web, releaseName: A}}",
            at(
                46,
                ".helm.releaseName: \"A\" is not a valid release name: use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters",
            ),
        ),
    ];
    for (source, expected) in rows {
        check_app(&format!("source: {source}\n"), &[&expected]);
    }
}

#[test]
fn sources_stay_in_the_repository_and_lead_to_files() {
    let at = "a.yaml:5:16: error: App/web: spec.source.path: ";
    let rows = [
        ("../web", "\"../web\" leaves the repository; name a path inside it"),
        ("/web", "\"/web\" is absolute; write it relative to the directory of this file"),
        ("'web\\x'", "\"web\\\\x\" holds a backslash; separate directories by /"),
        ("./wbe", "there is nothing at \"wbe\" in this commit; correct source.path or add the files"),
        ("./link", "\"link\" is a symbolic link; links are not followed, put the file itself there"),
        ("./link/deeper", "\"link\" is a symbolic link; links are not followed, put the file itself there"),
        (
            "./with",
            "\"with/link.yaml\" is a symbolic link; links are not followed, put the file itself there",
        ),
        (
            "./text",
            "there is no .yaml, .yml or .json file below \"text\"; an app without objects would remove all it has",
        ),
    ];
    for (path, expected) in rows {
        let text =
            document(&format!("kind: App\nmetadata: {{name: web}}\nspec:\n  source: {{path: {path}}}\n"));
        let commit: Commit<'_> = &[
            ("a.yaml", &text),
            ("link", "-> /etc"),
            ("with/link.yaml", "-> ../../secret"),
            ("with/c.yaml", MANIFEST),
            ("text/a.txt", "x"),
        ];
        // The position is that of the path.
        let column = "  source: {path: ".len() + 1;
        let expected = format!("{at}{expected}").replace(":16:", &format!(":{column}:"));
        assert_eq!(shown(&assembled("1", commit, &LastGood::new()).problems), [expected], "{path}");
    }
}
