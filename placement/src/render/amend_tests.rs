//! What overrides make of a bundle, and what is said where they cannot.

use serde_json::json;

use super::*;
use crate::catalog::{Kind, PatchTarget};
use crate::render::{Open, Scope, Scopes, resolve_opened};

fn bundle(lines: &[Value]) -> Bundle {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Bundle::read(text.into_bytes()).expect("lines of a bundle")
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "data": data, "kind": "ConfigMap", "metadata": {"name": name}})
}

fn amendment(target: PatchTarget, change: Change, is_meant: bool) -> Amendment {
    Amendment {
        by: ObjectId { kind: Kind::Override, name: "big".into() },
        origin: Origin { file: "o.yaml".into(), line: 7, column: 3 },
        target,
        change,
        is_meant,
    }
}

fn named(name: &str) -> PatchTarget {
    PatchTarget { kind: Some("ConfigMap".into()), name: Some(name.into()), ..PatchTarget::default() }
}

fn changes(changes: Vec<Amendment>) -> Amendments {
    Amendments { changes, ..Amendments::default() }
}

/// The lines and warnings, or the errors.
fn amended(lines: &[Value], amendments: &Amendments) -> Result<(Vec<Value>, Vec<String>), Vec<String>> {
    let said = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (bundle, warnings) = amend("web", bundle(lines), amendments, true).map_err(|error| said(&error.0))?;
    let text = String::from_utf8(bundle.bytes.to_vec()).expect("JSON");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    Ok((lines, said(&warnings)))
}

#[test]
fn patches_change_what_they_target_in_their_order() {
    let lines = [config_map("a", &json!({"x": "1"})), config_map("b", &json!({"x": "1"}))];
    let set = |value: &str| Change::Merge(json!({"data": {"x": value}}));
    let all = PatchTarget { kind: Some("ConfigMap".into()), ..PatchTarget::default() };
    let amendments = changes(vec![amendment(all, set("2"), true), amendment(named("b"), set("3"), true)]);
    let (after, warnings) = amended(&lines, &amendments).expect("they can be made");
    assert_eq!(after, [config_map("a", &json!({"x": "2"})), config_map("b", &json!({"x": "3"}))]);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn an_object_may_leave_the_bundle_but_not_the_last_one() {
    let lines = [config_map("a", &json!({})), config_map("b", &json!({}))];
    let delete = |name| amendment(named(name), Change::Merge(json!({"$patch": "delete"})), true);
    let (after, _) = amended(&lines, &changes(vec![delete("a")])).expect("it can be made");
    assert_eq!(after, [config_map("b", &json!({}))]);
    assert_eq!(
        amended(&lines, &changes(vec![delete("a"), delete("b")])),
        Err(vec![
            "o.yaml:7:3: error: Override/big: the patches leave no object of app web; an app without objects would remove all it has"
                .to_owned()
        ])
    );
}

#[test]
fn patches_cannot_make_more_than_a_bundle_may_hold() {
    let lines = ["a", "b", "c"].map(|name| config_map(name, &json!({"x": "1"})));
    let most = "x".repeat(MAX_BUNDLE_BYTES - 1024);
    let set = |name, text: &str| amendment(named(name), Change::Merge(json!({"data": {"x": text}})), true);
    let delete = amendment(named("a"), Change::Merge(json!({"$patch": "delete"})), true);
    let (after, _) =
        amended(&lines, &changes(vec![set("a", &most), delete, set("b", &most)])).expect("it fits");
    assert_eq!(after.len(), 2);
    assert_eq!(
        amended(&lines, &changes(vec![set("a", &most), set("b", &most[..1024])])),
        Err(vec![
            "o.yaml:7:3: error: Override/big: the manifests of app web are larger than 16 MiB with it; it stays as it was where this override applies"
                .to_owned()
        ])
    );
}

#[test]
fn what_cannot_be_done_is_told_with_its_place_and_what_follows() {
    let lines = [config_map("web", &json!({}))];
    let set = || Change::Merge(json!({"data": {"x": "1"}}));
    let test =
        serde_json::from_value(json!([{"op": "test", "path": "/data/x", "value": 1}])).expect("a patch");
    let place = "o.yaml:7:3";
    let rows = [
        (
            amendment(named("wbe"), set(), true),
            Err(format!(
                "{place}: error: Override/big: app web has no object that the patch targets, ConfigMap wbe; did you mean web?; it stays as it was where this override applies: correct the target, or remove the patch"
            )),
        ),
        (
            amendment(named("other"), set(), false),
            Ok(format!(
                "{place}: warning: Override/big: app web has no object that the patch targets, ConfigMap other; nothing is changed there"
            )),
        ),
        (
            amendment(named("web"), Change::Json(test), true),
            Err(format!(
                "{place}: error: Override/big: ConfigMap web cannot be patched: operation 1 (/data/x) names a place that is not there; app web stays as it was where this override applies"
            )),
        ),
        (
            amendment(named("web"), Change::Merge(json!({"data": {"x": "${HOME}"}})), true),
            Err(format!(
                "{place}: error: Override/big: the patch cannot be filled in: ${{HOME}} is no name that Nave knows (parameters.…, cluster.name, labels.…, facts.…); for a literal ${{ write $${{"
            )),
        ),
    ];
    for (amendment, expected) in rows {
        let said = match amended(&lines, &changes(vec![amendment])) {
            Ok((_, warnings)) => Ok(warnings.join("\n")),
            Err(errors) => Err(errors.join("\n")),
        };
        assert_eq!(said, expected);
    }
    let rule = Image { name: "nginx".into(), new_tag: Some("2".into()), ..Image::default() };
    let rules = amendment(PatchTarget::default(), Change::Images(vec![rule]), true);
    let (_, warnings) = amended(&lines, &changes(vec![rules])).expect("nothing is wrong");
    assert_eq!(
        warnings,
        [format!(
            "{place}: warning: Override/big: app web has no image \"nginx\" in a pod or pod template; nothing is changed there: write the name as the manifest does, without its tag"
        )]
    );
}

#[test]
fn images_have_the_place_of_their_override_and_keep_their_name() {
    let rule = |name: &str, new_name: Option<&str>, new_tag: Option<&str>| {
        let (new_name, new_tag) = (new_name.map(str::to_owned), new_tag.map(str::to_owned));
        let rule = Image { name: name.into(), new_name, new_tag, digest: None };
        amendment(PatchTarget::default(), Change::Images(vec![rule]), true)
    };
    let patch = |image: &str| {
        let target = PatchTarget { kind: Some("Pod".into()), ..PatchTarget::default() };
        let patch = json!({"spec": {"containers": [{"name": "a", "image": image}]}});
        amendment(target, Change::Merge(patch), true)
    };
    let pod = |image: &str| {
        let spec = json!({"containers": [{"image": image, "name": "a"}]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    };
    let mirror = || rule("nginx", Some("mirror/nginx"), None);
    let tag = |tag| rule("nginx", None, Some(tag));
    // (changes, the image afterwards)
    let rows = [
        (vec![mirror(), tag("1.29")], "mirror/nginx:1.29"),
        (vec![tag("1.29"), mirror()], "mirror/nginx:1.29"),
        (vec![tag("1.28"), tag("1.29")], "nginx:1.29"),
        (vec![mirror(), tag("1.28"), tag("1.29")], "mirror/nginx:1.29"),
        (vec![mirror(), rule("nginx", Some("other/nginx"), None)], "other/nginx:1"),
        (vec![mirror(), rule("redis", None, Some("7")), tag("1.29")], "mirror/nginx:1.29"),
        // A patch of a higher override has the last word, and what it writes is meant by its own name.
        (vec![tag("1.28"), patch("nginx:1.29")], "nginx:1.29"),
        (vec![mirror(), patch("nginx:1.29")], "nginx:1.29"),
        (vec![mirror(), patch("redis:6"), rule("redis", None, Some("7"))], "redis:7"),
        // In one override the images come behind its patches.
        (vec![patch("nginx:1.28"), tag("1.29")], "nginx:1.29"),
    ];
    for (list, expected) in rows {
        let (after, _) = amended(&[pod("nginx:1")], &changes(list.clone())).expect("they can be made");
        assert_eq!(after, [pod(expected)], "{list:#?}");
        // An encrypted one comes to the same when it is opened.
        let head = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let later = list.iter().map(|amendment| Later { object: 0, change: amendment.change.clone() });
        let sealed = Sealed {
            format: crate::render::Format::Yaml,
            objects: vec![head],
            text: "…".into(),
            changes: later.collect(),
        };
        let mut opened = [pod("nginx:1")];
        sealed.amend(&mut opened).expect("they can be made");
        assert_eq!(opened, [pod(expected)], "{list:#?}");
    }
    let digest = |list| changes(list).digest(crate::Digest::default());
    let images_first = digest(vec![tag("1.28"), patch("nginx:1.29")]);
    assert_ne!(images_first, digest(vec![patch("nginx:1.29"), tag("1.28")]), "the order matters");
}

struct Everywhere;

impl Scopes for Everywhere {
    fn scope(&self, _: &str, _: &str) -> Option<Scope> {
        Some(Scope::Namespaced)
    }
}

#[test]
fn a_patch_of_an_encrypted_object_is_made_once_it_is_opened() {
    let head = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}});
    let sealed = json!({"nave.dev/sops": {"format": "yaml", "objects": [head], "text": "…"}});
    let target = PatchTarget { kind: Some("Secret".into()), ..PatchTarget::default() };
    let label =
        Change::Merge(json!({"metadata": {"labels": {"a": "b"}}, "stringData": {"user": "${literal}"}}));
    let before = bundle(std::slice::from_ref(&sealed));
    let wanted = changes(vec![amendment(target.clone(), label, true)]);
    let (after, _) = amend("web", before, &wanted, false).expect("it can be made");
    let entry = crate::assign::Entry {
        bundle: after.digest,
        values: BTreeMap::new(),
        options: crate::assign::Options {
            namespace: None,
            prune: true,
            on_remove: crate::catalog::OnRemove::Delete,
            formerly: BTreeSet::new(),
            substitute: true,
            treatment: Default::default(),
            share: None,
            grant: None,
        },
        version: after.digest,
        commit: crate::catalog::CommitId("c".into()),
        objects: 1,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    };
    let opened = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "stringData": {"password": "${x}"}});
    let open: &Open<'_> = &|_| Ok(vec![opened.clone()]);
    let objects = resolve_opened(&after.bytes, &entry, &Everywhere, open).expect("objects");
    assert_eq!(objects[0].object["metadata"]["labels"], json!({"a": "b"}));
    let data = json!({"password": "${x}", "user": "${literal}"});
    assert_eq!(objects[0].object["stringData"], data, "an encrypted document is not filled in");
    let test = serde_json::from_value(json!([{"op": "test", "path": "/stringData/password", "value": "1"}]));
    let wanted = changes(vec![amendment(target, Change::Json(test.expect("a patch")), true)]);
    let (after, _) = amend("web", bundle(&[sealed]), &wanted, false).expect("it travels");
    let objects = resolve_opened(&after.bytes, &entry, &Everywhere, open).expect("objects");
    assert_eq!(
        objects[0].sealed.as_deref(),
        Some(
            "it was opened, but an override cannot be applied to it: operation 1 (/stringData/password) finds another value than it tests for"
        )
    );
}
