//! The context file: where a hub is and who asks. `hub init` writes one for the first operator.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nave_proto::tls::Credentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The file's content.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Addresses of the hub, `HOST:PORT`.
    pub hub: Vec<String>,
    /// The fleet's name.
    pub fleet: String,
    /// The operator's name.
    pub operator: String,
    /// The fleet's CA, PEM.
    pub ca: String,
    /// The operator's certificate, PEM.
    pub certificate: String,
    /// The operator's key, PEM (PKCS #8).
    pub key: Zeroizing<String>,
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is none.
    #[error("there is no context at {}; `hub init` writes one, `--context FILE` or $HUB_CONTEXT name another", .0.display())]
    None(PathBuf),
    /// The file.
    #[error("cannot {verb} context {}", path.display())]
    File {
        /// What failed.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content.
    #[error("context {} is not valid: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// `~/.config/nave/context.yaml`, or where `$XDG_CONFIG_HOME` says.
pub fn default_path() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    config.unwrap_or_default().join("nave/context.yaml")
}

fn pem_to_der(pem: &str) -> Option<Vec<u8>> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem.contents)
}

/// DER as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|i| &text[i..(i + 64).min(text.len())]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Context {
    /// Reads a context file.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub fn read(path: &Path) -> Result<Self, ContextError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ContextError::None(path.to_owned()));
            }
            Err(source) => return Err(ContextError::File { verb: "read", path: path.to_owned(), source }),
        };
        let invalid = |reason: String| ContextError::Invalid { path: path.to_owned(), reason };
        let context: Self = serde_saphyr::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        if context.hub.is_empty() || context.credentials().is_none() || context.ca_der().is_none() {
            return Err(invalid("it lacks an address, or a certificate that can be read".to_owned()));
        }
        Ok(context)
    }

    /// Writes a context file for its owner alone, unless there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<bool, ContextError> {
        let error = |source| ContextError::File { verb: "write", path: path.to_owned(), source };
        if path.exists() {
            return Ok(false);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(error)?;
        }
        let text = serde_saphyr::to_string(self)
            .map_err(|e| ContextError::Invalid { path: path.to_owned(), reason: e.to_string() })?;
        let temporary = path.with_extension("new");
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let written =
            file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&temporary, path)).map_err(error)?;
        Ok(true)
    }

    /// The CA, DER.
    pub fn ca_der(&self) -> Option<Vec<u8>> {
        pem_to_der(&self.ca)
    }

    /// Certificate and key, DER.
    pub fn credentials(&self) -> Option<Credentials> {
        Some(Credentials { certificate: pem_to_der(&self.certificate)?, key: pem_to_der(&self.key)? })
    }
}
