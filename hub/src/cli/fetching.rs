//! Fetching: what apps take from elsewhere, for commands that read a directory.
//!
//! In: `--fetch`, the file of `--config`. Out: remotes and engines. Never: asks anybody without `--fetch`; keeps what was fetched.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tempfile::TempDir;

use crate::config;
use crate::engines::{Engines, Paths};
use crate::sources::{Nowhere, Once, Remotes, Sources};

/// Whether it is fetched, and how.
#[derive(Args, Default)]
pub struct Fetching {
    /// Fetch what apps take from other repositories and registries, from this machine
    #[arg(long, requires = "dir")]
    fetch: bool,
    /// With --fetch: a `HubConfig` whose credentials are used, and whose engines
    #[arg(long, value_name = "FILE", requires = "fetch")]
    config: Option<PathBuf>,
}

/// What is elsewhere, and the engines of this machine.
pub struct Elsewhere {
    /// The engines.
    pub engines: Engines,
    /// Where nothing is fetched: nothing. The room goes with it.
    sources: Option<(Sources, TempDir)>,
}

impl Fetching {
    /// Makes room for what will be fetched.
    ///
    /// # Errors
    /// The configuration cannot be read, or there is no room.
    pub fn open(&self) -> anyhow::Result<Elsewhere> {
        let config = self.config.as_deref().map(config::read).transpose()?.unwrap_or_default();
        let sources = match self.fetch {
            true => {
                let room = tempfile::Builder::new().prefix("hub-sources-").tempdir();
                let room = room.context("cannot make a directory for what is fetched")?;
                Some((Sources::new(room.path().to_owned(), config.credentials), room))
            }
            false => None,
        };
        let paths = if self.fetch { config.engines } else { Paths::default() };
        Ok(Elsewhere { engines: Engines::new(std::env::temp_dir(), paths), sources })
    }
}

impl Elsewhere {
    /// The files of remotes, each asked once.
    pub fn remotes(&self) -> Box<dyn Remotes + '_> {
        match &self.sources {
            Some((sources, _)) => Box::new(Once::of_anybody(sources)),
            None => Box::new(Nowhere),
        }
    }
}
