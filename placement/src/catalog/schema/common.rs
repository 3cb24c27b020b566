//! What several kinds have: metadata, selectors, names, targets.

use super::{Fields, Form, Needs, Rule, Shape};

pub(super) const NAME: Shape = Shape::Text(Form::Name);

/// The name of an app; that of a template has a `*`.
pub(super) const APP_NAME: Shape = Shape::Text(Form::AppName);

pub(super) const METADATA: Fields = Fields {
    rules: &[
        Rule::new("name", NAME, "Its name; with catalog and kind, its identity.").required(),
        LABELS,
        ANNOTATIONS,
    ],
    needs: Needs::Nothing,
};

/// Of an app.
pub(super) const APP_METADATA: Fields = Fields {
    rules: &[
        Rule::new(
            "name",
            APP_NAME,
            "Its name; with catalog and kind, its identity. With one * it is a template, and the * stands for the name of each of source.directories.",
        )
        .required(),
        LABELS,
        ANNOTATIONS,
    ],
    needs: Needs::Nothing,
};

const LABELS: Rule = Rule::new("labels", Shape::Labels, "Labels, by which selectors choose it.");
const ANNOTATIONS: Rule =
    Rule::new("annotations", Shape::Strings, "Notes for people and other programs; Nave reads none of them.");

pub(super) const SELECTOR: Fields = Fields {
    rules: &[
        Rule::new("matchLabels", Shape::Labels, "Labels that it has with exactly these values."),
        Rule::new(
            "matchExpressions",
            Shape::List(&Shape::Object(&REQUIREMENT)),
            "What else must hold of its labels; all of it.",
        ),
    ],
    needs: Needs::Nothing,
};

/// A selector where all would mean too many.
pub(super) const SOME_OF_ALL: Fields =
    Fields { rules: SELECTOR.rules, needs: Needs::Some(&["matchLabels", "matchExpressions"]) };

pub(super) const DEPENDENCY: Fields = Fields {
    rules: &[
        Rule::new("app", NAME, "The app that comes first."),
        Rule::new("selector", Shape::Object(&SOME_OF_ALL), "The apps that come first, by their labels."),
        Rule::new(
            "until",
            Shape::Choice(&["Applied", "Healthy"]),
            "What has to be so of them, as they are assigned, once; what falls sick later stops nothing.",
        )
        .or("\"Healthy\""),
        Rule::new(
            "ifAbsent",
            Shape::Choice(&["Wait", "Ignore", "Fail"]),
            "Where none of them shall run: wait for it, do without it, or tell it as a failure; absent: Wait for an app, Ignore for a selector.",
        ),
        Rule::new(
            "clusters",
            Shape::Object(&THOSE_CLUSTERS),
            "Other clusters, on which they come first; absent: on the same.",
        ),
    ],
    needs: Needs::One(&["app", "selector"]),
};

const THOSE_CLUSTERS: Fields = Fields {
    rules: &[Rule::new(
        "selector",
        Shape::Object(&SOME_OF_ALL),
        "Clusters by their labels; not all of them.",
    )
    .required()],
    needs: Needs::Nothing,
};

const REQUIREMENT: Fields = Fields { rules: &[
    Rule::new("key", Shape::Text(Form::LabelKey), "The label's key.").required(),
    Rule::new(
        "operator",
        Shape::Choice(&["In", "NotIn", "Exists", "DoesNotExist"]),
        "In, NotIn: its value is one of values, or is none of them (also where there is no such label); Exists, DoesNotExist: whether there is one.",
    )
    .required(),
    Rule::new(
        "values",
        Shape::List(&Shape::Text(Form::LabelValue)),
        "The values, at least one, for In and NotIn; absent for the others.",
    ),
], needs: Needs::Nothing };

pub(super) const TARGET: Fields = Fields {
    rules: &[
        Rule::new(
            "group",
            Shape::Text(Form::Any),
            "The API group, empty for the core group; any where it is absent.",
        ),
        Rule::new("kind", Shape::Text(Form::Any), "The kind, e.g. Deployment.").required(),
        Rule::new("namespace", Shape::Text(Form::Any), "The namespace; any where it is absent."),
        Rule::new("name", Shape::Text(Form::Any), "The name; any where it is absent."),
    ],
    needs: Needs::Nothing,
};

/// The effects of taints.
pub(super) const EFFECTS: Shape = Shape::Choice(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);

/// Some of the catalog's apps.
pub(super) const APPS: Fields = Fields {
    rules: &[
        Rule::new("names", Shape::List(&NAME), "Apps by name."),
        Rule::new("selector", Shape::Object(&SELECTOR), "Apps by their labels; {} is every app."),
    ],
    needs: Needs::Some(&["names", "selector"]),
};

/// Some of the fleet's clusters.
pub(super) const CLUSTERS: Fields = Fields {
    rules: &[
        Rule::new("selector", Shape::Object(&SELECTOR), "Clusters by their labels; {} is every cluster."),
        Rule::new(
            "where",
            Shape::Text(Form::Cel),
            "Clusters for which this CEL expression over cluster, labels and slow facts is true; unknown facts move nothing.",
        ),
        Rule::new("sets", Shape::List(&NAME), "Clusters of these cluster sets."),
        Rule::new("names", Shape::List(&NAME), "Clusters by name."),
        Rule::new("exclude", Shape::List(&NAME), "Clusters that are never meant, whatever else says so."),
    ],
    needs: Needs::Some(&["selector", "where", "sets", "names"]),
};
