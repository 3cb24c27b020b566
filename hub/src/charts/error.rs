//! What can go wrong with a chart that stands elsewhere: a closed enum whose messages say where, what, and how to mend it.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use nave_placement::Digest;
use nave_placement::catalog::{BadChartName, ChartName};
use reqwest::{StatusCode, Url};

use crate::addresses::Refused;
use crate::git::Signs;

/// The error below, for the log's chain.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a chart could not be had. None of these says anything about the apps that use it.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// It can be no chart.
    #[error(transparent)]
    Name(#[from] BadChartName),
    /// What is to be shown to the server is not at hand.
    #[error("the credentials {name} cannot be used; see `credentials` in the hub's configuration")]
    NoCredentials {
        /// Their name.
        name: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The file of trusted CAs cannot be read.
    #[error("the CA file {} cannot be read; it must hold certificates in PEM form", .path.display())]
    BadCaFile {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// Nobody answers there.
    #[error("{url} cannot be reached; check the address, the network and the proxy settings")]
    Unreachable {
        /// Without what stands after `?`.
        url: String,
        /// What the connection said.
        #[source]
        cause: Cause,
    },
    /// Nobody that we trust vouches for the server.
    #[error(
        "the certificate of {url} is not trusted; name its CA as `caFile` in `credentials` of the hub's configuration"
    )]
    Untrusted {
        /// Without what stands after `?`.
        url: String,
        /// What TLS said.
        #[source]
        cause: Cause,
    },
    /// A server is silent.
    #[error("{url} did not answer in time; the next poll tries again")]
    Silent {
        /// Without what stands after `?`.
        url: String,
    },
    /// All together took too long.
    #[error("{chart} did not come within {after:?}; the next poll tries again")]
    TimedOut {
        /// The chart.
        chart: String,
        /// How long it was given.
        after: Duration,
    },
    /// An answer broke off, or is none of HTTP.
    #[error("{url} could not be read")]
    Failed {
        /// Without what stands after `?`.
        url: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// The server wants other credentials.
    #[error("{url} refuses access; name `credentials` that may read it in the hub's configuration")]
    AuthRefused {
        /// Without what stands after `?`.
        url: String,
    },
    /// The server has nothing there.
    #[error(
        "there is nothing at {url}; check the repository, the chart's name and its version (some servers also answer this when the credentials may not see it)"
    )]
    NotFound {
        /// Without what stands after `?`.
        url: String,
    },
    /// The server answers something else.
    #[error("{url} answers {status}")]
    Status {
        /// Without what stands after `?`.
        url: String,
        /// What it answers.
        status: StatusCode,
    },
    /// An address that nobody is to be sent to.
    #[error("{url} is not asked: {why}")]
    Forbidden {
        /// Without what stands after `?`.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An answer is larger than any that is meant.
    #[error("{url} gives more than {most} bytes; that is no chart for this hub")]
    TooLarge {
        /// Without what stands after `?`.
        url: String,
        /// As many are taken.
        most: u64,
    },
    /// What a server says of its charts cannot be understood.
    #[error("{url} is not what a repository of charts has there: {why}")]
    Unreadable {
        /// Without what stands after `?`.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The repository has no such chart.
    #[error("{repository} has no chart {chart}{hint}")]
    NoChart {
        /// The repository.
        repository: String,
        /// The chart.
        chart: String,
        /// Which may be meant.
        hint: String,
    },
    /// The chart has no such version.
    #[error("{chart} has no version {wanted}{}", existing(.found))]
    NoVersion {
        /// The chart.
        chart: String,
        /// Which are meant.
        wanted: String,
        /// Some versions that it has.
        found: Vec<String>,
    },
    /// The archive is another one than the server says.
    #[error(
        "the archive of {chart} is not the one that the repository names: its digest is sha256:{found}, not sha256:{named}"
    )]
    WrongDigest {
        /// The chart.
        chart: String,
        /// By the repository.
        named: Digest,
        /// Of what came.
        found: Digest,
    },
    /// A version is another archive than it was.
    #[error(
        "version {version} of {chart} is another archive now: its digest is sha256:{found}, it was sha256:{was}; publish changes as a new version"
    )]
    Changed {
        /// The chart.
        chart: String,
        /// The version.
        version: String,
        /// As it was used.
        was: Digest,
        /// As it is now.
        found: Digest,
    },
    /// The archive is no chart.
    #[error("the archive of {chart}, version {version}, is not taken: {why}")]
    Archive {
        /// The chart.
        chart: String,
        /// The version.
        version: String,
        /// What is wrong with it.
        why: String,
    },
    /// Our own copies cannot be used.
    #[error("the archives in {} cannot be used; check the disk", .path.display())]
    Room {
        /// Where they are.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: std::io::Error,
    },
}

impl ChartError {
    /// None of a chart's versions is meant.
    pub(super) fn no_version(chart: &ChartName, found: Vec<String>) -> Self {
        let wanted = match chart.version.as_str() {
            "" => "that is a release",
            version => version,
        };
        Self::NoVersion { chart: chart.to_string(), wanted: wanted.to_owned(), found }
    }

    /// Sorts what a connection said.
    pub(super) fn of_connection(url: &Url, error: reqwest::Error) -> Self {
        let (url, error) = (shown(url), error.without_url());
        let signs = Signs::of(&error);
        if refused(&error) {
            return Self::Forbidden { url, why: Refused::WHY };
        }
        let cause = error.into();
        match signs {
            Signs { untrusted: true, .. } => Self::Untrusted { url, cause },
            Signs { timed_out: true, .. } => Self::Silent { url },
            Signs { connect: true, .. } => Self::Unreachable { url, cause },
            _ => Self::Failed { url, cause },
        }
    }
}

/// Whether a name leads to an address that is never asked.
fn refused(error: &(dyn Error + 'static)) -> bool {
    let below = std::iter::successors(error.source(), |error| (*error).source());
    below.into_iter().any(|error| error.is::<Refused>())
}

/// Without user, password, and what stands after `?`: that may be a secret.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn existing(found: &[String]) -> String {
    if found.is_empty() { "; it has none at all".into() } else { format!("; it has {}", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use reqwest::dns::{Name, Resolve, Resolving};

    use super::*;

    /// As if every name led where no name may lead.
    struct Nowhere;

    impl Resolve for Nowhere {
        fn resolve(&self, _: Name) -> Resolving {
            Box::pin(async { Err(Refused.into()) })
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_refused_address_is_told_as_such_and_a_query_is_not() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Nowhere).build().expect("a client");
        let url: Url = "http://me@charts.invalid:81/a?token=secret".parse().expect("a URL");
        let error = client.get(url.clone()).send().await.expect_err("it leads nowhere");
        let told = ChartError::of_connection(&url, error);
        assert!(matches!(told, ChartError::Forbidden { .. }), "{told:?}");
        assert!(
            told.to_string().starts_with("http://charts.invalid:81/a is not asked: it leads to"),
            "{told}"
        );
    }
}
