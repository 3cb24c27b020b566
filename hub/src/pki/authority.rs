//! The CA: `ca.crt`, `ca.key` and `mac.key` in the CA directory.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nave_placement::Digest;
use nave_proto::limits::{CERTIFICATE_LIFE, CLOCK_SKEW, HUB_SERVER_NAME};
use nave_proto::spiffe::{IdentityError, Role, SpiffeId};
use nave_proto::tls::Credentials;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{MacKey, random};

/// How long the CA lives: 20 years. Rotation is an operator's act.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// The hub's own certificate; made anew at each start and at half its life.
const HUB_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// An operator's certificate in a context file.
const OPERATOR_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why the CA cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of the CA directory.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What failed.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the CA directory is not what it should be.
    #[error("{} is damaged; restore the CA directory from its backup: a new CA would lock out every spoke", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A request's key or signature is not valid.
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    /// Signing failed.
    #[error("cannot sign")]
    Sign(#[source] rcgen::Error),
    /// Our own CA certificate names nobody.
    #[error("the CA certificate")]
    Identity(#[from] IdentityError),
}

/// A certificate that was just signed.
#[derive(Clone, Debug)]
pub struct Issued {
    /// DER.
    pub certificate: Vec<u8>,
    /// Valid until, Unix milliseconds.
    pub not_after_ms: u64,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

/// The fleet's CA and MAC key, in memory.
pub struct Authority {
    fleet: String,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    mac: MacKey,
}

impl Authority {
    /// Opens the CA of a directory, or makes one if the directory has none. Keys are written for the owner alone.
    ///
    /// # Errors
    /// When files cannot be read, written, or are damaged: nothing is made anew over something that is there.
    pub fn open_or_create(dir: &Path, fleet: &str, now_ms: u64) -> Result<Self, AuthorityError> {
        let path = dir.join("ca.crt");
        if !path.exists() {
            create(dir, fleet, now_ms)?;
        }
        Self::open(dir)
    }

    /// Opens the CA of a directory.
    ///
    /// # Errors
    /// When files are missing or damaged.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let (crt, key, mac) = (dir.join("ca.crt"), dir.join("ca.key"), dir.join("mac.key"));
        let damaged = |path: &Path| AuthorityError::Damaged { path: path.to_owned() };
        let pem = String::from_utf8(read(&crt)?).map_err(|_| damaged(&crt))?;
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| damaged(&crt))?;
        let certificate = parsed.contents;
        let fleet = SpiffeId::of_certificate(&certificate)?.fleet;
        let key_pem = String::from_utf8(read(&key)?).map_err(|_| damaged(&key))?;
        let pair = KeyPair::from_pem(&key_pem).map_err(|_| damaged(&key))?;
        let issuer =
            Issuer::from_ca_cert_der(&certificate.clone().into(), pair).map_err(|_| damaged(&crt))?;
        let secret: [u8; 32] = read(&mac)?.try_into().map_err(|_| damaged(&mac))?;
        Ok(Self { fleet, certificate, issuer, mac: MacKey::new(secret) })
    }

    /// The fleet's name: the trust domain.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The CA certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// When the CA certificate ends, Unix milliseconds.
    pub fn ends_ms(&self) -> Option<u64> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()?.checked_mul(1000)
    }

    /// The digest that join tokens pin.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// Whether our CA signed a certificate; its validity is the caller's question.
    ///
    /// # Errors
    /// When it did not.
    pub fn signed(&self, certificate: &[u8]) -> Result<(), AuthorityError> {
        let foreign = || AuthorityError::Request("signed by another CA".to_owned());
        let (_, ours) = X509Certificate::from_der(&self.certificate).map_err(|_| foreign())?;
        let (_, theirs) = X509Certificate::from_der(certificate).map_err(|_| foreign())?;
        theirs.verify_signature(Some(ours.public_key())).map_err(|_| foreign())
    }

    /// The key of the hub's MAC.
    pub fn mac(&self) -> &MacKey {
        &self.mac
    }

    /// A certificate for the hub itself, with a fresh key.
    ///
    /// # Errors
    /// When signing fails.
    pub fn hub(&self, now_ms: u64) -> Result<Credentials, AuthorityError> {
        let pair = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let mut params = self.params(Role::Hub, HUB_LIFE, now_ms)?;
        params
            .subject_alt_names
            .push(SanType::DnsName(HUB_SERVER_NAME.try_into().map_err(AuthorityError::Sign)?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&pair, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Credentials { certificate: certificate.der().to_vec(), key: pair.serialize_der() })
    }

    /// A certificate for a spoke from its request: only the public key is taken from it, once its signature was checked.
    ///
    /// # Errors
    /// When the request is malformed, its signature does not verify, or its key is not P-256.
    pub fn spoke_from_request(&self, name: &str, csr: &[u8], now_ms: u64) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_der(&csr.to_vec().into())
            .map_err(|e| AuthorityError::Request(e.to_string()))?;
        self.spoke(name, &request.public_key, now_ms)
    }

    /// A certificate for a spoke whose key is known, for the same key.
    ///
    /// # Errors
    /// When the key is malformed.
    pub fn spoke_for_key(
        &self,
        name: &str,
        public_key: &[u8],
        now_ms: u64,
    ) -> Result<Issued, AuthorityError> {
        let key =
            SubjectPublicKeyInfo::from_der(public_key).map_err(|e| AuthorityError::Request(e.to_string()))?;
        self.spoke(name, &key, now_ms)
    }

    fn spoke(&self, name: &str, key: &impl PublicKeyData, now_ms: u64) -> Result<Issued, AuthorityError> {
        if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::Request("the key is not P-256".to_owned()));
        }
        self.client(Role::Spoke(name.to_owned()), key, CERTIFICATE_LIFE, now_ms)
    }

    /// A certificate for an operator, with a fresh key.
    ///
    /// # Errors
    /// When signing fails.
    pub fn operator(&self, name: &str, pair: &KeyPair, now_ms: u64) -> Result<Issued, AuthorityError> {
        self.client(Role::Operator(name.to_owned()), pair, OPERATOR_LIFE, now_ms)
    }

    fn client(
        &self,
        role: Role,
        key: &impl PublicKeyData,
        life: Duration,
        now_ms: u64,
    ) -> Result<Issued, AuthorityError> {
        let mut params = self.params(role, life, now_ms)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let not_after_ms = u64::try_from(params.not_after.unix_timestamp()).unwrap_or(0) * 1000;
        let certificate = params.signed_by(key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Issued {
            certificate: certificate.der().to_vec(),
            not_after_ms,
            public_key: key.subject_public_key_info(),
        })
    }

    fn params(&self, role: Role, life: Duration, now_ms: u64) -> Result<CertificateParams, AuthorityError> {
        let id = SpiffeId { fleet: self.fleet.clone(), role };
        params(&id, life, now_ms)
    }
}

/// A certificate with exactly this identity; every other field is ours too.
fn params(id: &SpiffeId, life: Duration, now_ms: u64) -> Result<CertificateParams, AuthorityError> {
    let now = time_of(now_ms);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id.to_string());
    params.subject_alt_names = vec![SanType::URI(id.to_string().try_into().map_err(AuthorityError::Sign)?)];
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + life;
    let mut serial = random::<16>();
    serial[0] &= 0x7f; // positive, as RFC 5280 section 4.1.2.2 asks
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn time_of(now_ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A fresh key for an operator's context.
///
/// # Errors
/// When no key can be made.
pub fn admin_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate().map_err(AuthorityError::Sign)
}

/// Makes the CA. The certificate is written last: a directory with `ca.crt` is complete.
fn create(dir: &Path, fleet: &str, now_ms: u64) -> Result<(), AuthorityError> {
    let error = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| AuthorityError::File { verb, path, source }
    };
    fs::create_dir_all(dir).map_err(error("create", dir))?;
    let pair = KeyPair::generate().map_err(AuthorityError::Sign)?;
    let mut params = params(&SpiffeId { fleet: fleet.to_owned(), role: Role::Hub }, CA_LIFE, now_ms)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&pair).map_err(AuthorityError::Sign)?;
    write(&dir.join("ca.key"), pair.serialize_pem().as_bytes())?;
    write(&dir.join("mac.key"), &random::<32>())?;
    write(&dir.join("ca.crt"), certificate.pem().as_bytes())
}

fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    fs::read(path).map_err(|source| AuthorityError::File { verb: "read", path: path.to_owned(), source })
}

/// Writes a file for the owner alone, durably, in one step.
fn write(path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
    let error = |source| AuthorityError::File { verb: "write", path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(error)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&temporary, path).map_err(error)?;
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir).and_then(|d| d.sync_all())).map_err(error)
}
