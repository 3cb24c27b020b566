//! What these tests start from and look at.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::Value;

/// Something of ours happens within this on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How long it is watched that something does not happen: the hub polls every second, a spoke looks at each change at once.
pub const WATCHED: Duration = Duration::from_secs(4);

/// Writes an app of one ConfigMap.
pub fn write_app(catalog: &Repository, name: &str, value: &str) {
    catalog.write(&format!("apps/{name}.yaml"), &documents::app(name)).unwrap();
    write_value(catalog, name, value);
}

/// Writes the value of an app's ConfigMap.
pub fn write_value(catalog: &Repository, name: &str, value: &str) {
    let path = format!("apps/manifests/{name}/{name}.yaml");
    catalog.write(&path, &documents::config_map(name, value)).unwrap();
}

/// A catalog whose apps run on every cluster, each placed by a file of its own.
pub fn catalog(apps: &[&str]) -> Repository {
    let catalog = Repository::init("catalog").unwrap();
    for app in apps {
        write_app(&catalog, app, "1");
        let placement = documents::placement(&format!("{app}-everywhere"), &[app], "{selector: {}}");
        catalog.write(&format!("placements/{app}.yaml"), &placement).unwrap();
    }
    catalog.commit("Begin").unwrap();
    catalog
}

/// Takes an app out of the catalog.
pub fn remove_app(catalog: &Repository, app: &str) {
    for path in
        [format!("apps/{app}.yaml"), format!("apps/manifests/{app}"), format!("placements/{app}.yaml")]
    {
        catalog.remove(&path).unwrap();
    }
}

/// A fleet that runs and has converged.
pub async fn fleet(catalog: Repository, clusters: &[&str]) -> Fleet {
    let mut fleet = Fleet::start(catalog).await.unwrap();
    for cluster in clusters {
        fleet.join(cluster, &[], &Target::Directory).await.unwrap();
    }
    fleet.connected(clusters.len()).await;
    fleet.converge(&[]).await.unwrap();
    fleet
}

/// The manifests of several clusters.
pub fn files(fleet: &Fleet, clusters: &[&str]) -> BTreeMap<String, BTreeMap<String, String>> {
    clusters.iter().map(|cluster| ((*cluster).to_owned(), fleet.files(cluster).unwrap())).collect()
}

/// The values in the ConfigMaps of a cluster, by name: `None` for a file that is not one.
pub fn values(fleet: &Fleet, cluster: &str) -> BTreeMap<String, Option<String>> {
    let value = |text: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("value: "))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    let name = |file: &str| file.trim_end_matches(".yaml").rsplit("--").next().unwrap_or_default().to_owned();
    let files = fleet.files(cluster).unwrap();
    let maps = files.iter().filter(|(file, _)| file.starts_with("configmap--"));
    maps.map(|(file, text)| (name(file), value(text))).collect()
}

/// Waits until a cluster has exactly these values.
pub async fn until_values(fleet: &Fleet, cluster: &str, wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<_, _> =
        wanted.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
    wait::until(&format!("{cluster} has {wanted:?}"), LIMIT, async || {
        let seen = values(fleet, cluster);
        ensure!(seen == wanted, "{seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

/// Waits for a status that satisfies a condition.
pub async fn until_status(fleet: &Fleet, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(holds(&status), "{status:#}\n{}", fleet.tails());
        Ok(status)
    })
    .await
}

/// The ids of what is held.
pub fn holds(status: &Value) -> Vec<String> {
    let holds = status["holds"].as_array().map(Vec::as_slice).unwrap_or_default();
    holds.iter().filter_map(|hold| hold["hold"]["id"].as_str().map(str::to_owned)).collect()
}

/// Waits until the hub holds so many changes.
pub async fn until_held(fleet: &Fleet, count: usize) -> Vec<String> {
    let status = until_status(fleet, &format!("{count} holds"), |status| holds(status).len() == count).await;
    holds(&status)
}

/// Runs `hub`, which has to succeed.
pub async fn done(fleet: &Fleet, arguments: &[&str]) -> Result<String> {
    let answer = fleet.hub(arguments).await?;
    ensure!(answer.code == 0, "hub {arguments:?}: {}{}\n{}", answer.stdout, answer.stderr, fleet.tails());
    Ok(answer.stdout)
}
