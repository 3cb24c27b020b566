//! The way to a hub: TLS with the context's certificate, one address after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use hyper_util::rt::TokioIo;
use nave_proto::limits::{CONNECT_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE};
use nave_proto::tls::{self, Clock};
use nave_proto::v1;
use nave_proto::v1::operator_client::OperatorClient;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::context::{Context, default_path};

/// A connected client.
pub type Client = OperatorClient<Channel>;

/// This machine's clock.
pub fn clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Connects by the context that is named, or the default one.
///
/// # Errors
/// When there is no context, or no hub answers.
pub async fn connect_by(file: Option<PathBuf>) -> anyhow::Result<Client> {
    let context = Context::read(&file.unwrap_or_else(default_path))?;
    connect(&context).await
}

/// Connects to the first address that answers.
///
/// # Errors
/// When none does.
pub async fn connect(context: &Context) -> anyhow::Result<Client> {
    let ca = context.ca_der().ok_or_else(|| anyhow!("the context's CA cannot be read"))?;
    let config = Arc::new(tls::client(&ca, context.credentials().as_ref(), clock())?);
    let mut failures = Vec::new();
    for address in &context.hub {
        match channel(address, config.clone()).await {
            Ok(channel) => return Ok(OperatorClient::new(channel).max_decoding_message_size(MESSAGE)),
            Err(error) => failures.push(format!("{address}: {error:#}")),
        }
    }
    bail!("no hub of fleet {} answers: {}", context.fleet, failures.join("; "))
}

async fn channel(address: &str, config: Arc<rustls::ClientConfig>) -> anyhow::Result<Channel> {
    let target = address.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (target, tls) = (target.clone(), tokio_rustls::TlsConnector::from(config.clone()));
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(tls::hub_server_name(), stream).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://hub.nave.internal")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector)).await {
        Ok(connected) => connected.map_err(|e| anyhow!("{}", crate::deciding::run::chain(&e))),
        Err(_) => Err(anyhow!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// Reads an answer's document.
///
/// # Errors
/// What the hub said, or that it is of another version.
pub fn view<T: DeserializeOwned>(
    answer: Result<tonic::Response<v1::Document>, tonic::Status>,
) -> anyhow::Result<T> {
    let answer = answer.map_err(|status| anyhow!("{}", status.message()))?;
    serde_json::from_slice(&answer.into_inner().json)
        .context("the hub's answer is of another version; update this `hub`")
}
