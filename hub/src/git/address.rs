//! Where a catalog's repository is.
//!
//! In: the URL as an operator wrote it. Out: an [`Address`] that is read in place or over HTTP, with credentials set apart.
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
}

impl Address {
    /// Takes `file://`, `http://`, `https://`, absolute and relative paths; everything else is refused by name.
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let bad = |reason| FetchError::BadUrl { url: redacted(text), reason };
        let Some((scheme, rest)) = text.split_once("://") else {
            // `host:path` is Git's short form of ssh; a colon after a slash belongs to a path.
            if text.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err(FetchError::UnsupportedScheme { url: redacted(text), scheme: "ssh".into() });
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
            other => Err(FetchError::UnsupportedScheme { url: redacted(text), scheme: other.into() }),
        }
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
            ("https://me:s%40t@h/a", "http https://h/a Some(Credentials(\"me\", …)) s@t"),
        ] {
            let found = match Address::parse(text).expect(text) {
                Address::Local(path) => format!("local {}", path.display()),
                Address::Http { url, credentials } => {
                    let password = credentials.as_ref().map_or("", |c| &c.password);
                    format!("http {url} {credentials:?} {password}").trim_end().to_owned()
                }
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name_and_without_the_password() {
        for (text, expected) in [
            ("ssh://git@h/a", "ssh"),
            ("git@h:a/b", "ssh"),
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
