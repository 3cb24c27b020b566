//! The demo on real clusters: what it says it saw is what `kubectl` sees.

use harness::kubernetes::{Cluster, Options, merge};
use harness::process::Program;

use crate::stage::{LIMIT, Witness};

#[tokio::test]
async fn the_demo_runs_on_three_real_clusters() {
    let start = |name: &str| Cluster::start(Options { name: name.into(), workloads: false });
    let (a, b, c) = tokio::try_join!(start("fra-1"), start("nyc-1"), start("dev-1")).unwrap();
    let kubeconfig = a.directory().join("all.json");
    merge(&[&a, &b, &c], &kubeconfig).unwrap();

    let demo = Program::built("hub").unwrap().args(["demo", "--exit", "--kubeconfig"]).arg(&kubeconfig);
    let demo = demo.args(["--kube-contexts", "fra-1,nyc-1,dev-1"]).env("XDG_CONFIG_HOME", a.directory());
    let said = demo.output(LIMIT * 3).await.unwrap();
    for act in [
        "1. first commit",
        "2. a commit changes app web",
        "3. somebody changes web",
        "4. the commit is reverted",
    ] {
        assert!(said.contains(act), "{act} is missing:\n{said}");
    }
    // The first and the third play production, the second is for trying things out.
    for (cluster, production) in [(&a, true), (&b, false), (&c, true)] {
        assert_eq!(cluster.has("metrics", "configmap/metrics").await, production, "{}", cluster.name());
        assert_eq!(cluster.has("lab", "configmap/lab").await, !production, "{}", cluster.name());
        let greeting = ["get", "configmap", "-n", "web", "web", "-o", "jsonpath={.data.greeting}"];
        assert_eq!(cluster.kubectl(&greeting).await.unwrap(), "hello", "{}", cluster.name());
    }
}
