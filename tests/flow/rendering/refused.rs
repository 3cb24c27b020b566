//! What is refused of hostile and of unlucky sources, by name and with its place; and what a child may not do.

use nave_hub::engines::{Engines, Paths};

use crate::rendering::given::{Given, app, engines, engines_with, overriding, paths};

const CHART: (&str, &str) = ("c/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
const GOOD: (&str, &str) =
    ("c/templates/good.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n");

async fn told(engines: &Engines, source: &str, files: &[(&str, &str)]) -> Vec<String> {
    let web = app(source);
    Given::of(&[&[("web.yaml", &*web), CHART, GOOD], files].concat()).problems(engines, &[]).await
}

async fn template(engines: &Engines, text: &str) -> Vec<String> {
    told(engines, "{helm: {chart: ./c}}", &[("c/templates/a.yaml", text)]).await
}

#[tokio::test]
async fn functions_whose_outcome_is_not_the_charts_are_refused_where_they_are_called() {
    let (engines, _room) = engines();
    let functions = [
        "lookup \"v1\" \"Secret\" \"a\" \"b\"",
        "now | date \"2006\"",
        "now",
        "randAlphaNum 5",
        "uuidv4",
        "genCA \"x\" 1",
        "genSelfSignedCert \"x\" nil nil 1",
        "htpasswd \"a\" \"b\"",
        "dict \"x\" (randInt 0 5)",
        "list 1 2 | toString | shuffle",
        "toDate \"2006\" \"2020\" | ago",
    ];
    for called in functions {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  x: {{{{ {called} | quote }}}}\n"
        );
        let name = ["lookup", "now", "rand", "uuidv4", "gen", "htpasswd", "shuffle", "ago"];
        let name = name.into_iter().find(|name| called.contains(name)).expect("one of them");
        let problems = template(&engines, &text).await;
        let place = format!("c/templates/a.yaml:5:1: error: App/web: {name}");
        assert!(problems.len() == 1 && problems[0].starts_with(&place), "{called}: {problems:?}");
    }
}

#[tokio::test]
async fn what_hides_its_chance_is_found_by_rendering_twice() {
    let (engines, _room) = engines();
    // The name of the function is put together only when the template is carried out.
    let call = "{{ tpl (printf \"{{ %s%s }}\" \"uuid\" \"v4\") . }}";
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  x: {call}\n");
    let problems = template(&engines, &text).await;
    assert!(
        problems[0].starts_with("c:1:1: error: App/web: it renders differently each time"),
        "{problems:?}"
    );
}

/// Charts judge a length of time by adding it to the time of day.
#[tokio::test]
async fn the_time_is_refused_only_where_the_outcome_shows_it() {
    let rows = [
        ("{{ $_ := now | mustDateModify \"5m\" }}x", None),
        ("{{ if ne now (now | dateModify \"5m\") }}x{{ end }}", None),
        ("{{ now.Format \"2006\" | len | toString | quote }}", None),
        (
            "{{ if gt (now | unixEpoch | int64) 1700000000 }}x{{ end }}",
            Some("now gives something else tomorrow"),
        ),
        ("{{ now.Nanosecond | quote }}", Some("now gives something else tomorrow")),
        ("{{ now.Weekday | quote }}", Some("now gives something else tomorrow")),
        ("{{ $_ := now }}{{ uuidv4 }}", Some("uuidv4 gives something else each time")),
        ("{{ $_ := now }}{{ fail \"whenever\" }}", Some("whenever")),
        ("{{ if gt (now | unixEpoch | int64) 1700000000 }}{{ fail \"late\" }}{{ end }}", Some("now gives")),
    ];
    for helm in ["helm", "helm3"] {
        let (engines, _room) = engines_with(helm);
        for (text, expected) in rows {
            let text =
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{x: {text}}}\n");
            let told = template(&engines, &text).await;
            match expected {
                None => assert!(told.is_empty(), "{helm}: {text}: {told:?}"),
                Some(words) => {
                    let place = "c/templates/a.yaml:4:1: error: App/web: ";
                    let is_said = told.len() == 1 && told[0].starts_with(place) && told[0].contains(words);
                    assert!(is_said, "{helm}: {text}: {told:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_template_that_never_ends_or_fills_memory_is_ended() {
    let (engines, _room) = engines_with("helm");
    let endless = "{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}";
    let problems = template(&engines, endless).await;
    assert!(problems[0].contains("helm took longer than 15 s; look for a loop in it"), "{problems:?}");
    let (runs, cut_off) = (engines.runs(), engines.cut_off());
    assert_eq!((runs, cut_off), (1, 1));
    template(&engines, endless).await;
    assert_eq!(engines.runs(), runs, "each try would cost as long again");
    let (web, over) = (app("{helm: {chart: ./c}}"), overriding("o", "source: {helm: {values: {a: 1}}}"));
    let files = [("web.yaml", &*web), ("o.yaml", &*over), CHART, ("c/templates/a.yaml", endless)];
    let (others, _others_room) = engines_with("helm");
    let problems = Given::of(&files).problems_of(&others, &[&[], &["o"]]).await;
    assert_eq!((problems.len(), others.cut_off()), (1, 1), "one variant is enough: {problems:?}");
    let problems = template(&engines, "{{ range until 1000000000 }}{{ end }}").await;
    assert!(problems[0].contains("helm needs more than 2048 MiB of memory"), "{problems:?}");
    let wide = "a: {{ repeat 1000000 \"0123456789012345678901234567890123456789\" }}";
    let problems = template(&engines, wide).await;
    assert!(problems[0].contains("helm writes more than 32 MiB; split the app"), "{problems:?}");
    let circle = "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}";
    let problems = template(&engines, circle).await;
    assert!(problems[0].starts_with("c/templates/a.yaml:1:1: error: App/web: helm v"), "{problems:?}");
    assert!(problems[0].len() < 1_500, "{problems:?}");
}

#[tokio::test]
async fn sources_from_elsewhere_and_outside_are_refused_before_anything_runs() {
    let (engines, _room) = engines();
    let kustomize = "{kustomize: {path: ./k}}";
    let rows: [(&str, &str, &str, &str); 8] = [
        (
            kustomize,
            "k/kustomization.yaml",
            "resources: ['https://127.0.0.1:1/a.yaml']",
            "which is not in this repository",
        ),
        (
            kustomize,
            "k/kustomization.yaml",
            "resources: ['git@127.0.0.1:a/b']",
            "which is not in this repository",
        ),
        (kustomize, "k/kustomization.yaml", "resources: [../../../etc/passwd]", "leaves the repository"),
        (
            kustomize,
            "k/kustomization.yaml",
            "helmCharts: [{name: a, repo: 'http://127.0.0.1:1'}]",
            "helmCharts renders a chart by a plugin",
        ),
        (kustomize, "k/kustomization.yaml", "-> ../secret", "is a symbolic link"),
        ("{helm: {chart: ./c, valuesFiles: [../../etc/passwd]}}", "x", "", "leaves the repository"),
        (
            "{helm: {chart: ./c, valuesFiles: [./values.yaml]}}",
            "values.yaml",
            "-> /etc/passwd",
            "is a symbolic link",
        ),
        ("{helm: {chart: ./c}}", "c/templates/passwd.yaml", "-> /etc/passwd", "is a symbolic link"),
    ];
    for (source, path, text, expected) in rows {
        let problems = told(&engines, source, &[(path, text)]).await;
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{source} {text}: {problems:?}");
    }
    assert_eq!(engines.runs(), 0);
}

#[tokio::test]
async fn a_child_reads_only_its_files_and_knows_nothing_of_the_hub() {
    let (engines, _room) = engines();
    let escapes = [
        "{{ .Files.Get \"../../web.yaml\" }}",
        "{{ .Files.Get \"/etc/passwd\" }}",
        "{{ range $path, $_ := .Files.Glob \"**\" }}{{ $path }}{{ end }}",
    ];
    for escape in escapes {
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{said: \"{escape}\"}}\n");
        let web = app("{helm: {chart: ./c}}");
        let given = Given::of(&[("web.yaml", &web), CHART, ("c/templates/a.yaml", &text)]);
        let objects = given.objects(&engines, &[]).await;
        assert_eq!(objects[0]["data"]["said"], "", "{escape}");
    }
    let problems = template(&engines, "a: {{ env \"PATH\" }}").await;
    assert!(problems[0].contains("function \"env\" not defined"), "{problems:?}");
}

#[tokio::test]
async fn an_engine_that_is_missing_or_something_else_is_its_apps_problem() {
    let room = tempfile::tempdir().expect("a directory");
    let missing = Engines::new(
        room.path().to_owned(),
        Paths { helm: Some("/nowhere/helm".into()), kustomize: Some("/bin/true".into()) },
    );
    let problems = told(&missing, "{helm: {chart: ./c}}", &[]).await;
    assert_eq!(
        problems,
        [
            "c:1:1: error: App/web: helm is not on the hub's machine: /nowhere/helm is not there; install it there, or name it in the hub's configuration, engines: {helm: /PATH}"
        ]
    );
    let problems =
        told(&missing, "{kustomize: {path: ./k}}", &[("k/kustomization.yaml", "resources: []")]).await;
    assert!(problems[0].contains("/bin/true does not tell its version"), "{problems:?}");
}

#[tokio::test]
async fn a_change_of_another_kind_of_source_is_told_at_its_override() {
    let (engines, _room) = engines();
    let files = [
        ("web.yaml", app("{helm: {chart: ./c}}")),
        ("o.yaml", overriding("o", "source: {kustomize: {components: [./k]}}")),
    ];
    let files = [(files[0].0, &*files[0].1), (files[1].0, &*files[1].1), CHART, GOOD];
    let problems = Given::of(&files).problems(&engines, &["o"]).await;
    let expected =
        "o.yaml:1:1: error: Override/o: it changes spec.source.kustomize, but the source of app web is helm";
    assert!(problems[0].starts_with(expected), "{problems:?}");
}

#[tokio::test]
async fn hooks_that_have_no_turn_are_told_and_left_out() {
    let (engines, _room) = engines();
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {helm.sh/hook: 'pre-delete'}}\n";
    let web = app("{helm: {chart: ./c}}");
    let given = Given::of(&[("web.yaml", &web), CHART, GOOD, ("c/templates/job.yaml", job)]);
    let rendered = given.rendered(&engines, &[]).await;
    let told: Vec<String> = rendered.problems.values().flatten().map(ToString::to_string).collect();
    assert!(
        told[0].starts_with(
            "c/templates/job.yaml:1:1: warning: App/web: hook Job migrate (pre-delete) is left out"
        ),
        "{told:?}"
    );
    assert_eq!(rendered.bundles[0].objects.len(), 1);
}

#[tokio::test]
async fn this_machine_confines_its_children() {
    let engines = Engines::new(std::env::temp_dir(), paths());
    assert_eq!(engines.confinement().await, "without network, memory limited", "util-linux is everywhere");
    let versions: Vec<_> =
        engines.report().await.into_iter().map(|report| report.binary.expect("it is there")).collect();
    assert!(versions.iter().all(|binary| binary.version.starts_with('v')), "{versions:?}");
}
