//! Upstream: connections to the real API server.
//!
//! In: the cluster of a kubeconfig. Out: connections, one request at a time each.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the real server is.
#[derive(Clone)]
pub(super) struct Upstream {
    address: SocketAddr,
    tls: TlsConnector,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({})", self.address)
    }
}

impl Upstream {
    /// The server of a kubeconfig's `cluster`, at a loopback address, with its authority inside.
    pub fn of(cluster: &Value) -> Result<Self> {
        let text =
            |field: &str| cluster[field].as_str().with_context(|| format!("a cluster without {field}"));
        let address = text("server")?.strip_prefix("https://").context("a server without TLS")?.parse()?;
        let pem = STANDARD.decode(text("certificate-authority-data")?)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem)?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Arc::new(config).into() })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::from(self.address.ip()), stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends when the sender is dropped, or the server closes it; either way the next request shows it.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }
}
