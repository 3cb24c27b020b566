//! Pausing: operators let nothing of something change for a while, and end that.
//!
//! In: requests whose role was checked. Out: records of pauses, and what to say.
//! Never: pauses without an end; takes an order for nothing in particular.

use std::collections::BTreeMap;

use nave_proto::v1;
use tonic::Status;

use super::service::{Answer, OperatorService, argument, commit_status, document};
use super::views::DoneView;
use crate::deciding::core::json;
use crate::state::records::{PauseRecord, PauseScope, key};
use crate::state::{Audit, Step, rfc3339};
use crate::store::Batch;

/// Nobody remembers for longer why.
const LONGEST_MS: u64 = 90 * 86_400_000;

impl OperatorService {
    /// What is meant.
    fn scope(&self, scope: Option<v1::Scope>) -> Result<PauseScope, Status> {
        let v1::Scope { app, cluster, all } = scope.unwrap_or_default();
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let app = named(&app).map(|app| app.parse()).transpose().map_err(argument)?;
        let cluster = named(&cluster).map(|cluster| cluster.parse()).transpose().map_err(argument)?;
        match (all, app.is_some() || cluster.is_some()) {
            (true, true) => Err(argument("all is more than an app or a cluster: name one of them")),
            (false, false) => {
                Err(argument("nothing is named: name an app, a cluster with --cluster, or --all"))
            }
            _ => Ok(PauseScope { app, cluster }),
        }
    }

    pub(super) async fn order_pause(&self, request: v1::PauseRequest, audit: Audit) -> Answer {
        let v1::PauseRequest { scope, for_ms, reason } = request;
        let scope = self.scope(scope)?;
        if let Some(cluster) = &scope.cluster {
            self.known(cluster)?;
        }
        if let Some(app) = scope.app.as_ref().filter(|app| !self.look(|look| look.app_keys().contains(*app)))
        {
            return Err(Status::not_found(format!("there is no app {app}; `hub app list` names them")));
        }
        if !(1..=LONGEST_MS).contains(&for_ms) {
            return Err(argument("a pause lasts longer than 0s, and at most 90d"));
        }
        let now_ms = self.rooms.ledger.now_ms();
        let by = audit.name().to_owned();
        let record = PauseRecord {
            scope: scope.clone(),
            since_ms: now_ms,
            until_ms: now_ms + for_ms,
            by,
            reason: reason.clone(),
        };
        let details = BTreeMap::from([("until".to_owned(), rfc3339(record.until_ms))]);
        let audit = Audit { what: "Paused", subject: scope.to_string(), why: reason, details, ..audit };
        let place = key::pause(&scope);
        let held = self.rooms.ledger.state().pauses.get(&scope).cloned();
        let replaced = held.as_ref().filter(|pause| pause.until_ms > now_ms);
        let replaced = replaced.map(|pause| format!("; before: {}", *pause.record)).unwrap_or_default();
        let held = held.map(|pause| pause.version);
        let batch = Batch::new().require_same(place.clone(), held).put(place, json(&record));
        let committed = self.rooms.ledger.commit_audited(Step::PauseOrdered, batch, &[audit]).await;
        committed.map_err(|e| commit_status(&e))?;
        let told = match scope.app {
            Some(_) => "nothing new is told of it meanwhile; what its spokes were told before goes on",
            None => "nothing of it changes meanwhile",
        };
        document(&DoneView { message: format!("{record}; {told}{replaced}") })
    }

    pub(super) async fn end_pause(&self, request: v1::ResumeRequest, audit: Audit) -> Answer {
        let v1::ResumeRequest { scope, reason } = request;
        let scope = self.scope(scope)?;
        let now_ms = self.rooms.ledger.now_ms();
        let (held, others) = {
            let state = self.rooms.ledger.state();
            let others: Vec<String> = state.paused(now_ms).map(|pause| pause.scope.to_string()).collect();
            (state.pauses.get(&scope).map(|pause| pause.version), others)
        };
        let Some(version) = held else {
            let others = match others.is_empty() {
                true => "nothing is".to_owned(),
                false => format!("paused is {}", others.join(", ")),
            };
            return Err(Status::not_found(format!("{scope} is not paused; {others}")));
        };
        let audit = Audit { what: "Resumed", subject: scope.to_string(), why: reason, ..audit };
        let place = key::pause(&scope);
        let batch = Batch::new().require_at(place.clone(), version).delete(place);
        let committed = self.rooms.ledger.commit_audited(Step::PauseOrdered, batch, &[audit]).await;
        committed.map_err(|e| commit_status(&e))?;
        document(&DoneView { message: format!("{scope} is paused no longer") })
    }
}
