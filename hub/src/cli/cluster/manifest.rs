//! `hub cluster join -o manifest`: what `kubectl apply` installs the spoke by, with the token inside.
//!
//! In: a token, where and with which rights the spoke runs. Out: the manifests of `deploy/spoke`, filled in.
//! Never: says anything that the chart does not: a test compares the two.

use std::collections::BTreeSet;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// The manifests as the chart gives them, by rights.
const CLUSTER_ADMIN: &str = include_str!("../../../../deploy/spoke/cluster-admin.yaml");
const CHOSEN: &str = include_str!("../../../../deploy/spoke/chosen.yaml");
const IMPERSONATION: &str = include_str!("../../../../deploy/spoke/impersonation.yaml");
/// What stands in them for what is filled in.
const NAMESPACE: &str = "nave-system";
const TOKEN: &str = "JOIN-TOKEN";
const SAMPLE_NAMESPACE: &str = "team-a";
const SAMPLE_ACCOUNT: &str = "nave-team-a";

/// What the spoke may do on its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Rights {
    /// Everything
    #[default]
    ClusterAdmin,
    /// The kinds of --kinds in the namespaces of --namespaces
    Chosen,
    /// Reads everything, writes as the service accounts of --impersonate
    Impersonation,
}

/// Its arguments.
#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// With -o manifest: the spoke's image
    #[arg(long, value_name = "IMAGE", default_value = concat!("nave-spoke:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// With -o manifest: the spoke's own namespace
    #[arg(long, value_name = "NAME", default_value = NAMESPACE)]
    namespace: String,
    /// With -o manifest: what the spoke may do
    #[arg(long, value_enum, default_value_t)]
    rights: Rights,
    /// With --rights chosen: where
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// With --rights chosen: which, as deployments.apps,configmaps [default: what most apps have]
    #[arg(long, value_name = "RESOURCES", value_delimiter = ',')]
    kinds: Vec<String>,
    /// With --rights impersonation: service accounts, as NAMESPACE/NAME
    #[arg(long, value_name = "ACCOUNTS", value_delimiter = ',')]
    impersonate: Vec<String>,
}

/// The manifests with this token.
///
/// # Errors
/// When the rights are not said completely.
pub fn manifest(arguments: &Arguments, token: &str) -> anyhow::Result<String> {
    let text = match arguments.rights {
        Rights::ClusterAdmin => CLUSTER_ADMIN,
        Rights::Chosen => CHOSEN,
        Rights::Impersonation => IMPERSONATION,
    };
    arguments.check()?;
    let mut all = Vec::new();
    for document in text.split("\n---\n") {
        let document: Value = serde_saphyr::from_str(document).context("our own manifests can be read")?;
        for document in arguments.repeated(document)? {
            all.push(arguments.filled(document, token));
        }
    }
    let yaml: Result<Vec<String>, _> = all.iter().map(serde_saphyr::to_string).collect();
    Ok(yaml.context("a manifest always serializes")?.join("---\n"))
}

/// Fails when something is asked for that cannot be done; before a token is made.
///
/// # Errors
/// When the rights are not said completely.
pub fn check(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.check()
}

impl Arguments {
    fn check(&self) -> anyhow::Result<()> {
        let chosen = self.rights == Rights::Chosen;
        anyhow::ensure!(
            chosen != self.namespaces.is_empty(),
            "--rights chosen and --namespaces belong together"
        );
        anyhow::ensure!(chosen || self.kinds.is_empty(), "--kinds belongs to --rights chosen");
        let impersonation = self.rights == Rights::Impersonation;
        anyhow::ensure!(
            impersonation != self.impersonate.is_empty(),
            "--rights impersonation and --impersonate belong together"
        );
        let own = self.namespaces.contains(&self.namespace);
        anyhow::ensure!(!own, "namespace {} is the spoke's own, which no app may touch", self.namespace);
        for account in &self.impersonate {
            anyhow::ensure!(account.split('/').count() == 2, "{account}: write NAMESPACE/NAME");
        }
        Ok(())
    }

    /// What stands in the sample namespace, once for each that is meant.
    fn repeated(&self, document: Value) -> anyhow::Result<Vec<Value>> {
        if document.pointer("/metadata/namespace").and_then(Value::as_str) != Some(SAMPLE_NAMESPACE) {
            return Ok(vec![document]);
        }
        let mut all = Vec::new();
        for namespace in self.namespaces.iter().collect::<BTreeSet<_>>() {
            let mut one = document.clone();
            one["metadata"]["namespace"] = namespace.as_str().into();
            if let Some(rules) = one.get_mut("rules").filter(|_| !self.kinds.is_empty()) {
                *rules = self.rules(rules)?;
            }
            all.push(one);
        }
        for account in &self.impersonate {
            let (namespace, name) = account.split_once('/').context("NAMESPACE/NAME")?;
            let mut one = document.clone();
            replace(&mut one, &|text| text.replace(SAMPLE_ACCOUNT, name));
            one["metadata"]["namespace"] = namespace.into();
            all.push(one);
        }
        Ok(all)
    }

    /// Rules for the kinds that were chosen, and the last of the sample's, by which the spoke explains what it sees.
    fn rules(&self, sample: &Value) -> anyhow::Result<Value> {
        let sample = sample.as_array().context("our own Role has rules")?;
        let verbs = &sample.first().context("our own Role has rules")?["verbs"];
        let mut rules = Vec::new();
        for kind in &self.kinds {
            let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
            rules.push(json!({"apiGroups": [group], "resources": [resource], "verbs": verbs}));
        }
        rules.extend(sample.last().cloned());
        Ok(Value::Array(rules))
    }

    fn filled(&self, mut document: Value, token: &str) -> Value {
        let namespaces = format!("--namespaces={}", self.namespaces.join(","));
        let is_deployment = document["kind"] == "Deployment";
        replace(&mut document, &|text| match text {
            TOKEN => token.to_owned(),
            NAMESPACE => self.namespace.clone(),
            _ if text.starts_with("--namespaces=") => namespaces.clone(),
            _ if text.starts_with("--namespace=") => format!("--namespace={}", self.namespace),
            _ => text.to_owned(),
        });
        if is_deployment {
            document["spec"]["template"]["spec"]["containers"][0]["image"] = self.image.as_str().into();
        }
        document
    }
}

/// Changes every text of a value.
fn replace(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, change)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(arguments: &Arguments) -> Vec<Value> {
        let text = manifest(arguments, "nave1.token").expect("complete");
        text.split("---\n").map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
    }

    fn arguments() -> Arguments {
        Arguments {
            image: "registry.example.com/spoke:1".into(),
            namespace: "own".into(),
            ..Arguments::default()
        }
    }

    fn names(documents: &[Value]) -> Vec<String> {
        let text = |document: &Value, at: &str| {
            document.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let name = |document| {
            format!(
                "{} {}/{}",
                text(document, "/kind"),
                text(document, "/metadata/namespace"),
                text(document, "/metadata/name")
            )
        };
        documents.iter().map(name).collect()
    }

    #[test]
    fn token_image_and_namespace_stand_where_they_belong() {
        let documents = documents(&arguments());
        let text = serde_json::to_string(&documents).expect("JSON");
        assert!(!text.contains(NAMESPACE) && !text.contains(TOKEN), "{text}");
        let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).expect("there");
        assert_eq!(of("Secret")["stringData"]["token"], "nave1.token");
        assert_eq!(of("Namespace")["metadata"]["name"], "own");
        let pod = &of("Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "registry.example.com/spoke:1");
        assert_eq!(pod["containers"][0]["args"][2], "--namespace=own");
        assert_eq!(of("ClusterRoleBinding")["subjects"][0]["namespace"], "own");
    }

    #[test]
    fn chosen_namespaces_have_a_role_each_with_the_chosen_kinds() {
        let chosen = Arguments {
            rights: Rights::Chosen,
            namespaces: vec!["a".into(), "b".into()],
            kinds: vec!["configmaps".into(), "deployments.apps".into()],
            ..arguments()
        };
        let documents = documents(&chosen);
        let names = names(&documents);
        for wanted in
            ["Role a/nave-spoke", "Role b/nave-spoke", "RoleBinding b/nave-spoke", "Role own/nave-spoke"]
        {
            assert!(names.contains(&wanted.to_owned()), "{wanted}: {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("Cluster")), "{names:?}");
        let role = &documents[names.iter().position(|name| name == "Role a/nave-spoke").expect("there")];
        assert_eq!(role["rules"][1]["apiGroups"], json!(["apps"]));
        assert_eq!(role["rules"][1]["resources"], json!(["deployments"]));
        assert_eq!(role["rules"].as_array().map(Vec::len), Some(3));
        assert!(serde_json::to_string(&documents).expect("JSON").contains("--namespaces=a,b"));
    }

    #[test]
    fn accounts_may_be_impersonated_one_by_one() {
        let as_accounts = Arguments {
            rights: Rights::Impersonation,
            impersonate: vec!["shop/nave-shop".into(), "pay/nave-pay".into()],
            ..arguments()
        };
        let documents = documents(&as_accounts);
        let names = names(&documents);
        assert!(names.contains(&"RoleBinding pay/nave-spoke-as-nave-pay".to_owned()), "{names:?}");
        let role = &documents
            [names.iter().position(|name| name == "Role shop/nave-spoke-as-nave-shop").expect("there")];
        assert_eq!(role["rules"][0]["resourceNames"], json!(["nave-shop"]));
    }

    #[test]
    fn what_is_half_said_is_refused() {
        let rows = [
            Arguments { rights: Rights::Chosen, ..arguments() },
            Arguments { namespaces: vec!["a".into()], ..arguments() },
            Arguments { rights: Rights::Chosen, namespaces: vec!["own".into()], ..arguments() },
            Arguments { rights: Rights::Impersonation, impersonate: vec!["shop".into()], ..arguments() },
        ];
        for row in rows {
            assert!(check(&row).is_err(), "{row:?}");
        }
    }
}
