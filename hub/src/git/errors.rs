//! What can go wrong with a repository: closed enums whose messages say what, where, and how to mend it.

use std::path::PathBuf;
use std::time::Duration;

use nave_placement::catalog::{BlobId, CommitId, ParseGitRefError};

/// The error below, for the log's chain.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a branch's newest commit could not be had. None of these says anything about the catalog's content.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A scheme that this version cannot read.
    #[error(
        "cannot read {url}: {scheme} is not supported by this version; use https://, ssh://, http://, file:// or a path"
    )]
    UnsupportedScheme {
        /// The URL, without credentials.
        url: String,
        /// The scheme.
        scheme: String,
    },
    /// The URL is malformed.
    #[error("cannot read {url:?}: {reason}")]
    BadUrl {
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What is to be followed is malformed.
    #[error(transparent)]
    BadBranch(#[from] ParseGitRefError),
    /// It leads to where no repository is.
    #[error("{url} is not asked: {why}")]
    Forbidden {
        /// The URL, without credentials.
        url: String,
        /// Why.
        why: &'static str,
    },
    /// It cannot be asked as it is meant.
    #[error("{why}")]
    Unasked {
        /// Why, and how to mend it.
        why: String,
    },
    /// An answer is larger than any that is meant, or would become so.
    #[error("{url} sends more than this hub takes: {what}; keep what is deployed in a repository of its own")]
    TooMuch {
        /// The URL, without credentials.
        url: String,
        /// What there is too much of.
        what: &'static str,
    },
    /// Nobody answers there.
    #[error("{url} cannot be reached; check the address, the network and the proxy settings")]
    Unreachable {
        /// The URL, without credentials.
        url: String,
        /// What the connection said.
        #[source]
        cause: Cause,
    },
    /// No answer in time.
    #[error("{url} did not answer within {after:?}; the next poll tries again")]
    TimedOut {
        /// The URL, without credentials.
        url: String,
        /// How long it was given.
        after: Duration,
    },
    /// There is something, but no Git repository.
    #[error(
        "there is no Git repository at {url}; check the URL (a forge also answers this when the credentials may not see it)"
    )]
    NotARepository {
        /// The URL, without credentials.
        url: String,
        /// What was found instead.
        #[source]
        cause: Cause,
    },
    /// The server wants other credentials.
    #[error("{url} refuses access; give credentials that may read it")]
    AuthRefused {
        /// The URL, without credentials.
        url: String,
        /// What the server said.
        #[source]
        cause: Cause,
    },
    /// What is to be shown to the server is not at hand.
    #[error("the credentials {name} cannot be used; see `credentials` in the hub's configuration")]
    NoCredentials {
        /// Their name.
        name: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A host that nobody said the key of.
    #[error(
        "{url} needs SSH, and nothing says how; give `credentials` for it in the hub's configuration, with ssh.knownHostsFile"
    )]
    NoSsh {
        /// The URL.
        url: String,
    },
    /// The host has another key, or none that was named.
    #[error(
        "the host key of {url} is not among the known ones; compare it with what the host's operators publish, and add it to the known hosts file"
    )]
    UnknownHost {
        /// The URL.
        url: String,
        /// What SSH said.
        #[source]
        cause: Cause,
    },
    /// Nobody that we trust vouches for the server.
    #[error(
        "the certificate of {url} is not trusted; name its CA in caFile of the credentials that it is reached by"
    )]
    Untrusted {
        /// The URL, without credentials.
        url: String,
        /// What TLS said.
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
    /// The repository has no such branch.
    #[error("{url} has no branch {branch}{}", existing(.found))]
    BranchGone {
        /// The URL, without credentials.
        url: String,
        /// The branch; `HEAD` for the default one.
        branch: String,
        /// Some branches that it has.
        found: Vec<String>,
    },
    /// The repository has nothing of that name.
    #[error("{url} has no branch, tag or commit {rev}{}", existing(.found))]
    Unknown {
        /// The URL, without credentials.
        url: String,
        /// What was asked for.
        rev: String,
        /// Some branches that it has.
        found: Vec<String>,
    },
    /// The server or the source repository did something unexpected.
    #[error("{url} could not be fetched")]
    Failed {
        /// The URL, without credentials.
        url: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// Our own copy is unusable.
    #[error("the copy of the repository in {} cannot be used; check the disk, or move the directory away and the next poll makes it anew", .path.display())]
    Mirror {
        /// Its directory.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: Cause,
    },
}

/// Why what a server answers is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// There is too much of something.
    #[error("{0}")]
    TooMuch(&'static str),
    /// It says that it is a pack.
    #[error("the pack is damaged: {0}")]
    NoPack(&'static str),
    /// It leads on to where nobody is asked.
    #[error("{0}")]
    Redirect(&'static str),
}

fn existing(found: &[String]) -> String {
    if found.is_empty() { "; it has none at all".into() } else { format!("; it has {}", found.join(", ")) }
}

/// Why something of a fetched commit could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Neither in the source nor in our copy.
    #[error("object {id} is not in the repository")]
    Missing {
        /// Its id, or what was given for one.
        id: String,
    },
    /// An abbreviation that fits several objects, or none that is a commit.
    #[error("{rev:?} names no single commit; give more digits")]
    Ambiguous {
        /// What was given.
        rev: String,
    },
    /// More bytes than the caller takes.
    #[error("the file has {size} bytes; {limit} are allowed")]
    TooLarge {
        /// The file.
        blob: BlobId,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// More paths than a catalog may have.
    #[error(
        "commit {commit} has more than {limit} paths (counted up to {path}); keep the catalog in a smaller repository"
    )]
    TooManyPaths {
        /// The commit.
        commit: CommitId,
        /// The limit.
        limit: usize,
        /// Where counting stopped.
        path: String,
    },
    /// A path that no `git` would have written.
    #[error("commit {commit} holds the path {path:?}, which Git does not allow; rewrite the commit")]
    BadPath {
        /// The commit.
        commit: CommitId,
        /// The path.
        path: String,
    },
    /// The answer lies in history that nobody has here.
    #[error(
        "the history of {commit} ends before the question is answered; run `git fetch --unshallow` in the source repository"
    )]
    HistoryCut {
        /// The commit whose ancestors were asked for.
        commit: CommitId,
    },
    /// Missing history could not be fetched.
    #[error("older history could not be fetched")]
    Fetch(#[from] FetchError),
    /// An object cannot be decoded.
    #[error("object {id} cannot be read; the repository is damaged, `git fsck` in it says more")]
    Damaged {
        /// Its id.
        id: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// Nothing was fetched yet.
    #[error("nothing was fetched yet")]
    Empty,
}
