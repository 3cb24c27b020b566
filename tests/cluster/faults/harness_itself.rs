//! What the tests of faults take for granted: the proxy passes what it is not told to break, and breaks what it is.

use std::path::Path;
use std::time::Duration;

use harness::faults::{ApiProxy, Fault, Which};
use harness::kubernetes::{Cluster, Options};
use harness::wait::until;

use crate::stage::LIMIT;

async fn create(cluster: &Cluster, kubeconfig: &Path, name: &str) -> Result<String, String> {
    let arguments = ["create", "configmap", name, "--request-timeout=5s"];
    cluster.kubectl_as(kubeconfig, &arguments).await.map_err(|e| format!("{e:#}"))
}

async fn there(cluster: &Cluster, name: &str) -> bool {
    !cluster
        .kubectl(&["get", "configmap", name, "--ignore-not-found", "-o", "name"])
        .await
        .unwrap()
        .is_empty()
}

#[tokio::test]
async fn a_proxy_passes_what_it_is_not_told_to_break_and_breaks_what_it_is() {
    let mut cluster = Cluster::start(Options::default()).await.unwrap();
    let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
    let through = proxy.kubeconfig().to_owned();
    let writes = Which::writes().resource("configmaps");

    // Faithful: what is written, is; what is asked, is counted.
    create(&cluster, &through, "plain").await.unwrap();
    assert!(there(&cluster, "plain").await);
    assert_eq!(proxy.count(&writes), 1, "{:#?}", proxy.counts());

    // A watch comes through as it comes.
    let arguments =
        ["--kubeconfig", &through.to_string_lossy(), "get", "configmaps", "--watch", "-o", "name"];
    let mut watch = cluster.kubectl_process(&arguments).unwrap();
    watch.line("configmap/plain", LIMIT).await.unwrap();
    cluster.kubectl(&["create", "configmap", "seen-at-once"]).await.unwrap();
    watch.line("seen-at-once", LIMIT).await.unwrap();
    // Silenced, it hears nothing more, until it is cut.
    proxy.silence_streams();
    cluster.kubectl(&["create", "configmap", "unheard"]).await.unwrap();
    assert!(watch.status().is_none() && !watch.stdout().contains("unheard"));
    proxy.cut_streams();
    watch.exit(LIMIT).await.unwrap();
    assert!(!watch.stdout().contains("unheard"));

    // (the fault, what a client says of it, whether the object is written all the same)
    let rows = [
        (Fault::answer(403), "forbidden", false),
        (Fault::answer(500), "Internal error", false),
        (Fault::answer(504), "Timeout", false),
        (Fault::CutBefore, "reset by peer", false),
        (Fault::CutAfter, "reset by peer", true),
        (Fault::HangBefore, "exceeded", false),
        (Fault::HangAfter, "exceeded", true),
        (Fault::ResetInBody(10), "reset by peer", true),
        (Fault::Truncate, "", true),
    ];
    for (n, (fault, said, written)) in rows.into_iter().enumerate() {
        let (name, what) = (format!("row-{n}"), format!("{fault:?}"));
        proxy.inject(writes.clone(), fault);
        let heard = create(&cluster, &through, &name).await.expect_err(&what);
        assert!(heard.contains(said), "{what}: {heard}");
        proxy.clear();
        assert_eq!(there(&cluster, &name).await, written, "{what}");
    }

    // So many times, then no more; `Retry-After` is told.
    proxy.forget();
    proxy.inject_times(1, writes.clone(), Fault::after(429, 1));
    create(&cluster, &through, "again").await.unwrap();
    let pauses = proxy.pauses(&writes);
    assert!(
        pauses.len() == 1 && pauses[0] >= Duration::from_secs(1),
        "kubectl came again after a second: {pauses:?}"
    );

    // A server that restarts is found again, and its streams end with it.
    let mut watch = cluster.kubectl_process(&arguments).unwrap();
    watch.line("configmap/again", LIMIT).await.unwrap();
    cluster.kill_api_server();
    watch.exit(LIMIT).await.unwrap();
    create(&cluster, &through, "away").await.unwrap_err();
    cluster.start_api_server().await.unwrap();
    until("the proxy finds the server", LIMIT, async || create(&cluster, &through, "back").await).await;
}
