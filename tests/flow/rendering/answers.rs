//! Charts that ask something of the cluster: by either helm, and on the clusters of a hub.

use std::time::Duration;

use anyhow::ensure;
use harness::fake_api::FakeApi;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::process::{Program, binary};
use harness::wait;
use nave_placement::fleet::{Fact, Facts, KubernetesVersion};
use serde_json::{Value, json};

use crate::rendering::given::{Given, HEAD, app, engines_with, objects_of, paths};

const LIMIT: Duration = Duration::from_secs(60);
const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '>=1.30.0-0'\n";
/// Helm takes `policy/v1beta1` for given, and knows no kinds.
const TEMPLATE: &str = r#"{{- $root := . }}
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  version: {{ .Capabilities.KubeVersion.Version | quote }}
  minor: {{ .Capabilities.KubeVersion.Minor | quote }}
  budget: {{ .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" | quote }}
  old: {{ if .Capabilities.APIVersions.Has "policy/v1beta1" }}"old"{{ else }}"new"{{ end }}
  own: {{ "acme.io/v1" | .Capabilities.APIVersions.Has | quote }}
  helper: {{ include "has" (dict "top" $root "name" "acme.io/v1/Shop") | quote }}
"#;
const HELPERS: &str = "{{ define \"has\" }}{{ and (.top.Capabilities.APIVersions.Has .name) (not (.top.Capabilities.APIVersions.Has \"none/v1\")) }}{{ end }}";

fn facts(version: &str, minor: u32, apis: &[&str]) -> Facts {
    let kubernetes = KubernetesVersion { version: version.to_owned(), major: 1, minor };
    let apis = apis.iter().map(|name| (*name).to_owned()).collect();
    Facts { kubernetes: Fact::Present(kubernetes), apis: Fact::Present(apis), ..Facts::default() }
}

fn given(chart: &str) -> Given {
    Given::of(&[
        ("web.yaml", &app("{helm: {chart: ./web}}")),
        ("web/Chart.yaml", chart),
        ("web/templates/a.yaml", TEMPLATE),
        ("web/templates/_helpers.tpl", HELPERS),
    ])
}

#[tokio::test]
async fn either_helm_tells_a_chart_what_the_cluster_has_and_nothing_of_its_own() {
    let given = given(CHART);
    let shop = ["acme.io/v1/Shop", "policy/v1/PodDisruptionBudget", "v1/Pod"];
    for helm in ["helm", "helm3"] {
        let (engines, _room) = engines_with(helm);
        let data = async |facts: &Facts| -> Value {
            objects_of(&given.rendered_for(&engines, facts).await)[0]["data"].clone()
        };
        let with = json!({
            "version": "v1.31.2-gke.1", "minor": "31", "budget": "true", "old": "new", "own": "true", "helper": "true",
        });
        assert_eq!(data(&facts("v1.31.2-gke.1", 31, &shop)).await, with, "{helm}");
        let without = json!({
            "version": "v1.30.4+k3s1", "minor": "30", "budget": "false", "old": "old", "own": "false", "helper": "false",
        });
        assert_eq!(
            data(&facts("v1.30.4+k3s1", 30, &["policy/v1beta1/PodDisruptionBudget"])).await,
            without,
            "{helm}"
        );
    }
}

#[tokio::test]
async fn a_chart_for_other_versions_is_refused_for_the_clusters_that_it_is_not_for() {
    let given = given(&CHART.replace("1.30.0-0", "1.33.0-0"));
    for helm in ["helm", "helm3"] {
        let (engines, _room) = engines_with(helm);
        let old = given.rendered_for(&engines, &facts("v1.32.9", 32, &[])).await;
        let told: Vec<String> = old.problems.values().flatten().map(ToString::to_string).collect();
        assert!(
            told.len() == 1
                && told[0].contains("error: App/web")
                && told[0].contains("incompatible with Kubernetes v1.32.9"),
            "{helm}: {told:?}"
        );
        assert!(given.rendered_for(&engines, &facts("v1.33.0", 33, &[])).await.problems.is_empty(), "{helm}");
        // Without clusters that says nothing of any.
        let told = given.problems(&engines, &[]).await;
        assert!(
            told.len() == 1
                && told[0].contains("warning: App/web")
                && told[0].contains("rendered for Kubernetes 1.31.0, as no cluster"),
            "{helm}: {told:?}"
        );
    }
}

/// What a cluster has of the app.
fn version(api: &FakeApi) -> String {
    let object = api.object("", "configmaps", "web/web").unwrap_or_default();
    object["data"]["version"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_cluster_gets_the_chart_for_the_version_that_it_has_and_again_after_its_upgrade() {
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {version: {{ .Capabilities.KubeVersion.Version }}}\n";
    let source = format!(
        "{HEAD}kind: App\nmetadata: {{name: web}}\nspec: {{source: {{helm: {{chart: ./web}}}}, namespace: {{name: web}}}}\n"
    );
    let files = [
        ("placement.yaml", documents::placement("all", &["web"], "{selector: {}}")),
        ("web.yaml", source),
        ("web/Chart.yaml", CHART.to_owned()),
        ("web/templates/a.yaml", template.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    let mut fleet = Fleet::prepare(Repository::with("catalog", &files).expect("it is written"))
        .await
        .expect("it is prepared");
    let helm = paths().helm.expect("it is there");
    fleet.configure(&format!("engines: {{helm: {}}}\n", helm.display())).expect("it is written");
    fleet.start_hub().await.expect("it starts");
    let (old, new) = (FakeApi::start().expect("it starts"), FakeApi::start().expect("it starts"));
    old.set_version("v1.31.2-gke.1", 31);
    new.set_version("v1.33.0", 33);
    for (name, api) in [("old", &old), ("new", &new)] {
        fleet.join(name, &[], &Target::Kube(api.kubeconfig().to_owned())).await.expect("it joins");
    }
    fleet.connected(2).await;
    let have = async |fleet: &Fleet, expected: [&str; 2]| {
        wait::until("both have what is theirs", LIMIT, async || {
            let have = [version(&old), version(&new)];
            ensure!(have == expected, "{have:?}\n{}", fleet.tails());
            Ok(())
        })
        .await;
    };
    have(&fleet, ["v1.31.2-gke.1", "v1.33.0"]).await;
    let shown =
        fleet.hub(&["render", "web", "--cluster", "old", "--provenance"]).await.expect("it runs").stdout;
    assert!(shown.contains("v1.31.2-gke.1"), "{shown}");

    // A spoke looks at its facts when it starts.
    old.set_version("v1.32.0-gke.7", 32);
    fleet.kill_spoke("old");
    fleet.start_spoke("old", None, &Target::Kube(old.kubeconfig().to_owned())).expect("it starts");
    have(&fleet, ["v1.32.0-gke.7", "v1.33.0"]).await;

    // Bundles that the hub lost are made again, each for its answers.
    for file in std::fs::read_dir(fleet.data().join("bundles")).expect("it is there") {
        std::fs::remove_file(file.expect("it can be listed").path()).expect("it is removed");
    }
    let late = FakeApi::start().expect("it starts");
    late.set_version("v1.33.0", 33);
    fleet.join("late", &[], &Target::Kube(late.kubeconfig().to_owned())).await.expect("it joins");
    wait::until("it has what the other has", LIMIT, async || {
        ensure!(version(&late) == "v1.33.0", "{}", fleet.tails());
        Ok(())
    })
    .await;

    // One that does not say what it has gets nothing, and the hub says why.
    let mute = FakeApi::start().expect("it starts");
    mute.set_version("", 0);
    fleet.join("mute", &[], &Target::Kube(mute.kubeconfig().to_owned())).await.expect("it joins");
    wait::until("what is not known is told", LIMIT, async || {
        let told = fleet.hub(&["why", "web", "mute"]).await?.stdout;
        ensure!(told.contains("the chart asks for facts.kubernetes, which is not known yet"), "{told}");
        Ok(())
    })
    .await;
    assert_eq!(version(&mute), "");
    mute.set_version("v1.34.1", 34);
    wait::until("it is rendered for what it says", LIMIT, async || {
        ensure!(version(&mute) == "v1.34.1", "{}", fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_check_says_what_it_assumes_only_where_that_matters() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = paths().helm.expect("it is there");
    let path = path.parent().expect("it is in one").to_owned();
    let check = async || {
        let hub = Program::at(binary("hub").expect("it is built")).env("PATH", &path);
        let run = hub.args(["catalog", "check", &directory.path().to_string_lossy()]).output(LIMIT).await;
        run.expect("there is no error")
    };
    given(CHART).write(directory.path());
    let said = check().await;
    assert!(said.contains("1 of 1 app rendered") && !said.contains("1.31.0"), "{said}");
    given(&CHART.replace("1.30.0-0", "1.33.0-0")).write(directory.path());
    let said = check().await;
    assert!(
        said.contains("warning: App/web") && said.contains("it was rendered for Kubernetes 1.31.0"),
        "{said}"
    );
}
