//! `spoke status`: how the agent stands, from what it wrote last; without the hub, and without the agent.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nave_spoke::state::secrets::shelf::ClusterShelf;
use nave_spoke::status::{self, Status};

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

/// Shows it.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let status = read(&arguments.place).await?;
    match arguments.output {
        Output::Table => print!("{}", status.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
    }
    Ok(())
}
