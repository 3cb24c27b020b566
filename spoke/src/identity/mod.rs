//! Identity: who this spoke is, and how it stays so.
//!
//! In: a join token, the hub's answers, the time. Out: a key and a certificate that the hub signed.
//! Never: uses a key that is not stored yet, sends a key anywhere, takes a name other than the hub's.
//!
//! | module | in | out |
//! |---|---|---|
//! | `enrol` | a join token | the first certificate |
//! | `renew` | a certificate, even an expired one | the next, for the same key |

mod enrol;
mod renew;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nave_placement::Digest;
use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
use nave_proto::tls::Credentials;
use nave_proto::v1;
use rcgen::{KeyPair, PublicKeyData as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use enrol::{EnrolError, Enrolling, enrol};
pub use renew::{Membership, RenewError};

/// Who this spoke is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The fleet.
    pub fleet: String,
    /// The cluster's name, as the hub wrote it.
    pub cluster: String,
    /// The id of the token that it joined by.
    pub token: String,
    /// The cluster's UID when it joined.
    pub cluster_uid: String,
    /// Where the hub can be reached.
    pub hub_addresses: Vec<String>,
    /// The hub's CA, DER.
    pub ca: Der,
    /// The certificate, DER.
    pub certificate: Der,
    /// Its key, PKCS #8 DER.
    pub key: Secret,
}

/// A key that a token is being used with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joining {
    /// The id of the token.
    pub token: String,
    /// The key, PKCS #8 DER.
    pub key: Secret,
}

/// Bytes, in base64 where they are stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Der(pub Vec<u8>);

/// Like [`Der`], and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Der {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Der({})", Digest::of(&self.0).short())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Der::deserialize(deserializer).map(|der| Self(der.0))
    }
}

/// An answer of the hub that does not fit the question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub's answer is not what was asked for: {0}")]
pub struct Misfit(&'static str);

impl Identity {
    /// For TLS.
    pub fn credentials(&self) -> Credentials {
        Credentials { certificate: self.certificate.0.clone(), key: self.key.0.clone() }
    }

    /// From when until when the certificate is valid, Unix milliseconds.
    pub fn validity_ms(&self) -> (u64, u64) {
        // A certificate that cannot be read was checked when it came; taken for expired, it is renewed or told.
        let facts = CertificateFacts::read(&self.certificate.0).ok();
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        facts.map_or((0, 0), |facts| (ms(facts.not_before), ms(facts.not_after)))
    }

    /// Takes the hub's answer, once it was checked: a certificate for our key, under the CA and fleet that we know.
    fn checked(
        answer: v1::Identity,
        key: &KeyPair,
        expected: (&str, Digest),
        token: &str,
        cluster_uid: &str,
    ) -> Result<Self, Misfit> {
        let (fleet, ca) = expected;
        if Digest::of(&answer.ca) != ca {
            return Err(Misfit("another CA"));
        }
        let spoke = SpiffeId { fleet: fleet.to_owned(), role: Role::Spoke(answer.cluster.clone()) };
        if answer.fleet != fleet || SpiffeId::of_certificate(&answer.certificate) != Ok(spoke) {
            return Err(Misfit("another name"));
        }
        let facts = CertificateFacts::read(&answer.certificate).map_err(|_| Misfit("no certificate"))?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(Misfit("a certificate for another key"));
        }
        if answer.hub_addresses.is_empty() {
            return Err(Misfit("no address of the hub"));
        }
        Ok(Self {
            fleet: answer.fleet,
            cluster: answer.cluster,
            token: token.to_owned(),
            cluster_uid: cluster_uid.to_owned(),
            hub_addresses: answer.hub_addresses,
            ca: Der(answer.ca),
            certificate: Der(answer.certificate),
            key: Secret(key.serialize_der()),
        })
    }
}
