//! Kustomizations give what kustomize gives.

use crate::rendering::given::{Given, app, by_hand, engines, overriding};

const BASE: &str = "\
resources: [deployment.yaml, service.yaml]
configMapGenerator:
- {name: settings, files: [app.conf, renamed=other.conf], envs: [base.env], literals: [color=blue]}
labels: [{pairs: {app.kubernetes.io/name: web}, includeSelectors: true}]
";
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - {name: web, image: nginx, envFrom: [{configMapRef: {name: settings}}]}
";
const PROD: &str = "\
resources: [../../base, namespace.yaml]
components: [../../components/tls]
namePrefix: prod-
namespace: shop
images: [{name: nginx, newTag: '1.29'}]
patches:
- path: replicas.yaml
- target: {kind: Service}
  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"a\": \"b\"}}]'
replacements:
- path: replacement.yaml
secretGenerator: [{name: token, literals: [token=x]}]
transformers: [annotate.yaml]
";
const FILES: [(&str, &str); 15] = [
    ("k/base/kustomization.yaml", BASE),
    ("k/base/deployment.yaml", DEPLOYMENT),
    (
        "k/base/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n",
    ),
    ("k/base/app.conf", "on: yes\nü\n"),
    ("k/base/other.conf", "b\n"),
    ("k/base/base.env", "LEVEL=info\n"),
    (
        "k/components/tls/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatchesJson6902:\n- {target: {version: v1, kind: Service, name: web}, path: port.json}\n",
    ),
    (
        "k/components/tls/port.json",
        "[{\"op\": \"replace\", \"path\": \"/spec/ports/0/port\", \"value\": 443}]",
    ),
    (
        "k/components/debug/kustomization.yml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -debug\nresources: [pod.yaml]\n",
    ),
    ("k/components/debug/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: shell}\n"),
    ("k/overlays/prod/kustomization.yaml", PROD),
    ("k/overlays/prod/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"),
    (
        "k/overlays/prod/replicas.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n",
    ),
    (
        "k/overlays/prod/replacement.yaml",
        "source: {kind: Namespace, fieldPath: metadata.name}\ntargets: [{select: {kind: Deployment}, fieldPaths: [metadata.annotations.where], options: {create: true}}]\n",
    ),
    (
        "k/overlays/prod/annotate.yaml",
        "apiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: x}\nannotations: {team: shop}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n",
    ),
];

fn given(more: &[(&str, &str)]) -> Given {
    Given::of(&[&FILES[..], more].concat())
}

#[tokio::test]
async fn a_kustomization_gives_object_by_object_what_kustomize_gives() {
    let (engines, room) = engines();
    for path in ["k/base", "k/overlays/prod"] {
        let given = given(&[("web.yaml", &app(&format!("{{kustomize: {{path: ./{path}}}}}")))]);
        let objects = given.objects(&engines, &[]).await;
        assert_eq!(objects, by_hand(&FILES, "kubectl", &["kustomize", path]).await, "{path}");
        assert!(objects.len() > 2, "{objects:?}");
    }
    assert_eq!(
        std::fs::read_dir(room.path()).expect("it is there").count(),
        0,
        "nothing is left of a render"
    );
}

#[tokio::test]
async fn overrides_choose_the_overlay_and_its_components() {
    let (engines, _room) = engines();
    let prod = overriding("prod", "source: {kustomize: {path: ./k/overlays/prod}}");
    let debug = overriding("debug", "priority: 1, source: {kustomize: {components: [./k/components/debug]}}");
    let web = app("{kustomize: {path: ./k/base}}");
    let given = given(&[("web.yaml", &web), ("prod.yaml", &prod), ("debug.yaml", &debug)]);
    let by_prod = by_hand(&FILES, "kubectl", &["kustomize", "k/overlays/prod"]).await;
    assert_eq!(given.objects(&engines, &["prod"]).await, by_prod);
    let around = "resources: [../k/overlays/prod]\ncomponents: [../k/components/debug]\n";
    let files = [&FILES[..], &[("around/kustomization.yaml", around)]].concat();
    let both = by_hand(&files, "kubectl", &["kustomize", "around"]).await;
    assert_eq!(given.objects(&engines, &["prod", "debug"]).await, both);
    assert!(both.iter().any(|object| object["kind"] == "Pod") && both != by_prod);
}

#[tokio::test]
async fn variants_that_differ_in_patches_alone_are_rendered_once() {
    let (engines, _room) = engines();
    let web = app("{kustomize: {path: ./k/base}}");
    let tag = overriding("tag", "images: [{name: nginx, newTag: '2'}]");
    let given = given(&[("web.yaml", &web), ("tag.yaml", &tag)]);
    let plain = given.objects(&engines, &[]).await;
    let tagged = given.objects(&engines, &["tag"]).await;
    assert_ne!(plain, tagged);
    assert_eq!(engines.runs(), 1);
}
