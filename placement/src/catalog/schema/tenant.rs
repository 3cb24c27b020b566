//! The fields of `Catalog`.

use super::common::NAME;
use super::source::{CREDENTIALS, URL};
use super::{Fields, Form, Needs, Rule, SOME, Shape, around};

pub(super) const CATALOG: Rule = Rule::new(
    "Catalog",
    Shape::Object(&DOCUMENT),
    "A tenant's catalog, in the root catalog: where it is, and what its apps may do. An app of it is called CATALOG/APP.",
);

const DOCUMENT: Fields = Fields { rules: &DOCUMENT_FIELDS, needs: Needs::Nothing };
const DOCUMENT_FIELDS: [Rule; 4] = around("Catalog", SPEC);

const SPEC: Rule = Rule::new("spec", Shape::Object(&SPEC_FIELDS), "What is said of it.").required();

const SPEC_FIELDS: Fields = Fields {
    rules: &[
        Rule::new("git", Shape::Object(&GIT), "Its repository.").required(),
        Rule::new(
            "credentials",
            Shape::List(&NAME),
            "Entries of the hub's credentials that sources of its apps may name, beside that of its repository; all else they reach without.",
        ),
        Rule::new(
            "grants",
            Shape::List(&Shape::Object(&GRANT)),
            "What its apps may do, and where; without one nothing of it runs. Where several name a set, the first counts. What runs under a grant that is withdrawn stays, and takes no changes.",
        ),
    ],
    needs: Needs::Nothing,
};

const GIT: Fields = Fields {
    rules: &[
        URL.required(),
        Rule::new(
            "branch",
            Shape::Text(Form::Ref),
            "What of it is followed: a branch, a tag, a range of versions over its tags, or a commit; absent: its default branch.",
        ),
        Rule::new("path", Shape::Text(Form::Inside), "The catalog's directory in it; absent: all of it."),
        CREDENTIALS,
    ],
    needs: Needs::Nothing,
};

const GRANT: Fields = Fields {
    rules: &[
        Rule::new("sets", Shape::List(&NAME), "The cluster sets on whose clusters they may be, at least one.")
            .required(),
        Rule::new(
            "namespaces",
            Shape::List(&PATTERN),
            "The namespaces in which they may have objects, and that they may make; * stands for any letters.",
        )
        .or("[]"),
        Rule::new(
            "clusterScoped",
            Shape::List(&PATTERN),
            "The kinds without a namespace of which they may have objects, as KIND or KIND.GROUP; * stands for any letters.",
        )
        .or("[]"),
        Rule::new(
            "serviceAccount",
            Shape::Text(Form::ServiceAccount),
            "As whom a spoke applies their objects, NAME of the app's namespace or NAMESPACE/NAME, whatever an app says; absent: as each app says.",
        ),
        Rule::new("maxClusters", SOME, "On how many clusters they may be; absent: on all."),
    ],
    needs: Needs::Nothing,
};

const PATTERN: Shape = Shape::Text(Form::Pattern);
