//! Members: how a cluster joins, keeps its certificate, and leaves.
//!
//! In: join tokens, certificate requests, operators' orders. Out: member records, certificates.
//! Never: takes a name from a request, forgets a token before the member is durable.

mod membership;
mod orders;
pub mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use nave_placement::fleet::Membership;
use nave_placement::{ClusterName, Digest, hex};
use nave_proto::limits::{RENEW_CONTEXT, RENEW_EXPIRED};
use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
use nave_proto::v1;
use subtle::ConstantTimeEq as _;

pub use self::membership::{Declared, Order, Ordered};
use crate::deciding::core::json;
use crate::pki::{Authority, AuthorityError, Issued, random};
use crate::state::records::{MemberRecord, Standing, TokenRecord, key};
use crate::state::{Audit, CommitError, Ledger, Step};
use crate::store::Batch;

/// How long a join token is valid unless the operator says otherwise: one hour, in milliseconds.
pub const TOKEN_LIFE_MS: u64 = 3_600_000;
/// Tokens of one batch, well below the store's 128 operations.
const TOKENS_PER_BATCH: usize = 50;
/// How often a commit is decided again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// Why a request about a member is refused. The text reaches the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The token is unknown, used, expired or wrong: one answer for all, so that nobody can probe.
    #[error("the join token is not valid (any more); make a new one with `hub cluster join NAME`")]
    Token,
    /// The certificate is not one that may be renewed.
    #[error("the certificate cannot be renewed: {0}")]
    Certificate(&'static str),
    /// The request's key.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No such member.
    #[error("there is no cluster {0}; `hub cluster list` shows those that there are")]
    Unknown(ClusterName),
    /// The name is taken.
    #[error(
        "cluster {0} is a member already; remove it first (`hub cluster remove {0}`), or revoke it if its spoke is lost"
    )]
    Exists(ClusterName),
    /// The catalog decides this label.
    #[error("{0}")]
    Refused(String),
    /// The store.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Everything that happens to members.
#[derive(Clone)]
pub struct Members {
    ledger: Arc<Ledger>,
    authority: Arc<Authority>,
    addresses: Arc<[String]>,
}

impl Members {
    /// The rooms that it needs; `addresses` is where spokes reach the hub.
    pub fn new(ledger: Arc<Ledger>, authority: Arc<Authority>, addresses: Arc<[String]>) -> Self {
        Self { ledger, authority, addresses }
    }

    /// Makes a join token: this is the approval of the cluster.
    ///
    /// # Errors
    /// When the name belongs to a member that was not revoked.
    pub async fn join(
        &self,
        cluster: ClusterName,
        membership: Membership,
        valid_ms: u64,
        operator: &Audit,
    ) -> Result<(v1::JoinToken, u64), MemberError> {
        let known = self.ledger.state().members.get(&cluster).map(|m| m.standing);
        if known.is_some_and(|standing| standing != Standing::Revoked) {
            return Err(MemberError::Exists(cluster));
        }
        let batch = self.expired_tokens().fold(Batch::new(), |batch, id| batch.delete(id));
        let (token, expires_ms, batch) = self.new_token(&cluster, membership, valid_ms, batch);
        let audit = Audit { what: "Joined", subject: format!("cluster {cluster}"), ..operator.clone() };
        self.ledger.commit_audited(Step::TokenIssued, batch, &[audit]).await?;
        Ok((token, expires_ms))
    }

    /// A join token, until when it is valid, and the batch with its record.
    fn new_token(
        &self,
        cluster: &ClusterName,
        membership: Membership,
        valid_ms: u64,
        batch: Batch,
    ) -> (v1::JoinToken, u64, Batch) {
        let (id, secret) = (hex(&random::<8>()), random::<32>());
        let life = if valid_ms == 0 { TOKEN_LIFE_MS } else { valid_ms };
        let expires_ms = self.ledger.now_ms() + life;
        let record = TokenRecord {
            cluster: cluster.clone(),
            membership,
            secret: Digest::of(&secret),
            expires_ms,
            bound_to: None,
        };
        let key = key::token(&id);
        let batch = batch.require_absent(key.clone()).put(key, json(&record));
        let token = v1::JoinToken {
            hub_addresses: self.addresses.to_vec(),
            ca_sha256: self.authority.digest().0.to_vec(),
            id,
            secret: secret.to_vec(),
            fleet: self.authority.fleet().to_owned(),
        };
        (token, expires_ms, batch)
    }

    /// Tokens that nobody can use any more; as many as go into the batch that issues the next.
    fn expired_tokens(&self) -> impl Iterator<Item = String> + use<> {
        let now_ms = self.ledger.now_ms();
        let state = self.ledger.state();
        let expired = state.tokens.iter().filter(|(_, token)| token.expires_ms < now_ms);
        let expired: Vec<String> = expired.take(TOKENS_PER_BATCH).map(|(id, _)| key::token(id)).collect();
        expired.into_iter()
    }

    /// Enrols a cluster. The token is bound to the first key that is presented with it; the same key may ask again until the
    /// token expires, so that a lost reply can be retried.
    ///
    /// # Errors
    /// When token, request or UID are not acceptable.
    pub async fn enrol(&self, request: &v1::EnrolRequest, from: &str) -> Result<v1::Identity, MemberError> {
        for _ in 0..ATTEMPTS {
            match self.try_enrol(request, from).await {
                Err(MemberError::Commit(error)) if error.is_conflict() => {}
                other => return other,
            }
        }
        Err(MemberError::Refused("too many changes at once; try again".to_owned()))
    }

    async fn try_enrol(&self, request: &v1::EnrolRequest, from: &str) -> Result<v1::Identity, MemberError> {
        let now_ms = self.ledger.now_ms();
        let token = self.ledger.state().tokens.get(&request.token_id).cloned().ok_or(MemberError::Token)?;
        let presented = Digest::of(&request.token_secret);
        let secret_fits: bool = presented.0.ct_eq(&token.secret.0).into();
        if !secret_fits || token.expires_ms <= now_ms || request.cluster_uid.is_empty() {
            return Err(MemberError::Token);
        }
        let cluster = token.cluster.clone();
        let issued = self.authority.spoke_from_request(cluster.as_str(), &request.csr, now_ms)?;
        let public_key = hex(&issued.public_key);
        if token.bound_to.as_ref().is_some_and(|bound| *bound != public_key) {
            return Err(MemberError::Token);
        }
        let member = self.ledger.state().members.get(&cluster).cloned();
        let same = member.as_ref().is_some_and(|m| m.public_key == public_key);
        if member.as_ref().is_some_and(|m| !same && m.standing != Standing::Revoked && !m.is_vacant()) {
            return Err(MemberError::Token);
        }
        let bound = TokenRecord { bound_to: Some(public_key.clone()), ..(*token.record).clone() };
        let record = match member.as_ref().filter(|_| same) {
            // A reply was lost: what became of the member since stays.
            Some(m) if m.standing == Standing::Member && m.cluster_uid == request.cluster_uid => {
                MemberRecord { certificate_until_ms: issued.not_after_ms, ..(*m.record).clone() }
            }
            Some(_) => return Err(MemberError::Token),
            None => MemberRecord {
                // A rebuilt cluster is what operators said of its name, also since the token was made.
                membership: match member.as_ref().filter(|m| m.is_vacant()) {
                    Some(m) => m.membership.clone(),
                    None => token.membership.clone(),
                },
                cluster_uid: request.cluster_uid.clone(),
                public_key,
                enrolled_ms: now_ms,
                certificate_until_ms: issued.not_after_ms,
                standing: Standing::Member,
                ordered_by: None,
            },
        };
        let (token_key, member_key) = (key::token(&request.token_id), key::member(&cluster));
        let batch = Batch::new()
            .require_at(token_key.clone(), token.version)
            .require_same(member_key.clone(), member.map(|m| m.version))
            .put(token_key, json(&bound))
            .put(member_key, json(&record));
        // What another spoke of this name reported says nothing of this one, which counts its starts anew. What the cluster was
        // told stays: it may be the same cluster, and objects of it may be there.
        let batch = match same {
            true => batch,
            false => batch.delete(key::report(&cluster)).delete(key::facts(&cluster)),
        };
        let audit = Audit {
            who: format!("spoke {cluster}"),
            from: from.to_owned(),
            what: "Enrolled",
            subject: format!("cluster {cluster}"),
            ..Audit::default()
        };
        self.ledger.commit_audited(Step::MemberEnrolled, batch, &[audit]).await?;
        Ok(self.identity(cluster.as_str(), issued))
    }

    /// A nonce to sign for a renewal.
    pub fn challenge(&self) -> Vec<u8> {
        self.authority.mac().nonce(self.ledger.now_ms())
    }

    /// Renews a certificate for the same identity and key. It may have expired up to 90 days ago.
    ///
    /// # Errors
    /// When it is not ours, its key did not sign the nonce, it is too old, or its member was revoked.
    pub async fn renew(&self, request: &v1::RenewRequest, from: &str) -> Result<v1::Identity, MemberError> {
        let refused = MemberError::Certificate;
        let now_ms = self.ledger.now_ms();
        if !self.authority.mac().nonce_is_fresh(&request.nonce, now_ms) {
            return Err(refused("the nonce is not fresh; ask for a new one"));
        }
        self.authority
            .signed(&request.certificate)
            .map_err(|_| refused("this fleet's CA did not sign it"))?;
        let signed = [RENEW_CONTEXT, &request.nonce].concat();
        verify_signature(&request.certificate, &signed, &request.signature)
            .ok_or(refused("its key did not sign the request"))?;
        let facts = CertificateFacts::read(&request.certificate).map_err(|_| refused("it cannot be read"))?;
        let id = SpiffeId::of_certificate(&request.certificate).map_err(|_| refused("it names nobody"))?;
        let (Role::Spoke(name), true) = (id.role, id.fleet == self.authority.fleet()) else {
            return Err(refused("it is no spoke's of this fleet"));
        };
        let not_after_ms = u64::try_from(facts.not_after).unwrap_or(0) * 1000;
        let expired = not_after_ms < now_ms;
        let grace_ms = u64::try_from(RENEW_EXPIRED.as_millis()).unwrap_or(u64::MAX);
        if not_after_ms.saturating_add(grace_ms) < now_ms {
            return Err(refused("it expired more than 90 days ago; join the cluster again"));
        }
        let cluster: ClusterName = name.parse().map_err(|_| refused("it names nobody"))?;
        let member = self.ledger.state().members.get(&cluster).cloned();
        let member = member.ok_or(refused("its cluster is no member"))?;
        if member.standing == Standing::Revoked || member.public_key != hex(&facts.public_key) {
            return Err(refused("it was revoked"));
        }
        let issued = self.authority.spoke_for_key(&name, &facts.public_key, now_ms)?;
        let record = MemberRecord { certificate_until_ms: issued.not_after_ms, ..(*member.record).clone() };
        let member_key = key::member(&cluster);
        let batch =
            Batch::new().require_at(member_key.clone(), member.version).put(member_key, json(&record));
        let audit = Audit {
            who: format!("spoke {cluster}"),
            from: from.to_owned(),
            what: if expired { "RenewedExpired" } else { "Renewed" },
            subject: format!("cluster {cluster}"),
            ..Audit::default()
        };
        // The daily renewal is routine; one with an expired certificate is told.
        if expired {
            self.ledger.commit_audited(Step::CertificateRenewed, batch, &[audit]).await?;
        } else {
            self.ledger.commit(Step::CertificateRenewed, batch).await?;
        }
        Ok(self.identity(&name, issued))
    }

    fn identity(&self, cluster: &str, issued: Issued) -> v1::Identity {
        v1::Identity {
            certificate: issued.certificate,
            ca: self.authority.certificate().to_vec(),
            cluster: cluster.to_owned(),
            fleet: self.authority.fleet().to_owned(),
            hub_addresses: self.addresses.to_vec(),
            time_ms: self.ledger.now_ms(),
        }
    }

    /// The member whose certificate this is, if it may still speak, and its public key.
    pub fn authenticate(&self, certificate: &[u8]) -> Option<(ClusterName, String)> {
        let id =
            SpiffeId::of_certificate(certificate).ok().filter(|id| id.fleet == self.authority.fleet())?;
        let Role::Spoke(name) = id.role else { return None };
        let cluster: ClusterName = name.parse().ok()?;
        let facts = CertificateFacts::read(certificate).ok()?;
        let state = self.ledger.state();
        let member = state.members.get(&cluster)?;
        let key = hex(&facts.public_key);
        (member.standing != Standing::Revoked && member.public_key == key).then_some((cluster, key))
    }
}

/// Checks an ECDSA P-256 signature by a certificate's key.
fn verify_signature(certificate: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let certificate = rustls::pki_types::CertificateDer::from(certificate);
    let end_entity = webpki::EndEntityCert::try_from(&certificate).ok()?;
    end_entity.verify_signature(webpki::ring::ECDSA_P256_SHA256, message, signature).ok()
}
