//! The fields of `source`: of an `App` all of it, of an `Override` what differs.

use super::{Choice, Fields, Form, Needs, Rule, Shape};

/// Of an app.
pub(super) const SOURCE: Fields = Fields {
    rules: &[
        PATH,
        Rule::new("git", Shape::Object(&GIT), "Another repository, in which the source is."),
        Rule::new("kustomize", Shape::Object(&KUSTOMIZE), "A kustomization, rendered by kustomize."),
        Rule::new("helm", Shape::Object(&HELM), "A chart, rendered by helm template."),
        Rule::new(
            "directories",
            Shape::Text(Form::Directories),
            "Directories of this repository, relative to this file, with one * in the last part, e.g. ./services/*: the app is a template of an app for each, from what it holds (a Chart.yaml, a kustomization, or manifests), or from helm or kustomize beside it, which then say no chart and no path.",
        ),
    ],
    needs: Needs::Template(&Choice {
        some: &["path", "git", "kustomize", "helm", "directories"],
        apart: &[
            ["path", "git"],
            ["path", "kustomize"],
            ["path", "helm"],
            ["kustomize", "helm"],
            ["directories", "path"],
            ["directories", "git"],
        ],
        template: "directories",
        places: &[("kustomize", "path"), ("helm", "chart")],
    }),
};

/// Of an override.
pub(super) const CHANGE: Fields = Fields {
    rules: &[
        PATH,
        Rule::new(
            "git",
            Shape::Object(&GIT_CHANGE),
            "What differs in the other repository that the source is in.",
        ),
        Rule::new("kustomize", Shape::Object(&KUSTOMIZE_CHANGE), "What differs in the kustomization."),
        Rule::new("helm", Shape::Object(&HELM_CHANGE), "What differs in the chart and its values."),
    ],
    needs: ONE,
};

const ONE: Needs = Needs::Apart(
    &["path", "git", "kustomize", "helm"],
    &[["path", "git"], ["path", "kustomize"], ["path", "helm"], ["kustomize", "helm"]],
);

const GIT: Fields = Fields { rules: &[URL.required(), REF, GIT_PATH, CREDENTIALS], needs: Needs::Nothing };
const GIT_CHANGE: Fields = Fields {
    rules: &[URL, REF, GIT_PATH, CREDENTIALS],
    needs: Needs::Some(&["url", "ref", "path", "credentials"]),
};

pub(super) const URL: Rule = Rule::new(
    "url",
    Shape::Text(Form::Url),
    "The repository: https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH, without a secret.",
);
const REF: Rule = Rule::new(
    "ref",
    Shape::Text(Form::Ref),
    "A branch, a tag, a full reference, a commit's id of 40 digits, or a range of versions over its tags, like ^1.4 or >=1.2 <2; absent: its default branch.",
);
const GIT_PATH: Rule = Rule::new(
    "path",
    Shape::Text(Form::Inside),
    "A directory or a file of manifests, from that repository's root; absent: all of it.",
);
pub(super) const CREDENTIALS: Rule = Rule::new(
    "credentials",
    Shape::Text(Form::Name),
    "An entry of the hub's credentials, which must be for this URL; absent: the one that is for it, if there is one.",
);

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
    "The directory of the kustomization, relative to this file, or with git from that repository's root; its bases may be anywhere in its repository.",
);
const COMPONENTS: Rule =
    Rule::new("components", PATHS, "Directories of components that are put on it, in this order.");

const HELM: Fields = Fields {
    rules: &[REPOSITORY, CHART.required(), VERSION, RELEASE_NAME, VALUES_FILES, VALUES],
    needs: Needs::Nothing,
};
const HELM_CHANGE: Fields = Fields {
    rules: &[REPOSITORY, CHART, VERSION, RELEASE_NAME, VALUES_FILES, VALUES],
    needs: Needs::Some(&["repository", "chart", "version", "releaseName", "valuesFiles", "values"]),
};

const REPOSITORY: Rule = Rule::new(
    "repository",
    Shape::Text(Form::Url),
    "The Helm repository (https://HOST/PATH) or the registry (oci://HOST/PATH) that the chart is in.",
);
const VERSION: Rule = Rule::new(
    "version",
    Shape::Text(Form::Versions),
    "The version of the chart in its repository, or a range like ^6.5; absent: the newest that is no pre-release.",
);

const CHART: Rule = Rule::new(
    "chart",
    Shape::Text(Form::Chart),
    "The chart's name in repository; otherwise its directory, relative to this file, or with git from that repository's root; what it depends on stands in its charts directory.",
);
const RELEASE_NAME: Rule = Rule::new(
    "releaseName",
    Shape::Text(Form::Name),
    "The name of the release, of at most 53 characters; absent: the app's name.",
);
const VALUES_FILES: Rule = Rule::new(
    "valuesFiles",
    PATHS,
    "Files of values, each over the ones before; an override's replace the app's. They are relative to this file, wherever the chart is; with chart: before it, a path is relative to the chart.",
);
const VALUES: Rule = Rule::new(
    "values",
    Shape::Any,
    "Values over those of all files; an override's merge: maps merge, all else replaces, null deletes what the chart or a file sets.",
);
