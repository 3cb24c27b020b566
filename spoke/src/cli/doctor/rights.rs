//! Rights: what the agent needs on its cluster for itself and for the apps that it has.
//!
//! In: where the agent is, what the apps have here. Out: a finding for each right that is missing.
//! Never: asks for more than the agent uses: an installation is as narrow as somebody wants it.

use std::collections::BTreeSet;

use kube::Client;
use nave_spoke::target::kube::KubeTarget;
use nave_spoke::target::kube::access::{Right, may};
use nave_spoke::target::{Inventory, Target as _};

use super::super::place::Place;
use super::Findings;

/// Asks the API server about each right.
pub async fn look(place: &Place, target: &KubeTarget, found: &mut Findings) {
    let client = target.client();
    let mut missing = BTreeSet::new();
    let inventories = target.inventories().await.unwrap_or_default();
    let plural = |group: &str, kind: &str| target.resource(group, kind);
    let apps = app_rights(&place.namespaces, inventories.values(), &plural);
    let wanted = own_rights(&place.namespace).into_iter().chain(apps);
    let mut count = 0;
    for right in wanted {
        count += 1;
        match allowed(&client, &right).await {
            Ok(true) => {}
            Ok(false) => drop(missing.insert(right)),
            Err(error) => {
                return found.broken(
                    "rights",
                    error,
                    "the API server does not say what is allowed; try again",
                );
            }
        }
    }
    if missing.is_empty() {
        found.well("rights", format!("all {count} that it needs for itself and for the apps that it has"));
    }
    for right in missing {
        found.broken(
            "rights",
            format!("it may not {right}"),
            "add the rule to its Role or ClusterRole (deploy/README.md lists them)",
        );
    }
}

async fn allowed(client: &Client, right: &Right) -> Result<bool, String> {
    may(client, right).await.map_err(|error| error.to_string())
}

fn right(verb: &'static str, group: &str, resource: &str, namespace: &str) -> Right {
    let [group, resource, namespace] = [group, resource, namespace].map(str::to_owned);
    Right { verb, group, resource, namespace, name: String::new() }
}

/// What the agent needs for its own things.
fn own_rights(own: &str) -> Vec<Right> {
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    let mut rights: Vec<Right> = verbs.iter().map(|verb| right(verb, "", "secrets", own)).collect();
    rights.extend(
        ["get", "list", "watch", "create", "patch", "delete"].map(|verb| right(verb, "", "configmaps", own)),
    );
    rights.push(right("get", "", "pods", own));
    // For the annotation that pauses.
    rights.push(Right { name: own.to_owned(), ..right("get", "", "namespaces", own) });
    rights
}

/// What it needs for what the apps have here: for each kind, where objects of it are. What an app's account writes, the
/// agent itself only looks at.
fn app_rights<'a>(
    namespaces: &[String],
    inventories: impl Iterator<Item = &'a Inventory>,
    plural: &dyn Fn(&str, &str) -> Option<String>,
) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for inventory in inventories {
        let account = inventory.service_account.as_deref().and_then(|account| account.split_once('/'));
        let verbs: &[&'static str] = match account {
            Some((namespace, name)) => {
                let account = right("impersonate", "", "serviceaccounts", namespace);
                rights.insert(Right { name: name.to_owned(), ..account });
                &["get", "list"]
            }
            None => &["get", "list", "create", "patch", "delete"],
        };
        for key in &inventory.objects {
            let Some(resource) = plural(&key.group, &key.kind) else { continue };
            for verb in verbs {
                rights.insert(right(verb, &key.group, &resource, &key.namespace));
            }
            let watched = if namespaces.is_empty() { "" } else { &*key.namespace };
            rights.insert(right("watch", &key.group, &resource, watched));
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use nave_placement::ObjectKey;

    use super::*;

    #[test]
    fn an_apps_account_writes_and_chosen_namespaces_are_watched_alone() {
        let inventory = |account: Option<&str>| Inventory {
            objects: [ObjectKey {
                group: "apps".into(),
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: "web".into(),
            }]
            .into(),
            service_account: account.map(str::to_owned),
            ..Inventory::default()
        };
        let rights = |account, namespaces: &[&str]| -> BTreeSet<String> {
            let namespaces: Vec<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
            let plural = |_: &str, kind: &str| Some(format!("{}s", kind.to_ascii_lowercase()));
            let all = app_rights(&namespaces, [inventory(account)].iter(), &plural);
            all.iter().map(Right::to_string).collect()
        };
        let in_shop = |verbs: &[&str]| -> BTreeSet<String> {
            verbs.iter().map(|verb| format!("{verb} deployments.apps in namespace shop")).collect()
        };
        let plus = |mut all: BTreeSet<String>, more: &str| {
            all.insert(more.to_owned());
            all
        };
        let verbs = ["get", "list", "create", "patch", "delete"];
        assert_eq!(rights(None, &[]), plus(in_shop(&verbs), "watch deployments.apps"));
        assert_eq!(
            rights(None, &["shop"]),
            plus(in_shop(&verbs), "watch deployments.apps in namespace shop")
        );
        assert_eq!(
            rights(Some("shop/deployer"), &["shop"]),
            plus(
                in_shop(&["get", "list", "watch"]),
                "impersonate serviceaccounts/deployer in namespace shop"
            )
        );
    }
}
