//! Charts give what Helm gives.

use std::time::Duration;

use harness::assets;
use harness::process::Program;

use crate::rendering::given::{Given, app, by_hand, engines, engines_with, of_workspace, overriding};

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "web.name" . }}
  namespace: {{ .Release.Namespace }}
  labels: {{- include "web.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {checksum: {{ .Files.Get "files/app.conf" | sha256sum }}}
    spec:
      containers:
      - name: web
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
        {{- with .Values.resources }}
        resources: {{- toYaml . | nindent 10 }}
        {{- end }}
"#;
/// A function that gives something else each time, where nothing calls it.
const HELPERS: &str = r#"{{/* lookup is not used here */}}
{{- define "web.name" -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 }}{{- end }}
{{- define "web.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "web.never" }}{{ randAlphaNum 5 }}{{ (lookup "v1" "Secret" "a" "b").data }}{{ end }}
"#;
const SECRET: &str = r#"{{- if not .Values.existingSecret }}
apiVersion: v1
kind: Secret
metadata: {name: generated}
stringData: {password: {{ randAlphaNum 16 }}}
{{- end }}
"#;
const FILES: [(&str, &str); 16] = [
    (
        "charts/web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '1.29'\nkubeVersion: '>=1.25.0-0'\ndependencies: [{name: cache, version: 0.1.0, condition: cache.enabled}]\n",
    ),
    (
        "charts/web/values.yaml",
        "replicas: 1\nimage: {repository: nginx, tag: ''}\nresources: {limits: {cpu: 1}}\nexistingSecret: given\ncache: {enabled: true, size: 1}\nargs: [a, b]\n",
    ),
    ("charts/web/.helmignore", "*.md\n/ci/\n"),
    ("charts/web/README.md", "# web"),
    ("charts/web/ci/values.yaml", "replicas: 99"),
    ("charts/web/files/app.conf", "x"),
    (
        "charts/web/crds/shop.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shops.example.com}\n",
    ),
    ("charts/web/templates/_helpers.tpl", HELPERS),
    ("charts/web/templates/deployment.yaml", DEPLOYMENT),
    ("charts/web/templates/secret.yaml", SECRET),
    (
        "charts/web/templates/settings.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {args: {{ .Values.args | toJson | quote }}, kube: {{ .Capabilities.KubeVersion.Version }}}\n",
    ),
    (
        "charts/web/templates/tests/check.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: check, annotations: {helm.sh/hook: test}}\n",
    ),
    ("charts/web/templates/NOTES.txt", "It is there, {{ now }}."),
    ("charts/web/charts/cache/Chart.yaml", "apiVersion: v2\nname: cache\nversion: 0.1.0\n"),
    (
        "charts/web/charts/cache/templates/cache.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-cache}\ndata: {size: {{ .Values.size | quote }}}\n",
    ),
    ("values/prod.yaml", "replicas: 3\nresources: null\ncache: {size: 7}\n"),
];

fn given(more: &[(&str, &str)]) -> Given {
    Given::of(&[&FILES[..], more].concat())
}

/// `helm template`, as an operator would call it.
async fn by_helm(helm: &str, release: &str, more: &[(&str, &str)], flags: &[&str]) -> Vec<serde_json::Value> {
    let common = [
        "template",
        release,
        "charts/web",
        "--namespace",
        "shop",
        "--include-crds",
        "--kube-version",
        "1.31.0",
    ];
    by_hand(&[&FILES[..], more].concat(), helm, &[&common, flags].concat()).await
}

#[tokio::test]
async fn a_chart_gives_object_by_object_what_either_helm_gives() {
    let given = given(&[("web.yaml", &app("{helm: {chart: ./charts/web}}"))]);
    for helm in ["helm", "helm3"] {
        let (engines, room) = engines_with(helm);
        let objects = given.objects(&engines, &[]).await;
        assert_eq!(objects, by_helm(helm, "web", &[], &[]).await, "{helm}");
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["ConfigMap", "ConfigMap", "CustomResourceDefinition", "Deployment"]);
        assert_eq!(engines.runs(), 2, "it is rendered twice, and compared");
        given.objects(&engines, &[]).await;
        assert_eq!(engines.runs(), 2, "and not again");
        let left = std::fs::read_dir(room.path()).expect("it is there").count();
        assert_eq!(left, 0, "nothing is left of a render");
    }
}

/// Both helms refuse the same, with the same words at the same place: what is said of a guarded function differs.
#[tokio::test]
async fn a_password_that_is_really_made_is_refused_by_either_helm() {
    let web = app("{helm: {chart: ./charts/web, values: {existingSecret: null}}}");
    let given = given(&[("web.yaml", &web)]);
    for helm in ["helm", "helm3"] {
        let told = given.problems(&engines_with(helm).0, &[]).await;
        let place = "charts/web/templates/secret.yaml:5:1: error: App/web: randAlphaNum gives something else each time";
        assert!(told.len() == 1 && told[0].starts_with(place), "{helm}: {told:?}");
    }
}

#[tokio::test]
async fn a_chart_that_comes_packed_gives_what_it_gives_unpacked() {
    let (engines, _room) = engines();
    let web = app("{helm: {chart: ./charts/web}}");
    let unpacked = given(&[("web.yaml", &web)]).objects(&engines, &[]).await;
    let directory = tempfile::tempdir().expect("a directory");
    given(&[]).write(directory.path());
    let program = Program::at(assets::binary("helm").expect("tests/setup/kubectl provides it"));
    let program = program.args(["package", "charts/web/charts/cache"]).directory(directory.path());
    program.output(Duration::from_secs(60)).await.expect("it is packed");
    let archive = std::fs::read(directory.path().join("cache-0.1.0.tgz")).expect("it is there");
    let packed = |archive: Vec<u8>| {
        let given = given(&[("web.yaml", &web)]).without("charts/web/charts/");
        given.with("charts/web/charts/cache-0.1.0.tgz", archive)
    };
    assert_eq!(packed(archive.clone()).objects(&engines, &[]).await, unpacked);
    let told = packed(archive[..40].to_vec()).problems(&engines, &[]).await;
    let place = "charts/web:1:1: error: App/web: charts/cache-0.1.0.tgz: it cannot be unpacked";
    assert!(told.len() == 1 && told[0].starts_with(place), "{told:?}");
}

#[tokio::test]
async fn naves_own_charts_give_what_helm_gives() {
    let (engines, _room) = engines();
    for chart in ["hub", "spoke"] {
        let web = app("{helm: {chart: ./chart, values: {createNamespace: true}}}");
        let chart = of_workspace(&format!("deploy/chart/{chart}"), "chart");
        let mut files: Vec<(&str, &str)> = chart.iter().map(|(path, text)| (&**path, &**text)).collect();
        let flags = ["--namespace", "shop", "--kube-version", "1.31.0", "--set", "createNamespace=true"];
        let by_helm = by_hand(&files, "helm", &[&["template", "web", "chart"], &flags[..]].concat()).await;
        files.push(("web.yaml", &web));
        assert_eq!(Given::of(&files).objects(&engines, &[]).await, by_helm);
        assert!(by_helm.len() > 3, "{by_helm:?}");
    }
}

#[tokio::test]
async fn values_of_files_of_the_app_and_of_overrides_lie_over_each_other() {
    let (engines, _room) = engines();
    let web = app(
        "{helm: {chart: ./charts/web, releaseName: shop, values: {args: [c], image: {tag: '1'}, existingSecret: mine}}}",
    );
    let prod = overriding(
        "prod",
        "source: {helm: {valuesFiles: [./values/prod.yaml], values: {image: {tag: '2'}, cache: null}}}",
    );
    let off = overriding("without", "priority: 1, source: {helm: {values: {cache: {enabled: false}}}}");
    let given = given(&[("web.yaml", &web), ("prod.yaml", &prod), ("without.yaml", &off)]);
    let app_values = ("app.yaml", "{args: [c], image: {tag: '1'}, existingSecret: mine}");
    let prod_values = ("over.yaml", "{image: {tag: '2'}, cache: null}");
    let flags = ["-f", "values/prod.yaml", "-f", "app.yaml", "-f", "over.yaml"];
    let plain = by_helm("helm", "shop", &[app_values], &flags[2..4]).await;
    assert_eq!(given.objects(&engines, &[]).await, plain);
    let in_prod = by_helm("helm", "shop", &[app_values, prod_values], &flags).await;
    assert_eq!(given.objects(&engines, &["prod"]).await, in_prod);
    let off_values = ("off.yaml", "cache: {enabled: false}");
    let flags = [&flags[..], &["-f", "off.yaml"]].concat();
    let switched_off = by_helm("helm", "shop", &[app_values, prod_values, off_values], &flags).await;
    assert_eq!(given.objects(&engines, &["prod", "without"]).await, switched_off);
    assert!(plain != in_prod && in_prod != switched_off);
}
