//! The spoke works alone: with no hub anywhere, from its state directory, over its own restarts.

use harness::fleet::Target;
use harness::wait;

use crate::given::{LIMIT, catalog, files, fleet};

#[tokio::test]
async fn a_spoke_without_its_hub_keeps_its_cluster_as_it_was_told_over_restarts() {
    let mut fleet = fleet(catalog(&["web", "db"]), &["fra-1"]).await;
    fleet.kill_hub();
    let wanted = files(&fleet, &["fra-1"]);
    let manifests = fleet.manifests("fra-1");
    let names: Vec<_> = wanted["fra-1"].keys().cloned().collect();

    let put_right = async |fleet: &harness::fleet::Fleet, what: &str| {
        wait::until(what, LIMIT, async || {
            let seen = files(fleet, &["fra-1"]);
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}\n{}", fleet.tails())) }
        })
        .await;
    };
    std::fs::write(manifests.join(&names[0]), "by: hand\n").unwrap();
    put_right(&fleet, "a change by hand is put back").await;
    for round in 0..3 {
        fleet.kill_spoke("fra-1");
        // While it was down everything was changed or removed.
        for (i, name) in names.iter().enumerate() {
            match (i + round) % 2 {
                0 => std::fs::remove_file(manifests.join(name)).unwrap(),
                _ => std::fs::write(manifests.join(name), "by: hand\n").unwrap(),
            }
        }
        std::fs::write(manifests.join("foreign.yaml"), "not: ours\n").unwrap();
        fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
        wait::until("what it was told is there again", LIMIT, async || {
            let mut seen = files(&fleet, &["fra-1"]);
            seen.get_mut("fra-1").unwrap().remove("foreign.yaml");
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}\n{}", fleet.tails())) }
        })
        .await;
        assert_eq!(std::fs::read_to_string(manifests.join("foreign.yaml")).unwrap(), "not: ours\n");
    }
    std::fs::remove_file(manifests.join("foreign.yaml")).unwrap();
    std::fs::remove_file(manifests.join(&names[0])).unwrap();
    put_right(&fleet, "a file that was removed by hand is written again").await;

    // And it comes back to a hub that was away all this time.
    fleet.start_hub().await.unwrap();
    fleet.connected(1).await;
    fleet.converge(&[]).await.unwrap();
}

#[tokio::test]
async fn what_is_not_connected_does_not_count_as_converged() {
    let mut fleet = fleet(catalog(&["web"]), &["fra-1", "fra-2"]).await;
    let wait = async |fleet: &harness::fleet::Fleet, arguments: &[&str]| {
        let answer = fleet.hub(&[&["wait", "--timeout", "1s"], arguments].concat()).await.unwrap();
        (answer.code, answer.stdout)
    };
    fleet.kill_spoke("fra-2");
    fleet.connected(1).await;
    let (code, said) = wait(&fleet, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("; 1 not connected, passed over: fra-2\n"), "{said}");
    assert_eq!(wait(&fleet, &["--cluster", "fra-1"]).await.0, 0);
    let (code, said) = wait(&fleet, &["--cluster", "fra-2"]).await;
    assert_eq!((code, said.contains("fra-2")), (3, true), "who is named is waited for: {said}");

    fleet.kill_spoke("fra-1");
    fleet.connected(0).await;
    let (code, said) = wait(&fleet, &[]).await;
    assert_eq!(code, 3, "a fleet of which nobody is there has not converged: {said}");
}
