//! Searches: what is found of a lost inventory when the API server does not show everything.

use std::collections::BTreeSet;

use harness::fake_api::FakeApi;
use harness::faults::{ApiProxy, Fault, Which};
use harness::kubernetes::{Cluster, Options};
use nave_placement::AppKey;
use nave_spoke::target::kube::{self, KubeTarget};
use nave_spoke::target::{Missing, Target as _};
use serde_json::json;

use crate::rounds::{Wish, config_map, target, target_with};

/// The names of what is found of the app `web`, and why there may be more.
async fn found(target: &KubeTarget) -> (Vec<String>, Option<String>) {
    let web: AppKey = "web".parse().unwrap();
    let missing = Missing { assigned: BTreeSet::from([web.clone()]), ..Missing::default() };
    let mut rebuilt = target.rebuild(&missing).await;
    let objects = rebuilt.inventories.remove(&web).unwrap_or_default().objects;
    (objects.into_iter().map(|key| key.name).collect(), rebuilt.unknown.map(|error| error.to_string()))
}

#[tokio::test]
async fn what_is_refused_or_fails_while_an_inventory_is_searched_for_is_not_taken_for_absent() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    for name in ["web", "other"] {
        cluster.kubectl(&["create", "namespace", name]).await.unwrap();
    }
    let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
    let objects = [config_map("web", "a", "1"), config_map("other", "b", "1")];
    Wish::none().app("web", &objects).round(&target(proxy.kubeconfig()).await).await;

    let lists = || Which::all().verbs(&["list"]);
    let (both, a): (&[&str], &[&str]) = (&["b", "a"], &["a"]);
    // (what, the namespaces that are chosen, the faults, what is found, whether that is all)
    let rows = [
        ("nothing is wrong", "", vec![], both, true),
        ("a kind is refused everywhere", "", vec![(lists().resource("secrets"), 403)], both, true),
        ("everything is refused", "", vec![(lists(), 403)], &[], false),
        ("a list is answered by 429", "", vec![(lists().resource("secrets"), 429)], both, false),
        ("a list fails", "", vec![(lists().resource("configmaps"), 500)], &[], false),
        ("only chosen namespaces may be listed", "web,other", vec![(lists().namespace(""), 403)], both, true),
        ("one of them is refused", "web,other", vec![(lists().namespace("other"), 403)], a, false),
    ];
    for (what, namespaces, faults, expected, all) in rows {
        let namespaces = namespaces.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let target =
            target_with(proxy.kubeconfig(), kube::Options { namespaces, ..kube::Options::default() }).await;
        for (which, code) in faults {
            proxy.inject(which, Fault::answer(code));
        }
        let (names, unknown) = found(&target).await;
        proxy.clear();
        assert_eq!(
            names.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            expected.iter().copied().collect(),
            "{what}"
        );
        assert_eq!(unknown.is_none(), all, "{what}: {unknown:?}");
    }
}

#[tokio::test]
async fn a_group_that_does_not_answer_is_named_by_a_search_until_it_does() {
    let fake = FakeApi::start().unwrap();
    let widget = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "small", "namespace": "default"}, "spec": {"size": 1},
    });
    let wish = Wish::none().app("web", &[widget, config_map("default", "a", "1")]);
    wish.round(&target(fake.kubeconfig()).await).await;
    fake.set_stale("example.com", true);
    let target = target(fake.kubeconfig()).await;
    let (names, unknown) = found(&target).await;
    assert_eq!(names, ["a"]);
    assert!(unknown.as_ref().is_some_and(|why| why.contains("example.com")), "{unknown:?}");
    fake.set_stale("example.com", false);
    assert_eq!(found(&target).await, (vec!["a".to_owned(), "small".to_owned()], None));
}
