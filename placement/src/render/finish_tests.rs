//! What manifests become, and what is said about those that become nothing.

use super::*;
use crate::catalog::BlobId;
use crate::render::Engine;

fn finished(source: &str, files: &[(&str, &[u8])]) -> Result<Bundle, Vec<String>> {
    let named = files.iter().map(|(path, _)| ((*path).into(), BlobId("0".into()))).collect();
    let needs = Needs { engine: Engine::Manifests, files: named, source: source.into() };
    let content = files.iter().map(|(path, bytes)| ((*path).into(), Arc::from(*bytes))).collect();
    finish(&needs, &content, false).map_err(|error| error.0.iter().map(ToString::to_string).collect())
}

/// Checks the lines of the bundle of one file.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let bundle = finished("web", &[("a.yaml", text.as_bytes())]).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let bytes = String::from_utf8(bundle.bytes.to_vec()).expect("JSON");
    assert_eq!(bytes.lines().collect::<Vec<_>>(), expected, "\n{text}");
    assert_eq!(Bundle::read(bundle.bytes.to_vec()).expect("what finish writes"), bundle);
}

/// Checks what is wrong with one file.
#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    let outcome = finished("web", &[("a.yaml", text.as_bytes())]);
    assert_eq!(outcome.expect_err(text), expected, "\n{text}");
}

#[test]
fn objects_are_lines_of_json_with_sorted_keys_in_the_order_of_the_source() {
    check(
        "kind: Secret\napiVersion: v1\nmetadata: {name: b}\ndata: {z: MQ==, a: ''}\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n",
        &[
            r#"{"apiVersion":"v1","data":{"a":"","z":"MQ=="},"kind":"Secret","metadata":{"name":"b"}}"#,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}}"#,
        ],
    );
}

#[test]
fn scalars_are_what_kubectl_would_send() {
    check(
        "apiVersion: x/v1\nkind: X\nmetadata: {name: a}\nspec: {mode: 0644, port: 80, share: 0.5, whole: 1.0, big: 1e3, on: yes, date: 2026-11-20, text: '0644', none: ~}\n",
        &[
            r#"{"apiVersion":"x/v1","kind":"X","metadata":{"name":"a"},"spec":{"big":1000,"date":"2026-11-20","mode":420,"none":null,"port":80,"share":0.5,"text":"0644","true":true,"whole":1}}"#,
        ],
    );
}

#[test]
fn what_a_dump_of_a_live_object_carries_is_dropped_and_lists_are_taken_apart() {
    check(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a, creationTimestamp: null}, status: {}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n",
        &[
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#,
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}"#,
        ],
    );
}

#[test]
fn what_is_the_catalogs_is_skipped() {
    check(
        "apiVersion: nave.dev/v1alpha1\nkind: App\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
        &[r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#],
    );
}

#[test]
fn a_document_that_is_no_object_spoils_the_bundle() {
    let needed = "every Kubernetes object has apiVersion, kind and metadata.name";
    check_problems(
        "kind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {labels: {}}\n---\n- a list\n",
        &[
            &format!("web/a.yaml:1:1: error: apiVersion is missing; {needed}"),
            &format!("web/a.yaml:4:1: error: kind is missing; {needed}"),
            &format!("web/a.yaml:9:11: error: metadata.name is missing; {needed}"),
            "web/a.yaml:11:1: error: this document is no Kubernetes object; it has to be a mapping",
        ],
    );
    check_problems(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: 0417}\n---\napiVersion: v1\nkind: Job\nmetadata: {generateName: x-}\n---\napiVersion: v1\nkind: Job\n",
        &[
            "web/a.yaml:3:18: error: metadata.name: 0417 is read as the number 271; write \"0417\"",
            "web/a.yaml:7:26: error: generateName makes a new object each time; give the object metadata.name",
            "web/a.yaml:9:1: error: metadata is missing; give the object metadata.name",
        ],
    );
    check_problems(
        "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: [\n",
        &[
            "web/a.yaml:3:1: error: key \"kind\" stands at 2:1 already; remove one of them",
            "web/a.yaml:6:13: error: this is not valid YAML: unclosed bracket '['",
        ],
    );
    check_problems(
        "# nothing\n",
        &[
            "web:1:1: error: there is no Kubernetes object in it; an app without objects would remove all it has",
        ],
    );
}

#[test]
fn an_object_stands_once_in_an_app() {
    let one = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    // Another version of the same kind is the same object.
    let two = b"\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n";
    assert_eq!(
        finished("", &[("a.yaml", one), ("b/c.yaml", two)]),
        Err(vec![
            "b/c.yaml:2:1: error: Deployment.apps a stands at a.yaml:1:1 too; remove one of them".to_owned()
        ])
    );
}

#[test]
fn a_source_that_is_a_file_is_named_by_its_own_path() {
    assert_eq!(
        finished("apps/web.yaml", &[("web.yaml", b"\xff")]),
        Err(vec!["apps/web.yaml:1:1: error: the file is not UTF-8; save it as UTF-8".to_owned()])
    );
}

#[test]
fn budgets_hold() {
    let many: String = (0..=MAX_OBJECTS)
        .map(|i| format!("---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{i}}}}}\n"))
        .collect();
    let line = 2 * MAX_OBJECTS + 2;
    check_problems(
        &many,
        &[&format!("web/a.yaml:{line}:1: error: the app has more than 10000 objects; split it")],
    );
    let half = "x".repeat(MAX_BUNDLE_BYTES / 2);
    let object = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{x: {half}}}\n")
    };
    let (a, b) = (object("a"), object("b"));
    assert_eq!(
        finished("web", &[("a.yaml", a.as_bytes()), ("b.yaml", b.as_bytes())]),
        Err(vec!["web/b.yaml:1:1: error: the app's manifests are larger than 16 MiB; split it".to_owned()])
    );
    let huge = vec![b' '; MAX_BUNDLE_BYTES + 1];
    assert_eq!(
        finished("web", &[("a.yaml", &huge)]),
        Err(vec![
            "web/a.yaml:1:1: error: the file is larger than a whole bundle may be, 16 MiB; split the app"
                .to_owned()
        ])
    );
}
