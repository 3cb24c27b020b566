//! Render: the manifests that a spoke gets, and who set each value.
//!
//! In: an app, perhaps a cluster. Out: a [`RenderView`], made of the bundle that is stored and, for provenance, of its files in Git.
//! Never: shows a Secret's value; renders anew what is in effect.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AppForm, Entry};
use nave_placement::catalog::{Catalog, Problem};
use nave_placement::decide::Decision;
use nave_placement::fleet::Candidate;
use nave_placement::overrides::template::{self, Uses, uses};
use nave_placement::overrides::{self, Form, Lack, Named, Provenance, Scope, Variant};
use nave_placement::render::{Engine, Resolved, Scope as KindScope, Scopes, finish_output, resolve};
use nave_placement::{AppKey, ClusterName, ObjectKey};
use nave_spoke::target::ask::HIDDEN;
use nave_spoke::target::ask::redact::{is_secret, may_show, redact};
use nave_spoke::target::builtin;
use serde_json::Value;
use tonic::Status;

use super::service::OperatorService;
use super::views::RenderView;
use crate::deciding::core::Revision;
use crate::deciding::revision::{Ground, Recipe};
use crate::deciding::run::chain;

/// Where an object says that it counts as a Secret ([`nave_placement::render::SECRET`]).
const SECRET_MARK: &str = "/metadata/annotations/nave.dev~1secret";

/// The scopes of built-in kinds; of others nobody but the cluster knows, and most live in namespaces.
pub struct Assumed;

impl Scopes for Assumed {
    fn scope(&self, group: &str, kind: &str) -> Option<KindScope> {
        builtin::scope(group, kind).or(Some(KindScope::Namespaced))
    }
}

/// What is asked about, found in the revision.
struct Found<'a> {
    catalog: &'a Catalog,
    app: &'a AppKey,
    applying: Vec<Named<'a>>,
    variant: Variant,
    form: &'a Form,
}

impl OperatorService {
    /// Children that rendered since the start, and those of them that broke a limit of time or memory.
    pub fn engine_work(&self) -> (u64, u64) {
        (self.rooms.engines.runs(), self.rooms.engines.cut_off())
    }

    /// `hub render`.
    pub(super) async fn rendered(
        &self,
        app: &AppKey,
        cluster: Option<&ClusterName>,
        with_provenance: bool,
    ) -> Result<RenderView, Status> {
        let picture = self.rooms.picture.borrow().clone();
        let nothing = || Status::unavailable("no commit of the catalog is in effect yet");
        let revision = picture.revision.as_ref().ok_or_else(nothing)?;
        let candidate = cluster.map(|cluster| (cluster, self.look(|look| look.judged(cluster))));
        let candidate = candidate.as_ref().map(|(cluster, candidate)| (*cluster, candidate));
        let found = find(revision, app, candidate)?;
        let shape = match candidate {
            None => found.form.with(BTreeMap::new(), found.form.commit.clone()),
            Some((cluster, candidate)) => match picture.shapes.get(app, cluster) {
                Some(shape) => shape.clone(),
                None => self.shape(&found, cluster, candidate)?,
            },
        };
        let share = cluster.and_then(|cluster| picture.shares.get(cluster)?.get(app));
        let shape = share.map_or_else(|| shape.clone(), |share| shape.with(share));
        let objects = self.objects(&shape, cluster.is_some()).await?;
        let secrets = self.secret_names(&shape).await?;
        let shown = |(name, value): (&String, &Value)| {
            (name.clone(), if secrets.contains_key(name) { HIDDEN.into() } else { value.clone() })
        };
        let mut provenance = match with_provenance {
            true => self.provenance(&found, candidate, &shape).await?,
            false => Vec::new(),
        };
        if let (Some(share), Some(cluster)) = (&shape.options.share, cluster) {
            let has_share = |decision: &&Decision| {
                let shares = decision.settled.shares.as_ref();
                decision.apps.contains(app)
                    && shares.is_some_and(|shares| shares.of.target == share.target)
                    && decision.settled.replicas(cluster) == Some(share.replicas)
            };
            if let Some(decision) = picture.decisions.iter().find(has_share) {
                let key = |key: &ObjectKey| placed(key, &shape);
                overrides::divided(&mut provenance, share, &decision.placement, key);
            }
        }
        let encrypted = objects.iter().filter(|object| object.sealed.is_some());
        Ok(RenderView {
            app: app.clone(),
            cluster: cluster.cloned(),
            overrides: match candidate {
                Some(_) => {
                    found.applying.iter().map(|(object, _)| object.object.id.name.to_string()).collect()
                }
                None => found.variant.names().map(str::to_owned).collect(),
            },
            version: shape.version,
            bundle: shape.bundle,
            commit: shape.commit.clone(),
            values: shape.values.iter().map(shown).collect(),
            encrypted: encrypted.map(|object| object.key.clone()).collect(),
            objects: objects.into_iter().map(|object| hidden(Arc::unwrap_or_clone(object.object))).collect(),
            provenance,
        })
    }

    /// What the app would be on a cluster where no placement brings it.
    fn shape(
        &self,
        found: &Found<'_>,
        cluster: &ClusterName,
        candidate: &Candidate,
    ) -> Result<AppForm, Status> {
        if found.form.is_stale && !found.form.uses.is_empty() {
            return Err(Status::failed_precondition(format!(
                "the manifests in effect are of commit {}, which newer ones could not replace, and are not filled in with newer values: see `hub app show {}`",
                found.form.commit.short(),
                found.app
            )));
        }
        let parameters = overrides::parameters(found.catalog, found.app, &found.applying, cluster, candidate);
        let facts = &candidate.facts;
        let scope = Scope { cluster, labels: &candidate.labels, facts, parameters: &parameters };
        let lacking = |lacks: Vec<Lack>| {
            let lacks: Vec<String> = lacks.iter().map(ToString::to_string).collect();
            Status::failed_precondition(lacks.join("; "))
        };
        let values = overrides::values(&found.form.uses, &scope).map_err(lacking)?;
        Ok(found.form.with(values, found.form.commit.clone()))
    }

    /// The objects of a form; without a cluster, their `${…}` as they are written.
    async fn objects(&self, shape: &AppForm, fill: bool) -> Result<Vec<Resolved>, Status> {
        let (bundles, digest) = (self.rooms.bundles.clone(), shape.bundle);
        let read = tokio::task::spawn_blocking(move || bundles.get_uncompressed(digest)).await;
        let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let bytes = read.map_err(|error| Status::unavailable(chain(&error)))?;
        let missing = || Status::unavailable(format!("bundle {} is not at hand", shape.bundle.short()));
        let bytes = bytes.ok_or_else(missing)?;
        let mut options = shape.options.clone();
        options.substitute &= fill;
        let entry = Entry {
            bundle: shape.bundle,
            values: shape.values.clone(),
            options,
            version: shape.version,
            commit: shape.commit.clone(),
            source_at: None,
            objects: 0,
            drops: 0,
            drops_cause: None,
            drops_of: None,
            at_once: false,
        };
        resolve(&bytes, &entry, &Assumed).map_err(|error| Status::failed_precondition(error.to_string()))
    }

    /// The names whose values a Secret has.
    async fn secret_names(&self, shape: &AppForm) -> Result<Uses, Status> {
        let mut names = Uses::new();
        if !shape.values.is_empty() {
            let unfilled = self.objects(shape, false).await?;
            for secret in unfilled.iter().filter(|object| is_secret(&object.object)) {
                // What is no template was refused when the bundle was made.
                _ = uses(&secret.object, &mut names);
            }
        }
        Ok(names)
    }

    async fn provenance(
        &self,
        found: &Found<'_>,
        candidate: Option<(&ClusterName, &Candidate)>,
        shape: &AppForm,
    ) -> Result<Vec<Provenance>, Status> {
        let Found { catalog, app, applying, variant, form } = found;
        let catalogs = &self.rooms.catalogs;
        let tree = catalogs.tree(&form.commit).await;
        let tree = tree.map_err(|error| Status::unavailable(chain(&error)))?;
        let older = || {
            Status::failed_precondition(format!(
                "the manifests in effect are of commit {}, which newer ones could not replace; who set their values is not known any more: see `hub app show {app}`",
                form.commit.short()
            ))
        };
        let (effective, spec) = catalog.app_of(app).ok_or_else(older)?;
        let recipe = Recipe::of(catalog, app, effective, spec, variant);
        let mut sources = self.rooms.ledger.state().sources();
        sources.extend(form.sources());
        let ground =
            Ground { content: &**catalogs, tree: &tree, remotes: &*self.rooms.sources, sources: &sources };
        let files_of = recipe.find(ground).await.map_err(|_| older())?;
        let needs = &files_of.needs;
        if recipe.amendments.digest(needs.digest()) != form.source {
            return Err(older());
        }
        let first = |problems: Vec<Problem>| {
            Status::unavailable(problems.first().map(ToString::to_string).unwrap_or_default())
        };
        let files = recipe.files(ground, &files_of).await.map_err(first)?;
        let fill = match candidate {
            Some((cluster, candidate)) => {
                let (uses, values) = (&form.uses, &shape.values);
                overrides::fillers(catalog, app, applying, cluster, candidate, uses, values)
            }
            None => form.uses.keys().map(|name| (name.clone(), "the cluster's values".to_owned())).collect(),
        };
        let amendments = &recipe.amendments;
        let mut told = match needs.engine {
            Engine::Manifests => overrides::provenance(needs, &files, amendments, &fill),
            Engine::Kustomize(_) | Engine::Helm(_) => {
                let output = recipe.output(Some(&self.rooms.engines), needs, &files).await.map_err(first)?;
                let made = finish_output(needs, &output, spec.substitute);
                let (bundle, _) = made.map_err(|error| first(error.0))?;
                overrides::provenance_of_output(needs, &output, &bundle, amendments, &fill)
            }
        };
        hide(&mut told);
        Ok(told)
    }
}

fn find<'a>(
    revision: &'a Revision,
    app: &'a AppKey,
    candidate: Option<(&ClusterName, &Candidate)>,
) -> Result<Found<'a>, Status> {
    let catalog: &Catalog = &revision.catalog;
    if catalog.app_of(app).is_none() {
        let message = format!("the catalog has no app {app}; `hub app list` shows those that there are");
        return Err(Status::not_found(message));
    }
    let of_app = overrides::of_app(catalog, app);
    let variants = revision.forms.get(app);
    let (applying, variant) = match candidate {
        Some((cluster, candidate)) => {
            let applying = overrides::applying(&of_app, cluster, candidate, &overrides::judged);
            let applying = applying.map_err(|lack| Status::failed_precondition(lack.to_string()))?;
            let variant = overrides::variant(&applying);
            let variant = overrides::answered(&revision.asking, app, variant, candidate);
            (applying, variant.map_err(|lack| Status::failed_precondition(lack.to_string()))?)
        }
        // The one without overrides, where some cluster has that.
        None => {
            let variant = variants.and_then(|variants| variants.keys().next()).cloned().unwrap_or_default();
            (overrides::of_variant(catalog, app, &variant), variant)
        }
    };
    let form = variants.and_then(|variants| variants.get(&variant));
    let missing = || {
        let names: Vec<&str> = variant.names().collect();
        let with = if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) };
        Status::failed_precondition(format!(
            "app {app}{with} is not rendered: it could not be, or no cluster runs it so; see `hub app show {app}`"
        ))
    };
    Ok(Found { catalog, app, applying, form: form.ok_or_else(missing)?, variant })
}

/// By which identity a cluster knows an object of the manifests: [`resolve`] gives it the same.
fn placed(key: &ObjectKey, shape: &AppForm) -> ObjectKey {
    let filled = |text: &str| match shape.options.substitute {
        true => template::text(text, &shape.values).map_or_else(|_| text.to_owned(), Cow::into_owned),
        false => text.to_owned(),
    };
    let (name, mut namespace) = (filled(&key.name), filled(&key.namespace));
    match (Assumed.scope(&key.group, &key.kind), &shape.options.namespace) {
        (Some(KindScope::Cluster), _) => namespace.clear(),
        (_, Some(put_on)) if put_on.force || namespace.is_empty() => namespace.clone_from(&put_on.name),
        (_, None) if namespace.is_empty() => namespace.push_str("default"),
        _ => {}
    }
    ObjectKey { name, namespace, ..key.clone() }
}

fn hidden(mut object: Value) -> Value {
    redact(&mut object);
    object
}

/// Takes the values of Secrets, and of what counts as one, out of what is told of who set them.
fn hide(told: &mut [Provenance]) {
    let marked = told.iter().filter(|told| told.path == SECRET_MARK).map(|told| told.object.clone());
    let marked: BTreeSet<ObjectKey> = marked.collect();
    for told in told {
        let is_secret = told.object.kind == "Secret" && told.object.group.is_empty();
        if (is_secret || marked.contains(&told.object)) && !is_in_clear(&told.path) {
            told.value = HIDDEN.into();
        }
    }
}

/// Whether the place of a Secret's value says what it is, and not what it holds.
fn is_in_clear(path: &str) -> bool {
    match path.strip_prefix("/metadata/annotations/") {
        Some(annotation) => may_show(&annotation.replace("~1", "/").replace("~0", "~")),
        None => {
            ["/apiVersion", "/kind", "/metadata/", "/type", "/immutable"].iter().any(|p| path.starts_with(p))
        }
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::overrides::Setter;
    use serde_json::json;

    use super::*;

    #[test]
    fn no_value_of_a_secret_is_shown_as_somebodys() {
        let told = |kind: &str, path: &str| Provenance {
            object: ObjectKey {
                group: String::new(),
                kind: kind.into(),
                namespace: String::new(),
                name: "x".into(),
            },
            path: path.into(),
            value: json!("v"),
            by: Setter::File { file: "a.yaml".into(), line: 1 },
            filled: Vec::new(),
        };
        let rows = [
            ("Secret", "/metadata/name", "v"),
            ("Secret", "/stringData/password", HIDDEN),
            ("Secret", "/data", HIDDEN),
            ("Secret", "/metadata/annotations/example.com~1original", HIDDEN),
            ("Secret", "/metadata/annotations/nave.dev~1rank", "v"),
            ("ConfigMap", "/data/password", "v"),
            ("Token", SECRET_MARK, "v"),
            ("Token", "/spec/token", HIDDEN),
        ];
        let mut all: Vec<Provenance> = rows.iter().map(|(kind, path, _)| told(kind, path)).collect();
        hide(&mut all);
        for (told, (kind, path, expected)) in all.iter().zip(rows) {
            assert_eq!(told.value, expected, "{kind} {path}");
        }
    }
}
