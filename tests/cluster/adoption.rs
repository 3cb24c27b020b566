//! Adoption: first contact with objects that kubectl, Helm or a person made.

use std::time::Duration;

use anyhow::ensure;
use harness::faults::{ApiProxy, Fault, Which};
use harness::fleet::documents::{app, placement};
use harness::kubernetes::{Cluster, Options};
use harness::wait::until;
use nave_placement::report::{EntryReason, EntryState};
use nave_spoke::target::Target;
use serde_json::Value;

use crate::rounds::{Wish, config_map, entry, target};
use crate::stage::{LIMIT, Stage, Witness};

fn object(name: &str, annotations: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: web, annotations: {{{annotations}}}}}\ndata: {{{data}}}\n"
    )
}

#[tokio::test]
async fn what_kubectl_and_helm_made_is_taken_over_in_place_and_dropped_fields_are_gone() {
    let stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let fra = stage.cluster("fra-1");
    fra.kubectl(&["create", "namespace", "web"]).await.unwrap();
    let release = "meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: web";
    let (csa, helm) = (
        object("csa", "", "value: ours, more: \"1\""),
        object("helm", release, "value: theirs, more: \"1\""),
    );
    let write = |name: &str, text: &str| {
        let path = fra.directory().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    fra.kubectl(&["apply", "--server-side=false", "-f", &write("csa.yaml", &csa)]).await.unwrap();
    let by_helm = ["apply", "--server-side", "--field-manager=helm", "-f", &write("helm.yaml", &helm)];
    fra.kubectl(&by_helm).await.unwrap();
    fra.kubectl(&["create", "configmap", "-n", "web", "never", "--from-literal=value=ours"]).await.unwrap();
    fra.kubectl(&["create", "service", "clusterip", "-n", "web", "svc", "--tcp=80:80"]).await.unwrap();
    let uids = [fra.uid("web", "configmap/csa").await, fra.uid("web", "configmap/helm").await];
    let untouched = fra.field("web", "configmap/never", "{.metadata.resourceVersion}").await;

    let catalog = &stage.fleet.catalog;
    catalog.write("web.yaml", &app("web")).unwrap();
    catalog.write("placement.yaml", &placement("web", &["web"], "{selector: {}}")).unwrap();
    catalog.write("manifests/web/csa.yaml", &csa).unwrap();
    catalog.write("manifests/web/helm.yaml", &object("helm", "", "value: ours, more: \"1\"")).unwrap();
    catalog
        .write("manifests/web/never.yaml", &object("never", "nave.dev/adopt: Never", "value: ours"))
        .unwrap();
    catalog.commit("Add web").unwrap();
    let entry = stage
        .shown("two are refused by name, one is adopted", "web", |entry| {
            entry["unhealthy"].as_array().is_some_and(|objects| objects.len() == 2)
                && entry["notes"][0]["reason"] == "Adopted"
        })
        .await;
    assert_eq!(entry["reason"], "AdoptionRefused", "{entry:#}");
    let said = entry["unhealthy"].to_string();
    for word in ["Helm release web/shop", "/data/value", "theirs", "kubectl-create", "adopt: Never"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    assert!(
        entry["notes"][0]["message"].as_str().unwrap().contains("kubectl-client-side-apply"),
        "{entry:#}"
    );
    assert_eq!(fra.field("web", "configmap/helm", "{.data.value}").await, "theirs");
    assert_eq!(fra.field("web", "configmap/never", "{.metadata.resourceVersion}").await, untouched);
    let text = stage.fleet.hub(&["app", "show", "web"]).await.unwrap().stdout;
    assert!(text.contains("ConfigMap web/helm") && text.contains("Helm release web/shop"), "{text}");

    // `Always` takes the differing one, and what kubectl has in a list does not stay beside what the manifest has there; then a
    // field of each is dropped, and is really gone.
    catalog.write("manifests/web/never.yaml", &object("other", "", "value: ours")).unwrap();
    catalog
        .write(
            "manifests/web/helm.yaml",
            &object("helm", "nave.dev/adopt: Always", "value: ours, more: \"1\""),
        )
        .unwrap();
    catalog
        .write(
            "manifests/web/svc.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: svc, namespace: web, annotations: {nave.dev/adopt: Always}}\nspec: {selector: {app: svc}, ports: [{name: http, port: 8080}]}\n",
        )
        .unwrap();
    stage.commit("Take the release over").await;
    assert_eq!(fra.field("web", "configmap/helm", "{.data.value}").await, "ours");
    assert_eq!(fra.field("web", "service/svc", "{.spec.ports[*].port}").await, "8080");
    catalog.write("manifests/web/csa.yaml", &object("csa", "", "value: ours")).unwrap();
    catalog.write("manifests/web/helm.yaml", &object("helm", "", "value: ours")).unwrap();
    stage.commit("Drop a field").await;
    for name in ["configmap/csa", "configmap/helm"] {
        assert_eq!(fra.field("web", name, "{.data.more}").await, "", "{name}");
        assert_eq!(fra.field("web", name, "{.data.value}").await, "ours", "{name}");
    }
    assert_eq!(
        [fra.uid("web", "configmap/csa").await, fra.uid("web", "configmap/helm").await],
        uids,
        "in place"
    );

    // What was adopted is ours to delete; what was not is not.
    catalog.remove("manifests/web/csa.yaml").unwrap();
    stage.commit("Drop an object").await;
    until("it is pruned", LIMIT, async || {
        ensure!(!fra.has("web", "configmap/csa").await, "still there");
        Ok(())
    })
    .await;
    assert!(fra.has("web", "configmap/never").await);
}

#[tokio::test]
async fn lost_inventories_are_rebuilt_and_neither_too_much_nor_too_little_is_pruned() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/a.yaml", object("a", "", "value: ours")),
        ("manifests/web/b.yaml", object("b", "", "value: ours")),
        ("manifests/web/kept.yaml", object("kept", "nave.dev/prune: \"false\"", "value: ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let mut stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    stage.fleet.kill_spoke("fra-1");
    let fra = stage.cluster("fra-1");
    let copy = fra.kubectl(&["get", "configmap", "-n", "web", "b", "-o", "yaml"]).await.unwrap();
    let copy = copy.replace("name: b", "name: copy");
    let lines = copy.lines().filter(|l| !l.contains("uid:") && !l.contains("resourceVersion:"));
    fra.apply(&lines.collect::<Vec<_>>().join("\n")).await.unwrap();
    fra.kubectl(&["delete", "configmap", "-n", "nave-system", "-l", "nave.dev/inventory=true"])
        .await
        .unwrap();
    stage.fleet.catalog.remove("manifests/web/b.yaml").unwrap();
    stage.fleet.catalog.remove("manifests/web/kept.yaml").unwrap();
    stage.fleet.catalog.commit("Drop two").unwrap();
    stage.restart_spoke("fra-1");
    stage.converge().await;
    let fra = stage.cluster("fra-1");
    assert!(!fra.has("web", "configmap/b").await, "pruned from what its marks say");
    for name in ["a", "kept", "copy"] {
        assert!(fra.has("web", &format!("configmap/{name}")).await, "{name} stays");
    }
}

/// So long our write is on its way, while somebody else makes the object.
const MEANWHILE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn an_object_that_somebody_makes_between_look_and_write_is_theirs_and_as_they_made_it() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.kubectl(&["create", "namespace", "web"]).await.unwrap();
    let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
    let target = target(proxy.kubeconfig()).await;
    // (the object, what is in theirs beside `more`): our write meets a field of theirs, or none.
    let rows = [("met", "value=theirs"), ("beside", "other=theirs")];
    for (name, theirs) in rows {
        let wish = Wish::none()
            .app("web", &[config_map("web", name, "ours")])
            .app("rest", &[config_map("web", &format!("rest-{name}"), "1")]);
        let writes = || Which::all().verbs(&["patch"]).resource("configmaps").namespace("web").named(name);
        proxy.forget();
        proxy.inject_times(1, writes(), Fault::Delay(MEANWHILE));
        let object = format!("configmap/{name}");
        let create = [
            "create",
            "configmap",
            "-n",
            "web",
            name,
            "--from-literal=more=theirs",
            "--from-literal",
            theirs,
        ];
        let meanwhile = async {
            until("our write is on its way", LIMIT, async || proxy.count(&writes()) == 1).await;
            cluster.kubectl(&create).await.unwrap();
            let codes: Vec<_> =
                proxy.requests().into_iter().filter(|r| writes().fits(&r.asked)).map(|r| r.code).collect();
            assert_eq!(codes, [None], "our write was too early: the test says nothing");
            (cluster.uid("web", &object).await, cluster.field("web", &object, "{.data}").await)
        };
        let (outcome, (uid, data)) = tokio::join!(wish.round(&target), meanwhile);
        let web = entry(&outcome, "web");
        assert_ne!(web.state, EntryState::Healthy, "{web:#?}");
        assert_eq!(entry(&outcome, "rest").state, EntryState::Healthy);

        // From now on it is first contact.
        for target in [&target as &dyn Target, &crate::rounds::target(proxy.kubeconfig()).await] {
            let outcome = wish.round(target).await;
            let web = entry(&outcome, "web");
            assert_eq!(web.reason, EntryReason::AdoptionRefused, "{web:#?}");
            let live =
                cluster.kubectl(&["get", "-n", "web", &object, "-o", "json", "--show-managed-fields"]).await;
            let live: Value = serde_json::from_str(&live.unwrap()).unwrap();
            let (metadata, now) = (&live["metadata"], cluster.field("web", &object, "{.data}").await);
            assert_eq!((metadata["uid"].as_str(), &now), (Some(&*uid), &data), "{name}");
            assert!(metadata["labels"].is_null() && metadata["annotations"].is_null(), "{live:#}");
            assert!(!metadata["managedFields"].to_string().contains("\"nave\""), "{live:#}");
        }
    }
}
