//! Brings a branch's newest commit.
//!
//! In: an [`Address`](super::address::Address), a branch, the mirror. Out: the commit's id; its objects are readable afterwards.
//! Never: asks a person for anything; sends credentials to another host than the one they were given for; writes to a
//! local source repository.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::ObjectId;
use gix::credentials::{helper, protocol};
use gix::progress::Discard;
use gix::protocol::transport::client::blocking_io::{Transport, http};
use gix::remote::fetch::{Shallow, Tags};
use gix::remote::{Direction, ref_map};

use super::access::certificates;
use super::address::Credentials;
use super::app::Token;
use super::errors::FetchError;
use super::ssh::Ssh;
use super::wire::{self, Wire};
use super::{Options, failures, mirror};
use crate::addresses::Lookup;

/// How many existing branches an error names.
const BRANCHES_NAMED: usize = 5;
/// A server that is silent for longer than this is given up, even if the fetch has more time.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// The time to get a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A server to fetch from.
pub(super) struct Remote<'a> {
    pub(super) url: &'a str,
    /// Of the URL itself; what the configuration gives comes first.
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) options: &'a Options,
    /// The last token that was asked for.
    pub(super) token: &'a Mutex<Option<Token>>,
    /// How it is reached, if not over HTTP.
    pub(super) ssh: Option<&'a Ssh>,
}

/// The branch as the server knows it: its full name, or `HEAD`.
pub(super) fn reference(branch: &str) -> String {
    match branch {
        "" => "HEAD".into(),
        full if full.starts_with("refs/") => full.to_owned(),
        short => format!("refs/heads/{short}"),
    }
}

/// The references that a name may mean, in the order in which Git looks for them; none where it can be no reference.
pub(super) fn meant(rev: &str) -> Vec<String> {
    let names = match rev.starts_with("refs/") {
        true => vec![rev.to_owned()],
        false => vec![format!("refs/tags/{rev}"), format!("refs/heads/{rev}")],
    };
    names.into_iter().filter(|name| gix::refs::FullName::try_from(name.as_str()).is_ok()).collect()
}

/// A reference that a repository has.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// In full.
    pub(super) name: String,
    /// Behind an annotated tag what it is of.
    pub(super) commit: ObjectId,
    /// The branch that `HEAD` stands for.
    pub(super) branch: Option<String>,
}

impl Known {
    /// As people call it.
    pub(super) fn short(&self) -> String {
        let name = self.branch.as_ref().unwrap_or(&self.name);
        let short = ["refs/tags/", "refs/heads/"].iter().find_map(|prefix| name.strip_prefix(prefix));
        short.unwrap_or(name).to_owned()
    }

    /// What a server says of it; nothing where it leads nowhere.
    fn of(reference: &gix::protocol::handshake::Ref) -> Option<Self> {
        let (name, target, peeled) = reference.unpack();
        let branch = match reference {
            gix::protocol::handshake::Ref::Symbolic { target, .. } => Some(target.to_string()),
            _ => None,
        };
        Some(Self { name: name.to_string(), commit: peeled.or(target)?.to_owned(), branch })
    }
}

fn open_local(path: &Path) -> Result<gix::ThreadSafeRepository, FetchError> {
    let url = path.display().to_string();
    let opened = mirror::open_options().open(path);
    opened.map_err(|e| FetchError::NotARepository { url, cause: e.into() })
}

fn failed_local(path: &Path) -> impl Fn(gix::Error) -> FetchError {
    move |cause| FetchError::Failed { url: path.display().to_string(), cause: cause.into() }
}

/// Opens a repository on this machine and reads the first of these references that it has, without writing anything.
pub(super) fn local_named(
    path: &Path,
    names: &[String],
) -> Result<(gix::ThreadSafeRepository, Option<Known>), FetchError> {
    let source = open_local(path)?;
    let repository = source.to_thread_local();
    let failed = failed_local(path);
    for name in names {
        if let Some(mut found) = repository.try_find_reference(name.as_str()).map_err(&failed)? {
            let branch = found.target().try_name().map(|branch| branch.as_bstr().to_string());
            // An unborn HEAD points at a branch that is not there yet.
            let Ok(commit) = found.peel_to_id().map(gix::Id::detach) else { continue };
            // A tag may be of something else.
            repository.find_commit(commit).map_err(&failed)?;
            return Ok((source, Some(Known { name: name.clone(), commit, branch })));
        }
    }
    Ok((source, None))
}

/// The tags of a repository on this machine, as people call them.
pub(super) fn local_tags(path: &Path) -> Result<Vec<String>, FetchError> {
    let repository = open_local(path)?.to_thread_local();
    let failed = failed_local(path);
    let references = repository.references().map_err(&failed)?;
    let tags = references.tags().map_err(&failed)?.filter_map(Result::ok);
    Ok(tags.map(|tag| tag.name().shorten().to_string()).collect())
}

/// Some branches of a repository on this machine.
pub(super) fn local_branches(path: &Path) -> Result<Vec<String>, FetchError> {
    branches(&open_local(path)?.to_thread_local()).map_err(failed_local(path))
}

/// Opens a repository on this machine and reads the branch, without writing anything.
pub(super) fn local(path: &Path, branch: &str) -> Result<(gix::ThreadSafeRepository, ObjectId), FetchError> {
    let source = open_local(path)?;
    let repository = source.to_thread_local();
    let failed = failed_local(path);
    let name = reference(branch);
    let tip = match repository.try_find_reference(name.as_str()).map_err(&failed)? {
        // An unborn HEAD points at a branch that is not there yet.
        Some(mut found) => found.peel_to_id().ok().map(gix::Id::detach),
        None => None,
    };
    let Some(tip) = tip else {
        let found = branches(&repository).map_err(&failed)?;
        let url = path.display().to_string();
        return Err(FetchError::BranchGone { url, branch: shown(branch), found });
    };
    repository.find_commit(tip).map_err(failed)?;
    Ok((source, tip))
}

fn branches(repository: &gix::Repository) -> gix::Result<Vec<String>> {
    let references = repository.references()?;
    let names = references.local_branches()?.filter_map(Result::ok);
    Ok(names.map(|r| r.name().shorten().to_string()).take(BRANCHES_NAMED).collect())
}

fn shown(branch: &str) -> String {
    if branch.is_empty() { "HEAD".into() } else { branch.to_owned() }
}

/// What a fetch over the network ended with.
pub(super) enum Fetched {
    Head(ObjectId),
    /// The server's objects have other ids than the mirror's.
    OtherHash(gix::hash::Kind),
}

impl Remote<'_> {
    /// Fetches what the server knows by one name into a reference of the mirror.
    pub(super) fn fetch_into(
        &self,
        mirror: &gix::Repository,
        (reference, into): (&str, &str),
        shallow: Shallow,
        stop: &AtomicBool,
    ) -> Result<Fetched, FetchError> {
        let broken = |e: gix::Error| mirror::broken(mirror.path(), e);
        let classify = |e: gix::Error| self.classify(e);
        let spec = format!("+{reference}:{into}");
        let remote = self.remote(mirror, &[spec])?;
        let prepared =
            self.connect(&remote)?.prepare_fetch(Discard, ref_map::Options::default()).map_err(classify)?;
        if prepared.ref_map().object_hash != mirror.object_hash() {
            return Ok(Fetched::OtherHash(prepared.ref_map().object_hash));
        }
        // A HEAD whose branch was deleted is mapped too, to nothing; taken for an answer, the last head would stay for ever.
        if !prepared.ref_map().mappings.iter().any(|mapping| mapping.remote.as_id().is_some()) {
            let found = self.branches(mirror)?;
            return Err(FetchError::BranchGone {
                url: self.url.into(),
                branch: shown(reference.strip_prefix("refs/heads/").unwrap_or(reference)),
                found,
            });
        }
        prepared.with_shallow(shallow).receive(Discard, stop).map_err(|error| match classify(error) {
            // It told of its references: what it lacks is something else.
            FetchError::NotARepository { url, cause } => FetchError::Failed { url, cause },
            other => other,
        })?;
        let head = mirror::tip(mirror, into)
            .map_err(broken)?
            .ok_or_else(|| mirror::broken(mirror.path(), "no head"))?;
        // A tag may be of something else.
        mirror.find_commit(head).map_err(|e| FetchError::Failed { url: self.url.into(), cause: e.into() })?;
        Ok(Fetched::Head(head))
    }

    fn remote<'r>(
        &self,
        mirror: &'r gix::Repository,
        specs: &[String],
    ) -> Result<gix::Remote<'r>, FetchError> {
        let build = || -> gix::Result<gix::Remote<'r>> {
            let remote = mirror.remote_at_without_url_rewrite(self.url)?;
            let specs = specs.iter().map(String::as_str);
            Ok(remote.with_refspecs(specs, Direction::Fetch)?.with_fetch_tags(Tags::None))
        };
        build().map_err(|e| FetchError::Failed { url: self.url.into(), cause: e.into() })
    }

    /// Names a few branches that the server has; asked only when the wanted one is gone.
    pub(super) fn branches(&self, mirror: &gix::Repository) -> Result<Vec<String>, FetchError> {
        let known = self.listed(mirror, &["refs/heads/*".to_owned()])?;
        Ok(known.iter().map(Known::short).take(BRANCHES_NAMED).collect())
    }

    /// What the server has by some names, or below those that end with `*`; nothing is fetched.
    pub(super) fn listed(
        &self,
        mirror: &gix::Repository,
        patterns: &[String],
    ) -> Result<Vec<Known>, FetchError> {
        let never = |(at, pattern): (usize, &String)| {
            let star = if pattern.ends_with('*') { "/*" } else { "" };
            format!("{pattern}:refs/nave/never/{at}{star}")
        };
        let specs: Vec<String> = patterns.iter().enumerate().map(never).collect();
        let remote = self.remote(mirror, &specs)?;
        let (map, _) = self
            .connect(&remote)?
            .ref_map(Discard, ref_map::Options::default())
            .map_err(|e| self.classify(e))?;
        // The server may tell of more: all whose names begin so.
        let is_meant = |known: &Known| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => known.name.starts_with(prefix),
                None => known.name == *pattern,
            })
        };
        Ok(map.remote_refs.iter().filter_map(Known::of).filter(is_meant).collect())
    }

    fn connect<'r>(
        &self,
        remote: &'r gix::Remote<'r>,
    ) -> Result<gix::remote::Connection<'r, 'static, 'r, Box<dyn Transport + Send>>, FetchError> {
        let (url, version) =
            remote.sanitized_url_and_version(Direction::Fetch).map_err(|e| self.classify(e))?;
        let id = remote.repo().object_hash().len_in_bytes();
        if let Some(ssh) = self.ssh {
            let line = ssh.connect(&url, id);
            let line = line.map_err(|cause| FetchError::Failed { url: self.url.into(), cause })?;
            let line: Box<dyn Transport + Send> = Box::new(line);
            let mut connection = remote.to_connection_with_transport(line);
            // The keys are the program's; there is nobody to ask for anything else.
            connection.set_credentials(|_| Ok(None));
            return Ok(connection);
        }
        let wire = Wire::new(self.options.is_guarded, id);
        let transport: Box<dyn Transport + Send> =
            Box::new(http::Transport::new_http(wire, url, version, false));
        let mut connection = remote.to_connection_with_transport(transport);
        let (url, credentials) = (self.url.to_owned(), self.login()?);
        connection.set_credentials(move |action| Ok(answer(&url, credentials.as_ref(), action)));
        connection.set_transport_options(Box::new(self.http_options()?));
        Ok(connection)
    }

    fn classify(&self, error: gix::Error) -> FetchError {
        let found = failures::classify(self.url, self.options.timeout.min(SILENCE), error);
        match self.ssh {
            Some(ssh) if !matches!(found, FetchError::TooMuch { .. }) => {
                ssh.failure(self.url).unwrap_or(found)
            }
            _ => found,
        }
    }

    /// What is shown to the server.
    fn login(&self) -> Result<Option<Credentials>, FetchError> {
        let client = || {
            let made = self.client()?.redirect(reqwest::redirect::Policy::none()).build();
            made.map_err(|error| FetchError::Failed { url: self.url.into(), cause: error.into() })
        };
        let given = self.options.access.as_ref().map(|access| access.credentials(client, self.token));
        Ok(given.transpose()?.flatten().or_else(|| self.credentials.cloned()))
    }

    /// A client that trusts and goes through whom the configuration says.
    fn client(&self) -> Result<reqwest::blocking::ClientBuilder, FetchError> {
        let ways = Ways::of(self)?;
        Ok(ways.take(reqwest::blocking::Client::builder()))
    }

    fn http_options(&self) -> Result<http::Options, FetchError> {
        let ways = Ways::of(self)?;
        let configure_client = move |builder| Ok(ways.take(builder));
        Ok(wire::options(http::reqwest::Options {
            configure_client: Some(Box::new(configure_client)),
            configure_request: None,
        }))
    }
}

/// Whom a client trusts, through whom it goes, and for how long it waits.
struct Ways {
    certificates: Option<Vec<reqwest::Certificate>>,
    proxy: Option<reqwest::Proxy>,
    /// Whether names are looked up by [`Lookup`].
    is_guarded: bool,
    timeout: Duration,
}

impl Ways {
    fn of(remote: &Remote<'_>) -> Result<Self, FetchError> {
        // reqwest panics without a default provider; installing one twice is harmless.
        rustls::crypto::ring::default_provider().install_default().ok();
        let access = remote.options.access.as_ref();
        let ca_file = access.and_then(|access| access.ca_file.as_deref());
        let read = |path: &Path| {
            certificates(path).map_err(|cause| FetchError::BadCaFile { path: path.to_owned(), cause })
        };
        let certificates = ca_file.map(read).transpose()?;
        let proxy = access.and_then(|access| access.proxy.as_ref()).map(reqwest::Proxy::all).transpose();
        let proxy =
            proxy.map_err(|error| FetchError::Failed { url: remote.url.into(), cause: error.into() })?;
        let is_guarded = remote.options.is_guarded;
        Ok(Self { certificates, proxy, is_guarded, timeout: remote.options.timeout })
    }

    fn take(&self, builder: reqwest::blocking::ClientBuilder) -> reqwest::blocking::ClientBuilder {
        let builder = builder.timeout(self.timeout.min(SILENCE)).connect_timeout(self.timeout.min(CONNECT));
        let builder = if self.is_guarded { builder.dns_resolver(Arc::new(Lookup)) } else { builder };
        let builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder,
        };
        match &self.certificates {
            Some(certificates) => builder.tls_certs_only(certificates.clone()),
            None => builder,
        }
    }
}

/// Gives the credentials to the host they are for (a redirect may have led elsewhere), once per fetch; never prompts.
fn answer(url: &str, credentials: Option<&Credentials>, action: helper::Action) -> Option<protocol::Outcome> {
    let helper::Action::Get(context) = action else {
        return None;
    };
    let asked = context.url.as_ref()?.to_string();
    let credentials = credentials.filter(|_| origin(&asked) == origin(url))?;
    Some(protocol::Outcome {
        identity: gix::sec::identity::Account {
            username: credentials.username.clone(),
            password: credentials.password.to_string(),
            oauth_refresh_token: None,
        },
        next: protocol::Context::default().into(),
    })
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    &url[..end]
}
