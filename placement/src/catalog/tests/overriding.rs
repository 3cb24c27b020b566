//! What an `Override` says, and what is said about one that says it wrong.

use serde_json::json;

use super::*;
use crate::overrides::Change;

fn text(spec: &str) -> String {
    document(&format!("kind: Override\nmetadata: {{name: o}}\nspec:\n{spec}---\n{WEB}"))
}

/// Checks all problems of an override's `spec`, whose first line is line 5.
#[track_caller]
fn check(spec: &str, expected: &[&str]) {
    let text = text(spec);
    let commit: Commit<'_> = &[("a.yaml", &text), ("web/c.yaml", MANIFEST)];
    let catalog = assembled("1", commit, &LastGood::new());
    assert_eq!(shown(&catalog.problems), expected, "\n{text}");
}

const WHERE: &str = "  apps: {names: [web]}\n  clusters: {selector: {}}\n";

#[test]
fn an_override_says_all_that_the_design_has() {
    let text = text(
        "  apps: {names: [web], selector: {matchLabels: {tier: web}}}\n  clusters: {selector: {matchLabels: {env: prod}}, sets: [prod]}\n  priority: -3\n  source: {path: ./prod}\n  parameters: {replicas: 6, gone: null}\n  images: [{name: a/b, newName: c, newTag: \"1\", digest: \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]\n  patches:\n  - target: {group: apps, version: v1, kind: Deployment, namespace: shop, name: web, labelSelector: \"tier=web\"}\n    patch: [{op: remove, path: /spec/replicas}]\n  - patch: |\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata: {name: web}\n      spec: {replicas: 3}\n",
    );
    let parsed = parse_file("dir/a.yaml", text.as_bytes());
    assert_eq!(shown(&parsed.problems), Vec::<String>::new());
    let object = parsed.documents[0].object.clone().expect("an object");
    let Spec::Override(spec) = &object.spec else { panic!("an override") };
    assert_eq!(spec.priority, -3);
    assert_eq!(json!(spec.source), json!("dir/prod"));
    assert_eq!(json!(spec.parameters), json!({"replicas": 6, "gone": null}));
    assert_eq!(spec.images[0].new_name.as_deref(), Some("c"));
    let [first, second] = spec.patches.as_slice() else { panic!("two patches") };
    assert_eq!(first.target.to_string(), "Deployment.apps/v1 shop/web with labels tier=web");
    assert!(matches!(&first.change, Change::Json(patch) if patch.0.len() == 1));
    assert_eq!(second.target.to_string(), "Deployment.apps web");
    assert!(matches!(&second.change, Change::Merge(patch) if patch["spec"]["replicas"] == 3));
    assert_eq!((first.position.line, second.position.line), (12, 14));
}

#[test]
fn where_a_patch_stands_is_no_part_of_what_it_says() {
    let one = text(&format!("{WHERE}  patches: [{{target: {{kind: X}}, patch: {{a: 1}}}}]\n"));
    let other = text(&format!("{WHERE}\n\n  patches: [{{target: {{kind: X}}, patch: {{a: 1}}}}]\n"));
    let web: &[(&str, &str)] = &[("web/c.yaml", MANIFEST)];
    let commit = |text: &'static str| [&[("a.yaml", text)], web].concat();
    let first = assembled("1", &commit(one.leak()), &LastGood::new());
    let second = assembled("2", &commit(other.leak()), &first.objects);
    assert_eq!(effective(&second), ["App/web@1", "Override/o@1"]);
}

#[test]
fn what_is_wrong_with_an_override_is_told_with_its_place() {
    let rows = [
        (
            "",
            "a.yaml:5:3: error: Override/o: spec changes nothing; give it source, parameters, images or patches",
        ),
        (
            "  patches: [{target: {kind: X}}]\n",
            "a.yaml:7:13: error: Override/o: spec.patches[0].patch is missing; give it operations (a list) or a part of a manifest (a mapping)",
        ),
        (
            "  patches: [{patch: {spec: {}}}]\n",
            "a.yaml:7:13: error: Override/o: spec.patches[0].target is missing; say of which objects: target: {kind: Deployment, name: web}",
        ),
        (
            "  patches: [{target: {}, patch: {a: 1}}]\n",
            "a.yaml:7:22: error: Override/o: spec.patches[0].target means no object; name at least a kind",
        ),
        (
            "  patches: [{target: {name: 'web-.*'}, patch: {a: 1}}]\n",
            "a.yaml:7:29: error: Override/o: spec.patches[0].target.name: \"web-.*\" is a pattern; a target is exact: name one object, or use labelSelector",
        ),
        (
            "  patches: [{target: {kind: X}, patch: []}]\n",
            "a.yaml:7:40: error: Override/o: spec.patches[0].patch has no operation",
        ),
        (
            "  patches: [{target: {kind: X}, patch: 'a: ['}]\n",
            "a.yaml:7:40: error: Override/o: spec.patches[0].patch: line 1:4: this is not valid YAML: unclosed bracket '['",
        ),
        (
            "  patches: [{target: {kind: X}, patch: \"a: 1\\n---\\nb: 1\\n\"}]\n",
            "a.yaml:7:40: error: Override/o: spec.patches[0].patch: the text holds 2 documents; a patch is one",
        ),
        (
            "  patches: [{target: {kind: X}, patch: 3}]\n",
            "a.yaml:7:40: error: Override/o: spec.patches[0].patch is neither operations (a list) nor a part of a manifest (a mapping)",
        ),
        (
            "  images: [{name: nginx}]\n",
            "a.yaml:7:12: error: Override/o: spec.images[0] changes nothing; give it newName, newTag or digest",
        ),
        (
            "  images: [{name: 'nginx:1', newTag: '2'}]\n",
            "a.yaml:7:19: error: Override/o: spec.images[0].name: \"nginx:1\" is not an image's name alone; give its tag as newTag",
        ),
        (
            "  images: [{name: nginx, newTag: 6.10}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].newTag: 6.10 is read as the number 6.1, a string is wanted; write \"6.10\"",
        ),
        (
            "  images: [{name: nginx, digest: latest}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].digest: \"latest\" is no digest; write it as sha256:… with all its 64 digits, 0-9 and a-f",
        ),
        (
            "  images: [{name: nginx, digest: 'sha256:0123456789abcdef0123456789abcdef'}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].digest: \"sha256:0123456789abcdef0123456789abcdef\" is no digest; write it as sha256:… with all its 64 digits, 0-9 and a-f",
        ),
        (
            "  images: [{name: nginx, newTag: '1.29:x y'}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].newTag: \"1.29:x y\" is no tag; write at most 128 letters, digits, '_', '.' and '-', the first one no '.' or '-'",
        ),
        (
            "  images: [{name: nginx, newTag: '-1'}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].newTag: \"-1\" is no tag; write at most 128 letters, digits, '_', '.' and '-', the first one no '.' or '-'",
        ),
        (
            "  images: [{name: nginx, newTag: '${parameters.tag:-1 2}'}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].newTag: \"${parameters.tag:-1 2}\" is no tag; write at most 128 letters, digits, '_', '.' and '-', the first one no '.' or '-'",
        ),
        (
            "  images: [{name: nginx, newTag: 'v${parameters.tag'}]\n",
            "a.yaml:7:34: error: Override/o: spec.images[0].newTag: \"v${parameters.tag\" cannot be filled in: `${` is not closed by `}`; for a literal ${ write $${",
        ),
        (
            "  images: [{name: nginx, newName: '${parameters.registry/nginx'}]\n",
            "a.yaml:7:35: error: Override/o: spec.images[0].newName: \"${parameters.registry/nginx\" cannot be filled in: `${` is not closed by `}`; for a literal ${ write $${",
        ),
        (
            "  priority: \"3\"\n  parameters: {a: 1}\n",
            "a.yaml:7:13: error: Override/o: spec.priority: \"3\" is a string; write 3 without the quotes",
        ),
        (
            "  priority: high\n  parameters: {a: 1}\n",
            "a.yaml:7:13: error: Override/o: spec.priority: \"high\" is not a whole number",
        ),
        (
            "  parameters: {store: 0417}\n",
            "a.yaml:7:23: error: Override/o: spec.parameters.store: 0417 is read as the number 271; write \"0417\" or 271",
        ),
        (
            "  source: {path: ./nowhere}\n",
            "a.yaml:7:18: error: Override/o: spec.source.path: there is nothing at \"nowhere\" in this commit; correct source.path or add the files",
        ),
        (
            "  source: {helm: {version: 1}}\n",
            "a.yaml:7:28: error: Override/o: spec.source.helm.version: 1 is read as the number 1, a string is wanted; write \"1\"",
        ),
        (
            "  source: {kustomize: {}}\n",
            "a.yaml:7:23: error: Override/o: spec.source.kustomize says nothing; give it path, components",
        ),
    ];
    let mut wrong = Vec::new();
    for (more, expected) in rows {
        let text = text(&format!("{WHERE}{more}"));
        let commit: Commit<'_> = &[("a.yaml", &text), ("web/c.yaml", MANIFEST)];
        let problems = shown(&assembled("1", commit, &LastGood::new()).problems);
        if !problems.iter().any(|problem| problem == expected) {
            wrong.push(format!("{more}: {problems:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    check(
        &format!(
            "{WHERE}  images: [{{name: nginx, newTag: 'v${{parameters.major}}.${{parameters.minor:-0}}-${{cluster.name}}'}}]\n"
        ),
        &[],
    );
    check(
        "  apps: {names: [wbe]}\n  clusters: {}\n  parameters: {a: 1}\n",
        &[
            "a.yaml:6:13: error: Override/o: spec.clusters has no term that chooses clusters; write `clusters: {selector: {}}` for every cluster",
        ],
    );
    check(
        "  apps: {names: [wbe]}\n  clusters: {selector: {}}\n  parameters: {a: 1}\n",
        &[
            "a.yaml:5:18: error: Override/o: App/wbe is not in this catalog; did you mean web?; add it, or remove the name",
        ],
    );
}

#[test]
fn two_of_one_priority_that_set_one_thing_are_told() {
    let both = |a: &str, b: &str| {
        let one = |name: &str, more: &str| {
            document(&format!(
                "kind: Override\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [web]}}, {more}}}\n---\n"
            ))
        };
        let text = format!("{}{}{WEB}", one("a", a), one("b", b));
        let commit: Commit<'_> = &[("a.yaml", &text), ("web/c.yaml", MANIFEST)];
        let problems = shown(&assembled("1", commit, &LastGood::new()).problems);
        let told = |problem: &String| {
            let start = "a.yaml:6:1: warning: Override/b: ";
            let end = " is set by Override/a too, differently and with the same priority, 0; Override/b wins by its name: give them different priorities";
            problem.strip_prefix(start).and_then(|p| p.strip_suffix(end)).unwrap_or(problem).to_owned()
        };
        problems.iter().map(told).collect::<Vec<_>>()
    };
    let everywhere = "clusters: {selector: {}}";
    let rows: [(&str, &str, &[&str]); 15] = [
        ("parameters: {a: {b: 1}}", "parameters: {a: {b: 2}}", &["parameters.a.b"]),
        ("parameters: {a: {b: 1}}", "parameters: {a: {b: 1, c: 2}}", &[]),
        ("parameters: {a: 1}, priority: 1", "parameters: {a: 2}", &[]),
        (
            "images: [{name: nginx, newTag: '1'}]",
            "images: [{name: nginx, newTag: '2'}]",
            &["the image nginx"],
        ),
        (
            "patches: [{target: {kind: X}, patch: {spec: {a: 1, b: 1}}}]",
            "patches: [{target: {kind: X}, patch: [{op: replace, path: /spec/a, value: 2}]}]",
            &["/spec/a of X"],
        ),
        (
            "patches: [{target: {kind: X}, patch: {spec: {a: 1}}}]",
            "patches: [{target: {kind: Z}, patch: {spec: {a: 2}}}]",
            &[],
        ),
        (
            "patches: [{target: {kind: X}, patch: [{op: add, path: /l/-, value: 1}]}]",
            "patches: [{target: {kind: X}, patch: [{op: add, path: /l/-, value: 2}]}]",
            &[],
        ),
        (
            "patches: [{target: {kind: X, name: web}, patch: {spec: {a: 1}}}]",
            "patches: [{target: {kind: X}, patch: {spec: {a: 2}}}]",
            &["/spec/a of X web"],
        ),
        // Of one container, by its name; the other one's is another place.
        (
            "patches: [{target: {kind: Deployment}, patch: {spec: {template: {spec: {containers: [{name: a, image: x, env: [{name: E, value: '1'}]}]}}}}}]",
            "patches: [{target: {kind: Deployment}, patch: {spec: {template: {spec: {containers: [{name: b, image: z}, {name: a, image: y, env: [{name: F, value: '1'}, {name: E, value: '2'}]}]}}}}}]",
            &[
                "/spec/template/spec/containers[name=a]/env[name=E]/value of Deployment",
                "/spec/template/spec/containers[name=a]/image of Deployment",
            ],
        ),
        (
            "patches: [{target: {group: '', kind: Service}, patch: {spec: {ports: [{port: 53, protocol: UDP, nodePort: 1}]}}}]",
            "patches: [{target: {group: '', kind: Service}, patch: {spec: {ports: [{port: 53, nodePort: 2}]}}}]",
            &[],
        ),
        // A list without keys is one thing.
        (
            "patches: [{target: {kind: Deployment}, patch: {spec: {template: {spec: {tolerations: [{key: a}]}}}}}]",
            "patches: [{target: {kind: Deployment}, patch: {spec: {template: {spec: {tolerations: [{key: b}]}}}}}]",
            &["/spec/template/spec/tolerations of Deployment"],
        ),
        (
            "patches: [{target: {kind: X}, patch: {spec: {l: [1]}}}]",
            "patches: [{target: {kind: X}, patch: [{op: replace, path: /spec/l, value: [1]}]}]",
            &[],
        ),
        (
            "patches: [{target: {kind: Deployment}, patch: {metadata: {finalizers: [a]}}}]",
            "patches: [{target: {kind: Deployment}, patch: {metadata: {finalizers: [b]}}}]",
            &[],
        ),
        ("parameters: {a: null}", "parameters: {a: 2}", &["parameters.a"]),
        ("parameters: {a: {}}", "parameters: {a: 2}", &["parameters.a"]),
    ];
    for (a, b, expected) in rows {
        assert_eq!(both(&format!("{everywhere}, {a}"), &format!("{everywhere}, {b}")), expected, "{a} {b}");
    }
    // They cannot meet on a cluster.
    let env = |value: &str, a: i32| {
        format!("clusters: {{selector: {{matchLabels: {{env: {value}}}}}}}, parameters: {{a: {a}}}")
    };
    assert_eq!(both(&env("prod", 1), &env("test", 2)), Vec::<String>::new());
    assert_eq!(both(&env("prod", 1), &env("prod", 2)), ["parameters.a"]);
    let names = |name: &str, a: i32| format!("clusters: {{names: [{name}]}}, parameters: {{a: {a}}}");
    assert_eq!(both(&names("c-1", 1), &names("c-2", 2)), Vec::<String>::new());
}

#[test]
fn two_that_meet_on_many_apps_are_told_once() {
    let one = |name: &str, apps: &str, a: i32| {
        document(&format!(
            "kind: Override\nmetadata: {{name: {name}}}\nspec: {{apps: {apps}, clusters: {{selector: {{}}}}, parameters: {{a: {a}}}}}\n---\n"
        ))
    };
    let (all, web, db) = ("{names: [db, web]}", "{names: [web]}", "{names: [db]}");
    // (apps of a, apps of b, how often)
    for (of_a, of_b, expected) in [(all, all, 1), (all, web, 1), (web, db, 0)] {
        let text = format!("{}{}{DB}---\n{WEB}", one("a", of_a, 1), one("b", of_b, 2));
        let commit: Commit<'_> = &[("a.yaml", &text), ("web/c.yaml", MANIFEST), ("db/c.yaml", MANIFEST)];
        let problems = shown(&assembled("1", commit, &LastGood::new()).problems);
        assert_eq!(problems.len(), expected, "{of_a} {of_b}: {problems:#?}");
    }
}

#[test]
fn parameters_and_substitution_are_read_where_the_design_has_them() {
    let text = document(
        "kind: App\nmetadata: {name: web}\nspec: {source: {path: .}, parameters: {a: {b: [1]}}, substitute: true}\n---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: s}\nspec: {parameters: {tier: gold}}\n---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: c}\nspec: {set: s, parameters: {number: \"0417\"}}\n",
    );
    let parsed = parse_file("a.yaml", text.as_bytes());
    assert_eq!(shown(&parsed.problems), Vec::<String>::new());
    let specs: Vec<Spec> =
        parsed.documents.iter().map(|d| d.object.clone().expect("one").spec.clone()).collect();
    let [Spec::App(app), Spec::ClusterSet(set), Spec::Cluster(cluster)] = specs.as_slice() else { panic!() };
    assert_eq!((json!(app.parameters), app.substitute), (json!({"a": {"b": [1]}}), true));
    assert_eq!(json!(set.parameters), json!({"tier": "gold"}));
    assert_eq!(json!(cluster.parameters), json!({"number": "0417"}));
}
