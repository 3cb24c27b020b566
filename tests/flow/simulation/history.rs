//! What history tells, told again from its first record, is what the clusters are told.
//!
//! In: the store, what every cluster was told. Out: the first entry of which history says something else.
//! Never: takes the hub's word for what a record says: it reads the store.

use std::collections::BTreeMap;

use nave_hub::state::State;
use nave_hub::state::history::HistoryRecord;
use nave_hub::store::Store;
use nave_placement::{AppKey, ClusterName, Digest};

use super::spoke::entries;

type Told = BTreeMap<(ClusterName, AppKey), Digest>;

/// Tells history again, and compares.
pub async fn retold(store: &dyn Store, state: &State) -> Result<(), String> {
    let listing = store.list("history/").await.map_err(|error| error.to_string())?;
    let places: Vec<String> = state.history.places().map(|place| place.key()).collect();
    let stored: Vec<&String> = listing.records.iter().map(|(key, _)| key).collect();
    if places.iter().collect::<Vec<_>>() != stored {
        return Err(format!(
            "the hub knows of {} records of history, {} are stored",
            places.len(),
            stored.len()
        ));
    }
    let mut told = Told::new();
    for (key, record) in &listing.records {
        let record: HistoryRecord =
            serde_json::from_slice(&record.value).map_err(|error| format!("{key}: {error}"))?;
        if record.left_out > 0 {
            return Err(format!("{key} leaves {} changes out", record.left_out));
        }
        for change in record.changes {
            for cluster in &change.clusters {
                let entry = (cluster.clone(), change.app.clone());
                let under_its_name = match &change.to {
                    Some(to) => told.insert(entry, to.version),
                    None => told.remove(&entry),
                };
                let before = match &change.formerly {
                    Some(formerly) => told.remove(&(cluster.clone(), formerly.clone())),
                    None => under_its_name,
                };
                let from = change.from.as_ref().map(|from| from.version);
                if before != from {
                    return Err(format!(
                        "{key}: app {} on {cluster} was {before:?}, and is told to have been {from:?}",
                        change.app
                    ));
                }
            }
        }
    }
    let mut is = Told::new();
    for (cluster, told) in &state.told {
        for (app, entry) in entries(&told.assignment.entries) {
            let entry = entry.map_err(|error| error.to_string())?;
            is.insert((cluster.clone(), app), entry.version);
        }
    }
    let differs = is.keys().chain(told.keys()).find(|key| is.get(*key) != told.get(*key));
    match differs {
        None => Ok(()),
        Some(key) => Err(format!(
            "app {} on {} is {:?}, and history says {:?}",
            key.1,
            key.0,
            is.get(key),
            told.get(key)
        )),
    }
}
