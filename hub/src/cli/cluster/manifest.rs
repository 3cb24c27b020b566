//! Manifest: the plain manifests of `deploy/` with a token and somebody's choices in them.
//!
//! In: the checked-in manifests, an [`Install`], a token. Out: YAML for `kubectl apply`.
//! Never: edits text: documents are read, values set, documents written.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::install::{Install, Rights};

/// The chart, rendered with its defaults and with `rbac.mode: namespaces`; `tests/cluster/charts.rs` compares.
const ADMIN: &str = include_str!("../../../../deploy/manifests/spoke.yaml");
const NARROW: &str = include_str!("../../../../deploy/manifests/spoke-namespaces.yaml");
/// The namespaces that stand in them: the spoke's own, and the one where it manages apps.
const OWN: &str = "nave-system";
const APPS: &str = "apps";
/// What the spoke's objects outside its namespace are called, before the namespace.
const ELSEWHERE: &str = "nave-spoke-";

/// The whole of it.
pub(super) fn manifest(install: &Install, policy: Option<&str>, token: &str) -> anyhow::Result<String> {
    let source = match install.rbac {
        Rights::ClusterAdmin => ADMIN,
        Rights::Namespaces => NARROW,
    };
    let mut documents = Vec::new();
    for mut document in read(source)? {
        rename(&mut document, &install.namespace);
        let (kind, namespace) = (text(&document, "/kind"), text(&document, "/metadata/namespace"));
        match kind {
            _ if namespace == APPS => documents.extend(for_each_namespace(install, &document)),
            "Deployment" => {
                deployment(install, policy.is_some(), &mut document)
                    .context("the plain Deployment has another shape")?;
                documents.push(document);
            }
            "ServiceAccount" => {
                let given = [Some(secret(install, token)), policy.map(|policy| config_map(install, policy))];
                let labels = document.pointer("/metadata/labels").cloned().unwrap_or_default();
                documents.push(document);
                documents.extend(given.into_iter().flatten().map(|mut given| {
                    given["metadata"]["labels"] = labels.clone();
                    given
                }));
            }
            _ => documents.push(document),
        }
    }
    let mut text = String::new();
    for document in &documents {
        text.push_str("---\n");
        text.push_str(&write(document)?);
    }
    Ok(text)
}

fn read(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).context("the plain manifest cannot be read")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// As YAML that is read as the same; else as JSON, which is YAML too.
pub(super) fn write(document: &Value) -> anyhow::Result<String> {
    let yaml = serde_saphyr::to_string(document).context("cannot write YAML")?;
    let same = serde_saphyr::from_str::<Value>(&yaml).is_ok_and(|read| read == *document);
    Ok(if same { yaml } else { serde_json::to_string_pretty(document)? + "\n" })
}

fn text<'a>(document: &'a Value, at: &str) -> &'a str {
    document.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

/// Puts the spoke into another namespace.
fn rename(document: &mut Value, own: &str) {
    let elsewhere = format!("{ELSEWHERE}{OWN}");
    let set = |document: &mut Value, at: &str| {
        let new = match text(document, at) {
            OWN => own.to_owned(),
            name if name == elsewhere => format!("{ELSEWHERE}{own}"),
            _ => return,
        };
        if let Some(value) = document.pointer_mut(at) {
            *value = new.into();
        }
    };
    for at in ["/metadata/name", "/metadata/namespace", "/roleRef/name", "/subjects/0/namespace"] {
        set(document, at);
    }
    for rule in list(document, "/rules") {
        set(rule, "/resourceNames/0");
    }
}

fn list<'a>(document: &'a mut Value, at: &str) -> impl Iterator<Item = &'a mut Value> {
    document.pointer_mut(at).and_then(Value::as_array_mut).into_iter().flatten()
}

/// A Role or its binding, once for each namespace that was chosen.
fn for_each_namespace(install: &Install, document: &Value) -> Vec<Value> {
    let namespaces = install.namespaces();
    let each = namespaces.iter().map(|(namespace, accounts)| {
        let mut document = document.clone();
        document["metadata"]["namespace"] = (*namespace).into();
        if document.get("rules").is_some() {
            let writes = install.allow_namespaces.iter().any(|name| name == namespace);
            let mut rules = rules(install, namespace, writes);
            if !accounts.is_empty() {
                rules.push(named("serviceaccounts", accounts, "impersonate"));
            }
            document["rules"] = rules.into();
        }
        document
    });
    each.collect()
}

fn rules(install: &Install, namespace: &str, writes: bool) -> Vec<Value> {
    let verbs: &[&str] = if writes {
        &["get", "list", "watch", "create", "patch", "delete"]
    } else {
        &["get", "list", "watch"]
    };
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    if install.allow_kinds.is_empty() {
        return vec![rule("*", &["*"], verbs)];
    }
    let mut rules = vec![named("namespaces", &[namespace], "get")];
    rules.extend(install.allow_kinds.iter().map(|kind| rule(&kind.group, &[&kind.name], verbs)));
    rules.push(rule("", &["pods", "events"], &["get", "list"]));
    rules.push(rule("", &["pods/log"], &["get"]));
    let scalers = ["horizontalpodautoscalers", "scaledobjects"];
    rules.push(json!({"apiGroups": ["autoscaling", "keda.sh"], "resources": scalers, "verbs": ["list"]}));
    rules
}

fn named(resource: &str, names: &(impl serde::Serialize + ?Sized), verb: &str) -> Value {
    json!({"apiGroups": [""], "resources": [resource], "resourceNames": names, "verbs": [verb]})
}

/// Image, environment, volumes. `None` when the Deployment lacks one of these.
fn deployment(install: &Install, has_policy: bool, document: &mut Value) -> Option<()> {
    let pod = document.pointer_mut("/spec/template/spec")?;
    if has_policy {
        let volume = json!({"name": "policy", "configMap": {"name": "nave-spoke-policy"}});
        pod.get_mut("volumes")?.as_array_mut()?.push(volume);
    }
    let container = pod.pointer_mut("/containers/0")?;
    container["image"] = install.image().into();
    if has_policy {
        let mount = json!({"name": "policy", "mountPath": "/etc/nave", "readOnly": true});
        container.get_mut("volumeMounts")?.as_array_mut()?.push(mount);
    }
    let environment = container.get_mut("env")?.as_array_mut()?;
    if install.rbac == Rights::Namespaces {
        let namespaces: Vec<&str> = install.namespaces().into_keys().collect();
        let variable = environment.iter_mut().find(|variable| variable["name"] == "NAVE_NAMESPACES")?;
        variable["value"] = namespaces.join(",").into();
    }
    let more = [
        ("NAVE_POLICY", has_policy.then_some("/etc/nave/policy.yaml")),
        ("HTTPS_PROXY", install.proxy.as_deref()),
    ];
    let more = more.into_iter().filter_map(|(name, value)| Some(json!({"name": name, "value": value?})));
    environment.extend(more);
    Some(())
}

fn secret(install: &Install, token: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "nave-spoke-join", "namespace": install.namespace},
        "type": "Opaque",
        "stringData": {"token": token},
    })
}

fn config_map(install: &Install, policy: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "nave-spoke-policy", "namespace": install.namespace},
        "data": {"policy.yaml": policy},
    })
}
