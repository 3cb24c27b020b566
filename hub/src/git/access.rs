//! Access: how repositories below a URL are reached, and what is shown there to be let in.
//!
//! In: what the configuration says of a URL; its secrets in files. Out: the [`Access`] of a repository; logins.
//! Never: shows a secret to another host than that of the URL it stands for; keeps one that its file does not hold any more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::address::{Credentials, Parts};
use super::app::{App, Token};
use super::errors::{Cause, FetchError};

/// No password or token is longer.
const LONGEST: u64 = 64 << 10;

/// How repositories below a URL are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its name, for messages.
    pub name: String,
    /// `https://HOST[:PORT]/PATH`, `ssh://[USER@]HOST[:PORT]/PATH`, or `oci://HOST[:PORT]/PATH` for charts of a registry: it is for this
    /// host alone, and for what is below the path.
    pub url: String,
    /// What is shown.
    pub login: Login,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy for HTTP(S), instead of what the environment names.
    pub proxy: Option<String>,
}

/// What is shown to be let in. Files are read at each fetch, so that a renewed secret is taken without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    None,
    /// A user name, and a password or token.
    Basic {
        /// Many forges accept anything beside a token.
        username: String,
        /// The password or token.
        password_file: PathBuf,
    },
    /// A GitHub App's installation.
    GitHubApp(App),
    /// SSH.
    Ssh {
        /// The private key; without one, what the agent at `SSH_AUTH_SOCK` has.
        key_file: Option<PathBuf>,
        /// The keys that hosts have to have, as `ssh-keyscan` prints them.
        known_hosts_file: PathBuf,
    },
}

impl Access {
    /// That which is for a URL, of several: the one with the longest path.
    pub fn of<'a>(all: &'a [Self], url: &str) -> Option<&'a Self> {
        let url = Parts::of(url)?;
        let fits = all.iter().filter_map(|access| Some((Parts::of(&access.url)?.holds(&url)?, access)));
        fits.max_by_key(|(length, _)| *length).map(|(_, access)| access)
    }

    /// The same, of those that are called so if a name is given: then there has to be one.
    pub fn named<'a>(all: &'a [Self], url: &str, name: Option<&str>) -> Option<Option<&'a Self>> {
        let Some(name) = name else { return Some(Self::of(all, url)) };
        let url = Parts::of(url)?;
        let fits = |access: &&Self| Parts::of(&access.url).is_some_and(|of| of.holds(&url).is_some());
        all.iter().find(|access| access.name == name && fits(access)).map(Some)
    }

    /// The same way without anything that is shown.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { login: Login::None, ..self.clone() }
    }

    /// Whether it shows something that nobody else may see.
    pub(super) fn shows_a_secret(&self) -> bool {
        matches!(self.login, Login::Basic { .. } | Login::GitHubApp(_))
    }

    /// A user name, and the file of the password beside it.
    pub(crate) fn basic(&self) -> Option<(&str, &Path)> {
        match &self.login {
            Login::Basic { username, password_file } => Some((username, password_file)),
            _ => None,
        }
    }

    /// The user and password of now; a token is asked for with the client where the last one ends soon.
    pub(super) fn credentials(
        &self,
        client: impl FnOnce() -> Result<reqwest::blocking::Client, FetchError>,
        last: &Mutex<Option<Token>>,
    ) -> Result<Option<Credentials>, FetchError> {
        let failed = |cause| FetchError::NoCredentials { name: self.name.clone(), cause };
        match &self.login {
            Login::None | Login::Ssh { .. } => Ok(None),
            Login::Basic { username, password_file } => {
                let password = secret(password_file).map_err(failed)?;
                Ok(Some(Credentials { username: username.clone(), password }))
            }
            Login::GitHubApp(app) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let password = match last.as_ref().filter(|last| last.lasts()) {
                    Some(last) => last.value(),
                    None => last.insert(app.token(&client()?).map_err(failed)?).value(),
                };
                Ok(Some(Credentials { username: "x-access-token".to_owned(), password }))
            }
        }
    }
}

/// A file's text without white space around it.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<String>, Cause> {
    let named = |cause: Cause| format!("{}: {cause}", path.display());
    if std::fs::metadata(path).map_err(|error| named(error.into()))?.len() > LONGEST {
        return Err(named("it is larger than any secret".into()).into());
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| named(error.into()))?);
    match text.trim() {
        "" => Err(named("it is empty".into()).into()),
        text => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// Certificates of authorities, of a file in PEM form; read each time, so that a renewed file is taken without a restart.
pub(crate) fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, Cause> {
    Ok(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_of_a_url_is_for_its_host_and_the_longest_path_above_it() {
        let access = |name: &str, url: &str| Access {
            name: name.into(),
            url: url.into(),
            login: Login::None,
            ca_file: None,
            proxy: None,
        };
        let all = [
            access("host", "https://git.example.com"),
            access("acme", "https://git.example.com/acme/"),
            access("port", "https://git.example.com:8443/"),
            access("ssh", "ssh://git@git.example.com/"),
            access("other", "https://example.com/acme"),
            access("charts", "oci://git.example.com/charts"),
        ];
        // (URL, name of the access)
        let rows = [
            ("https://git.example.com/acme/fleet.git", Some("acme")),
            ("https://git.example.com:443/acme/fleet.git", Some("acme")),
            ("https://GIT.example.com/acme", Some("acme")),
            ("https://me:secret@git.example.com/acme/fleet", Some("acme")),
            ("https://git.example.com/acme-2/fleet", Some("host")),
            ("https://git.example.com/", Some("host")),
            ("https://git.example.com:8443/acme/fleet", Some("port")),
            ("http://git.example.com/acme/fleet", None),
            ("ssh://git@git.example.com/acme/fleet", Some("ssh")),
            ("ssh://git@git.example.com:22/acme/fleet", Some("ssh")),
            ("git@git.example.com:acme/fleet", Some("ssh")),
            ("git.example.com:acme/fleet", None),
            ("ssh://git@git.example.com:2222/acme/fleet", None),
            ("https://git.example.com.evil.example/acme/fleet", None),
            ("https://evil.example/git.example.com/acme", None),
            ("https://git.example.com@evil.example/acme", None),
            ("https://git.example.com/acme/../other", None),
            ("https://git.example.com/acme/%2e%2e/other", None),
            ("oci://git.example.com/charts/web", Some("charts")),
            ("oci://git.example.com:443/charts/web", Some("charts")),
            ("oci://git.example.com/acme/web", None),
            ("https://git.example.com/charts/web", Some("host")),
            ("/srv/git/fleet", None),
            ("file:///srv/git/fleet", None),
        ];
        for (url, expected) in rows {
            assert_eq!(Access::of(&all, url).map(|access| &*access.name), expected, "{url}");
        }
    }
}
