//! Where a catalog's repository is.
//!
//! In: the URL as an operator wrote it. Out: an [`Address`] that is read in place, over HTTP or SSH, with credentials set apart.
//! Never: touches disk or network; lets a password into a message.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::FetchError;

/// A user name and a password or token for a repository.
#[derive(Clone)]
pub struct Credentials {
    /// The user name; many forges accept anything beside a token.
    pub username: String,
    /// The password or token.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.username)
    }
}

/// A parsed URL.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// A repository on this machine, read in place.
    Local(PathBuf),
    /// A repository behind `http://` or `https://`; the URL holds no credentials.
    Http { url: String, credentials: Option<Credentials> },
    /// A repository behind `ssh://`.
    Ssh { url: String },
}

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    scheme: String,
    /// Of SSH alone: with HTTP it is a login, and may differ.
    user: String,
    host: String,
    port: u16,
    path: Vec<String>,
}

impl Parts {
    /// Of `https://`, `http://`, `oci://`, `ssh://` or Git's short form `USER@HOST:PATH`; nothing for a path, or where a name in it leads up.
    pub fn of(url: &str) -> Option<Self> {
        let short = || url.split_once(':').filter(|(host, _)| !host.contains('/'));
        let (scheme, authority, path) = match url.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (scheme.to_ascii_lowercase(), authority, path)
            }
            None => short().map(|(authority, path)| ("ssh".to_owned(), authority, path))?,
        };
        let port = match &*scheme {
            "https" | "oci" => 443,
            "http" => 80,
            "ssh" => 22,
            _ => return None,
        };
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, given)) => (host, given.parse().ok()?),
            None => (host, port),
        };
        let path: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(decode).collect::<Option<_>>()?;
        let leads_up = path.iter().any(|part| part == ".." || part == "." || part.contains(['/', '\\']));
        let user = if scheme == "ssh" { user.to_owned() } else { String::new() };
        let host = host.to_ascii_lowercase();
        (!host.is_empty() && !leads_up).then_some(Self { scheme, user, host, port, path })
    }

    /// Of how many names the path is, if the other URL is at it or below it.
    pub fn holds(&self, other: &Self) -> Option<usize> {
        let same = |parts: &Self| (parts.scheme.clone(), parts.user.clone(), parts.host.clone(), parts.port);
        (same(self) == same(other) && other.path.starts_with(&self.path)).then_some(self.path.len())
    }
}

/// The host of a URL, whatever it is reached by.
pub(crate) fn host(url: &str) -> Option<String> {
    Some(Parts::of(url)?.host)
}

/// And its port.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let Parts { host, port, .. } = Parts::of(url)?;
    Some((host, port))
}

impl Address {
    /// Takes `file://`, `http://`, `https://`, `ssh://` and its short form `USER@HOST:PATH`, absolute and relative paths; everything
    /// else is refused by name.
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let bad = |reason| FetchError::BadUrl { url: redacted(text), reason };
        let Some((scheme, rest)) = text.split_once("://") else {
            // `host:path` is Git's short form of ssh; a colon after a slash belongs to a path.
            if let Some((host, path)) = text.split_once(':').filter(|(host, _)| !host.contains('/')) {
                return Self::ssh(&format!("ssh://{host}/{}", path.trim_start_matches('/')), text);
            }
            if text.is_empty() {
                return Err(bad("it is empty"));
            }
            let path = std::path::absolute(text).map_err(|_| bad("the current directory is not readable"))?;
            return Ok(Self::Local(path));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let (host, path) = rest.split_at(rest.find('/').ok_or_else(|| bad("it has no path"))?);
                if !host.is_empty() && host != "localhost" {
                    return Err(bad("a file:// URL names a path on this machine: file:///PATH"));
                }
                Ok(Self::Local(PathBuf::from(decode(path).ok_or_else(|| bad("its escapes are not UTF-8"))?)))
            }
            scheme @ ("http" | "https") => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
                if host.is_empty() {
                    return Err(bad("it names no host"));
                }
                Ok(Self::Http {
                    url: format!("{scheme}://{host}{path}"),
                    credentials: credentials(user).map_err(bad)?,
                })
            }
            "ssh" | "git+ssh" | "ssh+git" => Self::ssh(&format!("ssh://{rest}"), text),
            other => Err(FetchError::UnsupportedScheme { url: redacted(text), scheme: other.into() }),
        }
    }

    /// What begins with a dash would be an option of `ssh` or of the program on the other side.
    fn ssh(url: &str, text: &str) -> Result<Self, FetchError> {
        let bad = |reason| Err(FetchError::BadUrl { url: redacted(text), reason });
        let rest = url.strip_prefix("ssh://").unwrap_or(url);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let is_plain = |text: &str| {
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_.[]:".contains(c);
            !text.starts_with('-') && text.chars().all(legal)
        };
        if user.contains(':') {
            return bad("a password cannot be given to SSH; name a key in the hub's configuration");
        }
        if host.is_empty() || !is_plain(host) || !is_plain(user) {
            return bad("its user or host has characters that none has; write ssh://USER@HOST/PATH");
        }
        let decoded = decode(path);
        if decoded.as_ref().is_none_or(|path| path.starts_with("/-") || path.chars().any(char::is_control)) {
            return bad("its path cannot be one");
        }
        if path.trim_matches('/').is_empty() {
            return bad("it has no path");
        }
        Ok(Self::Ssh { url: url.to_owned() })
    }
}

fn credentials(user: &str) -> Result<Option<Credentials>, &'static str> {
    if user.is_empty() {
        return Ok(None);
    }
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    match (decode(name), decode(password)) {
        (Some(username), Some(password)) => {
            Ok(Some(Credentials { username, password: Zeroizing::new(password) }))
        }
        _ => Err("its user name or password is not UTF-8"),
    }
}

/// The URL without what stands before an `@` in its authority.
pub(super) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Resolves `%XX`; a `%` without two digits stays as it is.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart() {
        for (text, expected) in [
            ("file:///srv/a%20b", "local /srv/a b"),
            ("file://localhost/srv", "local /srv"),
            ("/srv/100%", "local /srv/100%"),
            ("/srv/a:b", "local /srv/a:b"),
            ("https://example.com/a.git", "http https://example.com/a.git None"),
            ("HTTP://h:81", "http http://h:81 None"),
            ("ssh://git@h/a", "ssh ssh://git@h/a"),
            ("ssh://git@[::1]:22/a", "ssh ssh://git@[::1]:22/a"),
            ("git@h:a/b", "ssh ssh://git@h/a/b"),
            ("git@h:/a/b", "ssh ssh://git@h/a/b"),
            ("https://me:s%40t@h/a", "http https://h/a Some(Credentials(\"me\", …)) s@t"),
        ] {
            let found = match Address::parse(text).expect(text) {
                Address::Local(path) => format!("local {}", path.display()),
                Address::Http { url, credentials } => {
                    let password = credentials.as_ref().map_or("", |c| &c.password);
                    format!("http {url} {credentials:?} {password}").trim_end().to_owned()
                }
                Address::Ssh { url } => format!("ssh {url}"),
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name_and_without_the_password() {
        for (text, expected) in [
            ("ssh://git:secret@h/a", "name a key"),
            ("ssh://-oProxyCommand=x/a", "that none has"),
            ("ssh://-oProxyCommand=x@h/a", "that none has"),
            ("ssh://h$(x)/a", "that none has"),
            ("-oProxyCommand=x:a", "that none has"),
            ("ssh://h/-u", "cannot be one"),
            ("ssh://h/%2du", "cannot be one"),
            ("ssh://h/a%0ab", "cannot be one"),
            ("ssh://h", "no path"),
            ("git://h/a", "git"),
            ("file://h/a", "file:///PATH"),
            ("https://me:secret@/a", "no host"),
            ("", "empty"),
        ] {
            let message = Address::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected) && !message.contains("secret"), "{text}: {message}");
        }
    }
}
