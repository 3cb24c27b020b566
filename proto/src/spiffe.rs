//! Identities as Nave's certificates carry them: exactly one URI SAN, `spiffe://FLEET/spoke/NAME`,
//! `spiffe://FLEET/operator/NAME` or `spiffe://FLEET/hub` (the SPIFFE-ID and X.509-SVID specifications).

use std::fmt;

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The hub.
    Hub,
    /// The spoke of a cluster.
    Spoke(String),
    /// A person or a pipeline.
    Operator(String),
}

/// A SPIFFE id of Nave's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The fleet's name: the trust domain.
    pub fleet: String,
    /// Who it is.
    pub role: Role,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no certificate.
    #[error("it is no X.509 certificate")]
    Malformed,
    /// There must be exactly one.
    #[error("it has {0} URI names, exactly one is expected")]
    Names(usize),
    /// The name is not one that a hub writes.
    #[error("{0:?} is not a name that a hub writes")]
    Foreign(String),
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Hub => write!(f, "spiffe://{}/hub", self.fleet),
            Role::Spoke(name) => write!(f, "spiffe://{}/spoke/{name}", self.fleet),
            Role::Operator(name) => write!(f, "spiffe://{}/operator/{name}", self.fleet),
        }
    }
}

impl SpiffeId {
    /// Reads a URI.
    ///
    /// # Errors
    /// When it is not one that [`fmt::Display`] writes.
    pub fn parse(uri: &str) -> Result<Self, IdentityError> {
        let foreign = || IdentityError::Foreign(uri.to_owned());
        let rest = uri.strip_prefix("spiffe://").ok_or_else(foreign)?;
        let parts: Vec<&str> = rest.split('/').collect();
        if parts.iter().any(|p| p.is_empty()) {
            return Err(foreign());
        }
        let role = match parts[1..] {
            ["hub"] => Role::Hub,
            ["spoke", name] => Role::Spoke(name.to_owned()),
            ["operator", name] => Role::Operator(name.to_owned()),
            _ => return Err(foreign()),
        };
        Ok(Self { fleet: parts[0].to_owned(), role })
    }

    /// Reads the identity of a certificate. Its signature is not checked here; TLS or the caller did.
    ///
    /// # Errors
    /// When it is malformed or has not exactly one URI name.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|ext| &ext.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris[..] {
            [uri] => Self::parse(uri),
            _ => Err(IdentityError::Names(uris.len())),
        }
    }
}

/// A certificate's validity as Unix seconds, and its public key (SubjectPublicKeyInfo, DER).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Valid from.
    pub not_before: i64,
    /// Valid until.
    pub not_after: i64,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// Serial number, hex.
    pub serial: String,
}

impl CertificateFacts {
    /// Reads them.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn read(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        Ok(Self {
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            public_key: certificate.public_key().raw.to_vec(),
            serial: nave_placement::hex(certificate.raw_serial()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_shows_and_nothing_else() {
        for role in [Role::Hub, Role::Spoke("fra-1".into()), Role::Operator("admin".into())] {
            let id = SpiffeId { fleet: "acme".into(), role };
            assert_eq!(SpiffeId::parse(&id.to_string()), Ok(id));
        }
        for bad in [
            "spiffe://acme",
            "spiffe://acme/spoke",
            "spiffe://acme/spoke/",
            "spiffe:///spoke/x",
            "spiffe://acme/spoke/a/b",
            "https://acme/spoke/x",
            "spiffe://acme/other/x",
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }
}
