//! One app for each directory: what a commit costs, and how each is found again.

use nave_placement::catalog::{Kind, ObjectId};

use super::*;
use crate::deciding::revision::Earlier;

const TEMPLATE: &str = "\
apiVersion: nave.dev/v1alpha1
kind: App
metadata: {name: svc-*}
spec: {source: {directories: ./services/*}}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: all}
spec: {apps: {selector: {}}, clusters: {selector: {}}}
";

fn services(names: &[&str]) -> World {
    let mut world = World { obeys: true, ..World::default() };
    world.files.insert("apps.yaml".into(), TEMPLATE.into());
    world.files.insert("note.yaml".into(), "# not of nave.dev/\n".into());
    for name in names {
        world.files.insert(format!("services/{name}/{name}.yaml"), config_map(name));
    }
    world
}

#[tokio::test]
async fn a_directory_more_parses_no_other_file_and_renders_no_other_app() {
    let mut world = services(&["a", "b", "c"]);
    world.member("one", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 3));
    let mut loader = Loader::default();
    let place =
        Place { name: CatalogName::root(), directory: String::new(), is_root: true, configured: None };
    let mut load = async |world: &World, good: &LastGood| {
        let commit = CommitId("2222222222222222222222222222222222222222".into());
        let catalog =
            loader.catalog(&world.content(), &place, &commit, &tree(&world.files), good).await.objects;
        (catalog, loader.files_parsed)
    };
    let (first, parsed) = load(&world, &LastGood::new()).await;
    assert_eq!((first.len(), parsed), (4, 2));
    world.files.insert("services/d/d.yaml".into(), config_map("d"));
    let (second, parsed) = load(&world, &first).await;
    assert_eq!((second.len(), parsed), (5, 2), "nothing is parsed again");
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 4), "only the new app is rendered");
    let told = world.state.told(&"one".parse().expect("a name"));
    assert_eq!(told.assignment.entries.len(), 4);
}

#[tokio::test]
async fn what_a_template_made_is_found_again_in_the_commit_that_its_record_names() {
    let mut world = services(&["a", "b"]);
    let id = |name: &str| ObjectId { kind: Kind::App, name: name.into() };
    world.commit("1111111111111111111111111111111111111111").await;
    let made = world.revision.as_ref().expect("it is taken").catalog.objects.clone();
    let older = (world.content(), tree(&world.files));
    world.files.insert("apps.yaml".into(), TEMPLATE.replace("source:", "sorce:"));
    world.files.remove("services/b/b.yaml");
    world.commit("2222222222222222222222222222222222222222").await;
    let records: BTreeMap<String, (String, String)> = world
        .state
        .good
        .iter()
        .filter(|((_, kind, _), _)| kind == "App")
        .map(|((_, _, name), held)| {
            (name.clone(), (held.record.commit.to_string(), held.record.file.clone()))
        })
        .collect();
    let expected = ("1111111111111111111111111111111111111111".to_owned(), "apps.yaml".to_owned());
    assert_eq!(records, [("svc-a".to_owned(), expected.clone()), ("svc-b".to_owned(), expected)].into());
    let mut earlier = Earlier::default();
    for name in ["svc-a", "svc-b"] {
        let found = earlier.object(&older.0, &older.1, "apps.yaml", &id(name)).await;
        assert_eq!(found.as_ref(), Some(&made[&id(name)].object), "{name}");
    }
    assert_eq!(earlier.object(&older.0, &older.1, "apps.yaml", &id("svc-c")).await, None);
    assert_eq!(earlier.object(&older.0, &older.1, "apps.yaml", &id("a")).await, None);
}
