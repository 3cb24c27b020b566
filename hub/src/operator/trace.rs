//! Trace: from an object on a cluster to the app, the rule, the rollout, the approval, the commit and its author.
//!
//! In: an object, as its cluster shows it now; what the cluster was told; history. Out: a [`TraceView`].
//! Never: believes a mark on an object without the manifests that were told; needs the cluster for what the hub knows.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use nave_placement::assign::Entry;
use nave_placement::catalog::Kind;
use nave_placement::render::effective_objects;
use nave_placement::{AppKey, ClusterName, ObjectKey};
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::ObjectsAnswer;
use nave_spoke::target::ask::managers::{Manager, managers};
use nave_spoke::target::ask::plain::is_meant;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::history::{lines, records};
use super::look::Look;
use super::roles::{allow, allow_question};
use super::service::{Answer, OperatorService, argument, document};
use super::views::{HistoryLine, TraceView, WrittenView};
use crate::deciding::bundles::BundleObjects;
use crate::state::State;
use crate::state::history::Author;

/// How long the cluster has for its part, unless the request says otherwise.
const DEFAULT: Duration = Duration::from_secs(5);
/// And at most.
const LONGEST: Duration = Duration::from_secs(60);
/// A pod's ReplicaSet, its Deployment, and what made that.
const OWNERS: usize = 5;
/// Changes of an entry that are looked through for the one that brought its version.
const LAST: usize = 10;
/// The field manager of spokes.
const OURS: &str = "nave";
/// Where an object says whose it is.
const APP: &str = "/metadata/annotations/nave.dev~1app";

/// An object as the cluster shows it.
struct Live {
    key: ObjectKey,
    object: Value,
    /// Who else looks after it.
    managers: Vec<Manager>,
}

/// What is asked for.
#[derive(Clone, Debug)]
struct Asked {
    cluster: ClusterName,
    kind: String,
    namespace: String,
    name: String,
}

impl Asked {
    fn is_meant(&self, key: &ObjectKey) -> bool {
        let namespace =
            self.namespace.is_empty() || key.namespace.is_empty() || key.namespace == self.namespace;
        namespace && key.name == self.name && is_meant(&self.kind, &key.group, &key.kind)
    }
}

impl OperatorService {
    pub(super) async fn trace_of(&self, request: Request<v1::TraceRequest>) -> Answer {
        let objects = v1::LiveObjects { kind: request.get_ref().kind.clone(), ..Default::default() };
        let asker = {
            let (state, fleet) = (self.rooms.ledger.state(), &self.rooms.fleet);
            allow(&state, fleet, &request, "Trace")?;
            allow_question(&state, fleet, &request, ("Ask", Some(&Question::Objects(objects))))?
        };
        let v1::TraceRequest { cluster, kind, namespace, name, timeout_ms } = request.into_inner();
        let cluster: ClusterName = cluster.parse().map_err(argument)?;
        self.known(&cluster)?;
        if kind.is_empty() || name.is_empty() {
            return Err(argument("no object is named: write KIND/NAME, as deployment/web"));
        }
        let longest = if timeout_ms == 0 { DEFAULT } else { Duration::from_millis(timeout_ms).min(LONGEST) };
        let asked = Asked { cluster, kind, namespace, name };
        document(&self.traced(&asked, &asker, Instant::now() + longest).await?)
    }

    async fn traced(&self, asked: &Asked, asker: &v1::Asker, until: Instant) -> Result<TraceView, Status> {
        let mut view = TraceView {
            cluster: asked.cluster.clone(),
            object: None,
            live: None,
            live_problem: None,
            owners: Vec::new(),
            managers: Vec::new(),
            app: None,
            message: String::new(),
            entry: None,
            bundle: None,
            told_ms: None,
            healthy_ms: None,
            placements: Vec::new(),
            written: None,
            change: None,
            commit: None,
            source: None,
            author: None,
            author_time: None,
        };
        let chain = match self.live(asked, asker, until).await {
            Ok((chain, problem)) => {
                view.live = Some(!chain.is_empty());
                view.live_problem = problem;
                chain
            }
            Err(Problem::Ambiguous(namespaces)) => {
                return Err(argument(format!(
                    "there is a {}/{} in several namespaces: {}; name one with -n",
                    asked.kind,
                    asked.name,
                    namespaces.join(", ")
                )));
            }
            Err(Problem::Silent(problem)) => {
                view.live_problem = Some(problem);
                Vec::new()
            }
        };
        let entries = self.entries_of(&asked.cluster);
        let objects = Arc::new(BundleObjects::new(self.rooms.bundles.clone()));
        let keys: Vec<ObjectKey> = chain.iter().map(|live| live.key.clone()).collect();
        let named = asked.clone();
        let found = tokio::task::spawn_blocking(move || find(&entries, &objects, &keys, &named)).await;
        let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        view.object = chain.first().map(|live| live.key.clone());
        // Up to the one that somebody's manifests have, or to the last.
        let last = found.as_ref().and_then(|found| chain.iter().position(|live| same(&live.key, &found.key)));
        let last = last.unwrap_or(chain.len().saturating_sub(1));
        view.owners = chain.iter().take(last + 1).skip(1).map(|live| live.key.clone()).collect();
        if let Some(top) = chain.get(last) {
            view.managers = top.managers.clone();
            let mark = top.object.pointer(APP).and_then(Value::as_str);
            view.message = told(mark, found.as_ref(), &view.managers);
        }
        let Some(found) = found else {
            if chain.is_empty() {
                view.message = match view.live_problem {
                    Some(_) => "no app that the cluster was told to run has such an object".to_owned(),
                    None => "the cluster has no such object, and was told of none".to_owned(),
                };
            }
            return Ok(view);
        };
        if chain.is_empty() {
            view.object = Some(found.key.clone());
            if view.live_problem.is_none() {
                view.message = "the cluster was told to have it, and has it not".to_owned();
            }
        }
        self.known_of(&found.app, &found.entry, &mut view).await?;
        Ok(view)
    }

    /// What the hub knows of an entry.
    async fn known_of(&self, app: &AppKey, entry: &Entry, view: &mut TraceView) -> Result<(), Status> {
        let cluster = view.cluster.clone();
        self.look(|look| known(look, app, entry, &cluster, view));
        if let Some(at_ms) = view.told_ms {
            let places = self.rooms.ledger.state().history.of_moment(at_ms);
            let mut records = std::pin::pin!(records(&self.rooms.ledger, places));
            while let Some(record) = records.next().await {
                let Some(record) = record? else { continue };
                let line = lines(record, Some(app), Some(&cluster)).into_iter();
                let is_this = |line: &HistoryLine| {
                    line.change.to.as_ref().is_some_and(|to| to.version == entry.version)
                };
                view.change = view.change.take().or_else(|| line.into_iter().find(is_this));
            }
        }
        if view.change.is_none() && view.told_ms.is_some() {
            // The clock was set back then, or a seed was taken: somewhere among the last changes, if at all.
            let is_this =
                |line: &HistoryLine| line.change.to.as_ref().is_some_and(|to| to.version == entry.version);
            let last = self.changes(Some(app), Some(&cluster), LAST).await?;
            view.change = last.lines.into_iter().find(is_this);
        }
        match self.rooms.catalogs.commit_info(&entry.commit).await {
            Ok(info) => {
                view.author_time = Some(info.time);
                view.author = Some(Author::of(info));
            }
            // It may be gone from Git; what was recorded then stays.
            Err(_) => {
                view.author =
                    view.change.as_ref().and_then(|change| change.commits.get(&entry.commit).cloned());
            }
        }
        Ok(())
    }

    /// What a cluster was told.
    fn entries_of(&self, cluster: &ClusterName) -> Vec<(AppKey, Entry)> {
        let state: &State = &self.rooms.ledger.state();
        let told = state.told(cluster);
        let decoded = told
            .assignment
            .entries
            .iter()
            .filter_map(|(app, entry)| Some((app.clone(), nave_proto::decode_entry(&entry.bytes).ok()?)));
        decoded.collect()
    }

    /// The object and its owners, as the cluster shows them; and why it does not show more of them.
    async fn live(
        &self,
        asked: &Asked,
        asker: &v1::Asker,
        until: Instant,
    ) -> Result<(Vec<Live>, Option<String>), Problem> {
        let mut chain: Vec<Live> = Vec::new();
        let mut next = (asked.kind.clone(), asked.namespace.clone(), asked.name.clone());
        while chain.len() < OWNERS {
            let (kind, namespace, name) = next;
            let objects = v1::LiveObjects { kind, namespace, name, whole: true, ..Default::default() };
            let left = until.saturating_duration_since(Instant::now());
            let question = v1::Question {
                id: 0,
                question: Some(Question::Objects(objects)),
                asker: Some(asker.clone()),
                timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1),
            };
            let replied = match self.rooms.sessions.ask(&asked.cluster, question, left).await {
                Ok(replied) => replied,
                Err(error) if chain.is_empty() => return Err(Problem::Silent(error.to_string())),
                // Whoever owns it need not be readable.
                Err(error) => return Ok((chain, Some(error.to_string()))),
            };
            let answer: ObjectsAnswer = serde_json::from_slice(&replied.json)
                .map_err(|error| Problem::Silent(format!("its answer cannot be read: {error}")))?;
            let ObjectsAnswer { api_version, kind, items, managers, .. } = answer;
            let mut managers = managers.into_iter();
            let items = items.into_iter().map(|item| (item, managers.next()));
            let mut found: Vec<Live> = items.filter_map(|item| live(&api_version, &kind, item)).collect();
            if found.len() > 1 {
                return Err(Problem::Ambiguous(found.into_iter().map(|live| live.key.namespace).collect()));
            }
            let Some(this) = found.pop() else { break };
            let owner = owner(&this);
            chain.push(this);
            match owner {
                Some(owner) => next = owner,
                None => break,
            }
        }
        Ok((chain, None))
    }
}

/// Why there is no live object to show.
enum Problem {
    /// There are several.
    Ambiguous(Vec<String>),
    /// The cluster did not say.
    Silent(String),
}

fn live(api_version: &str, kind: &str, (object, others): (Value, Option<Vec<Manager>>)) -> Option<Live> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
    let name = text("/metadata/name");
    let key = ObjectKey { group, kind: kind.to_owned(), namespace: text("/metadata/namespace"), name };
    let managers = others.unwrap_or_else(|| managers(&object, OURS));
    (!key.name.is_empty()).then_some(Live { key, object, managers })
}

/// The object that controls another: what to ask for, if there is one.
fn owner(of: &Live) -> Option<(String, String, String)> {
    let owners = of.object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    Some((format!("{}{group}", text("kind")), of.key.namespace.clone(), text("name").to_owned()))
}

/// Whether two keys are one object: what lives in no namespace may have been given one by the app.
fn same(live: &ObjectKey, told: &ObjectKey) -> bool {
    (&live.group, &live.kind, &live.name) == (&told.group, &told.kind, &told.name)
        && (live.namespace.is_empty() || told.namespace.is_empty() || live.namespace == told.namespace)
}

/// Whose manifests have an object.
#[derive(Clone, Debug)]
struct Found {
    app: AppKey,
    entry: Entry,
    key: ObjectKey,
}

/// Finds whose manifests have one of these objects, the first first; without any, what was asked for.
fn find(
    entries: &[(AppKey, Entry)],
    objects: &BundleObjects,
    keys: &[ObjectKey],
    asked: &Asked,
) -> Option<Found> {
    let mut told = Vec::new();
    for (app, entry) in entries {
        let Some(of) = objects.of(&entry.bundle) else { continue };
        let of = effective_objects(&of, &entry.options, &entry.values);
        told.extend(of.into_iter().map(|key| (app, entry, key)));
    }
    let of = |is: &dyn Fn(&ObjectKey) -> bool| {
        let (app, entry, key) = told.iter().find(|(_, _, key)| is(key))?;
        Some(Found { app: (*app).clone(), entry: (*entry).clone(), key: key.clone() })
    };
    match keys {
        [] => of(&|key| asked.is_meant(key)),
        keys => keys.iter().find_map(|live| of(&|key| same(live, key))),
    }
}

/// What is odd about whose an object is.
fn told(mark: Option<&str>, found: Option<&Found>, others: &[Manager]) -> String {
    let is_marked =
        |app: &AppKey| mark.and_then(|mark| mark.parse::<AppKey>().ok()).is_none_or(|m| m == *app);
    match (mark, found) {
        (_, Some(found)) if is_marked(&found.app) => String::new(),
        (Some(mark), Some(found)) => {
            format!("it says that it is app {mark}'s, and is in the manifests of app {}", found.app)
        }
        (Some(mark), None) => {
            format!("it is left over of app {mark}: no manifests that the cluster was told have it")
        }
        (None, _) => {
            let names: Vec<String> = others
                .iter()
                .map(|manager| match manager.name.as_str() {
                    "" => format!("{:?}", manager.tool),
                    name => format!("{:?} {name}", manager.tool),
                })
                .collect();
            match names.is_empty() {
                true => "it is none of ours, and nothing on it says whose it is".to_owned(),
                false => format!("it is none of ours: it is managed by {}", names.join(", ")),
            }
        }
    }
}

fn known(look: &Look<'_>, app: &AppKey, entry: &Entry, cluster: &ClusterName, view: &mut TraceView) {
    let told = look.state.told(cluster);
    view.app = Some(app.clone());
    view.entry = look.entries(cluster).into_iter().find(|entry| entry.app == *app);
    view.bundle = Some(entry.bundle);
    view.commit = Some(entry.commit.clone());
    view.source.clone_from(&entry.source_at);
    view.told_ms = told.changes.get(app).map(|change| change.at_ms);
    view.healthy_ms = view
        .told_ms
        .and_then(|told_ms| look.state.reports.get(cluster)?.well_ms(app, entry.version, told_ms));
    let written = |kind: Kind, name: &str| {
        let record = look.state.good.get(&State::good_key(&app.catalog, kind, name))?;
        let commit = record.commit.clone();
        let (name, file) = match look.catalog.0 == app.catalog.as_str() {
            true => (name.to_owned(), record.file.clone()),
            false => (format!("{}/{name}", app.catalog), format!("{}:{}", app.catalog, record.file)),
        };
        Some(WrittenView { name, file, commit })
    };
    let own = |name: &str| name.split_once('/').map_or_else(|| name.to_owned(), |(_, name)| name.to_owned());
    view.written = written(Kind::App, app.name());
    let placements = look.picture.wanted.get(cluster).and_then(|apps| apps.get(app));
    view.placements =
        placements.into_iter().flatten().filter_map(|name| written(Kind::Placement, &own(name))).collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(kind: &str, namespace: &str) -> ObjectKey {
        let group = if kind == "Deployment" { "apps" } else { "" };
        ObjectKey { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: "web".into() }
    }

    #[test]
    fn who_controls_an_object_is_asked_for_by_its_full_kind() {
        let of = |owners: Value| {
            let object = json!({"metadata": {"ownerReferences": owners}});
            owner(&Live { key: key("Pod", "shop"), object, managers: Vec::new() })
        };
        let row = |kind: &str, version: &str, controls: bool| json!({"apiVersion": version, "kind": kind, "name": "x", "controller": controls});
        let asked = |kind: &str| Some((kind.to_owned(), "shop".to_owned(), "x".to_owned()));
        assert_eq!(of(json!([row("ReplicaSet", "apps/v1", true)])), asked("ReplicaSet.apps"));
        assert_eq!(of(json!([row("Node", "v1", false), row("Node", "v1", true)])), asked("Node"));
        assert_eq!(of(json!([row("Node", "v1", false)])), None);
        assert_eq!(of(json!([])), None);
    }

    #[test]
    fn what_is_typed_means_an_object_of_any_namespace_unless_one_is_named() {
        let asked = |kind: &str, namespace: &str| Asked {
            cluster: "fra-1".parse().expect("a name"),
            kind: kind.into(),
            namespace: namespace.into(),
            name: "web".into(),
        };
        let rows = [
            ("deploy", "", true),
            ("deployments.apps", "shop", true),
            ("deployment", "other", false),
            ("statefulset", "", false),
        ];
        for (kind, namespace, meant) in rows {
            assert_eq!(
                asked(kind, namespace).is_meant(&key("Deployment", "shop")),
                meant,
                "{kind} {namespace}"
            );
        }
    }

    #[test]
    fn what_is_nobody_s_says_who_manages_it() {
        let helm = Manager {
            tool: nave_spoke::target::ask::managers::Tool::Helm,
            name: "shop/web".into(),
            by: "x".into(),
        };
        assert!(told(None, None, &[helm]).ends_with("managed by Helm shop/web"));
        assert!(told(None, None, &[]).contains("nothing on it says"));
        assert!(told(Some("main/old"), None, &[]).contains("left over of app main/old"));
    }
}
