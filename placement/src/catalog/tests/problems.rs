//! What is wrong, exactly where, and how to mend it.

use super::*;

/// Checks all problems of one file `a.yaml` beside a directory `web` with a manifest.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let catalog = assembled("1", &[("a.yaml", text), ("web/c.yaml", MANIFEST)], &LastGood::new());
    assert_eq!(shown(&catalog.problems), expected, "\n{text}");
}

/// The same for the specification of an app: line 5 is the first of `spec`.
#[track_caller]
fn check_app(spec: &str, expected: &[&str]) {
    check(&app_of(spec), expected);
}

#[track_caller]
fn check_placement(spec: &str, expected: &[&str]) {
    let text = document(&format!("kind: Placement\nmetadata: {{name: p}}\nspec:\n{spec}\n---\n{WEB}"));
    check(&text, expected);
}

#[test]
fn text_that_is_no_yaml() {
    check(
        &document("kind: App\nmetadata: {name: web\nspec: {}\n"),
        &[
            "a.yaml:4:5: error: this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        ],
    );
    check(
        &document("kind: App\nmetadata:\n\tname: web\n"),
        &[
            "a.yaml:4:2: error: this is not valid YAML: tabs disallowed within this context (block indentation)",
        ],
    );
    let deep = document(&format!("kind: {}{}\n", "[".repeat(150), "]".repeat(150)));
    check(&deep, &["a.yaml:2:106: error: this document is nested more than 100 deep; flatten it"]);
    let deep = document(&format!("kind: {}", "[".repeat(100_000)));
    check(&deep, &["a.yaml:2:262: error: this document is nested more than 100 deep; flatten it"]);
}

#[test]
fn a_broken_document_does_not_spoil_the_others() {
    let text = format!("{WEB}---\n{}---\n{DB}", document("kind: [\n"));
    let commit: Commit<'_> = &[("a.yaml", &text), ("web/c.yaml", MANIFEST), ("db/c.yaml", MANIFEST)];
    let catalog = assembled("1", commit, &LastGood::new());
    assert_eq!(effective(&catalog), ["App/db@1", "App/web@1"]);
    assert_eq!(catalog.problems.len(), 1);
    assert_eq!(catalog.problems[0].line, 7);
}

#[test]
fn a_field_that_is_misspelt_is_not_missing_as_well() {
    check_placement(
        "  apps: {names: [web]}\n  cluster: {selector: {}}",
        &[
            "a.yaml:6:3: error: Placement/p: spec.cluster is no known field; did you mean clusters? (valid fields are apps, clusters, tolerations, pick, replicas)",
        ],
    );
}

#[test]
fn how_an_app_is_treated_in_words_that_mean_something() {
    let rows = [
        ("conflicts: Yeild", "spec.conflicts: \"Yeild\" is none of Fail, Force, Yield; did you mean Yield?"),
        (
            "ignore: [{target: {kind: X}, fields: [spec/replicas]}]",
            "spec.ignore[0].fields[0]: \"spec/replicas\" is no JSON pointer; write it as /spec/replicas (`~1` stands for a `/` in a name)",
        ),
        (
            "ignore: [{target: {kind: X}, fields: [/metadata/name]}]",
            "spec.ignore[0].fields[0]: /metadata/name says which object it is, and cannot be ignored",
        ),
        (
            "ignore: [{target: {name: x}, fields: [/spec]}]",
            "spec.ignore[0].target.kind is missing; name the kind, e.g. kind: Deployment",
        ),
        ("health: [{target: {kind: X}}]", "spec.health[0] needs healthy or failed, in CEL over `object`"),
        ("timeout: 10", "spec.timeout: 10 has no unit; write 10s, 10m or 10h"),
        ("timeout: 0s", "spec.timeout: 0s is not between 1ms and 7d"),
    ];
    for (line, expected) in rows {
        let catalog = assembled(
            "1",
            &[
                (
                    "a.yaml",
                    &document(&format!(
                        "kind: App\nmetadata: {{name: web}}\nspec:\n  source: {{path: ./web}}\n  {line}\n"
                    )),
                ),
                ("web/c.yaml", MANIFEST),
            ],
            &LastGood::new(),
        );
        let problems: Vec<_> = shown(&catalog.problems);
        assert!(problems.iter().any(|p| p.contains(expected)), "{line}: {problems:?}");
    }
}

#[test]
fn keys_that_stand_twice() {
    check_app(
        "source: {path: ./web}\nprune: true\nprune: false\n",
        &["a.yaml:7:3: error: App/web: key \"prune\" stands at 6:3 already; remove one of them"],
    );
    let catalog = parse_file("a.yaml", document("kind: App\nkind: App\nmetadata: {name: web}\n").as_bytes());
    assert!(catalog.unreadable, "whose kind stands there twice is not known");
}

#[test]
fn an_alias_bomb_is_refused_and_its_document_still_known() {
    let mut text = document(
        "kind: Fleet\nmetadata: {name: f}\nspec:\n  parameters:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n",
    );
    for i in 1..9 {
        let names = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("    a{i}: &a{i} [{names}]\n"));
    }
    check(
        &text,
        &[
            "a.yaml:11:44: error: Fleet/f: aliases expand this document to more than 1000000 nodes; write it without them",
        ],
    );
    check(
        &document("kind: Fleet\nmetadata: {name: f}\nspec: {parameters: {a: &a [*a], b: *nothing}}\n"),
        &[
            "a.yaml:4:28: error: Fleet/f: this alias stands inside the node that it names; write the content out",
            "a.yaml:4:36: error: Fleet/f: *nothing names no anchor; define &nothing before it in this document, or write \"*nothing\" where it is a text",
        ],
    );
}

#[test]
fn fields_and_kinds_that_nobody_knows() {
    check_app(
        "sorce: {path: ./web}\nsource: {path: ./web, url: x}\n",
        &[
            "a.yaml:5:3: error: App/web: spec.sorce is no known field; did you mean source? (valid fields are source, parameters, substitute, namespace, protect, prune, onRemove, formerly, rollout, dependsOn, group, mode, adopt, onImmutable, conflicts, drift, ignore, health, serviceAccount, timeout)",
            "a.yaml:6:25: error: App/web: spec.source.url is no known field (valid fields are path, git, helm, kustomize, directories)",
        ],
    );
    check(
        &document("kind: Aps\nmetadata: {name: web}\n"),
        &[
            "a.yaml:2:7: error: \"Aps\" is no known kind; did you mean App? (valid kinds are App, Catalog, Cluster, ClusterSet, Fleet, Override, Placement, Rollout)",
        ],
    );
    check(
        &document("metadata: {name: web}\n"),
        &[
            "a.yaml:1:1: error: kind is missing; write one of App, Catalog, Cluster, ClusterSet, Fleet, Override, Placement, Rollout",
        ],
    );
    check(
        &document("kind: ClusterSet\nmetadata: {name: s, namespace: x}\nstatus: {}\n"),
        &[
            "a.yaml:3:21: error: ClusterSet/s: metadata.namespace is no known field (valid fields are name, labels, annotations)",
            "a.yaml:4:1: error: ClusterSet/s: status is no known field (valid fields are apiVersion, kind, metadata, spec)",
        ],
    );
}

#[test]
fn what_other_versions_know() {
    check(
        &document("kind: Fleet\nmetadata: {name: x}\nspec: {trust: {}}\n"),
        &["a.yaml:4:8: error: Fleet/x: spec.trust is not supported by this version of Nave; remove it"],
    );
    check(
        "apiVersion: nave.dev/v1beta1\nkind: App\nmetadata: {name: web}\n",
        &[
            "a.yaml:1:13: error: App/web: apiVersion nave.dev/v1beta1 is not supported by this version of Nave; write nave.dev/v1alpha1",
        ],
    );
    check("# nave.dev/\napiVersion: nvae.dev/v1alpha1\nkind: App\nmetadata: {name: web}\n", &[]);
}

#[test]
fn values_that_yaml_reads_as_something_else() {
    check(
        &document("kind: Cluster\nmetadata: {name: c, labels: {store: 0417, env: yes, no: x, n1: 5}}\n"),
        &[
            "a.yaml:3:37: error: Cluster/c: metadata.labels.store: 0417 is read as the number 271, a string is wanted; write \"0417\"",
            "a.yaml:3:48: error: Cluster/c: metadata.labels.env: yes is read as the boolean true, a string is wanted; write \"yes\"",
            "a.yaml:3:53: error: Cluster/c: metadata.labels: the key no is read as false; write \"no\"",
            "a.yaml:3:64: error: Cluster/c: metadata.labels.n1: 5 is read as the number 5, a string is wanted; write \"5\"",
        ],
    );
    check(
        &document("kind: App\nmetadata: {name: 0417}\nspec: {source: {path: ./web}, prune: \"false\"}\n"),
        &[
            "a.yaml:3:18: error: metadata.name: 0417 is read as the number 271, a string is wanted; write \"0417\"",
            "a.yaml:4:38: error: spec.prune: \"false\" is a string; remove the quotes",
        ],
    );
    check(
        &document(
            "kind: Fleet\nmetadata: {name: f}\nspec: {parameters: {store: 0417, big: .inf}, guard: {app: {max: 25, atMost: -1}}}\n",
        ),
        &[
            "a.yaml:4:28: error: Fleet/f: spec.parameters.store: 0417 is read as the number 271; write \"0417\" or 271",
            "a.yaml:4:39: error: Fleet/f: .inf is a number that JSON does not have; quote it if text is meant",
            "a.yaml:4:65: error: Fleet/f: spec.guard.app.max: 25 is not a whole percentage from 0% to 100%",
            "a.yaml:4:77: error: Fleet/f: spec.guard.app.atMost: -1 is not a whole number from 0",
        ],
    );
}

#[test]
fn names_labels_and_words_are_checked_as_kubernetes_does() {
    check(
        &document(
            "kind: App\nmetadata: {name: Web, labels: {-x: a, x/y/z: b, ok: a b}}\nspec: {source: {path: ./web}, onRemove: orphan}\n",
        ),
        &[
            "a.yaml:3:18: error: metadata.name: \"Web\" is not a valid app name: use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters",
            "a.yaml:3:32: error: metadata.labels: \"-x\" is not a valid label key: use [DOMAIN/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            "a.yaml:3:39: error: metadata.labels: \"x/y/z\" is not a valid label key: use [DOMAIN/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            "a.yaml:3:53: error: metadata.labels.ok: \"a b\" is not a valid label value: use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            "a.yaml:4:41: error: spec.onRemove: \"orphan\" is none of Delete, Orphan; did you mean Orphan?",
        ],
    );
    check_app(
        "source: {path: ./web}\nnamespace: {labels: {}}\nformerly: [web]\n",
        &[
            "a.yaml:6:14: error: App/web: spec.namespace.name is missing; name the namespace",
            "a.yaml:7:14: error: App/web: spec.formerly names the app itself; remove the name",
        ],
    );
}

#[test]
fn a_placement_says_which_clusters() {
    const HOW: &str = "write `clusters: {selector: {}}` for every cluster";
    check_placement(
        "  apps: {names: [web]}",
        &[&format!("a.yaml:5:3: error: Placement/p: spec.clusters is missing; {HOW}")],
    );
    for clusters in ["{}", "{names: []}", "{exclude: [x]}"] {
        let expected = format!(
            "a.yaml:6:13: error: Placement/p: spec.clusters has no term that chooses clusters; {HOW}"
        );
        check_placement(&format!("  apps: {{names: [web]}}\n  clusters: {clusters}"), &[&expected]);
    }
    check_placement(
        "  apps: {}\n  clusters: {selector: {matchExpressions: [{key: a, operator: in, values: [b]}, {key: a, operator: Exists, values: [b]}, {key: a, operator: NotIn}]}}",
        &[
            "a.yaml:5:9: error: Placement/p: spec.apps names no app; give it names, or a selector",
            "a.yaml:6:63: error: Placement/p: spec.clusters.selector.matchExpressions[0].operator: \"in\" is none of In, NotIn, Exists, DoesNotExist; did you mean In?",
            "a.yaml:6:116: error: Placement/p: spec.clusters.selector.matchExpressions[1]: Exists takes no values; remove them",
            "a.yaml:6:122: error: Placement/p: spec.clusters.selector.matchExpressions[2]: NotIn needs values",
        ],
    );
}

#[test]
fn a_name_of_what_is_defined_and_not_valid_is_no_second_problem() {
    let text = document(&format!(
        "kind: Placement\nmetadata: {{name: p}}\nspec:\n  apps: {{names: [web]}}\n  clusters: {{selector: {{}}}}\n---\n{}",
        document("kind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}, tmeout: 1m}\n")
    ));
    let catalog = assembled("1", &[("a.yaml", &text), ("web/c.yaml", MANIFEST)], &LastGood::new());
    let problems = shown(&catalog.problems);
    assert!(problems.len() == 1 && problems[0].contains("App/web: spec.tmeout"), "{problems:?}");
}

#[test]
fn names_that_lead_nowhere_have_no_effect_and_the_rest_has() {
    let text = document(&format!(
        "kind: Placement\nmetadata: {{name: p}}\nspec:\n  apps:\n    names: [web, wbe]\n  clusters: {{sets: [prod], selector: {{}}}}\n---\n{WEB}---\n{}",
        document("kind: Cluster\nmetadata: {name: fra-1}\nspec: {set: prd}\n")
    ));
    let catalog = assembled("1", &[("a.yaml", &text), ("web/c.yaml", MANIFEST)], &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        [
            "a.yaml:6:18: error: Placement/p: App/wbe is not in this catalog; did you mean web?; add it, or remove the name",
            "a.yaml:7:21: error: Placement/p: ClusterSet/prod is not in this catalog; add it, or remove the name",
            "a.yaml:17:13: error: Cluster/fra-1: ClusterSet/prd is not in this catalog; add it, or remove the name",
        ]
    );
    assert_eq!(effective(&catalog), ["Cluster/fra-1@1", "App/web@1", "Placement/p@1"]);
}

#[test]
fn files_that_cannot_be_read() {
    let files: &[(&str, &[u8])] = &[
        ("latin.yaml", b"apiVersion: nave.dev/v1alpha1\nkind: App # caf\xe9\n"),
        ("utf16.yaml", b"\xff\xfea\0p\0i\0"),
        ("other.yaml", b"\xe9 is nobody's business"),
    ];
    let names: Vec<(&str, &str)> = files.iter().map(|(path, _)| (*path, "")).collect();
    let catalog = revision("1", files, &tree(&names), &LastGood::new());
    assert_eq!(
        shown(&catalog.problems),
        [
            "latin.yaml:2:16: error: the file is not UTF-8; save it as UTF-8",
            "utf16.yaml:1:1: error: the file is not UTF-8; save it as UTF-8",
        ]
    );
    let huge = ParsedFile::too_large("huge.yaml", 100 << 20);
    assert!(huge.unreadable);
    assert_eq!(
        shown(&huge.problems),
        ["huge.yaml:1:1: error: the file has 104857600 bytes, a catalog file at most 4 MiB; split it"]
    );
    assert!(parse_file("huge.yaml", &vec![b' '; MAX_FILE_BYTES as usize + 1]).unreadable);
}

#[test]
fn former_names_are_free_and_claimed_once() {
    let app = |name: &str, formerly: &str| {
        document(&format!(
            "kind: App\nmetadata: {{name: {name}}}\nspec: {{source: {{path: ./web}}, formerly: [{formerly}]}}\n"
        ))
    };
    let text = [app("a", "old, b"), app("b", "old")].join("---\n");
    check(
        &text,
        &[
            "a.yaml:4:42: error: App/a: App/b was formerly old too; only one app can take over what old owns",
            "a.yaml:4:47: error: App/a: App/b is still in effect; remove it, or this name from spec.formerly",
            "a.yaml:9:42: error: App/b: App/a was formerly old too; only one app can take over what old owns",
        ],
    );
}

#[test]
fn rules_of_health_are_read_when_they_are_committed() {
    let rule = |healthy: &str| {
        format!("source: {{path: ./web}}\nhealth:\n- target: {{kind: Database}}\n  healthy: {healthy}\n")
    };
    let rows = [
        (
            "objekt.status.phase == 'Ready'",
            "objekt is no known variable; did you mean object?; valid is object",
        ),
        ("has(object.status) && object.status.ready(", "1:43 of the expression: "),
        ("object.status.conditions.exits(c, c.type == 'Ready')", "exits() is no known function"),
    ];
    for (healthy, said) in rows {
        let catalog = assembled(
            "1",
            &[("a.yaml", &app_of(&rule(&format!("\"{healthy}\"")))), ("web/c.yaml", MANIFEST)],
            &LastGood::new(),
        );
        let shown = shown(&catalog.problems);
        let expected = format!("a.yaml:8:14: error: App/web: spec.health[0].healthy: {said}");
        assert!(shown.len() == 1 && shown[0].starts_with(&expected), "{shown:?}\n{expected}");
    }
    check_app(
        &rule(&format!("object{}", ".a".repeat(1500))),
        &[
            "a.yaml:8:14: error: App/web: spec.health[0].healthy: the expression has 3006 bytes, 2048 are allowed; split it or say less",
        ],
    );
}

fn app_of(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    document(&format!("kind: App\nmetadata: {{name: web}}\nspec:\n{indented}"))
}

#[test]
fn what_a_placement_says_that_cannot_be_meant() {
    let rows = [
        ("pick: {count: 0}", "spec.pick.count: 0 chooses nothing; write at least 1, or remove the placement"),
        (
            "pick: {count: 0%}",
            "spec.pick.count: 0% chooses nothing; write at least 1, or remove the placement",
        ),
        ("pick: {count: 101%}", "spec.pick.count: \"101%\" is not a whole percentage from 0% to 100%"),
        ("pick: {count: \"3\"}", "spec.pick.count: \"3\" is a string; write 3 without the quotes"),
        ("pick: {min: \"1\"}", "spec.pick.min: \"1\" is a string; write 1 without the quotes"),
        ("pick: {count: 2, min: 3}", "spec.pick.min: 3 is above count, 2; lower it, or raise count"),
        (
            "pick: {per: region}",
            "spec.pick.per: \"region\" is neither labels.KEY nor facts.NAME; write e.g. labels.region or facts.provider",
        ),
        (
            "pick: {per: facts.free.cpu}",
            "spec.pick.per: facts.free.cpu changes all the time; name a label, or a slow fact",
        ),
        ("pick: {fits: {cpu: many}}", "spec.pick.fits.cpu: \"many\" is no amount; write 8, 500m, 1.5 or 4Gi"),
        (
            "pick: {spread: [{maxSkew: 1}]}",
            "spec.pick.spread[0].topologyKey is missing; say over what, e.g. topologyKey: labels.region",
        ),
        (
            "pick: {spread: [{topologyKey: labels.a, maxSkew: 0}]}",
            "spec.pick.spread[0].maxSkew: 0 is not allowed; write at least 1",
        ),
        (
            "pick: {spread: [{topologyKey: labels.a, minDomains: 2, whenUnsatisfiable: Prefer}]}",
            "spec.pick.spread[0].minDomains: it has no effect with whenUnsatisfiable: Prefer; remove it",
        ),
        (
            "pick: {spread: [{topologyKey: labels.a, whenUnsatisfiable: DoNotSchedule}]}",
            "spec.pick.spread[0].whenUnsatisfiable: \"DoNotSchedule\" is none of Refuse, Prefer",
        ),
        (
            "pick: {prefer: [{weight: 0, balance: true}]}",
            "spec.pick.prefer[0].weight: 0 is not between 1 and 100",
        ),
        (
            "pick: {prefer: [{weight: 101, balance: true}]}",
            "spec.pick.prefer[0].weight: 101 is not between 1 and 100",
        ),
        (
            "pick: {prefer: [{weight: 1}]}",
            "spec.pick.prefer[0] needs one of selector, cel, most, least, balance, 0 are given",
        ),
        (
            "pick: {prefer: [{weight: 1, most: facts.kubernetes}]}",
            "spec.pick.prefer[0].most: facts.kubernetes has no single value; name one of it, e.g. facts.kubernetes.minor",
        ),
        (
            "pick: {prefer: [{weight: 1, least: facts.provider}]}",
            "spec.pick.prefer[0].least: facts.provider is text, of which no cluster has the most or the least; name a number: facts.nodes, ",
        ),
        (
            "pick: {failover: {unreachable: 5s}}",
            "spec.pick.failover.unreachable: 5s is not between 30s and 7d",
        ),
        (
            "pick: {failover: {onReturn: Stay}}",
            "spec.pick.failover.onReturn: \"Stay\" is none of Keep, Return",
        ),
        (
            "tolerations: [{effect: NoExecute}]",
            "spec.tolerations[0]: without a key it tolerates every taint; say so with operator: Exists, or name the key",
        ),
        (
            "tolerations: [{key: gpu, operator: Exists, value: x}]",
            "spec.tolerations[0]: operator Exists takes no value; remove it, or write operator: Equal",
        ),
        (
            "tolerations: [{key: gpu, effect: NoSchedule, tolerationSeconds: 3}]",
            "spec.tolerations[0]: tolerationSeconds is for effect NoExecute alone; remove it, or the effect",
        ),
        (
            "replicas: {target: {kind: Deployment}}",
            "spec.replicas.total is missing; say how many replicas there are in all",
        ),
        (
            "replicas: {total: 3}",
            "spec.replicas.target is missing; say of which objects: target: {kind: Deployment}",
        ),
        (
            "replicas: {target: {kind: ConfigMap}, total: 3}",
            "a.yaml:7:29: error: Placement/p: spec.replicas.target.kind: a ConfigMap has no spec.replicas; name a Deployment, StatefulSet, ReplicaSet, or a custom kind that has it (with its group)",
        ),
        ("clusters: {where: facts.free.cpu > 1.0}", "spec.clusters.where: facts.free changes all the time"),
        (
            "clusters: {where: facts.regoin == 'x'}",
            "spec.clusters.where: facts.regoin is no known fact; did you mean region?",
        ),
        ("clusters: {where: facts.nodes > 'x'}", "spec.clusters.where: "),
        (
            "clusters: {where: 'facts.apis.all(a, facts.apis.all(b, a + b != a))'}",
            "spec.clusters.where: it could take",
        ),
    ];
    for (line, expected) in rows {
        let clusters = if line.starts_with("clusters") { "" } else { "  clusters: {selector: {}}\n" };
        let text = document(&format!(
            "kind: Placement\nmetadata: {{name: p}}\nspec:\n  apps: {{names: [web]}}\n{clusters}  {line}\n---\n{WEB}"
        ));
        let catalog = assembled("1", &[("a.yaml", &text), ("web/c.yaml", MANIFEST)], &LastGood::new());
        let problems = shown(&catalog.problems);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].contains(expected), "{line}: {}", problems[0]);
    }
}

#[test]
fn what_a_cluster_says_that_cannot_be_meant() {
    let rows = [
        (
            "taints: [{key: gpu}]",
            "spec.taints[0].effect is missing; write e.g. {key: gpu, effect: NoSchedule}",
        ),
        (
            "taints: [{key: gpu, effect: NoSchedule}, {key: gpu, value: x, effect: NoSchedule}]",
            "spec.taints[1]: gpu=x:NoSchedule stands there twice; remove one of them",
        ),
        (
            "timezone: CET+1 h",
            "spec.timezone: there is no time zone \"CET+1 h\"; write its IANA name, e.g. Europe/Berlin, or UTC",
        ),
        ("protect: Always", "spec.protect"),
    ];
    for (line, expected) in rows {
        let text = document(&format!("kind: Cluster\nmetadata: {{name: c}}\nspec:\n  {line}\n"));
        let problems = shown(&assembled("1", &[("a.yaml", &text)], &LastGood::new()).problems);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].contains(expected), "{line}: {}", problems[0]);
    }
}

#[test]
fn two_placements_that_divide_the_replicas_of_one_app_differently_change_nothing() {
    let placement = |name: &str, total: u32| {
        document(&format!(
            "kind: Placement\nmetadata: {{name: {name}}}\nspec:\n  apps: {{names: [web]}}\n  clusters: {{selector: {{}}}}\n  replicas: {{target: {{kind: Deployment}}, total: {total}}}\n"
        ))
    };
    let read = |texts: &[String], before: &LastGood| {
        let text = texts.join("---\n") + "---\n" + WEB;
        assembled("1", &[("a.yaml", &text), ("web/c.yaml", MANIFEST)], before)
    };
    let same = read(&[placement("a", 3), placement("b", 3)], &LastGood::new());
    assert_eq!(shown(&same.problems), Vec::<String>::new());
    let differs = read(&[placement("a", 3), placement("b", 4)], &same.objects);
    assert_eq!(differs.problems.len(), 2, "{:?}", shown(&differs.problems));
    assert!(differs.problems[0].message.contains("Placement/b divides the replicas of App/web otherwise"));
    assert!(differs.placements().all(|(_, p)| p.replicas.as_ref().is_some_and(|r| r.total == 3)));
}
