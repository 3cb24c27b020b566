//! The fields of `Override`.

use super::common::{APPS, CLUSTERS};
use super::source::CHANGE;
use super::{Fields, Form, Needs, Rule, Shape, around};

pub(super) const OVERRIDE: Rule = Rule::new(
    "Override",
    Shape::Object(&OVERRIDE_DOCUMENT),
    "A change of apps on some clusters: another source, parameters, images, patches.",
);

const OVERRIDE_DOCUMENT: Fields = Fields { rules: &OVERRIDE_FIELDS, needs: Needs::Nothing };
const OVERRIDE_FIELDS: [Rule; 4] = around("Override", SPEC);

const SPEC: Rule = Rule::new("spec", Shape::Object(&SPEC_FIELDS), "What is changed, and where.").required();

const SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("apps", Shape::Object(&APPS), "Which apps of the same catalog; all given terms must hold.")
            .required(),
        Rule::new(
            "clusters",
            Shape::Object(&CLUSTERS),
            "On which clusters; all given terms must hold, and at least one is given.",
        )
        .required(),
        Rule::new(
            "priority",
            Shape::Whole(None, None),
            "Overrides apply from the lowest to the highest, by name where it is equal; the last one wins.",
        )
        .or("0"),
        Rule::new(
            "source",
            Shape::Object(&CHANGE),
            "What differs in where the manifests come from; it merges into the app's source, or replaces one of another kind.",
        ),
        Rule::new(
            "parameters",
            Shape::Any,
            "A layer of parameters, above those of the cluster set and below those of the cluster.",
        ),
        Rule::new(
            "images",
            Shape::List(&Shape::Object(&IMAGE)),
            "Images that containers have instead, as in a kustomization; they come after the patches of the same override, and before those of the next.",
        ),
        Rule::new(
            "patches",
            Shape::List(&Shape::Object(&PATCH)),
            "Changes of manifests, in this order; one that finds no object is a problem.",
        ),
    ],
    needs: Needs::Some(&["source", "parameters", "images", "patches"]),
};

const IMAGE: Fields = Fields {
    rules: &[
        Rule::new("name", Shape::Text(Form::Image), "The image as the manifest names it, without its tag.")
            .required(),
        Rule::new("newName", Shape::Text(Form::Image), "What it is called instead."),
        Rule::new("newTag", Shape::Text(Form::Tag), "The tag that it has instead."),
        Rule::new("digest", Shape::Text(Form::Digest), "The digest that it has instead of a tag."),
    ],
    needs: Needs::Some(&["newName", "newTag", "digest"]),
};

const PATCH: Fields = Fields {
    rules: &[
        Rule::new(
            "target",
            Shape::Object(&TARGET),
            "Of which objects, as the manifests name them; absent: of the one that the patch names itself.",
        ),
        Rule::new(
            "patch",
            Shape::Patch,
            "Operations of JSON Patch (RFC 6902) as a list, or a part of a manifest as a mapping: a strategic merge patch for kinds of Kubernetes, a JSON merge patch (RFC 7386) for all others. Text that holds one is read.",
        )
        .required(),
    ],
    needs: Needs::Nothing,
};

const TARGET: Fields = Fields {
    rules: &[
        Rule::new(
            "group",
            Shape::Text(Form::Any),
            "The API group, empty for the core group; any where it is absent.",
        ),
        Rule::new(
            "version",
            Shape::Text(Form::Any),
            "The API version without its group; any where it is absent.",
        ),
        Rule::new("kind", Shape::Text(Form::Any), "The kind, e.g. Deployment; any where it is absent."),
        Rule::new("namespace", Shape::Text(Form::Any), "The namespace; any where it is absent."),
        Rule::new("name", Shape::Text(Form::Any), "The name; any where it is absent."),
        Rule::new(
            "labelSelector",
            Shape::Text(Form::Selector),
            "Objects with these labels, e.g. tier in (web, api).",
        ),
        Rule::new("annotationSelector", Shape::Text(Form::Selector), "Objects with these annotations."),
    ],
    needs: Needs::Some(&[
        "group",
        "version",
        "kind",
        "namespace",
        "name",
        "labelSelector",
        "annotationSelector",
    ]),
};
