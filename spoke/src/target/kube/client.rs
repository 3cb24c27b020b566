//! Client: the connections to the API server.
//!
//! In: a configuration, as `kube` reads it. Out: a [`Client`]. Nothing is asked yet.
//! Never: tries anything again (the next pass of the spoke is the retry; a layer below that waits on its own would hide an
//! outage); keeps connections that nobody uses, as `kube`'s own stack does for as long as the server lets it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use tower::{BoxError, Service, ServiceBuilder};

/// A connection that was not used for so long is closed: each holds some 60 KiB. Requests of one round follow each other
/// far sooner.
const IDLE: Duration = Duration::from_secs(10);
/// What is read of a connection at once, and the most that the head of an answer may have. TLS hands over no more at once.
const READ: usize = 16 << 10;

/// A client for this configuration, through its proxy where it names one.
pub(super) fn connect(config: &Config) -> kube::Result<Client> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    let Some(proxy) = &config.proxy_url else { return over(config, direct) };
    match proxy.scheme_str() {
        Some("socks5") => over(config, SocksV5::new(proxy.clone(), direct)),
        Some("http") => over(config, tunnel(proxy, direct)),
        Some("https") => over(config, tunnel(proxy, config.rustls_https_connector_with_connector(direct)?)),
        _ => Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy.clone()) }),
    }
}

/// A way through a proxy, with the credentials of its URL.
fn tunnel<C>(proxy: &Uri, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let credentials = proxy.authority().and_then(|a| a.as_str().rsplit_once('@')).map(|(text, _)| text);
    let basic = credentials.map(|text| format!("Basic {}", STANDARD.encode(crate::proxy::unescaped(text))));
    match basic.and_then(|basic| HeaderValue::try_from(basic).ok()) {
        Some(basic) => tunnel.with_auth(basic),
        None => tunnel,
    }
}

fn over<C>(config: &Config, connector: C) -> kube::Result<Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let pool: Pool<_, Body> = Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_max_buf_size(READ)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(pool);
    Ok(Client::new(service, config.default_namespace.clone()))
}
