//! Charts that depend on others in the same repository.

use std::time::Duration;

use harness::assets;
use harness::process::Program;

use crate::rendering::given::{Given, app, documents_of, engines_with};

const LIMIT: Duration = Duration::from_secs(60);
const FILES: [(&str, &str); 9] = [
    (
        "charts/web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n- {name: common, version: 0.x.x, repository: 'file://../common'}\n- {name: cache, version: '>=1.0.0', repository: 'file://../../shared/cache', alias: store}\n- {name: idle, version: 1.0.0, repository: 'file://../idle', condition: idle.enabled}\n",
    ),
    ("charts/web/values.yaml", "store: {size: 3}\nidle: {enabled: false}\n"),
    ("charts/web/templates/a.yaml", "{{ include \"common.map\" . }}"),
    ("charts/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.2.0\ntype: library\n"),
    (
        "charts/common/templates/_map.tpl",
        "{{ define \"common.map\" }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n{{ end }}",
    ),
    ("shared/cache/Chart.yaml", "apiVersion: v2\nname: cache\nversion: 1.4.0\n"),
    ("shared/cache/values.yaml", "size: 1\n"),
    (
        "shared/cache/templates/cache.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-{{ .Chart.Name }}}\ndata: {size: {{ .Values.size | quote }}}\n",
    ),
    ("charts/idle/Chart.yaml", "apiVersion: v2\nname: idle\nversion: 1.0.0\n"),
];

#[tokio::test]
async fn charts_beside_it_give_what_helm_gives_after_it_has_built_them_in() {
    let web = app("{helm: {chart: ./charts/web}}");
    let given = Given::of(&[&FILES[..], &[("web.yaml", &web)]].concat());
    for helm in ["helm", "helm3"] {
        let directory = tempfile::tempdir().expect("a directory");
        Given::of(&FILES).write(directory.path());
        let home = tempfile::tempdir().expect("a directory");
        let run = async |arguments: &[&str]| {
            let program = Program::at(assets::binary(helm).expect("tests/setup/kubectl provides it"));
            let program = program.env("HOME", home.path()).directory(directory.path());
            program.args(arguments).output(LIMIT).await.expect("it ends well")
        };
        run(&["dependency", "build", "charts/web"]).await;
        let by_hand = documents_of(&run(&["template", "web", "charts/web", "--namespace", "shop"]).await);
        let (engines, _room) = engines_with(helm);
        assert_eq!(given.objects(&engines, &[]).await, by_hand, "{helm}");
        assert_eq!(by_hand.len(), 2);
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_chart_beside_it_is_told_where_it_stands() {
    let web = app("{helm: {chart: ./charts/web}}");
    let broken = ("shared/cache/templates/cache.yaml", "a: 1\nb: {{ fail \"no\" }}\n");
    // Helm names templates of one with an alias by that.
    let unnamed = FILES[0].1.replace(", alias: store", "");
    let given = Given::of(&[&FILES[..], &[("web.yaml", &web), broken, (FILES[0].0, &unnamed)]].concat());
    let told = given.problems(&engines_with("helm").0, &[]).await;
    assert!(
        told.len() == 1 && told[0].starts_with("shared/cache/templates/cache.yaml:2:1: error: App/web"),
        "{told:?}"
    );
}
