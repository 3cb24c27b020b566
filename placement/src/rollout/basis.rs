//! Basis: what an app is as a whole, apart from what is one cluster's own.
//!
//! In: the catalog, the app's forms. Out: what its clusters' versions come from, by parts, so that two can be compared.
//! Never: differs by a cluster's label, parameter, fact or answer, or by a parameter that the app does not use.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::catalog::{Catalog, ClusterSelection, CommitId, Override, Sources, Spec};
use crate::overrides::template::Uses;
use crate::overrides::{Form, Named, Parameters, Variant, amendments, of_app, parameter_at};
use crate::{AppKey, Digest, Digester};

/// What an app is as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Basis {
    /// The recipes of its variants, without values, as far as some cluster has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    forms: BTreeMap<Variant, Digest>,
    /// The parameters that it uses, by the objects that set them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Digest>,
    /// Its overrides: what they do, and where.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    overrides: BTreeMap<Arc<str>, Digest>,
    /// What operators pinned of it, and at which commit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pins: BTreeMap<String, CommitId>,
    /// And with which sources, where these are not the catalog's.
    #[serde(rename = "pinnedSources", skip_serializing_if = "BTreeMap::is_empty")]
    pinned_sources: BTreeMap<String, Sources>,
    /// What each app of its group is, where it moves with one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<String, Basis>,
}

impl Basis {
    /// Of an app by a catalog.
    pub fn of(catalog: &Catalog, app: &AppKey, variants: &BTreeMap<Variant, Form>) -> Self {
        let uses: Uses =
            variants.values().flat_map(|form| &form.uses).map(|(name, used)| (name.clone(), *used)).collect();
        let used: Vec<&str> = uses.keys().filter_map(|name| name.strip_prefix("parameters.")).collect();
        // What clusters answer is their own. One that could not be rendered is no newer version than the others.
        let (old, new): (Vec<_>, Vec<_>) = variants.iter().partition(|(_, form)| form.is_stale);
        let common = |(variant, form): (&Variant, &Form)| (variant.unanswered(), form.common_version());
        let forms = old.into_iter().chain(new).map(common).collect();
        let overrides = of_app(catalog, app);
        let mut layers = BTreeMap::new();
        if !used.is_empty() {
            let own = catalog.app_of(app).map(|(_, own)| ("app".to_owned(), &own.parameters));
            let fleet = catalog.fleet().map(|fleet| ("fleet".to_owned(), &fleet.parameters));
            let sets = catalog.objects.iter().filter_map(|(id, effective)| match &effective.object.spec {
                Spec::ClusterSet(set) => Some((format!("set/{}", id.name), &set.parameters)),
                _ => None,
            });
            let over = overrides
                .iter()
                .map(|(object, spec)| (format!("override/{}", object.object.id.name), &spec.parameters));
            let all = own.into_iter().chain(fleet).chain(sets).chain(over);
            layers.extend(all.filter_map(|(name, layer)| Some((name, layer_digest(layer, &used)?))));
        }
        let overrides = overrides
            .iter()
            .map(|named| (named.0.object.id.name.clone(), override_digest(catalog, named)))
            .collect();
        Self { forms, layers, overrides, ..Self::default() }
    }

    /// The same with what operators pinned of it.
    #[must_use]
    pub fn pinned(&self, pinned: impl IntoIterator<Item = (String, (CommitId, Sources))>) -> Self {
        let (mut pins, mut pinned_sources) = (BTreeMap::new(), BTreeMap::new());
        for (id, (commit, sources)) in pinned {
            if !sources.is_empty() {
                pinned_sources.insert(id.clone(), sources);
            }
            pins.insert(id, commit);
        }
        Self { pins, pinned_sources, ..self.clone() }
    }

    /// Of apps that move together.
    pub fn of_group(members: impl IntoIterator<Item = (AppKey, Self)>) -> Self {
        let members = members.into_iter().map(|(app, basis)| (app.to_string(), basis)).collect();
        Self { members, ..Self::default() }
    }

    /// The same of the app that it is of, as this unit has it: in a group, as one of it; by itself, as that alone.
    #[must_use]
    pub fn as_of(&self, app: &AppKey, is_group: bool) -> Self {
        match (is_group, self.members.is_empty()) {
            (true, true) => Self::of_group([(app.clone(), self.clone())]),
            (false, false) => self.member(app).cloned().unwrap_or_default(),
            _ => self.clone(),
        }
    }

    /// What one of the apps is that move together.
    pub fn member(&self, app: &AppKey) -> Option<&Self> {
        self.members.get(&app.to_string())
    }

    /// Whether operators pinned something of it.
    pub fn has_pins(&self) -> bool {
        !self.pins.is_empty() || self.members.values().any(Self::has_pins)
    }

    /// Whether nothing of it differs: variants that only one of them has say nothing.
    pub fn is_same(&self, other: &Self) -> bool {
        let mut members = self.common(other);
        let is_pinned_so =
            |one: &Self, other: &Self| one.pins == other.pins && one.pinned_sources == other.pinned_sources;
        self.is_same_version(other)
            && is_pinned_so(self, other)
            && members.all(|(of, is)| is_pinned_so(of, is))
    }

    /// Whether it is the same version of the app, whatever is pinned.
    pub fn is_same_version(&self, other: &Self) -> bool {
        let differs = |(variant, version): (&Variant, &Digest)| {
            other.forms.get(variant).is_some_and(|other| other != version)
        };
        let own = self.layers == other.layers
            && self.overrides == other.overrides
            && !self.forms.iter().any(differs);
        own && self.common(other).all(|(of, is)| of.is_same_version(is))
    }

    /// Whether an app of the group that `plan` does not know, because it came since, is another than it was.
    pub fn changes_beside(&self, plan: &Self, was: &Self) -> bool {
        let came = self.members.iter().filter(|(app, _)| !plan.members.contains_key(*app));
        came.into_iter().any(|(app, is)| was.members.get(app).is_some_and(|was| !was.is_same(is)))
    }

    /// Apps of a group that both know: one that only one of them knows has just come, or gone.
    fn common<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Self, &'a Self)> {
        self.members.iter().filter_map(|(app, of)| Some((of, other.members.get(app)?)))
    }

    /// The same with the variants of another.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.forms.extend(other.forms.clone());
        for (app, basis) in &other.members {
            let known = all.members.entry(app.clone()).or_default();
            *known = known.with(basis);
        }
        all
    }

    /// Whether anything is known of the app.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty() && self.members.values().all(Self::is_empty)
    }

    /// Names it.
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).expect("maps with string keys always serialize");
        Digester::new("nave.basis.v1").field(&bytes).finish()
    }
}

/// What a layer says of the parameters that are used; `None` where it says nothing.
fn layer_digest(layer: &Parameters, used: &[&str]) -> Option<Digest> {
    let said: BTreeMap<&str, &serde_json::Value> =
        used.iter().filter_map(|name| Some((*name, parameter_at(layer, name)?))).collect();
    let bytes = || serde_json::to_vec(&said).expect("values always serialize");
    (!said.is_empty()).then(|| Digester::new("nave.layer.v1").field(&bytes()).finish())
}

/// What an override does to manifests, how strong it is, and where it applies.
fn override_digest(catalog: &Catalog, named: &Named<'_>) -> Digest {
    let spec: &Override = named.1;
    let ClusterSelection { selector, condition, sets, names, exclude } = &spec.clusters;
    let where_it_applies = json!({
        "priority": spec.priority,
        "source": spec.source,
        "selector": selector,
        "where": condition.as_ref().map(|condition| condition.text()),
        "sets": sets,
        "names": names,
        "exclude": exclude,
    });
    let changes = amendments(catalog, std::slice::from_ref(named)).digest(Digest::of(b""));
    Digester::new("nave.override.v1")
        .field(&changes.0)
        .field(where_it_applies.to_string().as_bytes())
        .finish()
}
