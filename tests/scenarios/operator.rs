//! Operator: asks the hub over one open connection, so that starting a process is in no figure.

use std::path::Path;
use std::sync::Arc;

use nave_hub::context::Context;
use nave_hub::operator::views::{WaitOutcome, WaitView};
use nave_proto::v1::operator_client::OperatorClient;
use nave_proto::{tls, v1};
use nave_spoke::link::{self, Connector, Tcp};
use nave_spoke::run::system_clock;
use tonic::transport::Channel;

/// An administrator's connection.
pub struct Operator(OperatorClient<Channel>);

impl Operator {
    /// Connects with the context that `hub init` made.
    pub async fn connect(data_dir: &Path) -> Self {
        let context = Context::read(&data_dir.join("admin.yaml")).unwrap();
        let credentials = context.credentials();
        let tls = tls::client(&context.ca_der().unwrap(), credentials.as_ref(), system_clock()).unwrap();
        let connector: Connector = Arc::new(Tcp);
        Self(OperatorClient::new(link::open(&connector, tls, &context.hub[0]).await.unwrap()))
    }

    /// Has Git polled at once, and waits until the commit is everywhere.
    pub async fn wait(&mut self, commit: &str) {
        let filter = v1::Filter { commit: commit.to_owned(), ..v1::Filter::default() };
        let request = v1::WaitRequest { filter: Some(filter), timeout_ms: 60_000, include_offline: true };
        let answer = self.0.wait(request).await.unwrap().into_inner();
        let view: WaitView = serde_json::from_slice(&answer.json).unwrap();
        assert_eq!(view.outcome, WaitOutcome::Converged, "{}", view.message);
    }
}
