//! Rows: an expression, and what comes of it; what tries to run away, and how it is refused.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

fn object() -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "small", "generation": 3, "labels": {"tier": "front"}},
        "spec": {"replicas": 2, "ratio": 0.5, "paused": false, "memory": "128Mi", "note": null},
        "status": {
            "phase": "Ready", "readyReplicas": 2, "version": "v1.2.3", "password": "hunter2",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Stalled", "status": "False"},
            ],
        },
    })
}

/// `true`, `false`, or the error's text.
fn said(text: &str, object: &Value) -> String {
    let expression = match Expression::parse(text, &["object"]) {
        Ok(expression) => expression,
        Err(error) => return format!("refused: {error}"),
    };
    match expression.evaluate(&Values::default().with("object", object)) {
        Ok(value) => value.to_string(),
        Err(error) => format!("undecided: {error}"),
    }
}

#[test]
fn expressions_say_what_kubernetes_people_mean_by_them() {
    let rows = [
        ("true", "true"),
        (r#"object.status.phase == "Ready""#, "true"),
        (r#"object.status.phase in ["Failed", "Lost"]"#, "false"),
        ("object.status.readyReplicas >= object.spec.replicas", "true"),
        ("object.spec.replicas == 2 && !object.spec.paused", "true"),
        ("object.spec.ratio < 0.75", "true"),
        (r#"object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")"#, "true"),
        (r#"object.status.conditions.all(c, c.status == "True")"#, "false"),
        (r#"object.status.conditions.filter(c, c.status == "True").size() == 1"#, "true"),
        (r#"object.status.conditions.map(c, c.type) == ["Ready", "Stalled"]"#, "true"),
        (r#"object.status.conditions.exists_one(c, c.type == "Ready")"#, "true"),
        (r#"object.status.conditions[0].type == "Ready""#, "true"),
        (r#"object["metadata"]["labels"]["tier"] == "front""#, "true"),
        ("has(object.status.failure)", "false"),
        ("has(object.status.failure) && object.status.failure.code == 1", "false"),
        ("!has(object.status.failure) || object.status.failure.code == 1", "true"),
        ("has(object.status.conditions) ? size(object.status.conditions) == 2 : false", "true"),
        (r#"object.metadata.name.startsWith("sm") && object.metadata.name.matches("^[a-z]+$")"#, "true"),
        (r#"object.status.version.split(".").size() == 3"#, "true"),
        (r#"quantity(object.spec.memory).isLessThan(quantity("1Gi"))"#, "true"),
        (r#"semver("1.2.3").isLessThan(semver("1.10.0"))"#, "true"),
        (
            r#"timestamp(object.status.conditions[0].lastTransitionTime) < timestamp("2026-01-02T00:00:00Z")"#,
            "true",
        ),
        ("object.spec.note == null", "true"),
        ("dyn", "refused: dyn is no known variable; valid is object"),
    ];
    for (text, expected) in rows {
        assert_eq!(said(text, &object()), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_decided_is_neither_true_nor_false() {
    let rows = [
        ("object.status.nothing == 1", "there is no field nothing; ask has(…) first where it may be absent"),
        ("!object.status.nothing", "there is no field nothing; ask has(…) first where it may be absent"),
        // A field of a text, of a list, of null.
        ("!object.status.phase.x", "an operator or a field does not go with the type"),
        ("!object.status.conditions.x", "a value is of type string, int|uint is wanted"),
        ("!object.spec.note.x", "an operator or a field does not go with the type"),
        ("object.status.conditions[7].type == \"x\"", "a list has no element at the index that is read"),
        ("object.status.phase", "its value is neither true nor false, but of type string"),
        (
            "object.spec.replicas + object.status.phase == 1",
            "an operator or a field does not go with the type",
        ),
        ("object.status.password - 1 == 1", "the operation"),
        ("object.spec.replicas / 0 == 1", "division by zero"),
        ("int(object.status.password) == 1", "int() does not take what it was given"),
        ("quantity(object.status.password) == quantity(\"1\")", "quantity() does not take what it was given"),
        ("object.status.phase.all(c, true)", "an operator or a field does not go with the type"),
        ("9223372036854775807 + object.spec.replicas > 0", "a number is too large"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let said = said(text, &object());
        if !said.starts_with("undecided: ") || !said.contains(expected) || said.contains("hunter2") {
            wrong.push(format!("{text}: {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_an_expression_is_said_when_it_is_read() {
    let rows = [
        ("", "refused: the expression is empty; write a condition, e.g. object.status.phase == \"Ready\""),
        ("object.status.phase = \"Ready\"", "refused: 1:"),
        ("object.status.\nphase ==", "refused: 2:"),
        (
            "objekt.status.phase == \"x\"",
            "refused: objekt is no known variable; did you mean object?; valid is object",
        ),
        ("size(objects) > 0", "refused: objects is no known variable; did you mean object?; valid is object"),
        ("object.status.list.exist(c, c == 1)", "refused: exist() is no known function"),
        (
            "object.name.startWith(\"x\")",
            "refused: startWith() is no known function; did you mean startsWith?",
        ),
        ("lists.range(100000000).all(x, true)", "refused: range() is no known function"),
        (
            "object.list.all(true)",
            "refused: all() is no known function, given like this; write LIST.all(x, CONDITION)",
        ),
        (
            "object.name.matches(object.pattern)",
            "refused: matches() needs its pattern written out, in quotes",
        ),
        (
            "object.name.matches(\"(\")",
            "refused: the pattern of matches() cannot be read: error: unclosed group",
        ),
        ("object.name.matches(\"(\\\\w{100}){100}\")", "refused: the pattern of matches() is too large"),
        ("Widget{name: \"x\"} == object", "refused: NAME{…} makes a message"),
        (
            "object.a.all(x, object.b.all(y, object.c.all(z, z == x + y)))",
            "refused: all, exists, filter and map stand 3 deep in each other, 2 are allowed",
        ),
    ];
    for (text, expected) in rows {
        let said = said(text, &object());
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn the_parsers_inner_words_are_told_to_nobody() {
    let rows = [
        ("object.status.phase ==".to_owned(), "it ends too early"),
        ("object.status.phase = \"Ready\"".to_owned(), "write == to compare"),
        ("object.status.phase \"Ready\"".to_owned(), " is not expected there"),
        (format!("{}1{} == 1", "(".repeat(40), ")".repeat(40)), "it is nested deeper than 25; take it apart"),
    ];
    for (text, expected) in rows {
        let said = said(&text, &object());
        assert!(said.starts_with("refused: ") && said.ends_with(expected), "{text}: {said}");
    }
}

#[test]
fn names_are_bound_only_within_their_macro() {
    let parse = |text: &str| Expression::parse(text, &["cluster", "facts"]);
    let used = |text: &str| parse(text).map(|e| e.references().iter().cloned().collect::<Vec<_>>().join(","));
    assert_eq!(used("facts.zones.exists(z, z == cluster.zone)").as_deref(), Ok("cluster,facts"));
    assert_eq!(used("facts.zones.exists(z, z == \"a\")").as_deref(), Ok("facts"));
    assert!(used("facts.zones.exists(z, true) && z == 1").is_err());
}

/// What would overflow the parser's or the interpreter's stack, in a thread that has a quarter of the usual one.
#[test]
fn whatever_is_deep_is_refused_and_never_overflows_a_stack() {
    let deep = [
        format!("object{}", ".a".repeat(5000)),
        format!("object{} == 1", ".a".repeat(290)),
        format!("object{} == 1", ".a".repeat(60)),
        format!("object{} == 1", "[0]".repeat(190)),
        format!("1{} == 1", "+1".repeat(5000)),
        format!("1{} == 1", "+1".repeat(290)),
        format!("1{} == 1", "+1".repeat(60)),
        format!("true{}", "&&true".repeat(190)),
        format!("{}1{} == 1", "(".repeat(1000), ")".repeat(1000)),
        format!("{}1{} == 1", "(".repeat(290), ")".repeat(290)),
        format!("{}1{} == 1", "(".repeat(20), ")".repeat(20)),
        format!("{}1{} == 1", "[".repeat(290), "]".repeat(290)),
        format!("{}1{}", "{1:".repeat(190), "}".repeat(190)),
        format!("{}true", "!".repeat(590)),
        format!("{}1 == 1", "-".repeat(590)),
        format!("{}true", "!(-".repeat(190)),
        format!("{}false", "true ? true : ".repeat(140)),
        format!("{}true{}", "true ? ".repeat(140), " : true".repeat(140)),
        format!("{}1{} == 1", "size(".repeat(140), ")".repeat(140)),
        format!("object{}", ".trim()".repeat(140)),
        "\u{0}\u{1}\"".repeat(100),
        "\"".repeat(500),
        "'''".repeat(150),
        "r'\\'".repeat(150),
    ];
    let check = move || {
        for text in &deep {
            let said = said(text, &object());
            let known = ["true", "false", "refused: ", "undecided: "];
            assert!(known.iter().any(|known| said.starts_with(known)), "{text}: {said}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(check).expect("a thread");
    thread.join().expect("nothing is wrong");
}

#[test]
fn what_would_take_long_is_refused_before_it_begins() {
    let many = |n: usize| json!({"a": (0..n).collect::<Vec<_>>(), "text": "x".repeat(1000)});
    let rows = [
        ("object.a.all(x, object.a.all(y, x + y >= 0))", 100, "true"),
        ("object.a.all(x, object.a.all(y, x + y >= 0))", 5000, "undecided: it could take"),
        ("object.a.all(x, x >= 0)", 5000, "true"),
        ("object.a.map(x, x + 1).size() == 100", 100, "true"),
        ("object.a.map(x, object.text).size() == 5000", 5000, "undecided: it could take"),
        ("object.a.all(x, object.text.matches(\"^x*$\"))", 5000, "undecided: it could take"),
    ];
    for (text, items, expected) in rows {
        let began = Instant::now();
        let said = said(text, &many(items));
        assert!(said.starts_with(expected), "{text} over {items}: {said}");
        assert!(began.elapsed() < Duration::from_secs(20), "{text} over {items} took {:?}", began.elapsed());
    }
    // Each stage would make the text twice as long.
    let doubling = format!("[object.text]{}.size() == 1", ".map(x, x + x)".repeat(30));
    let said = said(&doubling, &many(1));
    assert!(said.starts_with("undecided: it could take") || said.starts_with("refused: "), "{said}");
}
