//! The client: asks a hub with an operator's certificate.
//!
//! In: a context file. Out: the hub's documents, or why there is none, in the hub's own words.
//! Never: asks without a certificate, tries a request twice.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use nave_proto::limits::{MESSAGE, REQUEST_TIMEOUT};
use nave_proto::tls;
use nave_proto::v1;
use nave_proto::v1::operator_client::OperatorClient;
use nave_spoke::link::{self, Connector, Tcp};
use nave_spoke::run::system_clock;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::output::Document;
use crate::context::{Context, default_path};

/// The generated client, over a connection to a hub.
pub type Client = OperatorClient<Channel>;

/// What the hub answers to every request.
pub type Answer = Result<Response<v1::Document>, Status>;

/// Which hub is asked.
pub struct Hub {
    context: Option<PathBuf>,
}

/// The hub answered that it will not, or the connection broke.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Why.
    pub message: String,
    /// Its gRPC code.
    pub code: tonic::Code,
}

impl Hub {
    /// The hub of a context file: this one, else `$HUB_CONTEXT`, else the default one.
    pub fn new(context: Option<PathBuf>) -> Self {
        Self { context }
    }

    /// Connects.
    ///
    /// # Errors
    /// When there is no context, or no address of it answers.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let named = || std::env::var_os("HUB_CONTEXT").filter(|name| !name.is_empty()).map(PathBuf::from);
        let path = self.context.clone().or_else(named).unwrap_or_else(default_path);
        connect(&Context::read(&path)?).await
    }
}

/// Connects to the first address that answers.
///
/// # Errors
/// When none does: each is named with its reason.
pub async fn connect(context: &Context) -> anyhow::Result<Client> {
    let ca = context.ca_der().context("the context's CA cannot be read")?;
    let credentials = context.credentials().context("the context's certificate cannot be read")?;
    let config = tls::client(&ca, Some(&credentials), system_clock())
        .context("the context's certificate is no good")?;
    let connector: Connector = Arc::new(Tcp);
    let mut failures = Vec::new();
    for address in &context.hub {
        match link::open(&connector, config.clone(), address).await {
            Ok(channel) => return Ok(Client::new(channel).max_decoding_message_size(MESSAGE)),
            Err(error) => failures.push(format!("cannot reach the hub at {address}: {}", because(&error))),
        }
    }
    bail!("{}", failures.join("; "))
}

/// What lies under an error of the transport, whose own words say nothing.
fn because(error: &(dyn std::error::Error + 'static)) -> String {
    let said = link::chain(error);
    let said = said.strip_prefix("transport error: ").unwrap_or(&said);
    said.strip_prefix("operation was canceled: ").unwrap_or(said).to_owned()
}

/// A request that is answered at once.
pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(REQUEST_TIMEOUT);
    request
}

/// The document of an answer.
///
/// # Errors
/// What the hub said instead ([`Refused`]).
pub fn document(answer: Answer) -> anyhow::Result<Document> {
    match answer {
        Ok(answer) => Document::read(&answer.into_inner().json),
        Err(status) => Err(refused(&status)),
    }
}

/// Pieces put together.
///
/// # Errors
/// What the hub said instead of the next piece.
pub async fn whole(mut pieces: Streaming<v1::Piece>) -> Result<Vec<u8>, Status> {
    let mut whole = Vec::new();
    while let Some(piece) = pieces.message().await? {
        whole.extend_from_slice(&piece.data);
    }
    Ok(whole)
}

/// What the hub said, or how the connection broke.
pub fn refused(status: &Status) -> anyhow::Error {
    use std::error::Error as _;
    let message = match status.source() {
        // It comes from the connection, not from the hub.
        Some(_) if link::is_refusal(status) => {
            format!("the hub does not accept this context's certificate: {}", because(status))
        }
        Some(source) => format!("the connection to the hub broke: {}", because(source)),
        None if status.message().is_empty() => format!("the hub refused: {}", status.code()),
        None => status.message().to_owned(),
    };
    anyhow!(Refused { message, code: status.code() })
}
