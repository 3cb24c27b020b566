//! Where an app's manifests come from: one engine, and a place that is there.

use serde_json::json;

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
    let where_ = "say where the manifests are: path: ./manifests, git: {url: https://…}, helm: {chart: ./chart} or kustomize: {path: ./overlay}";
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

/// What an app's source is by this text, with what overrides say of it; or why there is none.
fn source(app: &str, overrides: &[&str]) -> Result<Source, String> {
    let object = |kind: &str, rest: &str, source: &str| {
        let text =
            document(&format!("kind: {kind}\nmetadata: {{name: web}}\nspec:\n{rest}  source: {source}\n"));
        let parsed = parse_file("apps/a.yaml", text.as_bytes());
        let told: Vec<String> = parsed.problems.iter().map(|problem| problem.message.clone()).collect();
        parsed.documents[0].object.clone().ok_or(told.join("; "))
    };
    let app = object("App", "", app)?;
    let Spec::App(spec) = &app.spec else { return Err("it is no app".to_owned()) };
    let rest = "  apps: {names: [web]}\n  clusters: {selector: {}}\n";
    overrides.iter().try_fold(spec.source.clone(), |below, text| {
        let object = object("Override", rest, text)?;
        let Spec::Override(spec) = &object.spec else { return Err("it is no override".to_owned()) };
        let change = spec.source.as_ref().expect("it has one");
        below.with(&"web".into(), change).map_err(|error| error.to_string())
    })
}

/// It in one line: the remote, the directory, and what else there is.
fn line(source: &Source) -> String {
    let remote = source.remote.as_ref().map(|remote| format!("{}: ", remote.shown())).unwrap_or_default();
    let more = match &source.what {
        What::Path(_) => String::new(),
        What::Kustomize(kustomize) => format!(" with {:?}", kustomize.components),
        What::Helm(helm) => format!(" with {:?} {}", helm.values_files, json!(helm.values)),
    };
    format!("{remote}{} {:?}{more}", source.word(), source.path())
}

#[test]
fn a_source_may_be_in_another_repository() {
    let git = "git: {url: 'https://git.example.com/shop'";
    // (app, overrides, source)
    let rows: [(&str, &[&str], &str); 19] = [
        ("{path: ./m}", &["{path: ./n}"], "path \"apps/n\""),
        (&format!("{{{git}}}}}"), &[], "https://git.example.com/shop: git \"\""),
        (&format!("{{{git}, ref: v1, path: ./m/}}}}"), &[], "https://git.example.com/shop at v1: git \"m\""),
        (
            &format!("{{{git}, ref: v1, path: m}}}}"),
            &["{git: {ref: ^1.2}}", "{git: {path: other}}"],
            "https://git.example.com/shop at ^1.2: git \"other\"",
        ),
        // It takes the place of what was in the catalog's repository.
        (
            "{path: ./m}",
            &[&format!("{{{git}, path: other}}}}")],
            "https://git.example.com/shop: git \"other\"",
        ),
        (&format!("{{{git}}}}}"), &["{path: ./n}"], "path \"apps/n\""),
        ("{path: ./m}", &["{git: {ref: v1}}"], "git.url is missing"),
        (
            &format!("{{{git}}}, kustomize: {{path: ./over/prod, components: [c]}}}}"),
            &["{kustomize: {path: over/dev}}"],
            "https://git.example.com/shop: kustomize \"over/dev\" with [\"c\"]",
        ),
        // Paths of a kustomization are from that repository's root, wherever the file stands that says so.
        (&format!("{{{git}}}, kustomize: {{path: ../over}}}}"), &[], "leaves the repository"),
        (
            &format!(
                "{{{git}}}, helm: {{chart: charts/web, valuesFiles: [./a.yaml, 'chart:prod.yaml', 'chart:../b.yaml']}}}}"
            ),
            &[],
            "https://git.example.com/shop: helm \"charts/web\" with [Here(\"apps/a.yaml\"), WithChart(\"charts/web/prod.yaml\"), WithChart(\"charts/b.yaml\")] {}",
        ),
        (
            "{helm: {repository: 'https://charts.example.com', chart: web, version: ^6, values: {a: 1}}}",
            &["{helm: {version: 6.5.2, values: {b: 2}, valuesFiles: [../prod.yaml]}}"],
            "chart web 6.5.2 of https://charts.example.com: helm \"\" with [Here(\"prod.yaml\")] {\"a\":1,\"b\":2}",
        ),
        // A version is of the chart that it is said with.
        (
            "{helm: {repository: 'oci://r.example.com/a', chart: web, version: ^6}}",
            &["{helm: {chart: shop}}"],
            "chart shop * of oci://r.example.com/a: helm \"\" with [] {}",
        ),
        (
            "{helm: {chart: ./web, values: {a: 1}}}",
            &["{helm: {repository: 'oci://r.example.com/a', chart: web}}"],
            "chart web * of oci://r.example.com/a: helm \"\" with [] {\"a\":1}",
        ),
        (
            "{helm: {repository: 'oci://r.example.com/a', chart: web, version: ^6}}",
            &[&format!("{{{git}}}, helm: {{chart: web}}}}")],
            "https://git.example.com/shop: helm \"web\" with [] {}",
        ),
        ("{helm: {chart: ./web, version: ^6}}", &[], "helm.version is for a chart of a Helm repository"),
        (&format!("{{{git}}}, path: ./m}}"), &[], "path is of the catalog's own repository"),
        (&format!("{{{git}, path: m}}, kustomize: {{path: o}}}}"), &[], "git.path is for manifests"),
        (
            &format!("{{{git}}}, helm: {{repository: 'https://charts.example.com', chart: web}}}}"),
            &[],
            "helm.repository and git both say where the chart is",
        ),
        (
            "{helm: {repository: 'https://charts.example.com', chart: ./web}}",
            &[],
            "helm.chart: \"./web\" is no name of a chart",
        ),
    ];
    for (app, overrides, expected) in rows {
        let is = source(app, overrides).map_or_else(|error| error, |source| line(&source));
        assert!(is == expected || expected.len() > 12 && is.contains(expected), "{app} {overrides:?}: {is}");
    }
}

#[test]
fn a_url_of_a_source_holds_no_secret_and_leads_to_no_file_of_the_hub() {
    let at =
        |column: u32, message: &str| format!("a.yaml:5:{column}: error: App/web: spec.source.git.{message}");
    let secret = "url: it holds a user or a secret, which would stay in Git for ever; put it into the hub's configuration under credentials, and name the repository alone";
    let rows = [
        ("{url: 'https://me:hunter2@git.example.com/x'}", at(23, secret)),
        (
            "{url: 'file:///srv/git'}",
            at(23, "url: file:// is nothing that a repository is reached by; write https:// or ssh://"),
        ),
        (
            "{url: /srv/git}",
            at(23, "url: it is no URL; write https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH"),
        ),
        (
            "{ref: v1}",
            at(
                11,
                "url is missing; write the URL of the repository, e.g. url: https://git.example.com/shop/deploy",
            ),
        ),
    ];
    for (git, expected) in rows {
        check_app(&format!("source: {{git: {git}}}\n"), &[&expected]);
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

#[test]
fn a_server_that_is_asked_in_clear_is_a_warning_and_its_app_is_taken() {
    let told = |column: u32, field: &str| {
        format!(
            "a.yaml:5:{column}: warning: App/web: spec.source.{field} is asked in clear: whoever is between the hub and the server reads it, and can change what clusters run; write https:// or ssh://"
        )
    };
    check_app("source: {git: {url: 'http://git.example.com/shop'}}", &[&told(23, "git.url")]);
    check_app(
        "source: {helm: {repository: 'http://charts.example.com', chart: web}}",
        &[&told(31, "helm.repository")],
    );
    check_app("source: {git: {url: 'http://127.0.0.1:3000/shop'}}", &[]);
    check_app("source: {helm: {repository: 'oci://charts.example.com', chart: web}}", &[]);
}
