//! The fields of `Rollout`.

use super::common::{CLUSTERS, NAME, SOME_OF_ALL};
use super::{Fields, Form, Needs, Rule, SOME, Shape, around};

pub(super) const ROLLOUT: Rule = Rule::new(
    "Rollout",
    Shape::Object(&ROLLOUT_DOCUMENT),
    "How a changed app moves through its clusters: in which waves, how fast, and when it stops.",
);

const ROLLOUT_DOCUMENT: Fields = Fields { rules: &ROLLOUT_FIELDS, needs: Needs::Nothing };
const ROLLOUT_FIELDS: [Rule; 4] = around("Rollout", SPEC);

const SPEC: Rule =
    Rule::new("spec", Shape::Object(&SPEC_FIELDS), "How apps move that name it, or the fleet's default.")
        .required();

const SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new(
            "waves",
            Shape::List(&Shape::Object(&WAVE)),
            "Clusters that change together, one wave after the other, at least one; what is in none of them makes an implied last one.",
        )
        .required(),
        Rule::new("failure", Shape::Object(&FAILURE), "When it stops, and what happens then."),
        Rule::new(
            "onNewRevision",
            Shape::Choice(&["Supersede", "Finish"]),
            "When the app changes again: the new version takes its place from the first wave on, or waits for its end.",
        )
        .or("\"Supersede\""),
    ],
    needs: Needs::Nothing,
};

const WAVE: Fields = Fields {
    rules: &[
        Rule::new("name", NAME, "Its name, unique in the rollout.").required(),
        Rule::new(
            "clusters",
            Shape::Object(&CLUSTERS),
            "Which clusters, of those that no wave before it took; all given terms must hold; absent: any.",
        ),
        Rule::new("count", SOME, "So many of them at most; with neither count nor share, all."),
        Rule::new(
            "share",
            Shape::Text(Form::Percent),
            "So many that with all waves before it this share of the rollout's clusters is reached, rounded up; from 1%, and above the shares before it.",
        ),
        Rule::new(
            "spread",
            Shape::List(&Shape::Object(&SPREAD)),
            "What its clusters are spread over evenly, as far as possible, with count or share; 8 at most.",
        ),
        Rule::new(
            "maxUnavailable",
            Shape::Count(1),
            "How many of its clusters may be unavailable at once: sent the change and not yet healthy; a share is rounded down, to at least one; absent: all.",
        ),
        Rule::new(
            "soak",
            Shape::Text(Form::Duration),
            "For how long all of it has to be healthy before the next wave begins; 90d at most.",
        )
        .or("\"0s\""),
        Rule::new(
            "pace",
            Shape::Object(&PACE),
            "How fast its clusters have their turns; absent: as fast as maxUnavailable allows.",
        ),
        Rule::new("before", Shape::Object(&BEFORE), "What must be so before it begins."),
    ],
    needs: Needs::Nothing,
};

const SPREAD: Fields = Fields {
    rules: &[Rule::new(
        "topologyKey",
        Shape::Text(Form::Look),
        "The label or slow fact, e.g. labels.region.",
    )
    .required()],
    needs: Needs::Nothing,
};

const PACE: Fields = Fields {
    rules: &[
        Rule::new(
            "step",
            Shape::Count(1),
            "How many more each time; a share is of the wave's members, rounded up.",
        )
        .required(),
        Rule::new("every", Shape::Text(Form::Duration), "After how long; from 1s to 90d.").required(),
    ],
    needs: Needs::Nothing,
};

const BEFORE: Fields = Fields {
    rules: &[
        Rule::new("approval", Shape::Flag, "Whether an operator has to approve it.").or("false"),
        Rule::new(
            "healthyOn",
            Shape::Object(&HEALTHY_ON),
            "The version is healthy on all clusters of the app that are meant here.",
        ),
        Rule::new(
            "for",
            Shape::Text(Form::Duration),
            "For how long without a break it has been healthy there, with healthyOn; 90d at most.",
        )
        .or("\"0s\""),
    ],
    needs: Needs::Nothing,
};

const HEALTHY_ON: Fields = Fields {
    rules: &[Rule::new(
        "selector",
        Shape::Object(&SOME_OF_ALL),
        "Clusters by their labels; not all of them.",
    )
    .required()],
    needs: Needs::Nothing,
};

const FAILURE: Fields = Fields {
    rules: &[
        Rule::new(
            "max",
            Shape::Count(0),
            "How many clusters of a wave may fail; a share is of its members, rounded down.",
        )
        .or("0"),
        Rule::new(
            "deadline",
            Shape::Text(Form::Duration),
            "How long after it was sent the change a cluster that is not healthy counts as failed, from 1s to 7d; absent: the app's timeout.",
        ),
        Rule::new(
            "then",
            Shape::Choice(&["Pause", "Rollback"]),
            "When more failed: wait for an operator, or return what changed to what it had and block the version.",
        )
        .or("\"Rollback\""),
    ],
    needs: Needs::Nothing,
};
