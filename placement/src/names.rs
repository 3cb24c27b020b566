//! Names and identities: (catalog, kind, name) is what every object is known by, in store, wire and inventory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of the root catalog unless the operator chose another.
pub const ROOT_CATALOG: &str = "main";

/// Longest name that Nave accepts: a DNS-1123 subdomain, as Kubernetes object names.
const NAME_MAX: usize = 253;

/// A name that is not a DNS-1123 subdomain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a valid {what}: use lower-case letters, digits, '-' and '.', begin and end with a letter or digit, at most 253 characters"
)]
pub struct NameError {
    what: &'static str,
    name: String,
}

/// Checks a name; `what` is what it names, for the message.
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let ok = !bytes.is_empty()
        && bytes.len() <= NAME_MAX
        && name.split('.').all(|label| {
            let l = label.as_bytes();
            !l.is_empty() && alnum(l[0]) && alnum(l[l.len() - 1]) && l.iter().all(|b| alnum(*b) || *b == b'-')
        });
    if ok { Ok(()) } else { Err(NameError { what, name: name.to_owned() }) }
}

/// Whether a label, or a taint, may have this key: `[DOMAIN/]NAME`.
pub fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    is_qualified(name) && prefix.is_none_or(|prefix| check("label prefix", prefix).is_ok())
}

/// Whether a label, or a taint, may have this value.
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_qualified(value)
}

/// The characters of a label's name or value.
fn is_qualified(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric));
    bytes.len() <= 63 && ends && bytes.iter().all(|b| inner(*b))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Checks the name.
            ///
            /// # Errors
            /// When it is not a DNS-1123 subdomain.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(s: String) -> Result<Self, NameError> {
                Self::new(&s)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The name of a catalog.
    CatalogName,
    "catalog name"
);
name!(
    /// The name of a cluster; unique in the fleet.
    ClusterName,
    "cluster name"
);

impl CatalogName {
    /// The default root catalog, `main`.
    pub fn root() -> Self {
        Self(ROOT_CATALOG.into())
    }
}

/// An app's identity. Written `NAME` for the root catalog `main`, `CATALOG/NAME` for any other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppKey {
    /// The catalog that defines the app.
    pub catalog: CatalogName,
    name: std::sync::Arc<str>,
}

impl AppKey {
    /// Checks the name.
    ///
    /// # Errors
    /// When it is not a DNS-1123 subdomain.
    pub fn new(catalog: CatalogName, name: &str) -> Result<Self, NameError> {
        check("app name", name)?;
        Ok(Self { catalog, name: name.into() })
    }

    /// The app's name inside its catalog.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.catalog.as_str() == ROOT_CATALOG {
            f.pad(&self.name)
        } else {
            f.pad(&format!("{}/{}", self.catalog, self.name))
        }
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AppKey {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        match s.split_once('/') {
            Some((catalog, name)) => Self::new(CatalogName::new(catalog)?, name),
            None => Self::new(CatalogName::root(), s),
        }
    }
}

impl TryFrom<String> for AppKey {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<AppKey> for String {
    fn from(key: AppKey) -> String {
        key.to_string()
    }
}

/// A Kubernetes object's identity without its version: the served version may change, the object stays.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind, CamelCase.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects, and for objects whose namespace is still to be put on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    /// `Kind.group namespace/name`, as `kubectl` users write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_subdomains() {
        for good in ["a", "fra-1", "a.b-c.d9"] {
            assert!(ClusterName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a..b", "a/b", "a_b", &"x".repeat(254)] {
            assert!(ClusterName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_app_of_another_catalog_is_written_with_its_catalog() {
        let own: AppKey = "web".parse().expect("valid");
        let other: AppKey = "team-a/web".parse().expect("valid");
        assert_eq!(own.to_string(), "web");
        assert_eq!(other.to_string(), "team-a/web");
        assert_eq!(other.catalog.as_str(), "team-a");
        assert_ne!(own, other);
    }
}
