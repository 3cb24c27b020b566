//! Rendering: what the decider has rendered, and what it lets be rendered anew.

use super::*;
use crate::deciding::gone::{self, Source};

impl Deciding {
    /// Takes the states that remotes are in now: whoever names one that moved is rendered again.
    pub(super) async fn take_sources(&mut self) -> Result<(), DecideError> {
        if self.revision.is_none() {
            return Ok(());
        }
        let moved = take(&self.ledger, &self.sources, &mut self.following).await?;
        if !moved.is_empty() {
            self.older.try_again();
        }
        self.render_anew(&moved);
        Ok(())
    }

    /// Renders bundles anew whose files were looked for in vain: a held or waiting entry may need them for long.
    pub(super) async fn render_again(&mut self) -> Result<(), DecideError> {
        let gone = self.left.due(&self.bundles.gone().borrow());
        let Some(revision) = self.revision.as_ref().filter(|_| !gone.is_empty()) else { return Ok(()) };
        let sources = gone::sources(&self.ledger.state(), &gone);
        let fleet = self.picture.borrow().fleet.clone();
        let now = self.ledger.state().sources();
        let Some(root) = &self.root.own else { return Ok(()) };
        let again = gone::again(
            (&*self.catalogs, &self.places()),
            (&Followed(&self.sources), &now),
            &self.engines,
            (&root.catalog, &revision.catalog),
            &fleet,
            &sources,
        )
        .await;
        self.left.tried(gone, &again);
        self.retrying.add(again.unable, self.ledger.now_ms(), fastrand::f64());
        for bundle in again.bundles {
            info!(bundle = %bundle.digest, "rendered again what was gone");
            self.keep(bundle).await?;
        }
        for Source { bundle, app, .. } in &sources {
            if self.left.is_hopeless(bundle) {
                error!(%bundle, %app, "a bundle is gone, and its source does not give it again; change the app to replace it");
            } else if again.postponed.contains(bundle) {
                warn!(%bundle, %app, "a bundle is gone, and what it is made of is not at hand now; it is tried again");
            }
        }
        Ok(())
    }

    pub(super) async fn keep(&self, bundle: Bundle) -> Result<(), BundleError> {
        let store = self.bundles.clone();
        let kept = tokio::task::spawn_blocking(move || store.put(bundle.digest, &bundle.bytes)).await;
        kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Renders variants of the revision; their bundles are on disk when this returns.
    pub(super) async fn render(&mut self, asked: Asked) -> Result<(), DecideError> {
        let Some(catalog) = self.revision.as_ref().map(|revision| revision.catalog.clone()) else {
            return Ok(());
        };
        let in_effect = self.ledger.state().forms();
        let bundles = self.bundles.clone();
        let at_hand = move |form: &Form| bundles.contains(form.bundle);
        let sources = self.ledger.state().sources();
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        let files = Files {
            content: &*self.catalogs,
            trees: parts.map(|part| (&part.place.name, &*part.tree)).collect(),
            remotes: &Followed(&self.sources),
            sources: &sources,
        };
        let Rendered { forms, asking, bundles, problems, remotes, unable, awaiting, .. } =
            render_all(&files, &self.engines, &catalog, &asked, &in_effect, &at_hand).await;
        for bundle in bundles {
            self.keep(bundle).await?;
        }
        self.following.add(remotes);
        for (app, problems) in problems {
            self.warn(&problems);
            self.rendering.entry(app).or_default().extend(problems);
        }
        self.retrying.add(unable, self.ledger.now_ms(), fastrand::f64());
        self.awaiting.extend(awaiting);
        let asked = asked
            .into_iter()
            .flat_map(|(app, variants)| variants.into_iter().map(move |variant| (app.clone(), variant)));
        self.tried.extend(asked);
        if let Some(revision) = &mut self.revision {
            for (app, variants) in forms {
                revision.forms.entry(app).or_default().extend(variants);
            }
            for (app, variants) in asking {
                revision.asking.entry(app).or_default().extend(variants);
            }
        }
        self.shared = None;
        Ok(())
    }

    /// Asks anew for what this machine could not render, once it is time, and for what waited for files that were brought again.
    pub(super) fn try_again(&mut self) {
        let times = *self.sources.brought_again().borrow();
        let is_brought = std::mem::replace(&mut self.brought_again, times) != times;
        let awaiting = if is_brought { std::mem::take(&mut self.awaiting) } else { Unable::new() };
        let unable = self.retrying.take(self.ledger.now_ms());
        if !is_brought && unable.is_none() {
            return;
        }
        let again = unable.into_iter().flatten().chain(awaiting);
        self.render_anew(&again.map(|(app, _)| app).collect());
        self.older.try_again();
        self.left.try_again();
    }

    /// Whether what was lost is being brought, or was and has not been looked at.
    pub(super) fn awaits_lost(&self) -> bool {
        self.sources.is_bringing() || *self.sources.brought_again().borrow() != self.brought_again
    }

    /// Lets these apps be rendered as if the commit had just come: what is as it was costs nothing.
    pub(super) fn render_anew(&mut self, apps: &BTreeSet<AppKey>) {
        if apps.is_empty() {
            return;
        }
        self.kept.forget_bases();
        for app in apps {
            if let Some(revision) = &mut self.revision {
                revision.forms.remove(app);
                revision.asking.remove(app);
            }
            self.rendering.remove(app);
        }
        self.tried.retain(|(app, _)| !apps.contains(app));
        self.awaiting.retain(|(app, _)| !apps.contains(app));
    }
}
