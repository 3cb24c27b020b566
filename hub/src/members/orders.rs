//! What operators order about members.

use std::collections::BTreeMap;

use nave_placement::ClusterName;
use nave_placement::assign::Told;
use nave_proto::v1;

use super::{ATTEMPTS, MemberError, Members, TOKENS_PER_BATCH};
use crate::deciding::core::json;
use crate::deciding::history;
use crate::state::history::{Authors, Cause, What, Writer};
use crate::state::records::{MemberRecord, Standing, key};
use crate::state::{Audit, Step, Versioned};
use crate::store::Batch;

/// Whether an order is to be tried once more: somebody else changed the member meanwhile, as the hub itself does when its
/// workloads are gone.
fn is_overtaken(done: &Result<(), MemberError>) -> bool {
    matches!(done, Err(MemberError::Commit(error)) if error.is_conflict())
}

impl Members {
    pub(super) fn member(
        &self,
        cluster: &ClusterName,
    ) -> Result<Versioned<std::sync::Arc<MemberRecord>>, MemberError> {
        self.ledger.state().members.get(cluster).cloned().ok_or_else(|| MemberError::Unknown(cluster.clone()))
    }

    /// Orders a member out: detached (what runs stays), or first emptied.
    ///
    /// # Errors
    /// When there is no such member.
    pub async fn remove(
        &self,
        cluster: &ClusterName,
        delete_workloads: bool,
        operator: &Audit,
    ) -> Result<(), MemberError> {
        let mut done = self.remove_once(cluster, delete_workloads, operator).await;
        for _ in 1..ATTEMPTS {
            if !is_overtaken(&done) {
                break;
            }
            done = self.remove_once(cluster, delete_workloads, operator).await;
        }
        done
    }

    async fn remove_once(
        &self,
        cluster: &ClusterName,
        delete_workloads: bool,
        operator: &Audit,
    ) -> Result<(), MemberError> {
        let member = self.member(cluster)?;
        let standing = match (member.standing, delete_workloads) {
            (Standing::Revoked, _) => return self.forget(cluster, operator).await,
            (_, true) => Standing::Emptying,
            (_, false) => Standing::Detaching,
        };
        let by = operator.name().to_owned();
        let record = MemberRecord { standing, ordered_by: Some(by), ..(*member.record).clone() };
        let workloads = if delete_workloads { "delete" } else { "keep" };
        let audit = Audit {
            what: "Removed",
            subject: format!("cluster {cluster}"),
            details: BTreeMap::from([("workloads".to_owned(), workloads.to_owned())]),
            ..operator.clone()
        };
        self.write(Step::MemberOrderedOut, cluster, &member, &record, audit).await
    }

    /// Refuses a member's certificate from now on. What runs there stays; the records stay, for a spoke that joins again.
    ///
    /// # Errors
    /// When there is no such member.
    pub async fn revoke(&self, cluster: &ClusterName, operator: &Audit) -> Result<(), MemberError> {
        let mut done = self.revoke_once(cluster, operator).await;
        for _ in 1..ATTEMPTS {
            if !is_overtaken(&done) {
                break;
            }
            done = self.revoke_once(cluster, operator).await;
        }
        done
    }

    async fn revoke_once(&self, cluster: &ClusterName, operator: &Audit) -> Result<(), MemberError> {
        let member = self.member(cluster)?;
        let record = MemberRecord { standing: Standing::Revoked, ..(*member.record).clone() };
        let audit = Audit { what: "Revoked", subject: format!("cluster {cluster}"), ..operator.clone() };
        self.write(Step::MemberRevoked, cluster, &member, &record, audit).await
    }

    /// Gives a member's name, with all that is decided and said of it, to a rebuilt cluster: makes a token for that, and
    /// refuses from now on whoever had the name. What the old cluster reported and said of itself goes with it.
    ///
    /// # Errors
    /// When there is no such member, or it is on its way out.
    pub async fn replace(
        &self,
        cluster: &ClusterName,
        valid_ms: u64,
        operator: &Audit,
    ) -> Result<(v1::JoinToken, u64), MemberError> {
        let member = self.member(cluster)?;
        if matches!(member.standing, Standing::Emptying | Standing::Detaching) {
            return Err(MemberError::Refused(format!(
                "cluster {cluster} is on its way out; revoke it first (`hub cluster revoke {cluster}`), or wait until it has left and let it join"
            )));
        }
        let membership = member.membership.clone();
        let record = MemberRecord { membership: membership.clone(), ..MemberRecord::default() };
        // A token that the old cluster may still have would bring it back.
        let batch = self.without_tokens(cluster).await?;
        let (token, expires_ms, batch) = self.new_token(cluster, membership, valid_ms, batch);
        let batch = batch
            .require_at(key::member(cluster), member.version)
            .put(key::member(cluster), json(&record))
            .delete(key::report(cluster))
            .delete(key::facts(cluster));
        let audit = Audit { what: "Replaced", subject: format!("cluster {cluster}"), ..operator.clone() };
        self.ledger.commit_audited(Step::MemberRevoked, batch, &[audit]).await?;
        Ok((token, expires_ms))
    }

    /// The spoke of a member that was ordered out has detached: the hub forgets it, and its certificate with it.
    ///
    /// # Errors
    /// When there is no such member, or it was not ordered out.
    pub async fn detached(&self, cluster: &ClusterName) -> Result<(), MemberError> {
        let member = self.member(cluster)?;
        if member.standing != Standing::Detaching {
            return Err(MemberError::Refused(format!("cluster {cluster} was not told to detach")));
        }
        let audit = Audit { who: format!("spoke {cluster}"), ..Audit::default() };
        self.forget(cluster, &audit).await
    }

    /// Takes back the tokens of a cluster, all but the last few: who left comes back by a new one only. Gives the batch that
    /// takes back the rest together with what follows.
    async fn without_tokens(&self, cluster: &ClusterName) -> Result<Batch, MemberError> {
        let theirs: Vec<String> = {
            let state = self.ledger.state();
            let theirs = state.tokens.iter().filter(|(_, token)| token.cluster == *cluster);
            theirs.map(|(id, _)| key::token(id)).collect()
        };
        let take_back = |ids: &[String]| ids.iter().fold(Batch::new(), |batch, id| batch.delete(id.clone()));
        let (last, before) = theirs.split_at(theirs.len().min(TOKENS_PER_BATCH));
        for chunk in before.chunks(TOKENS_PER_BATCH) {
            self.ledger.commit(Step::TokenIssued, take_back(chunk)).await?;
        }
        Ok(take_back(last))
    }

    async fn forget(&self, cluster: &ClusterName, who: &Audit) -> Result<(), MemberError> {
        let member = self.member(cluster)?;
        let batch = self
            .without_tokens(cluster)
            .await?
            .require_at(key::member(cluster), member.version)
            .delete(key::member(cluster))
            .delete(key::assignment(cluster))
            .delete(key::report(cluster))
            .delete(key::facts(cluster));
        let batch = {
            let (state, now_ms) = (self.ledger.state(), self.ledger.now_ms());
            let told = state.told(cluster);
            let nothing = Told::nothing(state.epoch());
            let by = member.ordered_by.clone().unwrap_or_else(|| who.name().to_owned());
            let left = history::all(&told, &nothing, cluster, (What::Detached, &Cause::Operator { by }));
            Writer::new(&state.history, &Authors::new(), now_ms).put(batch, left)
        };
        let audit = Audit { what: "Detached", subject: format!("cluster {cluster}"), ..who.clone() };
        self.ledger.commit_audited(Step::MemberDetached, batch, &[audit]).await?;
        Ok(())
    }

    async fn write(
        &self,
        step: Step,
        cluster: &ClusterName,
        member: &Versioned<std::sync::Arc<MemberRecord>>,
        record: &MemberRecord,
        audit: Audit,
    ) -> Result<(), MemberError> {
        let key = key::member(cluster);
        let batch = match record.standing {
            Standing::Revoked => self.without_tokens(cluster).await?,
            _ => Batch::new(),
        };
        let batch = batch.require_at(key.clone(), member.version).put(key, json(record));
        self.ledger.commit_audited(step, batch, &[audit]).await?;
        Ok(())
    }
}
