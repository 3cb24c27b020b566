//! What valid files mean.

use super::*;

fn only(text: &str) -> Arc<Object> {
    let parsed = parse_file("dir/a.yaml", text.as_bytes());
    assert_eq!(shown(&parsed.problems), Vec::<String>::new(), "{text}");
    parsed.documents[0].object.clone().expect("a document without problem is an object")
}

#[test]
fn an_app_has_the_defaults_of_the_design() {
    let object = only(&document(
        "kind: App\nmetadata: {name: web, labels: {tier: web}}\nspec: {source: {path: ../x/}}\n",
    ));
    assert_eq!(object.labels, BTreeMap::from([("tier".to_owned(), "web".to_owned())]));
    let expected = App {
        source: Source::at("x"),
        parameters: Default::default(),
        substitute: false,
        namespace: None,
        prune: true,
        on_remove: OnRemove::Delete,
        protect: false,
        formerly: Default::default(),
        rollout: None,
        depends_on: None,
        group: None,
        treatment: Treatment::default(),
    };
    assert_eq!(object.spec, Spec::App(expected));
}

#[test]
fn an_app_says_all_that_this_version_knows() {
    let object = only(&document(
        "kind: App\nmetadata: {name: web}\nspec:\n  source: {path: .}\n  namespace: {name: shop, labels: {a: b}, create: no, force: true}\n  prune: false\n  onRemove: Orphan\n  formerly: [old, older]\n",
    ));
    let Spec::App(app) = &object.spec else { panic!("an app") };
    let namespace = app.namespace.as_ref().expect("given");
    assert_eq!(app.source, Source::at("dir"));
    assert_eq!((namespace.name.as_str(), namespace.create, namespace.force), ("shop", false, true));
    assert_eq!((app.prune, app.on_remove, app.formerly.len()), (false, OnRemove::Orphan, 2));
}

#[test]
fn an_app_says_how_its_objects_are_treated() {
    let object = only(&document(
        "kind: App\nmetadata: {name: web}\nspec:\n  source: {path: .}\n  mode: Observe\n  adopt: Always\n  onImmutable: Recreate\n  conflicts: Yield\n  drift: Report\n  serviceAccount: shop/deployer\n  timeout: 1h30m\n  ignore: [{target: {group: apps, kind: Deployment, name: web}, fields: [/spec/replicas]}]\n  health: [{target: {kind: Database}, healthy: \"object.status.phase == 'Ready'\"}]\n",
    ));
    let Spec::App(app) = &object.spec else { panic!("an app") };
    let target = |group: Option<&str>, kind: &str, name: Option<&str>| ObjectTarget {
        group: group.map(str::to_owned),
        kind: Some(kind.to_owned()),
        name: name.map(str::to_owned),
        ..ObjectTarget::default()
    };
    let expected = Treatment {
        mode: Mode::Observe,
        adopt: Adopt::Always,
        on_immutable: OnImmutable::Recreate,
        conflicts: Conflicts::Yield,
        drift: Drift::Report,
        ignore: vec![Ignore {
            target: target(Some("apps"), "Deployment", Some("web")),
            fields: vec!["/spec/replicas".to_owned()],
        }],
        health: vec![HealthRule {
            target: target(None, "Database", None),
            healthy: Some("object.status.phase == 'Ready'".to_owned()),
            failed: None,
        }],
        service_account: Some("shop/deployer".to_owned()),
        timeout: Timeout(5_400_000),
    };
    assert_eq!(app.treatment, expected);
}

#[test]
fn a_placement_says_all_that_this_version_knows() {
    let object = only(&document(
        "kind: Placement\nmetadata: {name: p}\nspec:\n  apps: {names: [web], selector: {matchLabels: {tier: web}}}\n  clusters:\n    selector: {matchLabels: {env: prod}, matchExpressions: [{key: region, operator: In, values: [eu, us]}, {key: gpu, operator: DoesNotExist}]}\n    sets: [prod]\n    names: []\n    exclude: [fra-9]\n",
    ));
    let Spec::Placement(placement) = &object.spec else { panic!("a placement") };
    let selector = placement.clusters.selector.as_ref().map(ToString::to_string);
    assert_eq!(selector.as_deref(), Some("env=prod,region in (eu,us),!gpu"));
    assert_eq!(placement.clusters.names, None, "an empty list is as if it were absent");
    assert_eq!(placement.clusters.exclude.len(), 1);
    assert!(
        only(&document(
            "kind: Placement\nmetadata: {name: p}\nspec: {apps: {names: [web]}, clusters: {selector: {}}}\n"
        ))
        .spec
        .eq(&Spec::Placement(Box::new(Placement {
            apps: AppSelection { names: Some(["web".to_owned()].into()), selector: None, within: None },
            clusters: ClusterSelection { selector: Some(Default::default()), ..Default::default() },
            tolerations: Vec::new(),
            pick: None,
            replicas: None,
            grants: None,
        })))
    );
}

#[test]
fn fleet_cluster_and_set_are_read() {
    let fleet = only(&document(
        "kind: Fleet\nmetadata: {name: f}\nspec:\n  defaults: {rollout: careful, dependsOn: [{selector: {matchLabels: {tier: base}}}]}\n  parameters: {domain: example.com, n: 0x10, deep: {on: [yes]}}\n  guard: {fleet: {max: 5%, atMost: 200}, app: {max: 25%}}\n",
    ));
    let Spec::Fleet(fleet) = &fleet.spec else { panic!("a fleet") };
    let parameters = serde_json::to_string(&fleet.parameters).expect("JSON");
    assert_eq!(
        parameters, r#"{"deep":{"true":[true]},"domain":"example.com","false":16}"#,
        "n is no as kubectl reads it"
    );
    assert_eq!((fleet.guard.fleet.max, fleet.guard.fleet.at_most), (Percent::new(5), Some(200)));
    assert_eq!((fleet.guard.app.max, fleet.guard.cluster.max), (Percent::new(25), None));
    let [
        Dependency { on: DependsOn::Selected(base), until: Until::Healthy, if_absent: None, clusters: None },
    ] = &*fleet.defaults.depends_on
    else {
        panic!("{:?}", fleet.defaults.depends_on)
    };
    assert_eq!(base.to_string(), "tier=base");
    let cluster =
        only(&document("kind: Cluster\nmetadata: {name: fra-1, labels: {env: prod}}\nspec: {set: prod}\n"));
    assert_eq!(cluster.spec, Spec::Cluster(Cluster { set: Some("prod".into()), ..Cluster::default() }));
    assert_eq!(
        only(&document("kind: ClusterSet\nmetadata: {name: prod}\n")).spec,
        Spec::ClusterSet(ClusterSet::default())
    );
}

#[test]
fn json_is_read_as_yaml_is() {
    let text = "{\n\t\"apiVersion\": \"nave.dev/v1alpha1\",\n\t\"kind\": \"App\",\n\t\"metadata\": {\"name\": \"web\"},\n\t\"spec\": {\"source\": {\"path\": \"\\u002e\\/web\"}}\n}\n";
    let parsed = parse_file("a.json", text.as_bytes());
    assert_eq!(shown(&parsed.problems), Vec::<String>::new());
    assert!(parsed.documents[0].object.is_some());
}

#[test]
fn anchors_aliases_and_merges_are_expanded() {
    let object = only(&document(
        "kind: Fleet\nmetadata: {name: f}\nspec:\n  parameters:\n    base: &base {a: 1, b: 2}\n    own: {<<: *base, b: 3}\n    list: [*base]\n",
    ));
    let Spec::Fleet(fleet) = &object.spec else { panic!("a fleet") };
    assert_eq!(
        serde_json::to_string(&fleet.parameters).expect("JSON"),
        r#"{"base":{"a":1,"b":2},"list":[{"a":1,"b":2}],"own":{"a":1,"b":3}}"#
    );
}

#[test]
fn every_document_has_its_own_fate() {
    let text =
        format!("# a comment\n%YAML 1.2\n---\n{WEB}---\n# nothing\n---\n{MANIFEST}--- # end\n{DB}...\n");
    let parsed = parse_file("a.yaml", text.as_bytes());
    let lines: Vec<_> =
        parsed.documents.iter().map(|d| (d.origin.line, d.ours, d.object.is_some())).collect();
    assert_eq!(lines, [(4, true, true), (11, false, false), (15, true, true)]);
    assert_eq!(shown(&parsed.problems), Vec::<String>::new());
}

#[test]
fn candidates_are_regular_files_outside_charts_that_are_not_ignored() {
    let commit: Commit<'_> = &[
        ("nave/a.yaml", ""),
        ("nave/b.yml", ""),
        ("nave/c.json", ""),
        ("nave/README.md", ""),
        ("nave/link.yaml", "-> a.yaml"),
        ("nave/chart/Chart.yaml", ""),
        ("nave/chart/templates/x.yaml", ""),
        ("nave/old/a.yaml", ""),
        ("nave/old/keep.yaml", ""),
        ("nave/sub/gone/x.yaml", ""),
        ("nave/sub/tmp.yaml", ""),
        ("nave/sub/web.yaml", ""),
        ("nave-other/a.yaml", ""),
        ("z.yaml", ""),
        (".naveignore", "*/old/*\n!nave/old/keep.yaml\n# a comment\n"),
        ("nave/sub/.naveignore", "tmp.yaml\n/gone/\n"),
        ("other/.naveignore", "*\n"),
    ];
    let tree = tree(commit);
    let ignore = ignore_files(&tree, "nave");
    assert_eq!(ignore.iter().map(|p| &**p).collect::<Vec<_>>(), [".naveignore", "nave/sub/.naveignore"]);
    let content: BTreeMap<&str, &str> = commit.iter().copied().collect();
    let ignore =
        ignore.into_iter().map(|path| (path.clone(), Arc::from(content[&*path].as_bytes()))).collect();
    let found = candidates(&tree, "nave", &ignore);
    assert_eq!(
        found.iter().map(|p| &**p).collect::<Vec<_>>(),
        ["nave/a.yaml", "nave/b.yml", "nave/c.json", "nave/old/keep.yaml", "nave/sub/web.yaml"]
    );
}
