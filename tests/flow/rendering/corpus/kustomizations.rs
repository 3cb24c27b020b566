//! Kustomizations that are published, and some around manifests that are.

use super::{Count, Outcome, by_hand, listed, published};
use crate::rendering::given::{app, engines_with};
use harness::assets;

use Outcome::{Fails, Same};

const KUBERNETES: &str = "kubernetes-1.20.5+really1.20.2";

struct Row {
    /// Where its manifests stand in the source of Kubernetes.
    directory: &'static str,
    /// What a kustomization of ours does with all of them; none where there is a published one.
    ours: Option<&'static str>,
    outcome: Outcome,
}

fn rows() -> Vec<Row> {
    let row = |directory, ours, outcome| Row { directory, ours, outcome };
    vec![
        row("hack/testdata/kustomize", None, Same),
        row("staging/src/k8s.io/cli-runtime/artifacts/kustomization", None, Same),
        row(
            "cluster/addons/calico-policy-controller",
            Some(
                "namespace: networks\nnamePrefix: a-\nlabels: [{pairs: {team: net}, includeSelectors: true, includeTemplates: true}]\n",
            ),
            Same,
        ),
        row(
            "cluster/addons/metrics-server",
            Some(
                "namespace: shop\nimages: [{name: k8s.gcr.io/metrics-server-amd64, newName: registry.k8s.io/metrics-server, newTag: v0.7.2}]\nreplicas: [{name: metrics-server-v0.3.6, count: 2}]\n",
            ),
            Same,
        ),
        row(
            "cluster/addons/fluentd-elasticsearch",
            Some(
                "namespace: logging\nnameSuffix: -x\npatches: [{target: {kind: DaemonSet}, patch: '[{\"op\": \"add\", \"path\": \"/spec/template/spec/priorityClassName\", \"value\": \"system-node-critical\"}]'}]\n",
            ),
            Same,
        ),
        row("cluster/addons/volumesnapshots/crd", Some("commonAnnotations: {team: storage}\n"), Same),
        row(
            "test/e2e/testing-manifests/statefulset/cassandra",
            Some(
                "namespace: shop\nnamePrefix: east-\nconfigMapGenerator: [{name: files, files: [pdb.yaml], literals: [a=b]}]\nsecretGenerator: [{name: token, literals: [t=s]}]\n",
            ),
            Same,
        ),
        row(
            "test/e2e/testing-manifests/statefulset/mysql-upgrade",
            Some(
                "namespace: shop\nreplacements: [{source: {kind: ConfigMap, name: mysql, fieldPath: metadata.name}, targets: [{select: {kind: StatefulSet}, fieldPaths: [metadata.annotations.from], options: {create: true}}]}]\n",
            ),
            Same,
        ),
        // One of its files is a template for a script.
        row("cluster/addons/fluentd-gcp", Some("namespace: logs\n"), Fails(&["fluentd-gcp-ds.yaml"])),
    ]
}

#[tokio::test]
async fn kustomizations_of_others_give_object_by_object_what_kustomize_gives() {
    let (engines, _room) = engines_with("helm");
    let mut count = Count::default();
    for row in rows() {
        let mut given = published(KUBERNETES, row.directory, "k");
        if let Some(ours) = row.ours {
            let top =
                assets::published(KUBERNETES).expect("tests/setup/charts provides it").join(row.directory);
            let names =
                listed(&top).into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml"));
            let names: Vec<String> = names
                .map(|path| path.file_name().expect("it has one").to_string_lossy().into_owned())
                .collect();
            let text = format!("resources: [{}]\n{ours}", names.join(", "));
            given = given.with("k/kustomization.yaml", text.into_bytes());
        }
        let given = given.with("web.yaml", app("{kustomize: {path: ./k}}").into_bytes());
        let rendered = given.rendered(&engines, &[]).await;
        let by_kustomize = by_hand(&given, "kubectl", &["kustomize", "k"]).await;
        count.judge(row.directory, &row.outcome, &rendered, by_kustomize);
    }
    count.assert(8, 86, 0, 1);
}
