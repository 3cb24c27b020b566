//! What is taken for a SOPS document, how it travels, and what is said about one that cannot be deployed.

use std::collections::BTreeSet;

use super::*;
use crate::Digest;
use crate::assign::{Entry, Options, Share};
use crate::catalog::{BlobId, CommitId, NamespaceOptions, ObjectTarget, OnRemove, Treatment};
use crate::render::{Bundle, Engine, Resolved, Scope, Scopes, finish, resolve, resolve_opened};

const AGE: &str = "  age: [{recipient: age1x, enc: \"-----BEGIN\"}]\n";

fn needs(path: &str) -> Needs {
    let files = [(path.into(), BlobId("0".into()))].into();
    Needs { engine: Engine::Manifests, files, source: "web".into() }
}

fn finished(path: &str, text: &str) -> Result<Bundle, Vec<String>> {
    let content = [(path.into(), Arc::from(text.as_bytes()))].into();
    finish(&needs(path), &content, false).map_err(|error| error.0.iter().map(ToString::to_string).collect())
}

fn document(name: &str, mac: &str) -> String {
    format!(
        "apiVersion: v1\nkind:   Secret # kept\nmetadata: {{name: {name}}}\nstringData:\n  z: ENC[x]\n  a: ENC[y]\n\
         sops:\n{AGE}  lastmodified: \"2026\"\n  mac: {mac}\n"
    )
}

fn lines(bundle: &Bundle) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&bundle.bytes).expect("JSON");
    text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect()
}

#[test]
fn documents_travel_as_they_stand_in_git_those_of_one_mac_together() {
    let (one, two, three) =
        (document("one", "ENC[m]"), document("two", "ENC[m]"), document("three", "ENC[n]"));
    let plain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n";
    let text = format!("# first\n{one}---\n{two}---\n{three}---\n{plain}");
    let bundle = finished("a.yaml", &text).expect("a bundle");
    assert_eq!(bundle.objects.len(), 4);
    assert_eq!(Bundle::read(bundle.bytes.to_vec()).expect("what finish writes"), bundle);
    let found = lines(&bundle);
    assert_eq!(found.len(), 3);
    let texts: Vec<_> = found[..2].iter().map(|line| line["nave.dev/sops"]["text"].as_str()).collect();
    assert_eq!(texts, [Some(&*format!("# first\n{one}---\n{two}")), Some(&*format!("---\n{three}"))]);
    assert_eq!(found[0]["nave.dev/sops"]["objects"][1]["metadata"]["name"], "two");
    assert_eq!(found[2]["kind"], "ConfigMap");
}

#[test]
fn json_with_tabs_is_carried_too() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Secret\",\n\t\"metadata\": {\n\t\t\"name\": \"a\"\n\t},\n\t\"sops\": \
                {\"age\": [{\"recipient\": \"age1x\", \"enc\": \"x\"}], \"mac\": \"m\", \"lastmodified\": \"l\"}\n}\n";
    let bundle = finished("a.json", text).expect("a bundle");
    let sealed = &lines(&bundle)[0]["nave.dev/sops"];
    assert_eq!((&sealed["format"], &sealed["text"]), (&"json".into(), &text.into()));
}

/// What is wrong with a document in which something was replaced.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    let text = document("a", "ENC[m]").replace(from, to);
    let problems = finished("a.yaml", &text).expect_err(&text);
    assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}\n{text}");
}

#[test]
fn a_document_that_no_cluster_could_deploy_is_a_problem_that_says_how_to_mend_it() {
    let clear = "encrypted_regex: ^(data|stringData)$";
    check("{name: a}", "{name: \"ENC[AES256_GCM,data:x]\"}", "web/a.yaml:3:18: error: metadata is encrypted");
    check("{name: a}", "{name: a, labels: {a: \"ENC[AES256_GCM,data:x]\"}}", clear);
    check("  Secret", "  ENC[AES256_GCM,data:x]", "kind is encrypted");
    check("metadata: {name: a}\n", "", "metadata is missing");
    check(AGE, "  pgp: [{fp: F, enc: x}]\n", "encrypted to no age recipient");
    check(AGE, "  age: []\n", "hub secret recipients");
    check("  mac: ENC[m]\n", "", "sops.mac is missing");
    check("  lastmodified: \"2026\"\n", "", "sops.lastmodified is missing");
    check(AGE, &format!("{AGE}  key_groups: [{{age: []}}]\n"), "key groups are not supported");
    check(AGE, &format!("{AGE}  encrypted_comment_regex: x\n"), "rules about comments are not supported");
    check("  Secret", "  List", "a List cannot be deployed encrypted");
}

#[test]
fn an_object_stands_once_whether_encrypted_or_not() {
    let text =
        format!("{}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\n", document("a", "ENC[m]"));
    let problems = finished("a.yaml", &text).expect_err("twice");
    assert!(problems[0].contains("Secret a stands at web/a.yaml:1:1 too"), "{problems:?}");
}

struct Everything;

impl Scopes for Everything {
    fn scope(&self, _: &str, _: &str) -> Option<Scope> {
        Some(Scope::Namespaced)
    }
}

fn entry() -> Entry {
    let namespace =
        NamespaceOptions { name: "shop".into(), labels: BTreeMap::new(), create: false, force: false };
    Entry {
        bundle: Digest::default(),
        values: BTreeMap::new(),
        options: Options {
            namespace: Some(namespace),
            prune: true,
            on_remove: OnRemove::Delete,
            share: None,
            grant: None,
            formerly: BTreeSet::new(),
            substitute: false,
            treatment: Treatment::default(),
        },
        version: Digest::default(),
        commit: CommitId("0".into()),
        objects: 1,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    }
}

#[test]
fn what_is_put_on_comes_after_the_opening_and_nothing_else_passes() {
    let bundle = finished("a.yaml", &document("a", "ENC[m]")).expect("a bundle");
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "hunter2"}});
    let resolved = |open: &crate::render::Open<'_>| -> Resolved {
        let mut all = resolve_opened(&bundle.bytes, &entry(), &Everything, open).expect("objects");
        assert_eq!(all.len(), 1);
        all.remove(0)
    };
    let opened = resolved(&|_| Ok(vec![secret("a")]));
    assert_eq!(opened.key.namespace, "shop");
    assert_eq!(opened.object["metadata"]["namespace"], "shop");
    assert_eq!((&opened.object["stringData"]["a"], &opened.sealed), (&"hunter2".into(), &None));
    assert!(!format!("{opened:?}").contains("hunter2"));
    for open in [Ok(vec![secret("b")]), Ok(Vec::new()), Err("no key".to_owned())] {
        let kept = resolved(&|_| open.clone());
        assert!(kept.sealed.is_some() && kept.object.get("stringData").is_none(), "{kept:?}");
        assert_eq!(kept.key, opened.key);
    }
    let closed = resolve(&bundle.bytes, &entry(), &Everything).expect("objects");
    assert!(closed[0].sealed.is_some());
}

#[test]
fn an_opened_object_that_is_no_secret_says_that_it_holds_one() {
    let rows = [
        (json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}}), json!(null)),
        (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}), json!({SECRET: "true"})),
        (
            json!({"apiVersion": "x/v1", "kind": "Secret", "metadata": {"annotations": null}}),
            json!({SECRET: "true"}),
        ),
        (
            json!({"apiVersion": "x/v1", "kind": "Db", "metadata": {"annotations": {"a": "b"}}}),
            json!({"a": "b", SECRET: "true"}),
        ),
    ];
    for (mut object, expected) in rows {
        mark(&mut object);
        assert!(is_secret(&object), "{object}");
        assert_eq!(object["metadata"]["annotations"], expected);
    }
    assert!(!is_secret(&json!({"apiVersion": "v1", "kind": "ConfigMap"})));
}

#[test]
fn a_secret_in_plain_text_is_a_warning_and_stops_nothing() {
    let rows = [
        ("kind: Secret\nstringData: {a: b}\n", true),
        ("kind: Secret\ndata: {a: Yg==}\n", true),
        ("kind: Secret\n", false),
        ("kind: Secret\ndata: {}\n", false),
        ("kind: SecretStore\ndata: {a: b}\n", false),
    ];
    for (text, expected) in rows {
        let text = format!("apiVersion: v1\nmetadata: {{name: a}}\n{text}");
        assert!(finished("a.yaml", &text).is_ok());
        let content = [("a.yaml".into(), Arc::from(text.as_bytes()))].into();
        let warnings = plain_secrets(&needs("a.yaml"), &content);
        assert_eq!(warnings.len(), usize::from(expected), "{text}");
        assert!(warnings.iter().all(|warning| !warning.is_error()));
    }
    let text = document("a", "ENC[m]");
    let content = [("a.yaml".into(), Arc::from(text.as_bytes()))].into();
    assert_eq!(plain_secrets(&needs("a.yaml"), &content), []);
}

#[test]
fn a_share_is_put_into_what_it_means_and_nothing_else() {
    let line = |kind: &str, name: &str| {
        let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {"replicas": 1}});
        format!("{object}\n")
    };
    let bundle = line("Deployment", "web") + &line("Deployment", "db") + &line("StatefulSet", "web");
    let mut entry = entry();
    let target =
        ObjectTarget { kind: Some("Deployment".into()), name: Some("web".into()), ..ObjectTarget::default() };
    entry.options.share = Some(Share { target, replicas: 7 });
    let objects = resolve(bundle.as_bytes(), &entry, &Everything).expect("objects");
    let counts: Vec<_> = objects.iter().map(|object| object.object["spec"]["replicas"].clone()).collect();
    assert_eq!(counts, [json!(7), json!(1), json!(1)]);
}
