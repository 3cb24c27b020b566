//! What becomes of an engine's output.

use super::super::{Chart, Kustomization};
use super::*;
use crate::catalog::BlobId;

fn needs(engine: Engine, files: &[&str]) -> Needs {
    let files = files.iter().map(|path| ((*path).into(), BlobId((*path).into()))).collect();
    Needs { engine, files, source: "apps".into() }
}

fn chart() -> Needs {
    let chart = Chart { directory: "web".into(), ..Chart::default() };
    needs(Engine::Helm(chart), &["web/Chart.yaml", "web/templates/a.yaml", "web/templates/jobs.yaml"])
}

const OUTPUT: &str = "\
---
# Source: shop/templates/a.yaml
apiVersion: v1
kind: Service
metadata: {name: z}
---
# Source: shop/templates/a.yaml
---
# Source: shop/templates/a.yaml
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, creationTimestamp: null}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
---
# Source: shop/templates/jobs.yaml
apiVersion: batch/v1
kind: Job
metadata: {name: j, annotations: {helm.sh/hook: pre-delete}}
";

#[test]
fn objects_are_in_the_order_of_their_keys_and_hooks_are_told() {
    let (bundle, warnings) = finish_output(&chart(), OUTPUT.as_bytes(), false).expect("it is valid");
    let names: Vec<String> = bundle.objects.iter().map(|key| format!("{} {}", key.kind, key.name)).collect();
    assert_eq!(names, ["ConfigMap a", "ConfigMap b", "Service z"]);
    let text = String::from_utf8(bundle.bytes.to_vec()).expect("JSON");
    let places = ["\"a\"", "\"b\"", "\"z\""].map(|name| text.find(name));
    assert!(places.is_sorted() && !text.contains("creationTimestamp"), "{text}");
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("apps/web/templates/jobs.yaml:1:1: warning: hook Job j (pre-delete) is left out"),
        "{told:?}"
    );
    let mut parts: Vec<&str> = OUTPUT.split("---\n").filter(|part| !part.is_empty()).collect();
    parts.reverse();
    let other = format!("---\n{}", parts.join("---\n"));
    let (again, _) = finish_output(&chart(), other.as_bytes(), false).expect("it is valid");
    assert_eq!(again.digest, bundle.digest, "the engine's order does not count");
    let origins = origins(&chart(), OUTPUT.as_bytes());
    assert!(origins.values().all(|file| file.starts_with("apps/web/templates/")), "{origins:?}");
}

#[test]
fn what_is_no_object_is_told_at_its_template() {
    let kustomization = Kustomization { directory: "prod".into(), ..Kustomization::default() };
    let kustomization = needs(Engine::Kustomize(kustomization), &["prod/kustomization.yaml"]);
    let sealed = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nsops: {mac: x, version: 3.8.1}\n";
    let rows = [
        (
            chart(),
            "# Source: shop/templates/a.yaml\na: [\n",
            "apps/web/templates/a.yaml:1:1: error: what it renders, line",
        ),
        (
            chart(),
            "# Source: shop/templates/a.yaml\nkind: Pod\n",
            "apps/web/templates/a.yaml:1:1: error: apiVersion is missing",
        ),
        (chart(), "# Source: other/x\n- 1\n", "apps/web:1:1: error: this document is no Kubernetes object"),
        (chart(), "", "apps/web:1:1: error: there is no Kubernetes object in it"),
        (kustomization, sealed, "apps/prod:1:1: error: a SOPS document comes from a path source only"),
    ];
    for (needs, output, expected) in rows {
        let told = finish_output(&needs, output.as_bytes(), false).expect_err(expected).to_string();
        assert!(told.starts_with(expected), "{told}");
    }
}
