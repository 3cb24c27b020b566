//! The gRPC service for operators: checks the role, calls the other rooms, answers with views.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::Membership;
use nave_placement::guard::Approval;
use nave_placement::select::Selector;
use nave_placement::{AppKey, ClusterName, is_label_key, is_label_value};
use nave_proto::backoff::Backoff;
use nave_proto::v1::{self, operator_server};
use serde::Serialize;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::asking::Answers;
use super::events::Following;
use super::look::{Look, Selection};
use super::ordering::joining;
use super::outstanding::Outstanding;
use super::planning::{Pieces, Turns};
use super::roles::{allow, allow_question};
use super::rollouts::unknown_rollout;
use super::views::{AuditView, CommitView, DoneView};
use super::wait::Wait;
use crate::catalogs::Catalogs;
use crate::deciding::core::{Revision, json};
use crate::deciding::revision::Place;
use crate::deciding::run::{Picture, chain};
use crate::engines::Engines;
use crate::events::sinks::Board;
use crate::git::{Repository, poller::Observation};
use crate::members::{MemberError, Members};
use crate::sessions::core::Alarm;
use crate::sessions::effects::accept_restore;
use crate::sessions::service::Sessions;
use crate::sources::Sources;
use crate::state::records::{AuditRecord, Rejection, key};
use crate::state::{Audit, CommitError, Ledger, Step};
use crate::store::Batch;
use crate::store::bundles::Bundles;

/// So often an accepted restore is begun anew: at most every spoke proves the loss once more meanwhile.
const RESTORE_ATTEMPTS: u32 = 20;

/// Most audit lines in one answer.
const AUDIT_LINES: usize = 1000;

/// What the service needs.
pub struct Rooms {
    /// The state.
    pub ledger: Arc<Ledger>,
    /// Orders about members.
    pub members: Members,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// The root catalog's repository.
    pub repository: Repository,
    /// Those of all catalogs.
    pub catalogs: Arc<Catalogs>,
    /// Files that are elsewhere.
    pub sources: Arc<Sources>,
    /// What runs Kustomize and Helm.
    pub engines: Arc<Engines>,
    /// Rendered manifests.
    pub bundles: Arc<Bundles>,
    /// The catalog, and where it stands in its repository.
    pub place: Place,
    /// What Git says.
    pub observations: watch::Receiver<Observation>,
    /// Triggers a poll.
    pub poke: watch::Sender<()>,
    /// What was decided.
    pub picture: watch::Receiver<Arc<Picture>>,
    /// The fleet's name.
    pub fleet: String,
    /// Who is told of events.
    pub sinks: Arc<Board>,
    /// Who may plan now.
    pub turns: Turns,
}

/// The gRPC service.
#[derive(Clone)]
pub struct OperatorService {
    pub(super) rooms: Arc<Rooms>,
}

pub(super) type Answer = Result<Response<v1::Document>, Status>;

pub(super) fn document(view: &impl Serialize) -> Answer {
    Ok(Response::new(v1::Document { json: json(view) }))
}

pub(super) fn argument(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) fn member_status(error: &MemberError) -> Status {
    match error {
        MemberError::Unknown(_) => Status::not_found(error.to_string()),
        MemberError::Commit(error) => commit_status(error),
        _ => Status::failed_precondition(error.to_string()),
    }
}

pub(super) fn commit_status(error: &CommitError) -> Status {
    if error.is_conflict() {
        Status::aborted("somebody else changed the same thing at the same time; look again and repeat it")
    } else {
        Status::unavailable(chain(error))
    }
}

impl OperatorService {
    /// Over these rooms.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        Self { rooms }
    }

    fn allow<T>(&self, request: &Request<T>, call: &str) -> Result<Audit, Status> {
        allow(&self.rooms.ledger.state(), &self.rooms.fleet, request, call)
    }

    /// That there is no such app, or that it never was valid.
    pub(super) fn no_app(&self, app: &AppKey) -> Status {
        let problem = self.look(|look| {
            look.picture.problems.iter().find(|problem| look.concerns(problem, app)).map(ToString::to_string)
        });
        Status::not_found(match problem {
            Some(problem) => format!("there is no app {app}, since it is not valid: {problem}"),
            None => format!("there is no app {app}; `hub app list` shows those that there are"),
        })
    }

    /// Looks at one moment of the hub.
    pub fn look<T>(&self, with: impl FnOnce(&Look<'_>) -> T) -> T {
        let (live, mut alarms, seen) =
            (self.rooms.sessions.live(), self.rooms.sessions.alarms(), self.rooms.sessions.seen());
        let observation = self.rooms.observations.borrow().clone();
        let inputs = *self.rooms.ledger.inputs().borrow();
        let observed = self.rooms.sources.observed().borrow().clone();
        let picture = self.rooms.picture.borrow().clone();
        for cluster in &picture.too_large {
            alarms.entry(cluster.clone()).or_insert(Alarm::AssignmentTooLarge);
        }
        let outstanding = Outstanding::of(&picture);
        let state = self.rooms.ledger.state();
        let url = self.rooms.repository.url();
        with(&Look {
            outstanding: &outstanding,
            state: &state,
            picture: &picture,
            observation: &observation,
            live: &live,
            alarms: &alarms,
            seen: &seen,
            since_ms: self.rooms.sessions.since_ms(),
            now_ms: self.rooms.ledger.now_ms(),
            catalog: (self.rooms.place.name.as_str(), &url),
            inputs,
            observed: &observed,
        })
    }

    async fn restore_accepted(&self, audit: &Audit) -> Result<(), CommitError> {
        let writes = accept_restore(&self.rooms.ledger.state(), audit);
        for write in writes.unwrap_or_default() {
            self.rooms.ledger.commit_audited(write.step, write.batch, &write.audits).await?;
        }
        Ok(())
    }

    pub(super) fn selection(&self, filter: Option<v1::Filter>) -> Result<(Selection, String), Status> {
        let filter = filter.unwrap_or_default();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let app = given(&filter.app).map(|a| a.parse::<AppKey>().map_err(argument)).transpose()?;
        let cluster =
            given(&filter.cluster).map(|c| c.parse::<ClusterName>().map_err(argument)).transpose()?;
        let selector: Selector = filter.selector.parse().map_err(argument)?;
        if let Some(app) = &app
            && !self.look(|l| l.app_keys().contains(app))
        {
            return Err(self.no_app(app));
        }
        if let Some(cluster) = &cluster {
            self.known(cluster)?;
        }
        Ok((Selection { app, cluster, selector }, filter.commit))
    }

    pub(super) fn known(&self, cluster: &ClusterName) -> Result<(), Status> {
        let unknown = || Status::not_found(MemberError::Unknown(cluster.clone()).to_string());
        self.rooms.ledger.state().members.contains_key(cluster).then_some(()).ok_or_else(unknown)
    }
}

#[tonic::async_trait]
impl operator_server::Operator for OperatorService {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer {
        self.allow(&request, "Status")?;
        let (selection, commit) = self.selection(request.into_inner().filter)?;
        let mut view = self.look(|look| look.status(&selection, false));
        if !commit.is_empty() {
            let (in_effect, message, _) = self.reached(&commit, None).await;
            let time_to_converge = self.converge_view(&commit, &selection).await;
            view.commit = Some(CommitView { commit, in_effect, message, time_to_converge });
        }
        document(&view)
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Answer {
        self.allow(&request, "Wait")?;
        let request = request.into_inner();
        // An app or cluster that the awaited commit brings need not be known yet.
        let filter = request.filter.unwrap_or_default();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let selection = Selection {
            app: given(&filter.app).map(|a| a.parse().map_err(argument)).transpose()?,
            cluster: given(&filter.cluster).map(|c| c.parse().map_err(argument)).transpose()?,
            selector: filter.selector.parse().map_err(argument)?,
        };
        let wait = Wait {
            selection,
            commit: filter.commit,
            include_offline: request.include_offline,
            timeout: Duration::from_millis(request.timeout_ms),
        };
        document(&OperatorService::wait(self, &wait).await)
    }

    async fn cluster_list(&self, request: Request<v1::ClusterListRequest>) -> Answer {
        self.allow(&request, "ClusterList")?;
        let v1::ClusterListRequest { selector, behind_ms } = request.into_inner();
        let selector: Selector = selector.parse().map_err(argument)?;
        document(&self.look(|look| look.clusters_behind(&selector, behind_ms)))
    }

    async fn cluster_show(&self, request: Request<v1::ClusterRequest>) -> Answer {
        self.allow(&request, "ClusterShow")?;
        let cluster: ClusterName = request.get_ref().cluster.parse().map_err(argument)?;
        let view = self.look(|look| look.cluster(&cluster));
        document(&view.ok_or_else(|| Status::not_found(MemberError::Unknown(cluster).to_string()))?)
    }

    async fn cluster_join(&self, request: Request<v1::ClusterJoinRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterJoin")?;
        let request = request.into_inner();
        let cluster: ClusterName = request.cluster.parse().map_err(argument)?;
        let set = (!request.set.is_empty()).then_some(request.set);
        let membership = Membership { labels: request.labels, set, ..Membership::default() };
        if let Some((key, value)) =
            membership.labels.iter().find(|(key, value)| !is_label_key(key) || !is_label_value(value))
        {
            return Err(argument(format!("{key}={value} is not a valid label")));
        }
        let warning = membership.set.as_deref().and_then(|set| {
            let problem = self.look(|look| look.set_problem(set))?;
            Some(format!("ClusterSet {set}: {problem}"))
        });
        let token = self.rooms.members.join(cluster.clone(), membership, request.valid_ms, &audit).await;
        joining(cluster, token, warning)
    }

    async fn cluster_label(&self, request: Request<v1::ClusterLabelRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterLabel")?;
        self.label(request.into_inner(), audit).await
    }

    async fn cluster_remove(&self, request: Request<v1::ClusterRemoveRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterRemove")?;
        let request = request.into_inner();
        let cluster: ClusterName = request.cluster.parse().map_err(argument)?;
        let audit = Audit { why: request.reason, ..audit };
        if request.delete_workloads && !request.including_protected {
            let protected = self.look(|look| look.protected_on(&cluster));
            if let Some(protected) = protected {
                return Err(Status::failed_precondition(format!(
                    "{protected} is protected; take its protection away in Git first, or repeat this with --including-protected"
                )));
            }
        }
        let removed = self.rooms.members.remove(&cluster, request.delete_workloads, &audit).await;
        removed.map_err(|e| member_status(&e))?;
        let message = format!("cluster {cluster} is told to detach; its certificate is refused once it has");
        document(&DoneView { message })
    }

    async fn cluster_revoke(&self, request: Request<v1::ClusterRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterRevoke")?;
        let request = request.into_inner();
        let cluster: ClusterName = request.cluster.parse().map_err(argument)?;
        let audit = Audit { why: request.reason, ..audit };
        self.rooms.members.revoke(&cluster, &audit).await.map_err(|e| member_status(&e))?;
        document(&DoneView { message: format!("cluster {cluster} is revoked; what runs there stays") })
    }

    async fn app_list(&self, request: Request<v1::AppListRequest>) -> Answer {
        self.allow(&request, "AppList")?;
        let rows = self.look(|look| {
            let mut rows: Vec<_> = look.app_keys().iter().map(|app| look.app_row(app)).collect();
            rows.sort_by(|a, b| (a.phase, &a.app).cmp(&(b.phase, &b.app)));
            rows
        });
        document(&rows)
    }

    async fn app_show(&self, request: Request<v1::AppRequest>) -> Answer {
        self.allow(&request, "AppShow")?;
        let app: AppKey = request.get_ref().app.parse().map_err(argument)?;
        let view = self.look(|look| look.app(&app));
        document(&view.ok_or_else(|| self.no_app(&app))?)
    }

    async fn why(&self, request: Request<v1::WhyRequest>) -> Answer {
        self.allow(&request, "Why")?;
        let request = request.into_inner();
        let app: AppKey = request.app.parse().map_err(argument)?;
        if !self.look(|look| look.app_keys().contains(&app)) {
            return Err(self.no_app(&app));
        }
        if !request.cluster.is_empty() {
            let cluster: ClusterName = request.cluster.parse().map_err(argument)?;
            // One that Git names may be asked about before it joins.
            let declares = |r: &Revision| r.catalog.cluster(&cluster).is_some();
            if !self.look(|look| look.picture.revision.as_ref().is_some_and(declares)) {
                self.known(&cluster)?;
            }
            return document(&self.look(|look| look.why(&app, std::slice::from_ref(&cluster))));
        }
        let mut views = self.look(|look| {
            let clusters = look.clusters(&Selector::default());
            look.why(&app, &clusters.into_iter().map(|row| row.name).collect::<Vec<_>>())
        });
        // Wanted but not there first, neither wanted nor there last; between them worst first.
        views.sort_by_key(|v| (v.entry.is_none() && !v.wanted, v.entry.as_ref().map(|e| e.phase)));
        document(&views)
    }

    async fn render(&self, request: Request<v1::RenderRequest>) -> Answer {
        self.allow(&request, "Render")?;
        let v1::RenderRequest { app, cluster, provenance } = request.into_inner();
        let app: AppKey = app.parse().map_err(argument)?;
        let cluster = match cluster.as_str() {
            "" => None,
            name => Some(name.parse::<ClusterName>().map_err(argument)?),
        };
        if let Some(cluster) = &cluster {
            self.known(cluster)?;
        }
        document(&self.rendered(&app, cluster.as_ref(), provenance).await?)
    }

    async fn hold_list(&self, request: Request<v1::HoldListRequest>) -> Answer {
        self.allow(&request, "HoldList")?;
        document(&self.look(|look| look.holds()))
    }

    async fn hold_show(&self, request: Request<v1::HoldRequest>) -> Answer {
        self.allow(&request, "HoldShow")?;
        let id = &request.get_ref().id;
        let hold = self.look(|look| look.holds()).into_iter().find(|h| h.record.hold.id == *id);
        document(&hold.ok_or_else(|| unknown_hold(id))?)
    }

    async fn hold_approve(&self, request: Request<v1::HoldApproveRequest>) -> Answer {
        let audit = self.allow(&request, "HoldApprove")?;
        let v1::HoldApproveRequest { id, reason } = request.into_inner();
        let hold = self.rooms.ledger.state().holds.get(&id).map(|h| (h.hold.clone(), h.version));
        let (hold, version) = hold.ok_or_else(|| unknown_hold(&id))?;
        let message = hold.to_string();
        let by = audit.name().to_owned();
        let details = BTreeMap::from([("hold".to_owned(), message.clone())]);
        let audit = Audit { what: "Approved", subject: format!("hold {id}"), why: reason, details, ..audit };
        let batch = Batch::new()
            .require_at(key::hold(&id), version)
            .put(key::approval(&id), json(&Approval { hold, by }));
        let committed = self.rooms.ledger.commit_audited(Step::HoldApproved, batch, &[audit]).await;
        committed.map_err(|e| commit_status(&e))?;
        document(&DoneView { message: format!("approved {id}: {message}") })
    }

    async fn hold_reject(&self, request: Request<v1::HoldRejectRequest>) -> Answer {
        let audit = self.allow(&request, "HoldReject")?;
        let v1::HoldRejectRequest { id, reason } = request.into_inner();
        let (held, said, approved) = {
            let state = self.rooms.ledger.state();
            let held = state.holds.get(&id).map(|h| (h.hold.clone(), h.version));
            let said = state.rejections.get(&id).map(|said| (said.record.to_string(), said.version));
            (held, said, state.approvals.contains_key(&id))
        };
        let (hold, version) = held.ok_or_else(|| unknown_hold(&id))?;
        if approved {
            return Err(Status::failed_precondition(format!("hold {id} is approved already")));
        }
        if let Some((said, _)) = said.as_ref().filter(|_| reason.is_empty()) {
            return Err(Status::failed_precondition(format!("hold {id} is {said} already")));
        }
        let by = audit.name().to_owned();
        let rejection = Rejection { by, at_ms: self.rooms.ledger.now_ms(), reason: reason.clone() };
        let message = hold.to_string();
        let details = BTreeMap::from([("hold".to_owned(), message.clone())]);
        let audit = Audit { what: "Rejected", subject: format!("hold {id}"), why: reason, details, ..audit };
        let place = key::rejection(&id);
        let batch = Batch::new()
            .require_at(key::hold(&id), version)
            .require_same(place.clone(), said.map(|(_, version)| version))
            .put(place, json(&rejection));
        let committed = self.rooms.ledger.commit_audited(Step::HoldRejected, batch, &[audit]).await;
        committed.map_err(|e| commit_status(&e))?;
        let ends = "it stays held; taking the change back ends that";
        document(&DoneView { message: format!("rejected {id}: {message}; {ends}") })
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Answer {
        let audit = self.allow(&request, "Pause")?;
        self.order_pause(request.into_inner(), audit).await
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answer {
        let audit = self.allow(&request, "Resume")?;
        self.end_pause(request.into_inner(), audit).await
    }

    async fn accept_restore(&self, request: Request<v1::AcceptRestoreRequest>) -> Answer {
        let audit = self.allow(&request, "AcceptRestore")?;
        if self.rooms.ledger.state().doubt.is_none() {
            return Err(Status::failed_precondition(
                "nobody doubts this hub's store; there is nothing to accept",
            ));
        }
        let audit = Audit { why: request.into_inner().reason, ..audit };
        // Spokes that prove the same once more write to the doubt meanwhile: then it begins anew.
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut attempt = 0;
        while let Err(error) = self.restore_accepted(&audit).await {
            attempt += 1;
            if !error.is_conflict() || attempt >= RESTORE_ATTEMPTS {
                return Err(commit_status(&error));
            }
            tokio::time::sleep(backoff.after_failure(fastrand::f64())).await;
        }
        let epoch = self.rooms.ledger.state().epoch().0;
        document(&DoneView { message: format!("accepted; assignments go out in epoch {epoch}") })
    }

    type AskStream = Answers;

    async fn ask(&self, request: Request<v1::AskRequest>) -> Result<Response<Self::AskStream>, Status> {
        let question = request.get_ref().question.as_ref().and_then(|asked| asked.question.as_ref());
        let asker =
            allow_question(&self.rooms.ledger.state(), &self.rooms.fleet, &request, ("Ask", question))?;
        self.ask_all(request.into_inner(), asker).map(Response::new)
    }

    async fn secret_recipients(&self, request: Request<v1::SecretRecipientsRequest>) -> Answer {
        self.allow(&request, "SecretRecipients")?;
        let (selection, _) = self.selection(request.into_inner().filter)?;
        document(&self.look(|look| look.recipients(&selection)))
    }

    async fn cluster_taint(&self, request: Request<v1::ClusterTaintRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterTaint")?;
        self.taint(request.into_inner(), audit).await
    }

    async fn cluster_cordon(&self, request: Request<v1::ClusterCordonRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterCordon")?;
        self.cordon(request.into_inner(), audit).await
    }

    async fn cluster_maintain(&self, request: Request<v1::ClusterMaintainRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterMaintain")?;
        self.maintain(request.into_inner(), audit).await
    }

    async fn cluster_replace(&self, request: Request<v1::ClusterReplaceRequest>) -> Answer {
        let audit = self.allow(&request, "ClusterReplace")?;
        self.replace(request.into_inner(), audit).await
    }

    async fn cluster_export(&self, request: Request<v1::ClusterExportRequest>) -> Answer {
        self.allow(&request, "ClusterExport")?;
        self.export(request.into_inner())
    }

    async fn rollout_list(&self, request: Request<v1::RolloutListRequest>) -> Answer {
        self.allow(&request, "RolloutList")?;
        let v1::RolloutListRequest { app, all } = request.into_inner();
        let app = (!app.is_empty()).then(|| app.parse()).transpose().map_err(argument)?;
        document(&self.look(|look| look.rollouts(app.as_ref(), all)))
    }

    async fn rollout_show(&self, request: Request<v1::RolloutRequest>) -> Answer {
        self.allow(&request, "RolloutShow")?;
        let id = &request.get_ref().id;
        document(&self.look(|look| look.rollout(id)).ok_or_else(|| unknown_rollout(id))?)
    }

    async fn rollout_order(&self, request: Request<v1::RolloutOrderRequest>) -> Answer {
        let audit = self.allow(&request, "RolloutOrder")?;
        self.order_rollout(request.into_inner(), audit).await
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Answer {
        let audit = self.allow(&request, "Rollback")?;
        self.roll_back(request.into_inner(), audit).await
    }

    async fn pin_list(&self, request: Request<v1::PinListRequest>) -> Answer {
        self.allow(&request, "PinList")?;
        document(&self.look(|look| look.pins(None)))
    }

    async fn pin_remove(&self, request: Request<v1::PinRemoveRequest>) -> Answer {
        let audit = self.allow(&request, "PinRemove")?;
        self.remove_pin(request.into_inner(), audit).await
    }

    type EventsStream = Following;

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        self.allow(&request, "Events")?;
        self.follow(request.into_inner()).map(Response::new)
    }

    async fn event_sinks(&self, request: Request<v1::EventSinksRequest>) -> Answer {
        self.allow(&request, "EventSinks")?;
        document(&self.sinks())
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Answer {
        self.allow(&request, "History")?;
        self.history_of(request.into_inner()).await
    }

    async fn images(&self, request: Request<v1::ImagesRequest>) -> Answer {
        self.allow(&request, "Images")?;
        self.images_of(request.into_inner()).await
    }

    async fn trace(&self, request: Request<v1::TraceRequest>) -> Answer {
        self.trace_of(request).await
    }

    type PlanStream = Pieces;

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Result<Response<Pieces>, Status> {
        let asker = match request.get_ref().live {
            true => {
                let asked = v1::question::Question::Planned(v1::PlannedEntry::default());
                let (state, fleet) = (self.rooms.ledger.state(), &self.rooms.fleet);
                Some(allow_question(&state, fleet, &request, ("Plan", Some(&asked)))?)
            }
            false => self.allow(&request, "Plan").map(|_| None)?,
        };
        self.planned(request.into_inner(), asker).await.map(Response::new)
    }

    type SnapshotStream = Pieces;

    async fn snapshot(&self, request: Request<v1::SnapshotRequest>) -> Result<Response<Pieces>, Status> {
        self.allow(&request, "Snapshot")?;
        self.snapshot_taken().await.map(Response::new)
    }

    async fn audit_list(&self, request: Request<v1::AuditListRequest>) -> Answer {
        self.allow(&request, "AuditList")?;
        let v1::AuditListRequest { after, limit } = request.into_inner();
        let (last, anchor) = {
            let state = self.rooms.ledger.state();
            (state.audit.sequence, state.anchor.as_ref().map(|anchor| (*anchor.record).clone()))
        };
        let limit = if limit == 0 { AUDIT_LINES } else { (limit as usize).min(AUDIT_LINES) };
        let after = after.max(anchor.as_ref().map_or(0, |anchor| anchor.sequence)).min(last);
        let end = last.min(after + limit as u64);
        let mut lines = Vec::new();
        for sequence in after + 1..=end {
            let record = self.rooms.ledger.store().get(&key::audit(sequence)).await;
            let record = record.map_err(|e| Status::unavailable(chain(&e)))?;
            // A line that is missing or unreadable is what `audit verify` is there to find.
            lines.extend(record.and_then(|r| serde_json::from_slice::<AuditRecord>(&r.value).ok()));
        }
        document(&AuditView { lines, last, anchor })
    }
}

fn unknown_hold(id: &str) -> Status {
    Status::not_found(format!("there is no hold {id} (any more); `hub hold list` shows those that there are"))
}
