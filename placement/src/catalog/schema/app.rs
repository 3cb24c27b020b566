//! The fields of `App`.

use super::common::{APP_METADATA, APP_NAME, DEPENDENCY, NAME, TARGET};
use super::source::SOURCE;
use super::{Fields, Form, Needs, Rule, Shape, around_named};

pub(super) const APP: Rule = Rule::new(
    "App",
    Shape::Object(&APP_DOCUMENT),
    "A deployable unit: where its manifests come from, and how they are treated.",
);

const APP_DOCUMENT: Fields = Fields { rules: &APP_FIELDS, needs: Needs::Nothing };
const APP_FIELDS: [Rule; 4] = around_named("App", &APP_METADATA, SPEC);

const SPEC: Rule = Rule::new("spec", Shape::Object(&SPEC_FIELDS), "What is deployed, and how.").required();

const SPEC_FIELDS: Fields = Fields { rules: &[
        Rule::new("source", Shape::Object(&SOURCE), "Where its manifests come from.").required(),
        Rule::new(
            "parameters",
            Shape::Any,
            "A layer of its parameters, above the fleet's; maps are merged, all else replaces, null deletes.",
        ),
        Rule::new(
            "substitute",
            Shape::Flag,
            "Whether ${…} in its manifests is filled in: parameters.NAME, labels.KEY, facts.NAME, cluster.name.",
        )
        .or("false"),
        Rule::new(
            "namespace",
            Shape::Object(&NAMESPACE),
            "The namespace of namespaced objects that name none.",
        ),
        Rule::new(
            "serviceAccount",
            Shape::Text(Form::ServiceAccount),
            "The service account as which it is applied: NAME in its namespace, or NAMESPACE/NAME.",
        ),
        Rule::new("mode", Shape::Choice(&["Apply", "Observe"]), "Observe: compare and report, never write.")
            .or("\"Apply\""),
        Rule::new(
            "formerly",
            Shape::List(&APP_NAME),
            "Names that it had before; what they own is handed over. In a template they have one *, as its name.",
        ),
        Rule::new(
            "rollout",
            NAME,
            "The Rollout by which its changes move; absent: the fleet's default, and without one: one cluster, 25 %, all.",
        ),
        Rule::new(
            "dependsOn",
            Shape::List(&Shape::Object(&DEPENDENCY)),
            "What comes before its changes; absent: the fleet's default; an empty list: nothing.",
        ),
        Rule::new(
            "group",
            NAME,
            "A name that several apps share: on each cluster they switch together, and return together if one of them is not healthy in its timeout.",
        ),
        Rule::new(
            "adopt",
            Shape::Choice(&["Never", "IfEqual", "Always"]),
            "Whether objects that exist and are not ours become ours; IfEqual: if applying would change nothing.",
        )
        .or("\"IfEqual\""),
        Rule::new(
            "onImmutable",
            Shape::Choice(&["Fail", "Recreate"]),
            "Where a field cannot be changed: name it, or delete the object and make it anew.",
        )
        .or("\"Fail\""),
        Rule::new("protect", Shape::Flag, "It leaves no cluster before somebody approved that: hub hold approve.")
            .or("false"),
        Rule::new("prune", Shape::Flag, "Objects that left the app are deleted.").or("true"),
        Rule::new(
            "onRemove",
            Shape::Choice(&["Delete", "Orphan"]),
            "What happens to its objects when the app leaves a cluster; Orphan: they stay, and are ours no longer.",
        )
        .or("\"Delete\""),
        Rule::new(
            "conflicts",
            Shape::Choice(&["Fail", "Force", "Yield"]),
            "Fields that another manager owns and we never owned: name them, take them, or leave them.",
        )
        .or("\"Fail\""),
        Rule::new(
            "drift",
            Shape::Choice(&["Correct", "Report"]),
            "Foreign changes of fields that are ours: put them back, or only tell of them.",
        )
        .or("\"Correct\""),
        Rule::new(
            "ignore",
            Shape::List(&Shape::Object(&IGNORE)),
            "Fields that are left to others: written when the object is made, and no drift.",
        ),
        Rule::new(
            "health",
            Shape::List(&Shape::Object(&HEALTH)),
            "How objects are judged whose kinds say it in their own way; the first rule that matches decides.",
        ),
        Rule::new(
            "timeout",
            Shape::Text(Form::Duration),
            "From apply until it counts as failed; 7d at most.",
        )
        .or("\"10m\""),
    ], needs: Needs::Nothing };

const NAMESPACE: Fields = Fields {
    rules: &[
        Rule::new("name", Shape::Text(Form::Namespace), "Its name.").required(),
        Rule::new("labels", Shape::Labels, "Labels of the namespace, where Nave creates it."),
        Rule::new("create", Shape::Flag, "Whether it is created when it is absent.").or("true"),
        Rule::new(
            "force",
            Shape::Flag,
            "Whether it is put on all namespaced objects, also those that name another.",
        )
        .or("false"),
    ],
    needs: Needs::Nothing,
};

const IGNORE: Fields = Fields {
    rules: &[
        Rule::new("target", Shape::Object(&TARGET), "Of which objects.").required(),
        Rule::new(
            "fields",
            Shape::List(&Shape::Text(Form::Pointer)),
            "The fields as JSON pointers, e.g. /spec/replicas.",
        )
        .required(),
    ],
    needs: Needs::Nothing,
};

const HEALTH: Fields = Fields {
    rules: &[
        Rule::new("target", Shape::Object(&TARGET), "Of which objects.").required(),
        Rule::new(
            "healthy",
            Shape::Text(Form::Cel),
            "True: it is healthy. Otherwise, unless it has failed, it is on its way. CEL over object.",
        ),
        Rule::new(
            "failed",
            Shape::Text(Form::Cel),
            "True: it has failed, whatever healthy says. CEL over object.",
        ),
    ],
    needs: Needs::Some(&["healthy", "failed"]),
};
