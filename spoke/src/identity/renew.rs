//! Renewing: a certificate becomes the next one, for the same name and key, even after it has expired.
//!
//! In: the identity, the time. Out: a newer identity, stored. Never: renews a name or key that is not ours; gives up.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::Digest;
use nave_proto::backoff::Backoff;
use nave_proto::limits::{RENEW_CONTEXT, REQUEST_TIMEOUT};
use nave_proto::v1::enrolment_client::EnrolmentClient;
use nave_proto::{tls, v1};
use rcgen::{KeyPair, SigningKey as _};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Identity, Misfit};
use crate::link::{self, Connector, HubClock};
use crate::state::{State, StateError};

/// How often the time is looked at: clocks jump and machines sleep, so one long timer would miss the hour.
const LOOK: Duration = Duration::from_secs(60);
/// Between two attempts, which each try every address.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Why a certificate was not renewed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenewError {
    /// The hub said no.
    #[error("the hub refuses to renew this cluster's certificate: {0}")]
    Refused(String),
    /// The hub could not be asked. It may work later.
    #[error("the certificate could not be renewed: {0}")]
    Failed(String),
}

impl From<StateError> for RenewError {
    fn from(error: StateError) -> Self {
        Self::Failed(link::chain(&error))
    }
}

impl From<Misfit> for RenewError {
    fn from(error: Misfit) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The spoke's identity while it runs. Whoever needs it takes the newest.
pub struct Membership {
    state: Arc<State>,
    connector: Connector,
    clock: HubClock,
    identity: watch::Sender<Arc<Identity>>,
    /// One renewal at a time.
    renewing: Mutex<()>,
}

impl Membership {
    /// Begins with the stored identity.
    pub fn new(state: Arc<State>, connector: Connector, clock: HubClock, identity: Identity) -> Self {
        let identity = watch::Sender::new(Arc::new(identity));
        Self { state, connector, clock, identity, renewing: Mutex::new(()) }
    }

    /// Who this spoke is now.
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.borrow().clone()
    }

    /// Sees every change.
    pub fn changes(&self) -> watch::Receiver<Arc<Identity>> {
        self.identity.subscribe()
    }

    /// The time by which certificates are judged.
    pub fn clock(&self) -> &HubClock {
        &self.clock
    }

    /// How the hub is reached.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether the certificate's time is over.
    pub fn has_expired(&self) -> bool {
        self.identity().validity_ms().1 <= self.clock.now_ms()
    }

    /// Keeps what the hub said of itself: its time, and its addresses where they changed.
    ///
    /// # Errors
    /// When the disk says no.
    pub async fn remember(&self, time_ms: u64, addresses: Vec<String>) -> Result<(), StateError> {
        self.clock.saw(time_ms);
        let _one_at_a_time = self.renewing.lock().await;
        let old = self.identity();
        let changed = !addresses.is_empty() && addresses != old.hub_addresses;
        let next = changed.then(|| Identity { hub_addresses: addresses, ..(*old).clone() });
        self.state.store_hub_time(time_ms).await?;
        if let Some(next) = next {
            self.state.store_identity(&next).await?;
            self.identity.send_replace(Arc::new(next));
        }
        Ok(())
    }

    /// Renews now. Tries every address once.
    ///
    /// # Errors
    /// When no address gave a new certificate.
    pub async fn renew(&self) -> Result<(), RenewError> {
        let before = self.identity();
        let _one_at_a_time = self.renewing.lock().await;
        let identity = self.identity();
        if identity.certificate != before.certificate {
            return Ok(());
        }
        let mut last = RenewError::Failed("no address of the hub is known".to_owned());
        for address in &identity.hub_addresses {
            match self.renew_at(&identity, address).await {
                Ok(next) => {
                    self.state.store_identity(&next).await?;
                    let until_ms = next.validity_ms().1;
                    self.identity.send_replace(Arc::new(next));
                    tracing::info!(until_ms, "the certificate was renewed");
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn renew_at(&self, identity: &Identity, address: &str) -> Result<Identity, RenewError> {
        let failed = |e: &dyn std::error::Error| RenewError::Failed(format!("{address}: {}", link::chain(e)));
        let tls = tls::client(&identity.ca.0, None, self.clock.for_tls()).map_err(|e| failed(&e))?;
        let channel = link::open(&self.connector, tls, address).await.map_err(|e| failed(&e))?;
        let mut client = EnrolmentClient::new(channel);
        let late = |_| RenewError::Failed(format!("{address}: no answer within {REQUEST_TIMEOUT:?}"));
        let answered = |status: tonic::Status| match link::is_refusal(&status) {
            true => RenewError::Refused(status.message().to_owned()),
            false => failed(&status),
        };
        let challenge = timeout(REQUEST_TIMEOUT, client.challenge(v1::ChallengeRequest {}));
        let nonce = challenge.await.map_err(late)?.map_err(answered)?.into_inner().nonce;
        let key = KeyPair::try_from(identity.key.0.clone()).map_err(|e| failed(&e))?;
        let signature = key.sign(&[RENEW_CONTEXT, &nonce].concat()).map_err(|e| failed(&e))?;
        let request = v1::RenewRequest { certificate: identity.certificate.0.clone(), nonce, signature };
        let renew = timeout(REQUEST_TIMEOUT, client.renew(request));
        let answer = renew.await.map_err(late)?.map_err(answered)?.into_inner().identity;
        let answer = answer.ok_or(Misfit("it is empty"))?;
        self.clock.saw(answer.time_ms);
        if answer.cluster != identity.cluster {
            return Err(Misfit("another name").into());
        }
        let expected = (identity.fleet.as_str(), Digest::of(&identity.ca.0));
        Ok(Identity::checked(answer, &key, expected, &identity.token, &identity.cluster_uid)?)
    }

    /// Renews at half of the certificate's life, a little earlier or later, until cancelled.
    pub async fn keep_fresh(&self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut spread = spread();
        loop {
            let (from, until) = self.identity().validity_ms();
            let due = from + ((until - from) as f64 * spread) as u64;
            let now = self.clock.now_ms();
            let wait = match due.checked_sub(now).filter(|wait| *wait > 0) {
                Some(wait) => Duration::from_millis(wait).min(LOOK),
                None => match self.renew().await {
                    Ok(()) => {
                        backoff.reset();
                        spread = self::spread();
                        // A certificate that is due as soon as it comes is the hub's mistake, and no reason for a hot loop.
                        RETRY_MIN
                    }
                    Err(error) => {
                        let wait = backoff.after_failure(fastrand::f64());
                        tracing::warn!(%error, retry_in_ms = wait.as_millis() as u64, "the certificate is not renewed yet");
                        wait
                    }
                },
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }
}

/// The part of a certificate's life after which it is renewed: half, jittered so that a fleet that was restarted at once does
/// not renew at once.
fn spread() -> f64 {
    0.45 + 0.1 * fastrand::f64()
}
