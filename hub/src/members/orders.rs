//! What operators order about members.

use std::collections::BTreeMap;

use nave_placement::ClusterName;

use super::{MemberError, Members, TOKENS_PER_BATCH};
use crate::deciding::core::json;
use crate::state::records::{MemberRecord, Standing, key};
use crate::state::{Audit, Step, Versioned};
use crate::store::Batch;

impl Members {
    fn member(&self, cluster: &ClusterName) -> Result<Versioned<std::sync::Arc<MemberRecord>>, MemberError> {
        self.ledger.state().members.get(cluster).cloned().ok_or_else(|| MemberError::Unknown(cluster.clone()))
    }

    /// Sets and removes labels. Those that the catalog sets are the catalog's; `catalog` are these.
    ///
    /// # Errors
    /// When there is no such member, or the catalog sets one of the labels.
    pub async fn label(
        &self,
        cluster: &ClusterName,
        set: &BTreeMap<String, String>,
        remove: &[String],
        catalog: &BTreeMap<String, String>,
        operator: &Audit,
    ) -> Result<BTreeMap<String, String>, MemberError> {
        if let Some(key) = set.keys().chain(remove).find(|key| catalog.contains_key(*key)) {
            return Err(MemberError::Refused(format!(
                "label {key} of cluster {cluster} is set in the catalog, which wins; change it there"
            )));
        }
        let member = self.member(cluster)?;
        let mut record = (*member.record).clone();
        record.membership.labels.extend(set.clone());
        record.membership.labels.retain(|key, _| !remove.contains(key));
        let labels = record.membership.labels.clone();
        let said = set.iter().map(|(k, v)| format!("{k}={v}")).chain(remove.iter().map(|k| format!("{k}-")));
        let audit = Audit {
            what: "Labelled",
            subject: format!("cluster {cluster}"),
            details: BTreeMap::from([("labels".to_owned(), said.collect::<Vec<_>>().join(","))]),
            ..operator.clone()
        };
        self.write(Step::MemberLabelled, cluster, &member, &record, audit).await?;
        Ok(labels)
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
        let member = self.member(cluster)?;
        let standing = match (member.standing, delete_workloads) {
            (Standing::Revoked, _) => return self.forget(cluster, operator).await,
            (_, true) => Standing::Emptying,
            (_, false) => Standing::Detaching,
        };
        let by = operator.who.strip_prefix("operator ").unwrap_or(&operator.who).to_owned();
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
        let member = self.member(cluster)?;
        let record = MemberRecord { standing: Standing::Revoked, ..(*member.record).clone() };
        let audit = Audit { what: "Revoked", subject: format!("cluster {cluster}"), ..operator.clone() };
        self.write(Step::MemberRevoked, cluster, &member, &record, audit).await
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
