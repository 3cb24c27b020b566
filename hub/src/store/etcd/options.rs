//! Where etcd is and how to trust it.
//!
//! In: `etcd://host:2379[,host2:2379]/prefix`, or `etcds://` with files for TLS. Out: options that were checked.
//! It never makes a connection, and no option skips the verification of a certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};

/// Below which key the records lie when the address names none.
const DEFAULT_PREFIX: &str = "nave/";

/// Why the options are wrong.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The address cannot be understood.
    #[error(
        "{address:?} is not the address of an etcd store: {why}; etcd[s]://HOST:PORT[,HOST:PORT…][/PREFIX] is expected"
    )]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The TLS library refuses the files, or the address.
    #[error("etcd's client refuses the options")]
    Client(#[source] etcd_client::Error),
}

/// Files in PEM for a connection over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The certificate of the authority that etcd's certificates come from.
    pub ca: PathBuf,
    /// Our certificate and its key, where etcd asks for them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How to reach the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    hosts: Vec<String>,
    prefix: String,
    tls: Option<EtcdTls>,
}

impl EtcdOptions {
    /// Reads an address. TLS files belong to `etcds://`, and only to it.
    ///
    /// # Errors
    /// [`OptionsError::Address`].
    pub fn new(address: &str, tls: Option<EtcdTls>) -> Result<Self, OptionsError> {
        let wrong = |why| OptionsError::Address { address: address.to_owned(), why };
        let (scheme, rest) = address.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        match (scheme, &tls) {
            ("etcd", None) | ("etcds", Some(_)) => {}
            ("etcd", Some(_)) => return Err(wrong("TLS files are given, but its scheme is not etcds")),
            ("etcds", None) => return Err(wrong("etcds needs the file of a certificate authority")),
            _ => return Err(wrong("its scheme is another")),
        }
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        let has_port = |host: &String| {
            host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
        };
        if !hosts.iter().all(has_port) {
            return Err(wrong("each host needs a port"));
        }
        let prefix = match prefix.trim_matches('/') {
            "" => DEFAULT_PREFIX.to_owned(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self { hosts, prefix, tls })
    }

    /// Host and port of each endpoint; at least one.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// What all our keys start with; ends with `/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The endpoints as etcd's client wants them.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.hosts.iter().map(move |host| format!("{scheme}://{host}"))
    }

    /// Reads the files for TLS.
    pub(super) fn tls(&self) -> Result<Option<TlsOptions>, OptionsError> {
        let Some(files) = &self.tls else { return Ok(None) };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&files.ca)?));
        if let Some((certificate, key)) = &files.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(Some(tls))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OptionsError> {
    fs::read(path).map_err(|source| OptionsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_the_reason() {
        let tls = || Some(EtcdTls { ca: "ca.pem".into(), identity: None });
        for (address, tls, endpoints, prefix) in [
            ("etcd://a:2379", None, "http://a:2379", "nave/"),
            ("etcd://a:2379,[::1]:1/", None, "http://a:2379 http://[::1]:1", "nave/"),
            ("etcds://a:1,b:2/fleets/north", tls(), "https://a:1 https://b:2", "fleets/north/"),
        ] {
            let options = EtcdOptions::new(address, tls).expect(address);
            assert_eq!(options.endpoints().collect::<Vec<_>>().join(" "), endpoints);
            assert_eq!(options.prefix(), prefix);
        }
        for (address, tls, why) in [
            ("a:2379", None, "no scheme"),
            ("http://a:2379", None, "scheme is another"),
            ("etcd://a", None, "needs a port"),
            ("etcd://a:1,", None, "needs a port"),
            ("etcd://", None, "needs a port"),
            ("etcds://a:1", None, "certificate authority"),
            ("etcd://a:1", tls(), "not etcds"),
        ] {
            let error = EtcdOptions::new(address, tls).expect_err(address).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
