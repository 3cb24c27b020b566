//! Rows: books before, what is asked, books after.

use serde_json::{Value, json};

use super::*;

fn entry(manager: &str, operation: &str, tree: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": tree})
}

fn live(entries: &[Value]) -> Value {
    json!({
        "metadata": {"name": "a", "resourceVersion": "7", "managedFields": entries},
        "spec": {"replicas": 5, "list": [{"name": "web", "image": "x"}], "ports": [{"port": 53}], "set": ["a"]},
    })
}

#[test]
fn the_owner_of_a_field_is_found_through_lists_and_pieces() {
    let theirs = json!({"f:spec": {
        "f:replicas": {},
        "f:list": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}},
        "f:ports": {"k:{\"port\":53,\"protocol\":\"TCP\"}": {"f:port": {}}},
        "f:set": {"v:\"a\"": {}},
    }});
    let object = live(&[
        entry(MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}, "f:other": {}}})),
        entry("scaler", "Update", theirs),
        entry("whole", "Update", json!({"f:data": {}})),
    ]);
    let rows = [
        ("/spec/replicas", "scaler"),
        ("/spec/list/0/image", "scaler"),
        ("/spec/list/0/env", ""),
        ("/spec/list/1/image", ""),
        ("/spec/ports/0/port", "scaler"),
        ("/spec/set/0", "scaler"),
        ("/spec/other", ""),
        ("/data/any/thing", "whole"),
    ];
    for (pointer, expected) in rows {
        assert_eq!(owner(&object, pointer, &object), expected, "{pointer}");
    }
}

#[test]
fn a_field_is_let_go_without_anything_else() {
    let ours = json!({"f:spec": {"f:replicas": {}, "f:list": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}, "f:data": {"f:a": {}}});
    let other = entry("other", "Update", json!({"f:spec": {"f:replicas": {}}}));
    let object = live(&[entry(MANAGER, "Apply", ours), other.clone()]);
    let after = |pointers: &[&str]| {
        let pointers: Vec<_> = pointers.iter().map(|p| (*p).to_owned()).collect();
        released(&object, &object, &pointers).map(|books| {
            assert_eq!(books[1], other);
            books[0]["fieldsV1"].clone()
        })
    };
    let list = json!({"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}});
    assert_eq!(after(&["/spec/replicas"]), Some(json!({"f:spec": {"f:list": list}, "f:data": {"f:a": {}}})));
    assert_eq!(
        after(&["/spec/list/0/image", "/data"]),
        Some(json!({"f:spec": {"f:replicas": {}, "f:list": {"k:{\"name\":\"web\"}": {".": {}}}}}))
    );
    assert_eq!(after(&["/spec/paused", "/spec/list/3"]), None);
}

#[test]
fn what_kubectl_and_helm_wrote_and_we_write_too_is_ours_alone() {
    let ours = json!({"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {"f:x": {}}}});
    let theirs =
        json!({"f:data": {".": {}, "f:a": {}, "f:c": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}});
    let left = json!({"f:data": {".": {}, "f:c": {}}});
    for (manager, operation, is_taken) in [
        ("kubectl-client-side-apply", "Update", true),
        ("kubectl", "Apply", true),
        ("Helm", "Update", true),
        ("before-first-apply", "Update", true),
        ("argocd-controller", "Apply", false),
        ("kube-controller-manager", "Update", false),
    ] {
        let object =
            live(&[entry(MANAGER, "Apply", ours.clone()), entry(manager, operation, theirs.clone())]);
        let books = taken_over(&object);
        assert_eq!(books.is_some(), is_taken, "{manager}");
        if let Some(books) = books {
            assert_eq!(books[0]["fieldsV1"], ours);
            assert_eq!(books[1]["fieldsV1"], left, "{manager}");
        }
    }
    // All of it: nothing is left of the entry. None of it: nothing is written.
    let all = live(&[entry(MANAGER, "Apply", ours.clone()), entry("helm", "Update", ours.clone())]);
    assert_eq!(taken_over(&all).and_then(|books| books.as_array().map(Vec::len)), Some(1));
    let none =
        live(&[entry(MANAGER, "Apply", ours), entry("helm", "Update", json!({"f:data": {"f:z": {}}}))]);
    assert_eq!(taken_over(&none), None);
}

#[test]
fn tools_are_told_by_what_they_leave_on_an_object() {
    let mut object =
        live(&[entry("kubectl-client-side-apply", "Update", json!({})), entry("helm", "Update", json!({}))]);
    object["metadata"]["annotations"] = json!({
        "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop",
        "argocd.argoproj.io/tracking-id": "shop-app:apps/Deployment:shop/web",
        "objectset.rio.cattle.io/id": "default-web",
    });
    object["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/name": "infra", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    let expected = [
        "Helm release shop/web",
        "Argo CD application shop-app",
        "Flux Kustomization flux-system/infra",
        "Rancher Fleet bundle default-web",
        "helm",
        "kubectl-client-side-apply",
    ];
    assert_eq!(managers(&object), expected);
}

#[test]
fn items_of_a_list_that_only_tools_put_there_are_ours_to_take_off() {
    let port =
        |port: u16| (format!("k:{{\"port\":{port},\"protocol\":\"TCP\"}}"), json!({".": {}, "f:port": {}}));
    let ports = |ports: &[u16]| ports.iter().map(|p| port(*p)).collect::<Map<String, Value>>();
    let spec = |them: &[u16]| json!({"f:spec": {"f:type": {}, "f:ports": ports(them)}});
    let body = |them: &[u16]| {
        let them: Vec<_> = them.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
        json!({"apiVersion": "v1", "spec": {"ports": them}})
    };
    let other = entry("somebody", "Update", spec(&[81]));
    let object = live(&[
        entry("kubectl-create", "Update", spec(&[80, 443])),
        other.clone(),
        entry("kubectl-edit", "Update", json!({"f:spec": {"f:ports": ports(&[80])}})),
    ]);
    let books = given_over(&object, &body(&[443, 8080])).expect("one is given over");
    assert_eq!(books[0]["fieldsV1"], spec(&[443]), "what both have, and what is no list, stays theirs");
    assert_eq!(books[1], other, "who does not hand over keeps it");
    assert_eq!(books[2], entry(MANAGER, "Apply", json!({"f:spec": {"f:ports": ports(&[80])}})));
    assert_eq!(books.as_array().map(Vec::len), Some(3), "who has nothing left is gone");

    // Tried once, and broken off.
    let again = live(books.as_array().expect("a list"));
    assert_eq!(given_over(&again, &body(&[443, 8080])), None);
    assert_eq!(given_over(&object, &body(&[80, 443])), None, "all are wanted");
    assert_eq!(given_over(&object, &json!({"apiVersion": "v1", "spec": {"type": "x"}})), None, "no list");
    assert_eq!(given_over(&object, &json!({"apiVersion": "v2", "spec": {"ports": []}})), None);
}
