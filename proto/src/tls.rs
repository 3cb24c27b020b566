//! TLS on Nave's own links: TLS 1.3, one CA, both ends named by it.
//!
//! The hub is checked by the name [`HUB_SERVER_NAME`] in its certificate, whatever address it was reached by, so that
//! addresses can change without new certificates. Clocks are parameters: a spoke judges the hub by the later of its own
//! clock and the last hub time it saw, so that a clock set back revives no expired certificate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use nave_placement::Digest;

use crate::limits::HUB_SERVER_NAME;

/// Tells the time in milliseconds of Unix time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A certificate and its key, both DER (the key as PKCS #8).
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

struct Time(Clock);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis((self.0)())))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The server name that clients of a hub ask for.
pub fn hub_server_name() -> ServerName<'static> {
    ServerName::try_from(HUB_SERVER_NAME).expect("the constant is a DNS name")
}

fn roots(ca: &[u8]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec()))?;
    Ok(Arc::new(roots))
}

fn key(der: &[u8]) -> Result<PrivateKeyDer<'static>, rustls::Error> {
    PrivateKeyDer::try_from(der.to_vec()).map_err(|e| rustls::Error::General(format!("private key: {e}")))
}

/// A client of a hub whose CA is known; anonymous without credentials.
///
/// # Errors
/// When CA, certificate or key cannot be read.
pub fn client(
    ca: &[u8],
    credentials: Option<&Credentials>,
    clock: Clock,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider())
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_webpki_verifier(verifier);
    let mut config = match credentials {
        Some(own) => builder
            .with_client_auth_cert(vec![CertificateDer::from(own.certificate.clone())], key(&own.key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A client that knows only the hash of the hub's CA, from a join token. The hub sends its CA along.
///
/// # Errors
/// When the protocol version is not available.
pub fn enrolling_client(ca_sha256: Digest, clock: Clock) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCa { ca_sha256, provider: provider() }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A hub. Clients without a certificate get as far as `Enrolment`; those with one that our CA did not sign, or that has
/// expired, get no further than the handshake. No session tickets: a revoked spoke cannot come back by one.
///
/// # Errors
/// When CA, certificate or key cannot be read.
pub fn server(ca: &[u8], own: &Credentials, clock: Clock) -> Result<ServerConfig, rustls::Error> {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let chain = vec![CertificateDer::from(own.certificate.clone()), CertificateDer::from(ca.to_vec())];
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key(&own.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Accepts a server whose chain holds the CA with the given hash and is signed by it: the same check as with a known CA,
/// after the CA was found.
#[derive(Debug)]
struct PinnedCa {
    ca_sha256: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = intermediates.iter().find(|c| Digest::of(c) == self.ca_sha256);
        let ca = ca.ok_or_else(|| {
            rustls::Error::General("the hub's CA is not the one that the join token names".to_owned())
        })?;
        WebPkiServerVerifier::builder_with_provider(roots(ca)?, self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
