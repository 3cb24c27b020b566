//! The fields of `Fleet`, `Cluster` and `ClusterSet`.

use super::common::{DEPENDENCY, EFFECTS, NAME};
use super::{Fields, Form, NUMBER, Needs, Rule, Shape, around};

pub(super) const FLEET: Rule = Rule::new(
    "Fleet",
    Shape::Object(&FLEET_DOCUMENT),
    "Defaults, parameters and guard of the whole fleet; at most one, in the root catalog.",
);

const FLEET_DOCUMENT: Fields = Fields { rules: &FLEET_FIELDS, needs: Needs::Nothing };
const FLEET_FIELDS: [Rule; 4] = around("Fleet", FLEET_SPEC);

const FLEET_SPEC: Rule =
    Rule::new("spec", Shape::Object(&FLEET_SPEC_FIELDS), "What holds for the whole fleet.");

const FLEET_SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("defaults", Shape::Object(&DEFAULTS), "What apps do that say nothing themselves."),
        Rule::new("parameters", Shape::Any, "The lowest layer of every app's parameters."),
        Rule::new(
            "guard",
            Shape::Object(&GUARD),
            "Limits of what may be removed within an hour without approval; they can only tighten the built-in ones. A commit announces more by a trailer: Nave-Allow-Removal: app/NAME=12, app/NAME/objects=30 or *=40.",
        ),
    ],
    needs: Needs::Nothing,
};

const DEFAULTS: Fields = Fields {
    rules: &[
        Rule::new("rollout", NAME, "The Rollout of apps that name none."),
        Rule::new(
            "dependsOn",
            Shape::List(&Shape::Object(&DEPENDENCY)),
            "What comes first for apps that name no dependsOn; not for the apps that it selects.",
        ),
    ],
    needs: Needs::Nothing,
};

const GUARD: Fields = Fields {
    rules: &[
        Rule::new(
            "fleet",
            Shape::Object(&LIMIT),
            "Of all entries of the fleet; built in: 5 %, at least 3 and at most 200.",
        ),
        Rule::new("app", Shape::Object(&LIMIT), "Of the clusters of one app; built in: 25 %, at least 2."),
        Rule::new(
            "cluster",
            Shape::Object(&LIMIT),
            "Of the apps of one cluster; built in: 25 %, at least 2.",
        ),
        Rule::new(
            "objects",
            Shape::Object(&LIMIT),
            "Of the distinct objects of one app; built in: 25 %, at least 10.",
        ),
    ],
    needs: Needs::Nothing,
};

const LIMIT: Fields = Fields {
    rules: &[
        Rule::new("max", Shape::Text(Form::Percent), "A share of how many there are when the hour begins."),
        Rule::new("atMost", NUMBER, "A number that is never exceeded, however large the share."),
    ],
    needs: Needs::Nothing,
};

pub(super) const CLUSTER: Rule = Rule::new(
    "Cluster",
    Shape::Object(&CLUSTER_DOCUMENT),
    "What Git says of a cluster; its labels win, key by key, over an operator's.",
);

const CLUSTER_DOCUMENT: Fields = Fields { rules: &CLUSTER_FIELDS, needs: Needs::Nothing };
const CLUSTER_FIELDS: [Rule; 4] = around("Cluster", CLUSTER_SPEC);

const CLUSTER_SPEC: Rule =
    Rule::new("spec", Shape::Object(&CLUSTER_SPEC_FIELDS), "What is said of the cluster.");

const CLUSTER_SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("set", NAME, "The cluster set that it belongs to."),
        Rule::new(
            "taints",
            Shape::List(&Shape::Object(&TAINT)),
            "What it puts before placements that do not tolerate it.",
        ),
        Rule::new("cordoned", Shape::Flag, "Nothing new is placed on it; what runs stays.").or("false"),
        Rule::new(
            "timezone",
            Shape::Text(Form::TimeZone),
            "Its IANA time zone, e.g. Europe/Berlin, for windows and freezes.",
        ),
        Rule::new("parameters", Shape::Any, "The highest layer of the parameters of every app on it."),
        Rule::new(
            "protect",
            Shape::Flag,
            "Nothing leaves it before somebody approved that: hub hold approve.",
        )
        .or("false"),
    ],
    needs: Needs::Nothing,
};

const TAINT: Fields = Fields { rules: &[
    Rule::new("key", Shape::Text(Form::LabelKey), "The taint's key.").required(),
    Rule::new("value", Shape::Text(Form::LabelValue), "Its value.").or("\"\""),
    Rule::new(
        "effect",
        EFFECTS,
        "NoSchedule: nothing is placed newly; PreferNoSchedule: only after all others; NoExecute: what is there leaves too.",
    )
    .required(),
], needs: Needs::Nothing };

pub(super) const CLUSTER_SET: Rule = Rule::new(
    "ClusterSet",
    Shape::Object(&CLUSTER_SET_DOCUMENT),
    "A named group of clusters; each is in at most one.",
);

const CLUSTER_SET_DOCUMENT: Fields = Fields { rules: &CLUSTER_SET_FIELDS, needs: Needs::Nothing };
const CLUSTER_SET_FIELDS: [Rule; 4] = around("ClusterSet", CLUSTER_SET_SPEC);

const CLUSTER_SET_SPEC: Rule = Rule::new(
    "spec",
    Shape::Object(&CLUSTER_SET_SPEC_FIELDS),
    "What is said of the set; it may say nothing.",
);

const CLUSTER_SET_SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("parameters", Shape::Any, "A layer of the parameters of every app on its clusters."),
        Rule::new(
            "windows",
            Shape::List(&Shape::Object(&WINDOW)),
            "When changes may start on its clusters; without one, at any time. Each cluster's spoke keeps them, with the hub or without.",
        ),
        Rule::new(
            "freeze",
            Shape::List(&Shape::Object(&FREEZE)),
            "When no change starts on its clusters, whatever window is open.",
        ),
    ],
    needs: Needs::Nothing,
};

const WINDOW: Fields = Fields {
    rules: &[
        Rule::new(
            "cron",
            Shape::Text(Form::Cron),
            "When it opens: minute, hour, day of month, month, day of week, as crontab has them.",
        )
        .required(),
        Rule::new("duration", Shape::Text(Form::Duration), "How long it is open, from 1m to 7d.").required(),
        RULE_ZONE,
    ],
    needs: Needs::Nothing,
};

const FREEZE: Fields = Fields {
    rules: &[
        Rule::new("from", Shape::Text(Form::When), "Its first day, or when it begins: 2026-11-20T18:00.")
            .required(),
        Rule::new("to", Shape::Text(Form::When), "Its last day, all of it, or when it ends.").required(),
        RULE_ZONE,
    ],
    needs: Needs::Nothing,
};

const RULE_ZONE: Rule = Rule::new(
    "timezone",
    Shape::Text(Form::TimeZone),
    "Whose clock it goes by: an IANA name, or cluster for each cluster's own, which is UTC where it says none.",
)
.or("\"cluster\"");
