//! `hub snapshot`: what a plan needs of the hub, in one file.
//!
//! In: the hub's snapshot. Out: a file, or stdout. Never: writes bytes to a terminal; leaves half a file.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1;
use tonic::Request;

use super::Outcome;
use super::client::{Client, Hub, refused, whole};
use crate::operator::LONGEST;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
It holds labels, facts, assignments, the catalog's documents and manifests without the values of Secrets; no token, key or certificate.
Example: hub snapshot -f fleet.snapshot && hub plan --snapshot fleet.snapshot --dir .")]
pub struct Arguments {
    /// Where to write it [default: stdout, which may be no terminal]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let is_terminal = arguments.file.is_none() && std::io::stdout().is_terminal();
    ensure!(!is_terminal, "a snapshot is no text: name a file with -f, or send it to one");
    let snapshot = asked(&mut hub.connect().await?).await?;
    match &arguments.file {
        Some(file) => write(file, &snapshot)?,
        None => std::io::stdout().lock().write_all(&snapshot)?,
    }
    Ok(Outcome::Done)
}

/// The hub's snapshot.
///
/// # Errors
/// What the hub said instead.
pub async fn asked(client: &mut Client) -> anyhow::Result<Vec<u8>> {
    let mut request = Request::new(v1::SnapshotRequest {});
    request.set_timeout(LONGEST + REQUEST_TIMEOUT);
    let answer = client.snapshot(request).await.map_err(|status| refused(&status))?;
    whole(answer.into_inner()).await.map_err(|status| refused(&status))
}

/// The file appears whole or not at all.
fn write(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut scratch =
        tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).with_context(cannot)?;
    scratch.write_all(content).with_context(cannot)?;
    scratch.persist(file).with_context(cannot)?;
    Ok(())
}
