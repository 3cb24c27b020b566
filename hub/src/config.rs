//! The hub's configuration file, `hub serve --config F`.
//!
//! In: one YAML document. Out: [`HubConfig`], checked. Never: holds a secret: those stay in files of their own.

mod catalogs;
mod git;
pub mod known;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nave_placement::catalog::API_VERSION;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::deciding::revision::Configured;
use crate::engines::Paths;
use crate::events::{Filter, KINDS};
use crate::git::Access;
use crate::state::trim::Keep;

/// The document's kind.
pub const KIND: &str = "HubConfig";
/// A cluster that is silent for longer is told to be offline.
const OFFLINE_AFTER: Duration = Duration::from_secs(60);
/// Larger files are none of ours.
const LONGEST: u64 = 1 << 20;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// For how long a cluster may be silent before it is told to be offline.
    pub offline_after: Duration,
    /// Who is told of events.
    pub sinks: Vec<SinkConfig>,
    /// How long the audit log is kept.
    pub audit: Keep,
    /// Who may say that something was pushed.
    pub webhooks: Vec<WebhookConfig>,
    /// How repositories are reached.
    pub credentials: Vec<Access>,
    /// Where helm and kustomize are, if not in the search path.
    pub engines: Paths,
    /// Further catalogs, as documents of the root's.
    pub catalogs: Option<Configured>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            offline_after: OFFLINE_AFTER,
            sinks: Vec::new(),
            audit: Keep::default(),
            webhooks: Vec::new(),
            credentials: Vec::new(),
            engines: Paths::default(),
            catalogs: None,
        }
    }
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Its name.
    pub name: String,
    /// Which events it gets.
    pub filter: Filter,
    /// Certificates of authorities that its server is checked with, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// What it is.
    pub kind: SinkKind,
}

/// What a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Gets each event as JSON, signed.
    Webhook {
        /// Where.
        url: String,
        /// The key of the signature.
        secret_file: PathBuf,
    },
    /// A chat that takes what Slack's incoming webhooks take.
    Slack(SlackUrl),
    /// The status of commits on a forge.
    CommitStatus {
        /// Whose API.
        provider: Provider,
        /// Its base, e.g. `https://api.github.com`.
        url: String,
        /// `OWNER/NAME`; on GitLab a project's id or path.
        repository: String,
        /// A token that may write statuses.
        token_file: PathBuf,
        /// Tells our status from those of others.
        context: String,
        /// Where the forge's page leads.
        target_url: Option<String>,
    },
}

/// Where a chat is: who knows the URL may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlackUrl {
    /// Here.
    Given(String),
    /// In a file.
    File(PathBuf),
}

/// A forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "they are names")]
pub enum Provider {
    GitHub,
    GitLab,
    Gitea,
}

/// Who may say that something was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its name.
    pub name: String,
    /// How its requests are signed.
    pub forge: Forge,
    /// The secret that it shares with the hub.
    pub secret_file: PathBuf,
}

/// Whose requests: each signs in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "they are names")]
pub enum Forge {
    GitHub,
    GitLab,
    Gitea,
    Bitbucket,
    /// Who signs as Standard Webhooks or GitHub do.
    Generic,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says.
    #[error("{}:{wrong}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// What is wrong, and where.
        wrong: Wrong,
    },
}

/// What is wrong in a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    line: u64,
    message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, or is not valid: with its line, and how to mend it.
pub fn read(path: &Path) -> Result<HubConfig, ConfigError> {
    let error = |source| ConfigError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(error)?.len() > LONGEST {
        return Err(error(std::io::Error::other("it is larger than 1 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(error)?;
    let whole = std::path::absolute(path).map_err(error)?;
    parse(&text, &whole).map_err(|wrong| ConfigError::Wrong { path: path.to_owned(), wrong })
}

/// Reads the text of a file, by its whole path; files that it names are relative to where it is.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str, file: &Path) -> Result<HubConfig, Wrong> {
    let written: Written = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        // The library shows the lines around it; the first says what is wrong.
        let said = error.without_snippet().to_string();
        let first = said.lines().next().unwrap_or_default();
        let message = first.split_once(": ").map_or(first, |(place, rest)| {
            if place.starts_with("error: line") || place.starts_with("line ") { rest } else { first }
        });
        Wrong { line, message: message.to_owned() }
    })?;
    written.checked(file)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    events: Events,
    #[serde(default)]
    sinks: Vec<Sink>,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    webhooks: Vec<Trigger>,
    #[serde(default)]
    credentials: Vec<git::Credential>,
    #[serde(default)]
    engines: Engines,
    #[serde(default)]
    catalogs: Vec<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Engines {
    helm: Option<PathBuf>,
    kustomize: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Events {
    offline_after: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Audit {
    max_age: Option<Spanned<String>>,
    max_size: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sink {
    name: Spanned<String>,
    #[serde(default)]
    events: Vec<Spanned<String>>,
    #[serde(default)]
    apps: Vec<String>,
    #[serde(default)]
    clusters: Vec<String>,
    #[serde(default)]
    catalogs: Vec<String>,
    ca_file: Option<PathBuf>,
    webhook: Option<Webhook>,
    slack: Option<Slack>,
    commit_status: Option<CommitStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Webhook {
    url: Spanned<String>,
    secret_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Trigger {
    name: Spanned<String>,
    provider: Forge,
    secret_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Slack {
    url: Option<Spanned<String>>,
    url_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommitStatus {
    provider: Provider,
    url: Spanned<String>,
    repository: Spanned<String>,
    token_file: PathBuf,
    context: Option<String>,
    target_url: Option<Spanned<String>>,
}

fn wrong<T, V>(at: &Spanned<V>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { line: at.referenced.line(), message: message.into() })
}

/// No two of a kind have one name.
fn once<'a>(names: impl Iterator<Item = &'a Spanned<String>>, what: &str) -> Result<(), Wrong> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(&name.value) {
            return wrong(name, format!("there are two {what} {:?}; give one another name", name.value));
        }
    }
    Ok(())
}

fn named(name: &Spanned<String>, what: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !name.value.is_empty() && name.value.len() <= 63 && name.value.chars().all(legal) {
        true => Ok(()),
        false => wrong(
            name,
            format!("{:?} is no name of a {what}: it has at most 63 of a-z, 0-9 and -", name.value),
        ),
    }
}

impl Written {
    fn checked(self, file: &Path) -> Result<HubConfig, Wrong> {
        let directory = file.parent().unwrap_or(Path::new("/"));
        if self.api_version.value != API_VERSION {
            return wrong(&self.api_version, format!("apiVersion is {API_VERSION} in this version"));
        }
        if self.kind.value != KIND {
            return wrong(&self.kind, format!("kind is {KIND}; documents of the catalog stand in Git"));
        }
        let mut config = HubConfig::default();
        if let Some(text) = &self.events.offline_after {
            config.offline_after = duration(text)?;
        }
        if let Some(text) = &self.audit.max_age {
            config.audit.age_ms = u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX);
        }
        if let Some(text) = &self.audit.max_size {
            config.audit.bytes = bytes(text)?;
        }
        once(self.sinks.iter().map(|sink| &sink.name), "sinks")?;
        once(self.webhooks.iter().map(|webhook| &webhook.name), "webhooks")?;
        once(self.credentials.iter().map(|credential| &credential.name), "credentials")?;
        let path = |path: Option<PathBuf>| path.map(|path| directory.join(path));
        config.engines = Paths { helm: path(self.engines.helm), kustomize: path(self.engines.kustomize) };
        config.catalogs = catalogs::checked(&self.catalogs, file)?;
        for sink in self.sinks {
            config.sinks.push(sink.checked(directory)?);
        }
        for credential in self.credentials {
            config.credentials.push(credential.checked(directory)?);
        }
        for Trigger { name, provider, secret_file } in self.webhooks {
            named(&name, "webhook")?;
            let secret_file = directory.join(secret_file);
            config.webhooks.push(WebhookConfig { name: name.value, forge: provider, secret_file });
        }
        Ok(config)
    }
}

impl Sink {
    fn checked(self, directory: &Path) -> Result<SinkConfig, Wrong> {
        let Self { name, events, apps, clusters, catalogs, ca_file, webhook, slack, commit_status } = self;
        named(&name, "sink")?;
        for event in &events {
            if !KINDS.contains(&event.value.as_str()) {
                return wrong(
                    event,
                    format!("{:?} is no event; there are {}", event.value, KINDS.join(", ")),
                );
            }
        }
        let kinds = events.into_iter().map(|event| event.value).collect();
        let kind = match (webhook, slack, commit_status) {
            (Some(webhook), None, None) => SinkKind::Webhook {
                url: url(&webhook.url)?,
                secret_file: directory.join(webhook.secret_file),
            },
            (None, Some(Slack { url: Some(given), url_file: None }), None) => {
                SinkKind::Slack(SlackUrl::Given(url(&given)?))
            }
            (None, Some(Slack { url: None, url_file: Some(file) }), None) => {
                SinkKind::Slack(SlackUrl::File(directory.join(file)))
            }
            (None, Some(_), None) => {
                return wrong(&name, format!("sink {} needs one of slack.url and slack.urlFile", name.value));
            }
            (None, None, Some(status)) => status.checked(directory)?,
            _ => {
                let message = format!("sink {} needs one of webhook, slack and commitStatus", name.value);
                return wrong(&name, message);
            }
        };
        let ca_file = ca_file.map(|file| directory.join(file));
        Ok(SinkConfig { name: name.value, filter: Filter { kinds, apps, clusters, catalogs }, ca_file, kind })
    }
}

impl CommitStatus {
    fn checked(self, directory: &Path) -> Result<SinkKind, Wrong> {
        let parts: Vec<&str> = self.repository.value.split('/').collect();
        let is_id = self.repository.value.chars().all(|c| c.is_ascii_digit());
        let is_path =
            parts.len() >= 2 && parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..");
        let fits = match self.provider {
            Provider::GitHub | Provider::Gitea => is_path && parts.len() == 2,
            Provider::GitLab => is_path || (is_id && !self.repository.value.is_empty()),
        };
        if !fits {
            let message = format!("{:?} is no repository; write OWNER/NAME", self.repository.value);
            return wrong(&self.repository, message);
        }
        Ok(SinkKind::CommitStatus {
            provider: self.provider,
            url: url(&self.url)?,
            repository: self.repository.value,
            token_file: directory.join(self.token_file),
            context: self.context.unwrap_or_else(|| "nave".to_owned()),
            target_url: self.target_url.as_ref().map(url).transpose()?,
        })
    }
}

fn url(text: &Spanned<String>) -> Result<String, Wrong> {
    let parsed = reqwest::Url::parse(&text.value).ok();
    match parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        Some(url) if url.username().is_empty() && url.password().is_none() => Ok(text.value.clone()),
        Some(_) => {
            wrong(text, "a password in a URL is shown to everybody who sees it; secrets stand in files")
        }
        None => wrong(text, format!("{:?} is no URL; write https://HOST/PATH", text.value)),
    }
}

fn duration(text: &Spanned<String>) -> Result<Duration, Wrong> {
    match nave_placement::duration(&text.value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => wrong(text, "it must be longer than 0s"),
        Err(error) => wrong(text, error.to_string()),
    }
}

/// `500Mi`, `1Gi`, or bytes.
fn bytes(text: &Spanned<String>) -> Result<u64, Wrong> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.value.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((&text.value, 0));
    let number: Option<u64> = number.parse().ok();
    match number.and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0) {
        Some(bytes) => Ok(bytes),
        None => wrong(text, format!("{:?} is no size; write 500Mi or 1Gi", text.value)),
    }
}

#[cfg(test)]
mod tests;
