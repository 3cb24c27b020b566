//! Capabilities: what a chart is told of the cluster that it is rendered for.
//!
//! In: what it asks, the facts of a cluster. Out: the answers, and templates that get them. Helm has a list of API versions of its
//! own, to which it adds what it is given: so where a template asks whether a name is in the list, the answer is put in its place.
//! Never: answers what is not asked, so that clusters which differ in nothing else are told the same.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::asks::{Asks, Part};
use super::words::{Kind, Word, actions};
use crate::Digest;
use crate::fleet::{Fact, Facts};
use crate::select::FactName;

/// The longest list of names that is written out in a label.
const MOST_LETTERS: usize = 100;

/// What a chart is told of a cluster. Without anything, it is rendered for the version that is assumed, and for the API versions
/// that Helm takes for given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Kubernetes' version, as far as it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Those API versions that it has, of those that are asked for; absent where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apis: Option<BTreeSet<Arc<str>>>,
}

impl Asks {
    /// What a cluster answers. Of a target that is no Kubernetes what is assumed stands.
    ///
    /// # Errors
    /// The fact that is not known.
    pub fn answers(&self, facts: &Facts) -> Result<Capabilities, FactName> {
        let mut answers = Capabilities::default();
        match (&facts.kubernetes, self.version) {
            (_, None) | (Fact::Absent, _) => {}
            (Fact::Unknown, Some(_)) => return Err(FactName::Kubernetes),
            (Fact::Present(found), Some(Part::Minor)) => {
                answers.version = Some(format!("v{}.{}.0", found.major, found.minor).into());
            }
            (Fact::Present(found), Some(Part::Whole)) if is_version(&found.version) => {
                answers.version = Some(found.version.as_str().into());
            }
            (Fact::Present(_), Some(Part::Whole)) => return Err(FactName::Kubernetes),
        }
        if self.all_apis || !self.apis.is_empty() {
            match &facts.apis {
                Fact::Unknown => return Err(FactName::Apis),
                Fact::Absent => {}
                Fact::Present(served) => answers.apis = Some(self.served(served)),
            }
        }
        Ok(answers)
    }

    /// Those API versions that count, of those that are served. What is served comes from a cluster and goes into a template, so
    /// nothing but a name does.
    fn served(&self, served: &BTreeSet<String>) -> BTreeSet<Arc<str>> {
        if self.all_apis {
            let kinds = served.iter().map(String::as_str).filter(|name| is_name(name));
            let versions = kinds.clone().filter_map(|name| Some(name.rsplit_once('/')?.0));
            return kinds.chain(versions).map(Arc::from).collect();
        }
        let has = |name: &&Arc<str>| {
            let prefix = format!("{name}/");
            let kind = served.range(prefix.clone()..).next().and_then(|kind| kind.strip_prefix(&prefix));
            is_name(name) && (served.contains(&***name) || kind.is_some_and(|kind| !kind.contains('/')))
        };
        self.apis.iter().filter(has).cloned().collect()
    }

    /// Whether two clusters answer the same, whatever else differs.
    pub fn is_same(&self, one: &Facts, other: &Facts) -> bool {
        let same_version = self.version.is_none() || one.kubernetes == other.kubernetes;
        same_version && ((self.apis.is_empty() && !self.all_apis) || one.apis == other.apis)
    }
}

fn is_version(version: &str) -> bool {
    !version.is_empty() && version.split('+').all(is_name)
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte))
}

impl Capabilities {
    /// Whether it is what charts are rendered for without a cluster.
    pub fn is_assumed(&self) -> bool {
        *self == Self::default()
    }

    /// A short name of it, which no other answer to the same question has.
    pub fn label(&self) -> String {
        if self.is_assumed() {
            return "assumed".to_owned();
        }
        let apis = self.apis.iter().flatten().map(|name| &**name).collect::<Vec<_>>().join(",");
        let apis = match apis.len() {
            0..=MOST_LETTERS => apis,
            _ => format!("apis-{}", Digest::of(apis.as_bytes()).short()),
        };
        let version = self.version.as_deref().unwrap_or_default();
        match (version, &*apis) {
            ("", "") => "none".to_owned(),
            ("", apis) => apis.to_owned(),
            (version, "") => version.to_owned(),
            (version, apis) => format!("{version},{apis}"),
        }
    }

    /// A template that gets the answer wherever it asks whether an API version is there.
    pub(super) fn answered<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(apis) = &self.apis else { return Cow::Borrowed(text) };
        let mut answered = String::new();
        let mut kept = 0;
        for words in actions(text) {
            let mut before: Option<&Word<'_>> = None;
            for word in &words {
                // The fields of what is in parentheses cannot be taken away from it.
                let is_inner =
                    before.is_some_and(|before| before.kind == Kind::Close && before.end == word.start);
                before = Some(word);
                let names = word.names();
                if is_inner || !names.ends_with(&["APIVersions", "Has"]) || names.contains(&"Values") {
                    continue;
                }
                answered.push_str(&text[kept..word.start]);
                let entries: String = apis.iter().map(|name| format!(" \"{name}\" 1")).collect();
                answered.push_str(&format!("hasKey (dict{entries})"));
                kept = word.end;
            }
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        answered.push_str(&text[kept..]);
        Cow::Owned(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::KubernetesVersion;

    fn facts(version: &str, minor: u32, apis: &[&str]) -> Facts {
        let apis = Fact::Present(apis.iter().map(|name| (*name).to_owned()).collect());
        let version = KubernetesVersion { version: version.to_owned(), major: 1, minor };
        Facts { kubernetes: Fact::Present(version), apis, ..Facts::default() }
    }

    fn asks(version: Option<Part>, apis: &[&str], all_apis: bool) -> Asks {
        Asks { version, apis: apis.iter().map(|name| Arc::from(*name)).collect(), all_apis }
    }

    #[test]
    fn a_cluster_answers_what_is_asked_and_nothing_else() {
        let served = ["apps/v1/Deployment", "policy/v1/PodDisruptionBudget", "v1/Pod"];
        let facts = facts("v1.31.2-gke.1", 31, &served);
        // (what is asked, the label)
        let rows = [
            (asks(Some(Part::Minor), &[], false), "v1.31.0"),
            (asks(Some(Part::Whole), &[], false), "v1.31.2-gke.1"),
            (asks(None, &["policy/v1", "policy/v1beta1"], false), "policy/v1"),
            (
                asks(None, &["policy/v1/PodDisruptionBudget", "policy/v1/Pod"], false),
                "policy/v1/PodDisruptionBudget",
            ),
            (asks(None, &["v1", "policy", "v1/Po", "v1/"], false), "v1"),
            (asks(None, &["batch/v1"], false), "none"),
            (asks(Some(Part::Minor), &["apps/v1"], false), "v1.31.0,apps/v1"),
            (
                asks(None, &[], true),
                "apps/v1,apps/v1/Deployment,policy/v1,policy/v1/PodDisruptionBudget,v1,v1/Pod",
            ),
        ];
        for (asks, expected) in rows {
            assert_eq!(asks.answers(&facts).expect("all is known").label(), expected, "{asks:?}");
        }
    }

    #[test]
    fn a_long_answer_has_a_short_label() {
        let many: Vec<String> = (0..500).map(|n| format!("acme.io/v1/Kind{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let label = |served: &[&str]| {
            let answers = asks(Some(Part::Whole), &[], true).answers(&facts("v1.31.2", 31, served));
            answers.expect("all is known").label()
        };
        assert!(label(&many).starts_with("v1.31.2,apis-") && label(&many).len() < 60, "{}", label(&many));
        assert_ne!(label(&many), label(&many[1..]));
    }

    #[test]
    fn what_is_not_known_is_no_answer_and_what_is_no_kubernetes_is_assumed() {
        let everything = asks(Some(Part::Whole), &[], true);
        let version = asks(Some(Part::Minor), &[], false);
        let known = facts("v1.31.2", 31, &[]);
        let no_version = Facts { kubernetes: Fact::Unknown, ..known.clone() };
        let no_apis = Facts { apis: Fact::Unknown, ..known.clone() };
        assert_eq!(everything.answers(&no_version), Err(FactName::Kubernetes));
        assert_eq!(everything.answers(&no_apis), Err(FactName::Apis));
        assert!(version.answers(&no_apis).is_ok());
        let none = Facts { kubernetes: Fact::Absent, apis: Fact::Absent, ..Facts::default() };
        let answers = everything.answers(&none).expect("it is known");
        assert!(answers.is_assumed() && answers.label() == "assumed");
    }

    #[test]
    fn a_template_gets_the_answer_where_it_asks() {
        let answers = |apis: Option<&[&str]>| Capabilities {
            version: None,
            apis: apis.map(|apis| apis.iter().map(|name| Arc::from(*name)).collect()),
        };
        let has = "hasKey (dict \"policy/v1\" 1)";
        // (template, with the answer)
        let rows = [
            (
                "{{ if .Capabilities.APIVersions.Has \"policy/v1\" }}",
                format!("{{{{ if {has} \"policy/v1\" }}}}"),
            ),
            (
                "{{ and ($.Capabilities.APIVersions.Has $x) ($c.APIVersions.Has `a`) }}",
                format!("{{{{ and ({has} $x) ({has} `a`) }}}}"),
            ),
            (
                "{{ (f .).Capabilities.APIVersions.Has \"a\" }}",
                "{{ (f .).Capabilities.APIVersions.Has \"a\" }}".to_owned(),
            ),
            (
                "{{ .Values.APIVersions.Has }} .APIVersions.Has",
                "{{ .Values.APIVersions.Has }} .APIVersions.Has".to_owned(),
            ),
        ];
        for (template, expected) in rows {
            assert_eq!(answers(Some(&["policy/v1"])).answered(template), expected);
            assert_eq!(answers(None).answered(template), template);
        }
        assert_eq!(answers(Some(&[])).answered("{{ .APIVersions.Has 1 }}"), "{{ hasKey (dict) 1 }}");
    }

    #[test]
    fn nothing_but_names_reaches_a_template() {
        let odd = facts("v1.31.2", 31, &["a/v1/X\" 1) (fail \"y", "b/v1/Y"]);
        let answers = asks(None, &[], true).answers(&odd).expect("all is known");
        assert_eq!(answers.label(), "b/v1,b/v1/Y");
    }
}
