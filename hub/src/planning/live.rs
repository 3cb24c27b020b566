//! Live: what clusters are asked about a plan, and what they say to it.
//!
//! In: the changes of a plan, what an entry is to be, who is connected. Out: an [`Inquiry`] for some clusters of each change; their answers
//! in the plan. Never: asks more clusters than a reader looks at; sends a cluster what another is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AppForm, Entry};
use nave_placement::{AppKey, ClusterName, Digest};
use nave_spoke::target::ask::answers::DiffAnswer;
use serde::{Deserialize, Serialize};

use super::shelf::Shelf;
use super::view::{Change, PlanView};
use crate::store::bundles::compress;

/// Clusters of one change that are asked: they get the same, and differ by what they have.
const OF_A_CHANGE: usize = 5;
/// And of a plan.
const OF_A_PLAN: usize = 100;
/// A bundle travels in one message, which waits at the hub for each cluster that is slow.
const LARGEST: usize = 1 << 20;

/// What one cluster is asked.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Who.
    pub cluster: ClusterName,
    /// About which app.
    pub app: AppKey,
    /// What it is to be there, as an assignment has it.
    pub entry: Vec<u8>,
    /// The bundle of that, zstd; or why it is not sent.
    pub bundle: Result<Arc<[u8]>, String>,
}

/// What a cluster says to a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LivePlan {
    /// The cluster.
    pub cluster: ClusterName,
    /// What a server-side dry-run of all of the app's objects would change; absent where there is a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<DiffAnswer>,
    /// There is more than fits an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Chooses whom to ask, as changes are found.
pub struct Asking<'a> {
    connected: Option<&'a BTreeSet<ClusterName>>,
    bundles: BTreeMap<Digest, Result<Arc<[u8]>, String>>,
    /// What is to be asked.
    pub inquiries: Vec<Inquiry>,
}

impl<'a> Asking<'a> {
    /// Of these; nobody where there are none.
    pub fn of(connected: Option<&'a BTreeSet<ClusterName>>) -> Self {
        Self { connected, bundles: BTreeMap::new(), inquiries: Vec::new() }
    }

    /// Asks some of the clusters of a change about what they are to have.
    pub fn ask<'f>(
        &mut self,
        shelf: &Shelf<'_>,
        app: &AppKey,
        change: &mut Change,
        to: impl Fn(&ClusterName) -> Option<&'f AppForm>,
    ) {
        let Some(connected) = self.connected else { return };
        let mut asked = 0;
        for cluster in change.clusters.iter().filter(|cluster| connected.contains(*cluster)) {
            if asked == OF_A_CHANGE || self.inquiries.len() == OF_A_PLAN {
                break;
            }
            let Some(form) = to(cluster) else { continue };
            let bundle =
                self.bundles.entry(form.bundle).or_insert_with(|| bundle(shelf, &form.bundle)).clone();
            let (cluster, app) = (cluster.clone(), app.clone());
            self.inquiries.push(Inquiry { cluster, app, entry: entry(form), bundle });
            asked += 1;
        }
        change.not_asked = change.clusters.len() - asked;
    }
}

fn bundle(shelf: &Shelf<'_>, digest: &Digest) -> Result<Arc<[u8]>, String> {
    let bytes = shelf.bytes(digest).ok_or_else(|| format!("bundle {} is not at hand", digest.short()))?;
    let zstd = compress(&bytes).map_err(|error| error.to_string())?;
    match zstd.len() {
        size if size > LARGEST => Err(format!(
            "its manifests have {} KiB, more than the {} KiB that travel with a question",
            size >> 10,
            LARGEST >> 10
        )),
        _ => Ok(zstd.into()),
    }
}

fn entry(form: &AppForm) -> Vec<u8> {
    let AppForm { bundle, options, version, commit, source_at, values } = form.clone();
    let (objects, drops, drops_cause, drops_of, at_once) = (0, 0, None, None, false);
    let entry = Entry {
        bundle,
        values,
        options,
        version,
        commit,
        source_at,
        objects,
        drops,
        drops_cause,
        drops_of,
        at_once,
    };
    nave_proto::encode_entry(&entry).bytes.to_vec()
}

/// Puts what clusters said into the plan, each at the change that it is to have.
pub fn answered(view: &mut PlanView, answers: Vec<(AppKey, LivePlan)>) {
    for (of, answer) in answers {
        let app = view.apps.iter_mut().find(|app| app.app == of);
        let changes = app.into_iter().flat_map(|app| app.changed.iter_mut().chain(&mut app.installed));
        let mut meant = changes.filter(|change| change.clusters.contains(&answer.cluster));
        if let Some(change) = meant.next() {
            change.live.push(answer);
            change.live.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        }
    }
}
