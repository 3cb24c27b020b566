//! Overrides, told as stories: given files and clusters, then what each cluster gets, and of how many bundles.
//!
//! Each file of `scenarios` is one. `== PATH` begins a file of the commit, `== clusters` the members, one a line, `== commit` ends
//! it. Lines that begin with `>` are what came of it; with `UPDATE=1` they are written anew.

mod story;

use std::path::Path;
use std::sync::Arc;

use nave_placement::Digest;
use story::World;

#[test]
fn every_story_goes_as_it_is_told() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/overrides/scenarios");
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let told = std::fs::read_to_string(&path).unwrap();
        let went = story::play(&told);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &went).unwrap();
        } else if told != went {
            wrong.push(format!("{}:\n{went}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An app of stores: each cluster has a number of its own; the odd ones are big.
fn stores(count: usize) -> World {
    let mut world = World::default();
    world.file(
        "apps.yaml",
        "\
apiVersion: nave.dev/v1alpha1
kind: App
metadata: {name: till}
spec: {source: {path: ./till}, substitute: true, parameters: {currency: EUR}}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: all}
spec: {apps: {names: [till]}, clusters: {selector: {}}}
---
apiVersion: nave.dev/v1alpha1
kind: Override
metadata: {name: big}
spec:
  apps: {names: [till]}
  clusters: {selector: {matchLabels: {size: big}}}
  patches: [{target: {kind: ConfigMap}, patch: {data: {size: big}}}]
",
    );
    world.file(
        "till/till.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: till}\ndata: {store: \"${parameters.store.number}\", currency: \"${parameters.currency}\"}\n",
    );
    let mut clusters = String::new();
    for number in 0..count {
        clusters.push_str(&format!(
            "---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: c-{number}}}\nspec: {{parameters: {{store: {{number: \"{number:05}\"}}}}}}\n"
        ));
        world.cluster(
            &format!("c-{number}"),
            &[("size", if number % 2 == 1 { "big" } else { "small" }), ("owner", "a")],
        );
    }
    world.file("clusters.yaml", &clusters);
    world
}

#[test]
fn ten_thousand_clusters_with_ten_thousand_numbers_share_two_bundles() {
    let mut world = stores(10_000);
    world.commit("1");
    assert_eq!((world.catalog().problems.clone(), world.rendered), (Vec::new(), 2));
    let entries = world.entries();
    assert_eq!(entries.len(), 10_000);
    let bundles: std::collections::BTreeSet<Digest> = entries.values().map(|form| form.bundle).collect();
    let versions: std::collections::BTreeSet<Digest> = entries.values().map(|form| form.version).collect();
    assert_eq!((bundles.len(), versions.len()), (2, 10_000));
    let number = |cluster: &str| entries[&cluster.parse().unwrap()].values["parameters.store.number"].clone();
    assert_eq!((number("c-7"), number("c-9999")), ("00007".into(), "09999".into()));
    assert!(entries.values().all(|form| form.values.len() == 2), "only the names that are used");

    // A label that nothing names changes nobody; one that an override selects moves that cluster alone, to a bundle there is.
    world.cluster("c-8", &[("size", "small"), ("owner", "b")]);
    world.decide();
    assert_eq!(world.entries(), entries);
    world.cluster("c-8", &[("size", "big"), ("owner", "b")]);
    world.decide();
    let moved = world.entries();
    let changed: Vec<_> = moved.iter().filter(|(cluster, form)| entries[*cluster] != **form).collect();
    assert_eq!((changed.len(), world.rendered), (1, 2));
    assert_eq!(changed[0].1.bundle, entries[&"c-9".parse().unwrap()].bundle);
}

#[test]
fn the_same_files_and_members_give_the_same_forms_in_any_order() {
    let mut world = stores(40);
    world.commit("1");
    let mut again = stores(40);
    again.clusters = std::mem::take(&mut again.clusters).into_iter().rev().collect();
    again.commit("1");
    assert_eq!(Arc::new(world.entries()), Arc::new(again.entries()));
}
