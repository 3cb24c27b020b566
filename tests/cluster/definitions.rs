//! Definitions: an app that brings a kind and objects of that kind, namespaces of its own and objects in them.

use harness::fleet::documents::{app, placement};

use crate::stage::{Stage, Witness};

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

/// File names and documents stand in the order that would fail if they were applied as they come.
pub fn files() -> Vec<(&'static str, String)> {
    let widget = |size: u32| {
        format!(
            "apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: small, namespace: shop}}\nspec: {{size: {size}}}\n"
        )
    };
    let config =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop, namespace: shop}\ndata: {value: open}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: retail}}\n";
    vec![
        ("widgets.yaml", app("widgets")),
        ("manifests/widgets/1-widget.yaml", widget(1)),
        ("manifests/widgets/2-config.yaml", config.to_owned()),
        ("manifests/widgets/3-definition.yaml", DEFINITION.to_owned()),
        ("manifests/widgets/4-namespace.yaml", namespace.to_owned()),
        ("placement.yaml", placement("all", &["widgets"], "{selector: {}}")),
    ]
}

#[tokio::test]
async fn namespaces_and_kinds_come_before_what_needs_them() {
    let stage = Stage::start(&files(), &[("fra-1", &[])]).await;
    stage.converge().await;
    let fra = stage.cluster("fra-1");
    assert_eq!(fra.field("", "namespace/shop", "{.metadata.labels.team}").await, "retail");
    assert_eq!(fra.config_map("shop/shop").await.unwrap(), "open");
    assert_eq!(fra.field("shop", "widget/small", "{.spec.size}").await, "1");
    let established = "{.status.conditions[?(@.type=='Established')].status}";
    assert_eq!(fra.field("", "crd/widgets.example.com", established).await, "True");

    // A custom resource is watched like any other object.
    let before = fra.uid("shop", "widget/small").await;
    let edit = ["patch", "-n", "shop", "widget/small", "--type=merge", "-p", r#"{"spec":{"size":7}}"#];
    fra.kubectl(&edit).await.unwrap();
    harness::wait::until("the size is put back", crate::stage::LIMIT, async || {
        let size = fra.field("shop", "widget/small", "{.spec.size}").await;
        if size == "1" { Ok(()) } else { Err(format!("{size}\n{}", stage.fleet.tails())) }
    })
    .await;
    assert_eq!(fra.uid("shop", "widget/small").await, before);

    // The custom resource leaves the app; its kind and its namespace, which others may use, stay.
    stage.fleet.catalog.remove("manifests/widgets/1-widget.yaml").unwrap();
    stage.commit("Drop the widget").await;
    assert!(!fra.has("shop", "widget/small").await);
    assert!(fra.has("", "crd/widgets.example.com").await && fra.has("", "namespace/shop").await);
}

#[tokio::test]
async fn an_app_waits_for_a_kind_that_somebody_else_brings() {
    let mut files = files();
    files.retain(|(path, _)| !path.contains("definition"));
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let group = stage.group("the missing kind is told", "widgets", |g| g["reason"] == "NotServed").await;
    assert_eq!(group["phase"], "Waiting", "{group:#}");
    let fra = stage.cluster("fra-1");
    assert_eq!(fra.config_map("shop/shop").await.unwrap(), "open", "the rest of the app goes on");
    let (code, said) = stage.wait(&["--timeout", "1s"]).await;
    assert_eq!(code, 3, "waiting is no failure: {said}");

    fra.apply(DEFINITION).await.unwrap();
    stage.converge().await;
    assert_eq!(fra.field("shop", "widget/small", "{.spec.size}").await, "1");
}
