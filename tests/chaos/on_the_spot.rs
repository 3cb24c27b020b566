//! What is said on the cluster itself holds against the hub, and without it: a pause, a local policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness::fleet::{Fleet, Target};
use harness::process::Program;
use harness::wait;
use serde_json::Value;

use crate::given::{LIMIT, catalog, write_value};

/// How the hub shows an app of the cluster, once it is so.
async fn shown(fleet: &Fleet, app: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, LIMIT, async || {
        // Until it has joined, the hub does not know the cluster.
        let answer = fleet.hub(&["cluster", "show", "fra-1", "-o", "json"]).await.unwrap();
        let answer = answer.json().map_err(|error| error.to_string())?;
        let apps = answer["apps"].as_array().cloned().unwrap_or_default();
        match apps.into_iter().find(|one| one["app"] == app && is(one)) {
            Some(one) => Ok(one),
            None => Err(format!("{answer:#}\n{}", fleet.tails())),
        }
    })
    .await
}

fn guarded(fleet: &Fleet, policy: &Path, token: &str) -> Program {
    let manifests = fleet.manifests("fra-1");
    std::fs::create_dir_all(&manifests).unwrap();
    let program = Program::built("spoke").unwrap().args(["run", "--join", token, "--state-dir"]);
    let program =
        program.arg(fleet.state("fra-1")).arg("--target").arg(format!("dir:{}", manifests.display()));
    program.arg("--policy").arg(policy)
}

#[tokio::test]
async fn a_local_policy_holds_against_the_hub_and_the_rest_goes_on() {
    let mut fleet = Fleet::start(catalog(&["web", "db"])).await.unwrap();
    let policy = fleet.directory().join("policy.yaml");
    std::fs::write(&policy, "deny: {namespaces: [db]}\n").unwrap();
    let token = fleet.token("fra-1", &[]).await.unwrap();
    let program = guarded(&fleet, &policy, &token);
    fleet.adopt_spoke("fra-1", program).unwrap();

    shown(&fleet, "web", "what is allowed is there", |app| app["phase"] == "Converged").await;
    let denied = shown(&fleet, "db", "what is denied is named", |app| app["reason"] == "Denied").await;
    let said = denied["message"].as_str().unwrap();
    assert!(said.contains("namespaces db is denied by \"db\" of deny.namespaces"), "{said}");
    assert!(!fleet.files("fra-1").unwrap().keys().any(|name| name.contains("db")));

    // A policy that is not understood changes nothing, and says so.
    std::fs::write(&policy, "deny: {namespace: [db]}\n").unwrap();
    write_value(&fleet.catalog, "web", "2");
    fleet.catalog.commit("Change web").unwrap();
    let held = shown(&fleet, "web", "nothing is changed", |app| app["reason"] == "Denied").await;
    assert!(held["message"].to_string().contains("did you mean namespaces?"), "{held:#}");
    assert!(fleet.files("fra-1").unwrap().values().all(|text| !text.contains("\"2\"")));

    // Mended, it holds from the next look on.
    std::fs::write(&policy, "deny: {namespaces: [other]}\n").unwrap();
    fleet.converge(&[]).await.unwrap();
    assert!(fleet.files("fra-1").unwrap().keys().any(|name| name.contains("db")));
}

#[tokio::test]
async fn a_pause_on_the_spot_holds_without_the_hub_and_ends_by_word() {
    let mut fleet = crate::given::fleet(catalog(&["web"]), &["fra-1"]).await;
    let state = fleet.state("fra-1");
    let target = format!("dir:{}", fleet.manifests("fra-1").display());
    let command = async |arguments: &[&str]| {
        let program = Program::built("spoke").unwrap().args(arguments).arg("--state-dir").arg(&state);
        program.arg("--target").arg(&target).output(LIMIT).await.unwrap()
    };
    let wanted = fleet.files("fra-1").unwrap();
    let name = wanted.keys().next().unwrap().clone();
    let path = fleet.manifests("fra-1").join(&name);

    let said = command(&["pause", "--for", "2h", "--reason", "audit"]).await;
    assert!(
        said.starts_with("everything: paused on the cluster until ") && said.trim().ends_with(": audit"),
        "{said}"
    );
    wait::until("the spoke has seen the pause", LIMIT, async || {
        let said = command(&["status"]).await;
        if said.contains("Paused       paused on the cluster until") { Ok(()) } else { Err(said) }
    })
    .await;
    std::fs::write(&path, "by: hand\n").unwrap();
    let waiting = |app: &Value| app["reason"] == "Paused" && app["message"].to_string().contains("audit");
    shown(&fleet, "web", "the hub shows what waits, and for what", waiting).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "by: hand\n");

    fleet.kill_hub();
    fleet.kill_spoke("fra-1");
    fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
    wait::throughout("it holds over a restart", crate::given::WATCHED, async || {
        std::fs::read_to_string(&path).is_ok_and(|text| text == "by: hand\n")
    })
    .await;
    command(&["resume"]).await;
    wait::until("what waited is done", LIMIT, async || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text == wanted[&name] { Ok(()) } else { Err(format!("{text}\n{}", fleet.tails())) }
    })
    .await;
}

/// What is in a directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn an_agent_leaves_a_directory_and_takes_along_only_what_is_its_own() {
    let mut fleet = crate::given::fleet(catalog(&["web"]), &["fra-1", "fra-2"]).await;
    fleet.converge(&[]).await.unwrap();
    let uninstall = async |state: PathBuf, manifests: PathBuf, more: &[&str]| {
        let target = format!("dir:{}", manifests.display());
        let program =
            Program::built("spoke").unwrap().arg("uninstall").args(more).arg("--state-dir").arg(state);
        match program.arg("--target").arg(target).output(LIMIT).await {
            Ok(said) => said,
            Err(error) => format!("{error:#}"),
        }
    };
    let (state, manifests, before) =
        (fleet.state("fra-1"), fleet.manifests("fra-1"), fleet.files("fra-1").unwrap());
    let said = uninstall(state.clone(), manifests.clone(), &[]).await;
    assert!(said.contains("stop the agent first"), "{said}");
    fleet.kill_spoke("fra-1");
    fleet.kill_spoke("fra-2");
    fleet.kill_hub();

    // A slip of the pen removes nothing, and makes nothing.
    let all = || [&*fleet.data(), &*state, fleet.directory()].map(names);
    let there = all();
    let above = state.parent().unwrap().to_owned();
    let rows = [
        (fleet.data(), manifests.clone(), "is no state directory of a spoke"),
        (fleet.directory().to_owned(), fleet.data(), "one within the other"),
        (above, manifests.clone(), "is no state directory of a spoke"),
        (state.clone(), state.join("manifests"), "one within the other"),
        (state.clone(), fleet.directory().join("mistyped"), "the agent has no directory of manifests"),
    ];
    for (state, manifests, words) in rows {
        let said = uninstall(state, manifests, &["--delete-workloads", "--yes"]).await;
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(all(), there, "{words}");
    }

    std::fs::write(state.join("notes"), "somebody's").unwrap();
    let said = uninstall(state.clone(), manifests.clone(), &[]).await;
    assert!(said.contains("app web stays: ") && said.contains("it has notes and 0 more"), "{said}");
    assert_eq!(fleet.files("fra-1").unwrap(), before);
    assert_eq!(names(&state), ["notes".to_owned()].into());

    let (state, manifests) = (fleet.state("fra-2"), fleet.manifests("fra-2"));
    let said = uninstall(state.clone(), manifests, &["--delete-workloads", "--yes"]).await;
    assert!(said.contains("deleted ConfigMap") && said.contains("removed the state directory"), "{said}");
    assert!(!state.exists() && fleet.files("fra-2").unwrap().is_empty(), "{said}");
}
