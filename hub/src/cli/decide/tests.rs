//! A small catalog, a fleet of two, and what is told of them before and after a change.

use super::*;

const CATALOG: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}}\n---\napiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: prod}\nspec: {apps: {names: [web]}, clusters: {selector: {matchLabels: {env: prod}}}, pick: {count: 1}}\n";
const FLEET: &str = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a, labels: {env: prod}}\nstatus: {connected: true}\n---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: b, labels: {env: dev}}\nstatus: {connected: true}\n";

#[tokio::test]
async fn a_directory_and_a_fleet_are_decided_and_what_is_printed_reads_back() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("web")).expect("a directory");
    std::fs::write(dir.path().join("web/c.yaml"), "kind: ConfigMap\n").expect("a file");
    std::fs::write(dir.path().join("catalog.yaml"), CATALOG).expect("a file");
    let catalog = catalog(dir.path(), "").await.expect("a catalog");
    let given = offline::fleet("fleet.yaml", FLEET, &catalog).expect("a fleet");
    let decided = Told::of(&catalog, &given, None);
    let expected = "\
placement prod: web on 1 of 2 clusters
  ✓ a: it was picked as number 1 of 1
  ✗ b: its label env is \"dev\", clusters.selector wants env=prod
";
    assert_eq!(decided.text(Style::default()), expected);
    let file = dir.path().join("decided.json");
    let memory = offline::decide(&catalog, &given, &Memory::new()).memory();
    std::fs::write(&file, serde_json::to_string(&decided).expect("JSON")).expect("a file");
    assert_eq!(previous(&file).expect("it reads back"), memory);
    std::fs::write(&file, "{").expect("a file");
    assert!(previous(&file).is_err());
}

#[tokio::test]
async fn who_joins_and_who_leaves_is_told_and_what_is_told_reads_back_too() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("web")).expect("a directory");
    std::fs::write(dir.path().join("web/c.yaml"), "kind: ConfigMap\n").expect("a file");
    std::fs::write(dir.path().join("catalog.yaml"), CATALOG).expect("a file");
    let catalog = catalog(dir.path(), "").await.expect("a catalog");
    let of = |fleet: &str, previous: Option<&Memory>| {
        let given = offline::fleet("fleet.yaml", fleet, &catalog).expect("a fleet");
        Told::of(&catalog, &given, previous)
    };
    let memory = |told: &Told| {
        let json = serde_json::to_value(told).expect("JSON");
        serde_json::from_value::<Decided>(json).expect("it is a decision").memory()
    };
    let first = of(FLEET, None);
    let json = serde_json::to_value(&first).expect("JSON");
    assert!(json["placements"][0].get("joins").is_none(), "{json}");
    let mut before = memory(&first);
    let same = of(FLEET, Some(&before));
    assert!(same.text(Style::default()).ends_with("wants env=prod\nno placement changes\n"));
    // The labels change places; and there was a placement that is no more.
    let settled = before["prod"].clone();
    before.insert("old".into(), settled);
    let swapped = FLEET.replace("env: prod", "env: x").replace("env: dev", "env: prod");
    let moved = of(&swapped, Some(&before));
    let text = moved.text(Style::default());
    let expected = "\
  + b joins
  - a leaves
placement old: it is not in the catalog any more
  - a leaves
2 placements change: 1 cluster joins, 2 leave
";
    assert!(text.ends_with(expected), "{text}");
    let json = serde_json::to_value(&moved).expect("JSON");
    assert_eq!(json["placements"][0]["joins"], serde_json::json!(["b"]));
    assert_eq!(json["placements"][0]["leaves"], serde_json::json!(["a"]));
    assert_eq!(serde_json::from_value::<Told>(json).expect("it reads back"), moved);
    let after = memory(&moved);
    assert_eq!(after.keys().map(|name| &**name).collect::<Vec<_>>(), ["prod"]);
    assert_eq!(of(&swapped, Some(&after)).summary().as_deref(), Some("no placement changes\n"));
}

#[tokio::test]
async fn other_shares_and_too_few_clusters_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let fleet = FLEET.replace("env: dev", "env: prod");
    let told = async |spec: &str, previous: Option<&Memory>| {
        std::fs::write(dir.path().join("catalog.yaml"), CATALOG.replace("pick: {count: 1}", spec))
            .expect("a file");
        let catalog = catalog(dir.path(), "").await.expect("a catalog");
        let given = offline::fleet("fleet.yaml", &fleet, &catalog).expect("a fleet");
        let told = Told::of(&catalog, &given, previous);
        let json = serde_json::to_value(&told).expect("JSON");
        (told.text(Style::default()), serde_json::from_value::<Decided>(json).expect("a decision").memory())
    };
    let replicas =
        |total: u32| format!("replicas: {{target: {{kind: Deployment, name: web}}, total: {total}}}");
    let (_, before) = told(&replicas(4), None).await;
    let (text, _) = told(&replicas(6), Some(&before)).await;
    assert!(text.contains("a, 3 replicas instead of 2: "), "{text}");
    assert!(text.ends_with("1 placement changes: 2 clusters have other replicas\n"), "{text}");
    let (text, _) =
        told("pick: {count: 3, prefer: [{weight: 2, selector: {matchLabels: {env: prod}}}]}", None).await;
    assert!(
        text.contains("web on 2 of 2 clusters, fewer than pick.count 3: no others can be chosen\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_placement_that_is_refused_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = CATALOG.replace("pick: {count: 1}", "pick: {count: many}");
    std::fs::write(dir.path().join("catalog.yaml"), text).expect("a file");
    let catalog = catalog(dir.path(), "").await.expect("a catalog");
    let given = offline::fleet("fleet.yaml", FLEET, &catalog).expect("a fleet");
    let before = Memory::from([("prod".into(), nave_placement::decide::Settled::default())]);
    let told = Told::of(&catalog, &given, Some(&before));
    let expected =
        "placement prod: could not be read, so a hub keeps what it decided before; the errors stand above\n";
    assert_eq!(told.text(Style::default()), expected, "{:?}", catalog.problems);
    // A document that has no name may be the one that is missed.
    std::fs::write(dir.path().join("catalog.yaml"), CATALOG.replace("{env: prod}", "{env")).expect("a file");
    let catalog = super::catalog(dir.path(), "").await.expect("a catalog");
    let chosen = [("a".parse().expect("a name"), nave_placement::decide::Place::default())].into();
    let settled = nave_placement::decide::Settled { chosen, ..Default::default() };
    let told = Told::of(&catalog, &given, Some(&Memory::from([("prod".into(), settled)])));
    assert_eq!(
        (told.gone.len(), told.text(Style::default())),
        (0, expected.to_owned()),
        "{:?}",
        catalog.problems
    );
    let unread = Told { errors: 1, ..Told::default() };
    assert!(unread.text(Style::default()).contains("could be read"));
    assert_eq!(Told::default().text(Style::default()), "The catalog has no placement.\n");
}

#[test]
fn names_are_shortened_unless_there_is_room() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let wide = Style { is_wide: true, ..Style::default() };
    assert_eq!(listed(&names, Style::default()), "a, b, c, d, e and 2 more");
    assert_eq!(listed(&names[..5], Style::default()), "a, b, c, d, e");
    assert_eq!(listed(&names, wide), "a, b, c, d, e, f, g");
}

#[test]
fn a_fleet_that_cannot_be_read_is_told_with_its_place() {
    let catalog = Catalog {
        name: CatalogName::root(),
        commit: CommitId("1".into()),
        objects: BTreeMap::new(),
        problems: Vec::new(),
        empty: true,
        tenants: BTreeMap::new(),
    };
    let rows = [
        (String::new(), "fleet.yaml:1:1: error: there is no Cluster"),
        ("a: [".to_owned(), "fleet.yaml:"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".to_owned(), "Pod of v1 is no Cluster"),
        (
            FLEET.replace("connected", "conected"),
            "fleet.yaml:4:10: error: unknown field conected; did you mean connected?",
        ),
        (
            FLEET.replace("name: b", "nome: b"),
            "fleet.yaml:8:12: error: unknown field nome; did you mean name?",
        ),
        (FLEET.replace("{name: b, labels: {env: dev}}", "{labels: {env: dev}}"), "field name is missing"),
        (
            FLEET.replace("{connected: true}\n---", "\n  facts:\n    nodes: many\n---"),
            "fleet.yaml:6:12: error: status.facts.nodes: it is the text \"many\"; a whole number is wanted",
        ),
        ("web\n".to_owned(), "fleet.yaml:1:1: error: it is the text \"web\"; a mapping is wanted"),
        (FLEET.replace("name: b", "name: a"), "Cluster/a stands there twice"),
        (
            FLEET.replace("true}\n---", "false, silentFor: 5}\n---"),
            "status.silentFor: it is the number 5; a text is wanted",
        ),
    ];
    for (text, expected) in rows {
        let problems = offline::fleet("fleet.yaml", &text, &catalog).expect_err(&text);
        assert!(problems[0].to_string().contains(expected), "{}", problems[0]);
    }
}
