//! Charts: what stands in Helm repositories and OCI registries.
//!
//! In: a [`ChartName`] of the catalog; what the configuration says of reaching its server. Out: which version is meant now and the digest
//! of its archive ([`Pinned`]), and the files of that archive, which is kept.
//!
//! A secret is shown to the host of the URL that its entry of `credentials` has, over TLS alone, and never to whom a redirect leads to.
//! A registry that gives out tokens elsewhere (its answer names a *realm*) has its secret shown there only where that is its own host;
//! `auth.docker.io`, which is known to be Docker Hub's, counts as that. Any other realm is shown what an entry for the realm's own URL says, and
//! only if the registry has an entry with a secret too (`https://gitlab.com` beside `oci://registry.gitlab.com`): who is sent a token is
//! then somebody that is trusted. Otherwise it is shown nothing, as for public charts. A token is asked for to read this one chart, and
//! is shown to the registry alone. A GitHub App's tokens are Git's, and are not shown here.
//! Never: takes an archive with another digest than the server named; takes links or paths that leave it; lets itself be sent to a
//! link-local address, or from https to http; waits for a silent server for long.

pub(crate) mod archive;
mod asking;
mod challenge;
mod error;
mod helm;
mod index;
mod kept;
mod marks;
mod oci;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::Digest;
use nave_placement::catalog::{ChartName, Range};
use nave_placement::render::Contents;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::git::Access;
use asking::Asking;
pub use error::ChartError;
use kept::Kept;
use marks::Marks;

/// For all that one question takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Questions at a time: each may hold an index and an archive, of 64 MiB each.
const AT_A_TIME: usize = 4;
/// Most bytes of an archive, packed: as many as it may hold.
const MOST_BYTES: u64 = archive::MOST_BYTES;
/// How many existing versions an error names.
const NAMED: usize = 5;

/// Asks for charts, and keeps their archives.
pub struct Charts {
    kept: Kept,
    marks: Marks,
    credentials: Vec<Access>,
    turns: Semaphore,
}

/// A version of a chart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pinned {
    /// As the repository has it.
    pub version: String,
    /// Of its archive, SHA-256.
    pub digest: Digest,
}

/// An archive that a server has.
struct Offer<'a> {
    version: String,
    /// As the server names it.
    digest: Option<Digest>,
    at: At<'a>,
}

/// Where it is.
enum At<'a> {
    File(reqwest::Url),
    Blob(oci::Registry<'a>, oci::Layer),
}

impl Charts {
    /// Archives, and indexes of repositories, are kept in `room`, which is made when it is needed; nobody else writes there.
    pub fn new(room: PathBuf, credentials: Vec<Access>) -> Self {
        Self { kept: Kept::new(room), marks: Marks::default(), credentials, turns: Semaphore::new(AT_A_TIME) }
    }

    /// Asks which version is meant now, and brings and keeps its archive; one that is here already is not brought again. Takes at most two
    /// minutes from its turn (four have theirs at a time); dropping the future ends it.
    ///
    /// # Errors
    /// Says why there is none. What was brought before stays.
    pub async fn resolve(&self, chart: &ChartName) -> Result<Pinned, ChartError> {
        chart.check()?;
        let _turn = self.turns.acquire().await;
        let brought = timeout(PATIENCE, self.bring(chart)).await;
        brought.unwrap_or_else(|_| Err(ChartError::TimedOut { chart: chart.to_string(), after: PATIENCE }))
    }

    /// The files of an archive that was brought, by path below the chart's own directory; where it is gone, it is brought again.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`ChartError::Changed`] where the version is another archive now.
    pub async fn files(&self, chart: &ChartName, pinned: &Pinned) -> Result<Arc<Contents>, ChartError> {
        if let Some(files) = self.kept(chart, pinned).await? {
            return Ok(files);
        }
        let version = pinned.version.parse().map_err(|_| ChartError::no_version(chart, Vec::new()))?;
        let found = self.resolve(&ChartName { version, ..chart.clone() }).await?;
        if found.digest != pinned.digest {
            let (chart, version) = (chart.to_string(), pinned.version.clone());
            return Err(ChartError::Changed { chart, version, was: pinned.digest, found: found.digest });
        }
        let archive = self.kept.get(&pinned.digest).await?.unwrap_or_default();
        unpacked(chart, &pinned.version, archive).await.map(|(files, _)| files.into())
    }

    /// The same, if it is here; nobody is asked.
    ///
    /// # Errors
    /// It is here, and cannot be read.
    pub async fn kept(
        &self,
        chart: &ChartName,
        pinned: &Pinned,
    ) -> Result<Option<Arc<Contents>>, ChartError> {
        let Some(archive) = self.kept.get(&pinned.digest).await? else { return Ok(None) };
        let (files, _) = unpacked(chart, &pinned.version, archive).await?;
        Ok(Some(files.into()))
    }

    /// Whether an archive is here, whole.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn has(&self, pinned: &Pinned) -> Result<bool, ChartError> {
        Ok(self.kept.get(&pinned.digest).await?.is_some())
    }

    /// Lets go of archives that nobody names any more, but for those that somebody asked for lately.
    pub async fn keep(&self, used: &BTreeSet<Digest>) {
        let used = used.union(&self.marks.used()).copied().collect();
        if let Err(error) = self.kept.clear(&used, Instant::now()).await {
            tracing::warn!(
                error = crate::deciding::run::chain(&error),
                "archives of charts cannot be removed"
            );
        }
    }

    async fn bring(&self, chart: &ChartName) -> Result<Pinned, ChartError> {
        let strangers: Vec<Access> =
            if chart.is_strangers { self.credentials.iter().map(Access::bare).collect() } else { Vec::new() };
        let asking = Asking::new(if chart.is_strangers { &strangers } else { &self.credentials });
        let mut offer = match chart.is_oci() {
            true => oci::offer(&asking, chart).await?,
            false => helm::offer(&asking, (&self.kept, &self.marks), chart).await?,
        };
        if let Some(digest) = offer.digest
            && self.kept.get(&digest).await?.is_some()
        {
            self.kept.name(digest);
            return Ok(Pinned { version: offer.version, digest });
        }
        let archive = match &mut offer.at {
            At::File(url) => helm::archive(&asking, url).await?,
            At::Blob(registry, layer) => registry.blob(&asking, layer).await?,
        };
        let (_, archive) = unpacked_if(chart, &offer, archive).await?;
        Ok(Pinned { version: offer.version, digest: self.kept.put(archive).await? })
    }
}

/// The version that is meant of some. One that is written just so comes first, as with Helm: 1.10 may be one, and a range.
fn meant<'v>(chart: &ChartName, versions: &'v [String]) -> Result<&'v str, ChartError> {
    let versions = || versions.iter().map(|version| &**version);
    let written = versions().find(|version| *version == chart.version.as_str());
    written.or_else(|| chart.version.best(versions())).ok_or_else(|| {
        let found = Range::highest(versions(), NAMED).into_iter().map(str::to_owned).collect();
        ChartError::no_version(chart, found)
    })
}

/// Only what has the digest that was named is looked at.
async fn unpacked_if(
    chart: &ChartName,
    offer: &Offer<'_>,
    archive: Vec<u8>,
) -> Result<(Contents, Vec<u8>), ChartError> {
    let found = Digest::of(&archive);
    match offer.digest.filter(|named| *named != found) {
        Some(named) => Err(ChartError::WrongDigest { chart: chart.to_string(), named, found }),
        None => unpacked(chart, &offer.version, archive).await,
    }
}

/// The files of an archive, and the archive.
async fn unpacked(
    chart: &ChartName,
    version: &str,
    archive: Vec<u8>,
) -> Result<(Contents, Vec<u8>), ChartError> {
    let done = tokio::task::spawn_blocking(move || Ok((archive::chart(&archive)?, archive))).await;
    let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    done.map_err(|why| ChartError::Archive { chart: chart.to_string(), version: version.to_owned(), why })
}
