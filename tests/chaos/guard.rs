//! What may leave and what waits: removals beyond limits, trailers, rewritten branches; and that one bad thing is one.

use harness::fleet::{Target, documents};
use harness::wait;
use serde_json::Value;

use crate::given::{
    LIMIT, WATCHED, catalog, done, files, fleet, remove_app, until_held, until_status, until_values, values,
    write_app, write_value,
};

const CLUSTERS: [&str; 3] = ["fra-1", "fra-2", "fra-3"];

#[tokio::test]
async fn a_removal_beyond_the_limits_waits_for_an_approval_and_then_goes() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    let before = files(&fleet, &CLUSTERS);
    remove_app(&fleet.catalog, "db");
    fleet.catalog.commit("Remove an app from three clusters").unwrap();
    let ids = until_held(&fleet, 1).await;
    assert_eq!(fleet.hub(&["wait", "--timeout", "60s"]).await.unwrap().code, 1);
    wait::throughout("nothing leaves", WATCHED, async || files(&fleet, &CLUSTERS) == before).await;
    // The hold is the store's, not the process's.
    fleet.kill_hub();
    fleet.start_hub().await.unwrap();
    assert_eq!(until_held(&fleet, 1).await, ids);
    fleet.connected(3).await;
    // Everything else goes on meanwhile.
    write_value(&fleet.catalog, "web", "2");
    fleet.catalog.commit("Change another app").unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "1"), ("web", "2")]).await;
    }
    assert_eq!(until_held(&fleet, 1).await, ids);

    let unknown = fleet.hub(&["hold", "approve", "h-nothing"]).await.unwrap();
    assert_eq!(unknown.code, 1, "{unknown:?}");
    done(&fleet, &["hold", "approve", &ids[0]]).await.unwrap();
    fleet.converge(&[]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("web", "2")]).await;
    }
    let audit = done(&fleet, &["audit", "-o", "json"]).await.unwrap();
    assert!(audit.contains(&format!("Approved {}", ids[0])), "{audit}");
    done(&fleet, &["audit", "verify"]).await.unwrap();
}

#[tokio::test]
async fn a_trailer_lets_so_many_go_once_and_not_a_second_time() {
    let fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    remove_app(&fleet.catalog, "db");
    let commit = fleet.catalog.commit("Remove an app\n\nNave-Allow-Removal: app/db=3").unwrap();
    fleet.converge(&["--commit", &commit]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("web", "1")]).await;
    }
    let history = done(&fleet, &["history", "db"]).await.unwrap();
    let said = format!("commit {}: Remove an app, allowed by its trailer Nave-Allow-Removal", &commit[..8]);
    assert!(history.contains(&said), "{history}");

    write_app(&fleet.catalog, "db", "1");
    let placement = documents::placement("db-everywhere", &["db"], "{selector: {}}");
    fleet.catalog.write("placements/db.yaml", &placement).unwrap();
    let commit = fleet.catalog.commit("Bring it back").unwrap();
    fleet.converge(&["--commit", &commit]).await.unwrap();
    remove_app(&fleet.catalog, "db");
    fleet.catalog.commit("Remove it again").unwrap();
    until_held(&fleet, 1).await;
    // One that allows too few, or another app, allows nothing.
    for trailer in ["app/db=2", "app/web=9", "app/db/objects=9", "db=3"] {
        let commit = fleet.catalog.commit(&format!("Try\n\nNave-Allow-Removal: {trailer}")).unwrap();
        until_status(&fleet, "the commit is taken", |status| status["catalog"]["commit"] == commit.as_str())
            .await;
        until_held(&fleet, 1).await;
    }
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "1"), ("web", "1")]).await;
    }
}

#[tokio::test]
async fn a_rewritten_branch_is_held_until_it_is_approved_by_name() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    let first = fleet.catalog.head().unwrap();
    write_value(&fleet.catalog, "web", "2");
    let second = fleet.catalog.commit("Second").unwrap();
    fleet.converge(&["--commit", &second]).await.unwrap();

    fleet.catalog.rewind(&first).unwrap();
    write_value(&fleet.catalog, "web", "3");
    let rewritten = fleet.catalog.commit("Rewritten").unwrap();
    let ids = until_held(&fleet, 1).await;
    fleet.kill_hub();
    fleet.start_hub().await.unwrap();
    assert_eq!(until_held(&fleet, 1).await, ids);
    fleet.connected(3).await;
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "1"), ("web", "2")]).await;
    }
    // Rewritten once more, it is another commit and so another hold.
    fleet.catalog.rewind(&first).unwrap();
    write_value(&fleet.catalog, "web", "4");
    fleet.catalog.commit("Rewritten again").unwrap();
    until_status(&fleet, "another hold", |status| {
        let now = crate::given::holds(status);
        now.len() == 1 && now != ids
    })
    .await;
    assert_eq!(fleet.hub(&["hold", "approve", &ids[0]]).await.unwrap().code, 1);
    fleet.catalog.rewind(&rewritten).unwrap();
    assert_eq!(
        until_status(&fleet, "the first hold again", |s| crate::given::holds(s) == ids).await["doubt"],
        Value::Null
    );
    done(&fleet, &["hold", "approve", &ids[0]]).await.unwrap();
    fleet.converge(&["--commit", &rewritten]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "1"), ("web", "3")]).await;
    }
}

#[tokio::test]
async fn an_app_that_fails_and_a_cluster_that_is_down_hold_up_nobody_else() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    fleet.kill_spoke("fra-3");
    fleet.connected(2).await;
    // `web` cannot be applied on fra-2: its file there belongs to somebody else, as a directory of that name.
    let name =
        fleet.files("fra-2").unwrap().into_keys().find(|name| name.contains("configmap--web")).unwrap();
    let path = fleet.manifests("fra-2").join(&name);
    fleet.kill_spoke("fra-2");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    fleet.start_spoke("fra-2", None, &Target::Directory).unwrap();
    fleet.connected(2).await;

    for app in ["web", "db"] {
        write_value(&fleet.catalog, app, "2");
    }
    let commit = fleet.catalog.commit("Change both").unwrap();
    until_values(&fleet, "fra-1", &[("db", "2"), ("web", "2")]).await;
    wait::until("the other app arrives on fra-2", LIMIT, async || {
        values(&fleet, "fra-2").get("db") == Some(&Some("2".to_owned()))
    })
    .await;
    until_status(&fleet, "the failure is named, and the cluster that is away", |status| {
        let groups = status["groups"].as_array().unwrap();
        let of = |phases: &[&str], cluster: &str| {
            groups.iter().any(|group| {
                phases.iter().any(|phase| group["phase"] == *phase)
                    && group["clusters"].as_array().unwrap().iter().any(|c| c == cluster)
            })
        };
        of(&["Failed", "Waiting"], "fra-2") && of(&["Offline"], "fra-3")
    })
    .await;

    std::fs::remove_dir(&path).unwrap();
    fleet.start_spoke("fra-3", None, &Target::Directory).unwrap();
    fleet.connected(3).await;
    fleet.converge(&["--commit", &commit]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "2"), ("web", "2")]).await;
    }
}
