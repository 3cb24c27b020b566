//! The fields of `Placement`.

use super::common::{APPS, CLUSTERS, EFFECTS, SELECTOR, TARGET};
use super::{Fields, Form, NUMBER, Needs, Rule, SOME, Shape, around};

pub(super) const PLACEMENT: Rule = Rule::new(
    "Placement",
    Shape::Object(&PLACEMENT_DOCUMENT),
    "A rule: these apps, on those clusters, so many, spread and preferred thus.",
);

const PLACEMENT_DOCUMENT: Fields = Fields { rules: &PLACEMENT_FIELDS, needs: Needs::Nothing };
const PLACEMENT_FIELDS: [Rule; 4] = around("Placement", SPEC);

const SPEC: Rule = Rule::new("spec", Shape::Object(&SPEC_FIELDS), "Which apps run where.").required();

const SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("apps", Shape::Object(&APPS), "Which apps of the same catalog; all given terms must hold.")
            .required(),
        Rule::new(
            "clusters",
            Shape::Object(&CLUSTERS),
            "Which clusters; all given terms must hold, and at least one is given.",
        )
        .required(),
        Rule::new(
            "tolerations",
            Shape::List(&Shape::Object(&TOLERATION)),
            "The taints of clusters that it puts up with.",
        ),
        Rule::new(
            "pick",
            Shape::Object(&PICK),
            "How it chooses among the clusters that match; absent: it takes all. What was chosen stays.",
        ),
        Rule::new(
            "replicas",
            Shape::Object(&REPLICAS),
            "Replicas of a workload that are divided over the chosen clusters; absent: each has what its manifest says.",
        ),
    ],
    needs: Needs::Nothing,
};

const TOLERATION: Fields = Fields {
    rules: &[
        Rule::new("key", Shape::Text(Form::LabelKey), "The taint's key; absent, with Exists: every taint."),
        Rule::new(
            "operator",
            Shape::Choice(&["Equal", "Exists"]),
            "Whether the taint's value has to be equal, or may be any.",
        )
        .or("\"Equal\""),
        Rule::new("value", Shape::Text(Form::LabelValue), "The taint's value, with Equal.").or("\"\""),
        Rule::new("effect", EFFECTS, "The taint's effect; absent: every effect."),
        Rule::new(
            "tolerationSeconds",
            Shape::Whole(None, None),
            "For how long a taint with NoExecute is tolerated; absent: for ever.",
        ),
    ],
    needs: Needs::Some(&["key", "operator"]),
};

const PICK: Fields = Fields {
    rules: &[
        Rule::new(
            "count",
            Shape::Count(1),
            "How many, or which share of those that match, rounded up; absent: all.",
        ),
        Rule::new(
            "per",
            Shape::Text(Form::Look),
            "So many in each group of clusters that share this value, e.g. labels.region.",
        ),
        Rule::new("min", NUMBER, "With fewer clusters to choose from, the previous decision stands.").or("0"),
        Rule::new(
            "fits",
            Shape::Amounts,
            "What has to be free on a cluster when it is chosen, e.g. {cpu: 2, memory: 4Gi}; never looked at to keep one.",
        ),
        Rule::new(
            "spread",
            Shape::List(&Shape::Object(&SPREAD)),
            "Over what the chosen clusters are spread; 8 at most.",
        ),
        Rule::new(
            "prefer",
            Shape::List(&Shape::Object(&PREFERENCE)),
            "Which clusters come first: what each says, 0 to 100, times its weight.",
        ),
        Rule::new(
            "failover",
            Shape::Object(&FAILOVER),
            "What happens when the spoke of a chosen cluster is silent; absent: nothing.",
        ),
    ],
    needs: Needs::Nothing,
};

const SPREAD: Fields = Fields {
    rules: &[
        Rule::new("topologyKey", Shape::Text(Form::Look), "The label or slow fact, e.g. labels.region.")
            .required(),
        Rule::new("maxSkew", SOME, "How many more one value may have than the one with the fewest.").or("1"),
        Rule::new(
            "minDomains",
            SOME,
            "With fewer values than these, the one with the fewest counts as having none; with Refuse only.",
        ),
        Rule::new(
            "whenUnsatisfiable",
            Shape::Choice(&["Refuse", "Prefer"]),
            "A cluster that would break it is not chosen, or is chosen after all others.",
        )
        .or("\"Refuse\""),
    ],
    needs: Needs::Nothing,
};

const PREFERENCE: Fields = Fields {
    rules: &[
        Rule::new("weight", Shape::Whole(Some(1), Some(100)), "How much it counts.").required(),
        Rule::new("selector", Shape::Object(&SELECTOR), "Clusters with these labels."),
        Rule::new(
            "cel",
            Shape::Text(Form::Cel),
            "Clusters for which this CEL expression over cluster, labels and facts is true.",
        ),
        Rule::new(
            "most",
            Shape::Text(Form::Look),
            "Clusters with more of it than others, a number, e.g. facts.free.cpu.",
        ),
        Rule::new("least", Shape::Text(Form::Look), "Clusters with less of it than others, a number."),
        Rule::new("balance", Shape::Affirmed, "Clusters that fewer placements picked than others."),
    ],
    needs: Needs::One(&["selector", "cel", "most", "least", "balance"]),
};

const FAILOVER: Fields = Fields { rules: &[
    Rule::new(
        "unreachable",
        Shape::Text(Form::Duration),
        "After how long a silence another cluster takes its place; from 30s to 7d.",
    )
    .or("\"5m\""),
    Rule::new(
        "suspendAbove",
        Shape::Text(Form::Percent),
        "Nothing fails over while more than this share of the members is silent.",
    )
    .or("\"20%\""),
    Rule::new(
        "onReturn",
        Shape::Choice(&["Keep", "Return"]),
        "Which of the two stays when the silent one is heard again: the stand-in, or the one that was silent.",
    )
    .or("\"Keep\""),
], needs: Needs::Nothing };

const REPLICAS: Fields = Fields {
    rules: &[
        Rule::new(
            "target",
            Shape::Object(&TARGET),
            "Whose replicas: of Deployments, StatefulSets, ReplicaSets, or of a custom kind with spec.replicas.",
        )
        .required(),
        Rule::new("total", NUMBER, "How many in all.").required(),
        Rule::new(
            "divide",
            Shape::Choice(&["Even", "Weighted", "Free"]),
            "The same for each, by what prefer says of each, or by what is free on each.",
        )
        .or("\"Even\""),
    ],
    needs: Needs::Nothing,
};
