//! Enrolling: a join token and a fresh key become a certificate.
//!
//! In: a token. Out: an [`Identity`], stored. Never: presents a key that is not stored, gives up on a hub that is away.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::Digest;
use nave_proto::backoff::{Backoff, jittered};
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::tls;
use nave_proto::v1::enrolment_client::EnrolmentClient;
use nave_proto::v1::{self, enrol_response};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::{Identity, Joining, Misfit, Secret};
use crate::link::{self, Connector, HubClock};
use crate::state::{State, StateError};

/// Between two attempts at the token's addresses.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often a pending enrolment is asked about, unless the hub says.
const PENDING: Duration = Duration::from_secs(10);

/// Why a cluster cannot join.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The hub said no, for good.
    #[error("the hub refuses to let this cluster join: {0}")]
    Refused(String),
    /// The hub is ours and its answer is wrong.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// No key could be made.
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    /// No TLS could be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// What joining needs.
#[derive(Clone)]
pub struct Enrolling {
    /// Where the key is kept.
    pub state: Arc<State>,
    /// How the hub is reached.
    pub connector: Connector,
    /// The time.
    pub clock: HubClock,
    /// The cluster's own UID.
    pub cluster_uid: String,
}

/// What one attempt came to.
enum Attempt {
    Identity(Box<v1::Identity>),
    Pending(Duration),
    Failed(String),
}

/// Joins by a token, for as long as it takes; the caller may drop it at any time. A token that was begun with goes on with
/// the same key, so that an answer that was lost can be asked for again.
///
/// # Errors
/// When the hub refuses, or the disk does.
pub async fn enrol(enrolling: &Enrolling, token: &v1::JoinToken) -> Result<Identity, EnrolError> {
    let key = key_for(&enrolling.state, &token.id).await?;
    let csr = CertificateParams::default().serialize_request(&key).map_err(EnrolError::Key)?;
    let request = v1::EnrolRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        csr: csr.der().to_vec(),
        cluster_uid: enrolling.cluster_uid.clone(),
    };
    let ca = Digest::from_bytes(&token.ca_sha256).map_err(|_| Misfit("no CA in the token"))?;
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    for address in token.hub_addresses.iter().cycle() {
        let wait = match attempt(enrolling, ca, address, &request).await? {
            Attempt::Identity(answer) => {
                enrolling.clock.saw(answer.time_ms);
                let expected = (token.fleet.as_str(), ca);
                let identity = Identity::checked(*answer, &key, expected, &token.id, &enrolling.cluster_uid)?;
                enrolling.state.joined(&identity).await?;
                tracing::info!(cluster = identity.cluster, fleet = identity.fleet, "joined");
                return Ok(identity);
            }
            Attempt::Pending(after) => {
                tracing::info!(address, "joined, waiting for an operator's approval");
                jittered(after, fastrand::f64())
            }
            Attempt::Failed(error) => {
                let wait = backoff.after_failure(fastrand::f64());
                tracing::warn!(
                    address,
                    error,
                    retry_in_ms = wait.as_millis() as u64,
                    "joining did not work yet"
                );
                wait
            }
        };
        sleep(wait).await;
    }
    Err(EnrolError::Refused("the token names no address of a hub".to_owned()))
}

/// The key that this token is used with; stored before it is used.
async fn key_for(state: &State, token: &str) -> Result<KeyPair, EnrolError> {
    if let Some(begun) = state.joining().await?.filter(|begun| begun.token == token)
        && let Ok(key) = KeyPair::try_from(begun.key.0)
    {
        return Ok(key);
    }
    let key = KeyPair::generate().map_err(EnrolError::Key)?;
    state.store_joining(&Joining { token: token.to_owned(), key: Secret(key.serialize_der()) }).await?;
    Ok(key)
}

async fn attempt(
    enrolling: &Enrolling,
    ca: Digest,
    address: &str,
    request: &v1::EnrolRequest,
) -> Result<Attempt, EnrolError> {
    let tls = tls::enrolling_client(ca, enrolling.clock.for_tls()).map_err(EnrolError::Tls)?;
    let channel = match link::open(&enrolling.connector, tls, address).await {
        Ok(channel) => channel,
        Err(error) => return Ok(Attempt::Failed(link::chain(&error))),
    };
    let mut client = EnrolmentClient::new(channel);
    let answer = match timeout(REQUEST_TIMEOUT, client.enrol(request.clone())).await {
        Err(_) => return Ok(Attempt::Failed(format!("no answer within {REQUEST_TIMEOUT:?}"))),
        Ok(Err(status)) if is_final(status.code()) => {
            return Err(EnrolError::Refused(status.message().to_owned()));
        }
        Ok(Err(status)) => return Ok(Attempt::Failed(link::chain(&status))),
        Ok(Ok(answer)) => answer.into_inner(),
    };
    Ok(match answer.result {
        Some(enrol_response::Result::Identity(identity)) => Attempt::Identity(Box::new(identity)),
        Some(enrol_response::Result::Pending(pending)) => match pending.retry_after_ms {
            0 => Attempt::Pending(PENDING),
            ms => Attempt::Pending(Duration::from_millis(ms).min(RETRY_MAX)),
        },
        None => Attempt::Failed("the hub's answer is empty".to_owned()),
    })
}

/// Answers that no retry changes.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unimplemented
    )
}
