//! The fields of `source`: of an `App` all of it, of an `Override` what differs.

use super::{Fields, Form, Needs, Rule, Shape};

/// Of an app.
pub(super) const SOURCE: Fields = Fields {
    rules: &[
        PATH,
        Rule::new("kustomize", Shape::Object(&KUSTOMIZE), "A kustomization, rendered by kustomize."),
        Rule::new("helm", Shape::Object(&HELM), "A chart, rendered by helm template."),
    ],
    needs: ONE,
};

/// Of an override.
pub(super) const CHANGE: Fields = Fields {
    rules: &[
        PATH,
        Rule::new("kustomize", Shape::Object(&KUSTOMIZE_CHANGE), "What differs in the kustomization."),
        Rule::new("helm", Shape::Object(&HELM_CHANGE), "What differs in the chart and its values."),
    ],
    needs: ONE,
};

const ONE: Needs = Needs::One(&["path", "kustomize", "helm"]);

const PATH: Rule = Rule::new(
    "path",
    Shape::Text(Form::Path),
    "A directory or a file of manifests of this repository, relative to this file.",
);

const PATHS: Shape = Shape::List(&Shape::Text(Form::Path));

const KUSTOMIZE: Fields = Fields { rules: &[KUSTOMIZE_PATH.required(), COMPONENTS], needs: Needs::Nothing };
const KUSTOMIZE_CHANGE: Fields =
    Fields { rules: &[KUSTOMIZE_PATH, COMPONENTS], needs: Needs::Some(&["path", "components"]) };

const KUSTOMIZE_PATH: Rule = Rule::new(
    "path",
    Shape::Text(Form::Path),
    "The directory of the kustomization, relative to this file; its bases may be anywhere in this repository.",
);
const COMPONENTS: Rule =
    Rule::new("components", PATHS, "Directories of components that are put on it, in this order.");

const HELM: Fields =
    Fields { rules: &[CHART.required(), RELEASE_NAME, VALUES_FILES, VALUES], needs: Needs::Nothing };
const HELM_CHANGE: Fields = Fields {
    rules: &[CHART, RELEASE_NAME, VALUES_FILES, VALUES],
    needs: Needs::Some(&["chart", "releaseName", "valuesFiles", "values"]),
};

const CHART: Rule = Rule::new(
    "chart",
    Shape::Text(Form::Path),
    "The directory of the chart, relative to this file; what it depends on stands in its charts directory.",
);
const RELEASE_NAME: Rule = Rule::new(
    "releaseName",
    Shape::Text(Form::Name),
    "The name of the release, of at most 53 characters; absent: the app's name.",
);
const VALUES_FILES: Rule = Rule::new(
    "valuesFiles",
    PATHS,
    "Files of values, relative to this file, each over the ones before; an override's replace the app's.",
);
const VALUES: Rule = Rule::new(
    "values",
    Shape::Any,
    "Values over those of all files; an override's merge: maps merge, all else replaces, null deletes what the chart or a file sets.",
);
