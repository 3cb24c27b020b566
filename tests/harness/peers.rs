//! Bare ends of Nave's protocol: gRPC over TLS with whatever certificate a test shows, or none.
//!
//! In: a hub's address, its CA, credentials. Out: channels, and a spoke's stream that says only what it is told to say.
//! The TLS configuration is the product's own, so that what is refused here is refused to everybody.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use nave_proto::tls::{self, Clock, Credentials};
use nave_proto::v1::session_client::SessionClient;
use nave_proto::v1::{self, from_spoke, to_spoke};
use nave_spoke::link::{self, Connector, Tcp};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// An answer comes within this, or never.
const LIMIT: Duration = Duration::from_secs(20);
/// A test says a few messages and waits for each answer.
const OUTBOX: usize = 16;

/// This machine's clock.
pub fn clock() -> Clock {
    nave_spoke::run::system_clock()
}

/// A channel to a hub; anonymous without credentials. TLS 1.3 refuses a client's certificate only at its first request.
///
/// # Errors
/// When there is no hub, or it is not one of that CA.
pub async fn channel(address: &str, ca: &[u8], credentials: Option<&Credentials>) -> Result<Channel> {
    channel_over(&(Arc::new(Tcp) as Connector), address, ca, credentials).await
}

/// As [`channel`], over a connector of the test's own.
///
/// # Errors
/// As [`channel`].
pub async fn channel_over(
    connector: &Connector,
    address: &str,
    ca: &[u8],
    credentials: Option<&Credentials>,
) -> Result<Channel> {
    let tls = tls::client(ca, credentials, clock())?;
    link::open(connector, tls, address).await.map_err(|error| anyhow!(link::chain(&error)))
}

/// A spoke's stream, in the test's hands.
pub struct Stream {
    to_hub: mpsc::Sender<v1::FromSpoke>,
    from_hub: Streaming<v1::ToSpoke>,
}

impl Stream {
    /// Opens it and says hello.
    ///
    /// # Errors
    /// What the hub says to it.
    pub async fn open(channel: Channel, hello: v1::Hello) -> Result<Self, Status> {
        let (to_hub, messages) = mpsc::channel(OUTBOX);
        let hello = v1::FromSpoke { message: Some(from_spoke::Message::Hello(hello)) };
        to_hub.send(hello).await.map_err(|_| Status::cancelled("the stream was cut"))?;
        let mut client = SessionClient::new(channel);
        let opened = timeout(LIMIT, client.open(ReceiverStream::new(messages))).await;
        let from_hub = opened.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner();
        Ok(Self { to_hub, from_hub })
    }

    /// Says something.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn say(&self, message: from_spoke::Message) -> Result<()> {
        Ok(self.to_hub.send(v1::FromSpoke { message: Some(message) }).await?)
    }

    /// The next message of the hub; `None` when it has ended the stream.
    ///
    /// # Errors
    /// What ended the stream, or that nothing came.
    pub async fn next(&mut self) -> Result<Option<to_spoke::Message>, Status> {
        let next = timeout(LIMIT, self.from_hub.message()).await;
        Ok(next.map_err(|_| Status::deadline_exceeded("the hub says nothing"))??.and_then(|m| m.message))
    }

    /// The first assignment that comes.
    ///
    /// # Errors
    /// When the stream ends before.
    pub async fn assignment(&mut self) -> Result<v1::Assignment> {
        loop {
            match self.next().await? {
                Some(to_spoke::Message::Assignment(assignment)) => return Ok(assignment),
                Some(_) => {}
                None => return Err(anyhow!("the hub ended the stream")),
            }
        }
    }

    /// Everything that the hub says until it ends the stream, or until it says nothing for as long as `quiet`.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn rest(&mut self, quiet: Duration) -> Result<Vec<to_spoke::Message>, Status> {
        let mut messages = Vec::new();
        while let Ok(received) = timeout(quiet, self.from_hub.message()).await {
            match received? {
                Some(message) => messages.extend(message.message),
                None => break,
            }
        }
        Ok(messages)
    }
}

/// The hello of a spoke that holds nothing.
pub fn hello(uid: &str) -> v1::Hello {
    v1::Hello {
        versions: Some(v1::VersionRange { min: 1, max: 1 }),
        cluster_uid: uid.to_owned(),
        boot: 1,
        software: "test".to_owned(),
        ..v1::Hello::default()
    }
}

/// The hello of a spoke that holds this assignment.
pub fn holding(uid: &str, assignment: &v1::Assignment) -> v1::Hello {
    v1::Hello {
        epoch: assignment.epoch,
        generation: assignment.generation,
        assignment_digest: assignment.digest.clone(),
        mac: assignment.mac.clone(),
        ..hello(uid)
    }
}
