//! Asking: what the charts of apps ask of clusters, and what is rendered for what these answer.
//!
//! In: a recipe, the forms in effect. Out: what its chart asks; needs with the answers of its variant.
//! Never: reads the templates of a chart that is as it was.

use std::collections::BTreeMap;

use nave_placement::Digest;
use nave_placement::assign::Entry;
use nave_placement::catalog::{CommitId, Problem};
use nave_placement::overrides::{Asked, Form, Variant};
use nave_placement::render::{Asks, Contents, Engine, Needs};

use super::revision::{Ground, Recipe, options};
use crate::engines::{ASSUMED, EngineError, asks};

/// What Helm says of a chart that is for other versions of Kubernetes.
const OTHER_VERSION: &str = "which is incompatible with Kubernetes";

impl Recipe<'_> {
    /// What its chart asks of clusters; nothing, where it is none.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub async fn asks(
        &self,
        ground: Ground<'_>,
        in_effect: Option<&BTreeMap<Variant, Form>>,
    ) -> Result<Asks, Vec<Problem>> {
        let found = self.find(ground).await?;
        let needs = &found.needs;
        if !matches!(needs.engine, Engine::Helm(_)) {
            return Ok(Asks::default());
        }
        let same = |(variant, form): (&Variant, &Form)| {
            let asked = form.asked.as_ref().filter(|_| variant.unanswered() == self.variant)?;
            (asked.version == self.common_version(needs, &asked.asks)).then(|| asked.asks.clone())
        };
        if let Some(asks) = in_effect.into_iter().flatten().find_map(same) {
            return Ok(asks);
        }
        let files = self.files(ground, &found).await?;
        Ok(self.asked(needs, &files).await?.map(|asked| asked.asks).unwrap_or_default())
    }

    /// What its chart asks, with the version that it is whatever is answered; nothing of what is no chart.
    pub(super) async fn asked(&self, needs: &Needs, files: &Contents) -> Result<Option<Asked>, Vec<Problem>> {
        if !matches!(needs.engine, Engine::Helm(_)) {
            return Ok(None);
        }
        let asks =
            asks(needs, files).await.map_err(|error| vec![error.problem(needs).of(Some(&self.object.id))])?;
        Ok(Some(Asked { version: self.common_version(needs, &asks), asks }))
    }

    /// Whether it is known of a form what its chart asks.
    pub(super) fn is_asked(needs: &Needs, form: &Form) -> bool {
        form.asked.is_some() || !matches!(needs.engine, Engine::Helm(_))
    }

    /// The recipe digest without what is one cluster's own.
    fn common_version(&self, needs: &Needs, asks: &Asks) -> Digest {
        let mut needs = needs.clone();
        if let Engine::Helm(chart) = &mut needs.engine {
            chart.capabilities = None;
        }
        let source = asks.digest(self.amendments.digest(needs.digest()));
        Entry::recipe(source, &BTreeMap::new(), &options(self.catalog, self.app))
    }

    /// Needs with what the clusters of its variant answer.
    pub(super) fn answered(&self, mut needs: Needs) -> Result<Needs, Vec<Problem>> {
        let Engine::Helm(chart) = &mut needs.engine else { return Ok(needs) };
        match self.variant.answers() {
            Some(answers) if !answers.is_assumed() => chart.capabilities = Some((**answers).clone()),
            None if self.variant.has_answers() => {
                return Err(self.problem(format!("what {} stands for is not known", self.variant)));
            }
            _ => {}
        }
        Ok(needs)
    }

    /// Why an engine gave nothing. What comes of a version that is only assumed may be otherwise on every cluster.
    pub(super) fn told(&self, error: &EngineError, needs: &Needs) -> Problem {
        let problem = error.problem(needs).of(Some(&self.object.id));
        let is_assumed = self.variant.answers().is_some_and(|answers| answers.is_assumed());
        let EngineError::Failed { said, .. } = error else { return problem };
        if !is_assumed {
            return problem;
        }
        let message = format!(
            "{}; it was rendered for Kubernetes {ASSUMED}, as no cluster that is to have it says what it has",
            problem.message
        );
        let problem = Problem { message, ..problem };
        if said.contains(OTHER_VERSION) { problem.warning() } else { problem }
    }
}

/// What the chart of a variant asked when it could be told last.
pub(super) fn last_asked(in_effect: Option<&BTreeMap<Variant, Form>>, variant: &Variant) -> Option<Asks> {
    let forms = in_effect.into_iter().flatten();
    let mut asked = forms.filter(|(of, _)| of.has_answers() && of.unanswered() == *variant);
    asked.find_map(|(_, form)| Some(form.asked.as_ref()?.asks.clone()))
}

/// The commit that gave an app this version, whatever clusters answer: an answer that is new makes no newer version.
pub(super) fn first_commit(in_effect: Option<&BTreeMap<Variant, Form>>, form: &Form) -> CommitId {
    let asked = form.asked.as_ref().filter(|asked| !asked.asks.is_nothing());
    let same = |other: &&Form| other.asked.as_ref() == asked;
    let other = asked.and_then(|_| in_effect.into_iter().flatten().map(|(_, other)| other).find(same));
    other.unwrap_or(form).commit.clone()
}
