//! Watches: what a target hears of a change when its lists and watches hang, fall silent, or are refused for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use harness::faults::{ApiProxy, Fault, Which};
use harness::kubernetes::{Cluster, Options};
use harness::wait::until;
use nave_placement::ObjectKey;
use nave_spoke::target::Target as _;
use nave_spoke::target::kube::{self, KubeTarget, Timings};
use serde_json::json;

use crate::rounds::{Wish, config_map, target_with};
use crate::stage::{LIMIT, Witness as _};

/// The label of what is ours, in a query.
const OURS: &str = "part-of";

/// An object of ours, a cluster behind a proxy, and a target that soon loses its patience.
struct World {
    cluster: Cluster,
    proxy: ApiProxy,
    target: KubeTarget,
    edits: u32,
}

impl World {
    /// It is watched.
    async fn start() -> Self {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        cluster.kubectl(&["create", "namespace", "web"]).await.unwrap();
        let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
        let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
        let timings = Timings {
            answer: seconds(2),
            watch: 3..=4,
            slack: seconds(1),
            retry: (millis(200), seconds(1)),
            refused: (millis(500), seconds(1)),
        };
        let options = kube::Options { timings, ..kube::Options::default() };
        let target = target_with(proxy.kubeconfig(), options).await;
        let world = Self { cluster, proxy, target, edits: 0 };
        Wish::none().app("web", &[config_map("web", "a", "1")]).round(&world.target).await;
        world.asks_again(&watches(), 1).await;
        world
    }

    /// Waits until so many of these were asked since the last was forgotten.
    async fn asks_again(&self, which: &Which, times: usize) {
        until(&format!("{which:?} was asked {times} times"), LIMIT, async || {
            ensure!(self.proxy.count(which) >= times, "{:#?}", self.proxy.counts());
            Ok(())
        })
        .await;
    }

    /// Somebody changes our object.
    async fn edit(&mut self) {
        self.target.changed();
        self.edits += 1;
        let patch = format!(r#"{{"data":{{"value":"theirs {}"}}}}"#, self.edits);
        let edit = ["patch", "configmap", "a", "-n", "web", "--type=merge", "-p", &patch];
        self.cluster.kubectl(&edit).await.unwrap();
    }

    async fn is_heard_of(&self, what: &str) {
        let key = ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "web".into(),
            name: "a".into(),
        };
        until(&format!("the change is heard of: {what}"), LIMIT, async || {
            ensure!(self.target.changed().objects.contains(&key), "{:#?}", self.proxy.counts());
            Ok(())
        })
        .await;
    }
}

fn watches() -> Which {
    Which::all().verbs(&["watch"]).resource("configmaps").query(OURS)
}

fn lists() -> Which {
    Which::all().verbs(&["list"]).resource("configmaps").query(OURS)
}

/// Every watch that was asked for: where, of what. All of them want nothing but metadata.
fn watched(proxy: &ApiProxy) -> BTreeSet<String> {
    let requests = proxy.requests().into_iter().map(|request| request.asked);
    let watches = requests.filter(|asked| asked.verb == "watch").map(|asked| {
        assert_eq!(
            asked.accept, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            "{asked:#?}"
        );
        let labels = asked.parameter("labelSelector").unwrap_or_default();
        format!("{} {labels}", asked.path)
    });
    watches.collect()
}

#[tokio::test]
async fn what_is_ours_is_watched_and_nothing_else_and_only_its_metadata() {
    let world = World::start().await;
    let secrets = || Which::all().verbs(&["watch"]).resource("secrets");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "web"}});
    let both = Wish::none().app("web", &[config_map("web", "a", "1"), secret]);
    both.round(&world.target).await;
    // Watches are short here: within this each of them was taken up again.
    let all_again = async || {
        world.proxy.forget();
        world.asks_again(&watches(), 3).await;
        for group in ["apiextensions.k8s.io", "apiregistration.k8s.io"] {
            world.asks_again(&Which::all().verbs(&["watch"]).group(group), 1).await;
        }
    };
    world.asks_again(&secrets(), 1).await;
    all_again().await;
    let mut wanted = BTreeSet::from(
        [
            // What brings kinds, and what pauses an app.
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions ",
            "/apis/apiregistration.k8s.io/v1/apiservices ",
            "/api/v1/namespaces/nave-system/configmaps nave.dev/inventory=true",
            "/api/v1/configmaps applyset.kubernetes.io/part-of",
            "/api/v1/secrets applyset.kubernetes.io/part-of",
        ]
        .map(str::to_owned),
    );
    assert_eq!(watched(&world.proxy), wanted);

    // The last object of its kind is pruned, and with it goes the watch.
    Wish::none().app("web", &[config_map("web", "a", "1")]).round(&world.target).await;
    assert!(!world.cluster.has("web", "secret/s").await);
    all_again().await;
    wanted.retain(|watch| !watch.contains("secrets"));
    assert_eq!(watched(&world.proxy), wanted);
}

#[tokio::test]
async fn a_watch_that_says_nothing_any_more_is_taken_up_where_it_was() {
    let mut world = World::start().await;
    world.proxy.forget();
    world.proxy.silence_streams();
    world.edit().await;
    world.is_heard_of("though the stream is half open").await;
    assert_eq!(world.proxy.count(&lists()), 0, "nothing was listed anew: {:#?}", world.proxy.counts());
}

#[tokio::test]
async fn a_list_or_a_watch_that_never_answers_is_given_up_and_asked_for_again() {
    let mut world = World::start().await;
    for (what, which) in [("a watch hangs", watches()), ("a list hangs", lists())] {
        world.proxy.forget();
        world.proxy.inject(which.clone(), Fault::HangBefore);
        // The end of a stream asks for a watch, and a version that is too old for a list.
        world.proxy.inject_times(1, watches(), Fault::Expired);
        world.proxy.cut_streams();
        world.asks_again(&which, 2).await;
        world.edit().await;
        world.proxy.clear();
        world.is_heard_of(what).await;
    }
}

#[tokio::test]
async fn a_list_that_is_refused_is_asked_for_more_and_more_rarely() {
    let mut world = World::start().await;
    world.proxy.forget();
    world.proxy.inject(lists(), Fault::answer(500));
    world.proxy.inject_times(1, watches(), Fault::Expired);
    world.proxy.cut_streams();
    world.asks_again(&lists(), 6).await;
    let pauses = world.proxy.pauses(&lists());
    assert!(pauses[3..].iter().all(|pause| *pause >= Duration::from_millis(450)), "{pauses:?}");
    world.edit().await;
    world.proxy.clear();
    world.is_heard_of("once lists are answered").await;
}

#[tokio::test]
async fn rights_that_are_away_for_a_moment_narrow_a_watch_only_until_they_are_back() {
    let mut world = World::start().await;
    let widely = |verbs| Which::all().verbs(verbs).path("/api/v1/configmaps").query(OURS);
    let narrowly = Which::all().verbs(&["watch"]).path("/api/v1/namespaces/web/configmaps").query(OURS);
    world.proxy.forget();
    world.proxy.inject(widely(&["list", "watch"]), Fault::answer(403));
    world.proxy.cut_streams();
    world.asks_again(&narrowly, 1).await;
    let refused = world.proxy.requests().into_iter().filter(|request| request.code == Some(403)).count();
    assert!(refused >= 2, "one refusal is none: {:#?}", world.proxy.counts());
    world.edit().await;
    world.is_heard_of("while only the namespace may be watched").await;
    world.proxy.clear();
    world.proxy.forget();
    world.asks_again(&widely(&["watch"]), 1).await;
    world.edit().await;
    world.is_heard_of("once everything may be watched again").await;
    world.proxy.forget();
    world.asks_again(&widely(&["watch"]), 3).await;
    assert_eq!(world.proxy.count(&narrowly), 0, "the narrow watch has ended: {:#?}", world.proxy.counts());
}

#[tokio::test]
async fn a_pause_that_may_not_be_seen_is_unknown() {
    let world = World::start().await;
    assert!(world.target.pauses().await.is_ok());
    world.proxy.inject(Which::all().verbs(&["get"]).resource("namespaces"), Fault::answer(403));
    world.target.pauses().await.unwrap_err();
}
