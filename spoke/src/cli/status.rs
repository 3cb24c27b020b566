//! `spoke status`: how the agent stands, from what it wrote last; without the hub, and without the agent.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nave_spoke::state::files::Files;
use nave_spoke::state::secrets::owner;
use nave_spoke::state::secrets::shelf::{ClusterShelf, Pod};
use nave_spoke::status::{self, Status};
use serde::Serialize;

use super::place::Place;

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How to show it
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What the agent of this place wrote last.
pub async fn read(place: &Place) -> anyhow::Result<Status> {
    match &place.state_dir {
        Some(dir) => status::read(dir)
            .with_context(|| format!("{}: no spoke has run with this state directory", dir.display())),
        None => {
            let shelf = ClusterShelf::new(place.client().await?, &place.namespace);
            let text = shelf.status().await.context("the status cannot be read from the cluster")?;
            let namespace = &place.namespace;
            let text = text.with_context(|| {
                format!("no spoke has run in namespace {namespace}; --namespace names another, --state-dir a directory")
            })?;
            serde_json::from_slice(&text).context("the status cannot be read")
        }
    }
}

/// Whether the agent of this place runs; `None` where that cannot be told.
pub async fn runs(place: &Place) -> Option<bool> {
    if let Some(dir) = &place.state_dir {
        return Files::is_in_use(dir);
    }
    let shelf = ClusterShelf::new(place.client().await.ok()?, &place.namespace);
    let (_, pod) = owner::holder(&shelf).await.ok()??;
    pod.map(|pod| pod != Pod::Ended)
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    /// Whether the agent runs; absent where that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
}

/// Shows it.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let place = &arguments.place;
    let (status, running) = (read(place).await?, runs(place).await);
    match arguments.output {
        Output::Table => print!("{}", status.table(running)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&Shown { status, running })?),
    }
    Ok(())
}
