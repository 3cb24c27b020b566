//! Commits: who wrote those that history may name, and what their trailers say.
//!
//! In: commits that are in effect, pinned or rolled out; the repository. Out: authors; allowances and pins that end.
//! Never: fails a step: a commit that cannot be read is named without its author.

use std::collections::BTreeSet;

use nave_placement::catalog::{CommitId, Kind};
use nave_placement::guard::{Allowance, TRAILER};
use nave_placement::{AppKey, CatalogName};
use tracing::warn;

use super::core::Revision;
use super::run::chain;
use crate::catalogs::Catalogs;
use crate::git::Repository;
use crate::state::State;
use crate::state::history::{Author, Authors};

/// The trailer of a commit that ends the pins of an app.
const UNPIN: &str = "Nave-Unpin";
/// The trailer of a commit that removes a `Catalog`: what runs of it goes, too.
pub const REMOVE_CATALOG: &str = "Nave-Remove-Catalog";

/// What trailers of commits say.
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    /// What they allow.
    pub allowances: Vec<Allowance>,
    /// The apps whose pins they end.
    pub unpins: BTreeSet<AppKey>,
    /// The tenants of which what runs goes with their `Catalog`.
    pub let_go: BTreeSet<CatalogName>,
}

/// Who wrote commits, each read once.
#[derive(Debug, Default)]
pub struct Commits {
    /// Those that could be read.
    pub authors: Authors,
    /// Those that were looked at.
    tried: BTreeSet<CommitId>,
}

/// Every commit that a change of an entry may name.
pub fn named(state: &State, revision: &Revision) -> BTreeSet<CommitId> {
    let forms = revision.forms.values().flat_map(|forms| forms.values()).map(|form| &form.commit);
    let pins = state.pins.values().map(|pin| &pin.commit);
    let plans = state.plans.values().map(|plan| &plan.commit);
    let courses = state.rollouts.values().filter_map(|course| course.completed.as_ref());
    let completed = courses.map(|completed| &completed.commit);
    let holds = state.holds.values().map(|hold| &hold.commit);
    let all = forms.chain(pins).chain(plans).chain(completed).chain(holds);
    let own = revision.owns.iter().map(|own| &own.catalog.commit);
    let allowed = revision.owns.iter().flat_map(|own| &own.allowances).map(|allowance| &allowance.commit);
    let granted = revision.catalog.objects.values().filter(|object| object.object.id.kind == Kind::Catalog);
    let granted = granted.map(|object| &object.commit);
    all.chain(own).chain(allowed).chain(granted).cloned().collect()
}

impl Commits {
    /// Reads who wrote these, and forgets all others.
    pub async fn learn(&mut self, catalogs: &Catalogs, named: BTreeSet<CommitId>) {
        self.authors.retain(|commit, _| named.contains(commit));
        self.tried.retain(|commit| named.contains(commit));
        for commit in named {
            if self.tried.insert(commit.clone())
                && let Ok(info) = catalogs.commit_info(&commit).await
            {
                self.authors.insert(commit, Author::of(info));
            }
        }
    }
}

/// What trailers of the new commits on the main line allow, and whose pins they end.
pub async fn trailers(repository: &Repository, taken: Option<&CommitId>, head: &CommitId) -> Trailers {
    let commits = match repository.first_parents(taken, head).await {
        Ok(commits) => commits,
        Err(error) => {
            warn!(error = chain(&error), "no trailer counts: the new commits cannot be listed");
            return Default::default();
        }
    };
    let mut all = Trailers::default();
    for commit in commits {
        let Ok(info) = repository.commit_info(&commit).await else { continue };
        let Trailers { allowances, unpins, let_go } = said(&commit, &info.trailers);
        all.allowances.extend(allowances);
        all.unpins.extend(unpins);
        all.let_go.extend(let_go);
    }
    all
}

/// What the trailers of one commit say.
pub fn said(commit: &CommitId, trailers: &[(String, String)]) -> Trailers {
    let Trailers { mut allowances, mut unpins, mut let_go } = Trailers::default();
    for (_, value) in trailers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(REMOVE_CATALOG)) {
        match value.trim().parse() {
            Ok(catalog) => _ = let_go.insert(catalog),
            Err(_) => warn!(%commit, value, "trailer {REMOVE_CATALOG} lets nothing go: it names one catalog"),
        }
    }
    for (_, value) in trailers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(UNPIN)) {
        match value.trim().parse() {
            Ok(app) => _ = unpins.insert(app),
            Err(_) => warn!(%commit, value, "trailer {UNPIN} ends no pin: it names one app"),
        }
    }
    for (_, value) in trailers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(TRAILER)) {
        match Allowance::parse(commit, value) {
            Some(parsed) => allowances.extend(parsed),
            None => {
                warn!(%commit, value, "trailer {TRAILER} allows nothing: use app/NAME=N, app/NAME/objects=N or *=N")
            }
        }
    }
    Trailers { allowances, unpins, let_go }
}
