//! Receivers of events: those that fail, those of three forges, those that are not trusted.

use std::collections::BTreeMap;

use anyhow::ensure;
use harness::fleet::{Fleet, documents};
use harness::git::Repository;
use harness::receiver::{Answer, Receiver};
use harness::tls::Authority;
use harness::wait;

use super::{KEY, LIMIT, QUIET, all_arrived, change, converged, events, fleet, is_signed, told, webhook};

/// Somebody else has put an object there, which is not the app's to take.
fn obstruct(fleet: &Fleet, cluster: &str) {
    let path = fleet.manifests(cluster).join("configmap--web--other.yaml");
    let theirs =
        documents::config_map("other", "theirs").replace("name: other", "name: other, namespace: web");
    std::fs::write(path, theirs).expect("it is so");
}

#[tokio::test]
async fn each_event_arrives_once_signed_though_receivers_fail_and_the_hub_is_killed() {
    let (hook, silent, chat) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    silent.answer(Answer::Silence);
    let config = format!(
        "sinks:\n{}{}- {{name: chat, events: [Converged], slack: {{url: '{}'}}}}\n",
        webhook("hook", &hook.url("/hook"), ""),
        webhook("silent", &silent.url("/"), ""),
        chat.url("/services/T0/B0/secret"),
    );
    let mut fleet = fleet(&config).await;
    let first = fleet.catalog.head().expect("it is so");
    // A receiver that never answers keeps nobody waiting.
    converged(&fleet, &first).await;
    let subject = format!("commit {}", &first[..8]);
    told(&fleet, "Converged", &subject).await;
    let arrived = all_arrived(&fleet, &hook).await;
    arrived.iter().try_for_each(is_signed).expect("all of them are signed");
    let body = arrived[0].json();
    assert_eq!(
        (&body["type"], &body["commit"], &body["fleet"]),
        (&"Taken".into(), &first.as_str().into(), &"test".into())
    );

    // It fails for a while; then what came meanwhile arrives, and nothing else.
    hook.answer(Answer::Status(500));
    let second = change(&fleet, "two");
    converged(&fleet, &second).await;
    wait::until("it was tried again", LIMIT, async || {
        let failed = hook.received().iter().filter(|request| request.answered == 500).count();
        ensure!(failed >= 2, "{failed} attempts\n{}", fleet.tails());
        Ok(())
    })
    .await;
    let sinks =
        fleet.hub(&["events", "sinks", "-o", "json"]).await.expect("it is so").json().expect("it is so");
    assert_eq!(sinks[0]["trouble"]["message"], "HTTP 500", "{sinks:#}");
    hook.answer(Answer::Status(200));
    told(&fleet, "Converged", &format!("commit {}", &second[..8])).await;
    all_arrived(&fleet, &hook).await;

    // Killed while a receiver is down: nothing is lost, nothing is told again.
    hook.answer(Answer::Status(503));
    let third = change(&fleet, "three");
    converged(&fleet, &third).await;
    told(&fleet, "Converged", &format!("commit {}", &third[..8])).await;
    let before = events(&fleet).await;
    fleet.kill_hub();
    hook.answer(Answer::Status(200));
    fleet.start_hub().await.expect("it is so");
    fleet.connected(2).await;
    all_arrived(&fleet, &hook).await;
    wait::throughout("nothing is told again", QUIET, async || events(&fleet).await == before).await;

    // A chat gets one line an event, and only those that it asked for.
    let lines: Vec<String> = wait::until("the chat has all", LIMIT, async || {
        let texts = chat
            .received()
            .into_iter()
            .map(|request| request.json()["text"].as_str().unwrap_or_default().to_owned());
        let lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let converged = before.iter().filter(|event| event["type"] == "Converged").count();
        ensure!(lines.len() == converged, "{lines:#?}\n{}", fleet.tails());
        Ok(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line.contains("*Converged* ")), "{lines:#?}");
    assert_eq!(silent.received().first().map(|request| request.path.clone()).as_deref(), Some("/"));
    // The URL of a chat is a secret.
    let screen = fleet.hub(&["events", "sinks"]).await.expect("it is so").stdout;
    assert!(
        screen.contains("chat") && !screen.contains("secret") && !fleet.tails().contains("B0/secret"),
        "{screen}"
    );
    let metrics = fleet.http("GET /metrics", &[], "").await.expect("it answers");
    assert!(metrics.contains("nave_sink_events_sent_total{sink=\"hook\"}"), "{metrics}");
}

#[tokio::test]
async fn commits_get_their_status_on_three_forges_each_state_once() {
    let forge = Receiver::start().await;
    let status = |name: &str, provider: &str, base: &str, repository: &str| {
        let url = forge.url(base);
        format!(
            "- {{name: {name}, commitStatus: {{provider: {provider}, url: '{url}', repository: {repository}, tokenFile: token}}}}\n"
        )
    };
    let config = format!(
        "sinks:\n{}{}{}",
        status("github", "GitHub", "/github", "acme/fleet"),
        status("gitlab", "GitLab", "/gitlab/api/v4", "acme/ops/fleet"),
        status("gitea", "Gitea", "/gitea/api/v1", "acme/fleet"),
    );
    let fleet = fleet(&config).await;
    let good = fleet.catalog.head().expect("it is so");
    converged(&fleet, &good).await;
    let states = |commit: &str| {
        let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in forge.received().iter().filter(|request| request.path.ends_with(commit)) {
            let state = request.json()["state"].as_str().unwrap_or_default().to_owned();
            states.entry(request.path.replace(commit, "")).or_default().push(state);
        }
        states
    };
    let expected = |last: [&str; 3]| {
        let paths = [
            "/github/repos/acme/fleet/statuses/",
            "/gitlab/api/v4/projects/acme%2Fops%2Ffleet/statuses/",
            "/gitea/api/v1/repos/acme/fleet/statuses/",
        ];
        let pairs = paths.into_iter().zip(last);
        pairs.map(|(path, last)| (path.to_owned(), vec!["pending".to_owned(), last.to_owned()])).collect()
    };
    let seen = async |commit: &str, last: [&str; 3]| {
        let expected: BTreeMap<String, Vec<String>> = expected(last);
        wait::until("the forges say so", LIMIT, async || {
            let states = states(commit);
            ensure!(states == expected, "{states:#?}\n{}", fleet.tails());
            Ok(())
        })
        .await;
    };
    seen(&good, ["success"; 3]).await;
    let first = &forge.received()[0];
    assert!(["Bearer t0ken", "token t0ken", ""].contains(&first.header("authorization")), "{first:?}");

    // A commit of which an object cannot be written on one cluster.
    obstruct(&fleet, "fra-1");
    fleet.catalog.write("manifests/web/other.yaml", &documents::config_map("other", "x")).expect("it is so");
    let bad = fleet.catalog.commit("bad").expect("it is so");
    seen(&bad, ["failure", "failed", "failure"]).await;
    let failed = told(&fleet, "Failed", "app web").await;
    assert_eq!(
        (&failed["commit"], &failed["clusters"]["total"]),
        (&bad.as_str().into(), &1.into()),
        "{failed:#}"
    );
    let description = forge.received().last().map(|request| request.json()["description"].to_string());
    assert!(description.as_ref().is_some_and(|text| text.contains("app web: on fra-1")), "{description:?}");

    // The next mends it; what was said is not said again.
    fleet.catalog.remove("manifests/web/other.yaml").expect("it is so");
    let mended = fleet.catalog.commit("mended").expect("it is so");
    converged(&fleet, &mended).await;
    seen(&mended, ["success"; 3]).await;
    wait::throughout("the first keeps its status", QUIET, async || {
        states(&good).values().all(|states| states.len() == 2)
    })
    .await;
}

#[tokio::test]
async fn a_receiver_is_told_over_tls_if_its_authority_is_trusted_and_not_otherwise() {
    let authority = Authority::new().expect("it is so");
    let identity = authority.server(&["127.0.0.1"]).expect("it is so");
    let hook = Receiver::start_tls(identity.listener().expect("it is so")).await;
    let config = format!(
        "sinks:\n{}{}",
        webhook("trusted", &hook.url("/trusted"), ", caFile: ca.pem"),
        webhook("stranger", &hook.url("/stranger"), ""),
    );
    let fleet = Fleet::prepare(Repository::with("catalog", &[]).expect("it is so")).await;
    let mut fleet = fleet.expect("it is so");
    for (file, text) in [("key", KEY), ("ca.pem", &authority.pem())] {
        std::fs::write(fleet.directory().join(file), text).expect("it is so");
    }
    fleet.catalog.write("web.yaml", &documents::app("web")).expect("it is so");
    fleet.catalog.commit("An app").expect("it is so");
    fleet.configure(&config).expect("it is so");
    fleet.start_hub().await.expect("it is so");
    let first = wait::until("it is told", LIMIT, async || hook.received().into_iter().next()).await;
    is_signed(&first).expect("it is signed");
    wait::until("it is said why the other is not", LIMIT, async || {
        let sinks = fleet.hub(&["events", "sinks", "-o", "json"]).await?.json()?;
        let said = sinks[1]["trouble"]["message"].as_str().unwrap_or_default().to_lowercase();
        ensure!(said.contains("certificate") && !said.contains("/stranger"), "{sinks:#}");
        Ok(())
    })
    .await;
    assert!(hook.received().iter().all(|request| request.path == "/trusted"), "{:?}", hook.received());
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_is_opened() {
    let fleet = Fleet::prepare(Repository::with("catalog", &[]).expect("it is so")).await.expect("it is so");
    let rows = [
        ("sinks:\n- {name: ops}\n", "hub.yaml:4: sink ops needs one of webhook, slack and commitStatus"),
        ("audit: {maxAgee: 1d}\n", "hub.yaml:3: unknown field `maxAgee`"),
    ];
    for (text, expected) in rows {
        fleet.configure(text).expect("it is so");
        let config = fleet.directory().join("hub.yaml");
        let (data, config) = (fleet.data().display().to_string(), config.display().to_string());
        let refused =
            fleet.hub(&["serve", "--data-dir", &data, "--catalog", "/nowhere", "--config", &config]).await;
        let refused = refused.expect("it ends");
        assert!(refused.code == 1 && refused.stderr.contains(expected), "{}", refused.stderr);
        assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
    }
}
