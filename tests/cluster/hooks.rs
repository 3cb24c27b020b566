//! Hooks of a chart, with the cluster's own Job controller: what waits for them, what a failure holds back, what runs anew.

use harness::fleet::documents::placement;
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";

/// A job that the controller calls complete at once, or one that fails after a second: its pod never ends.
fn job(name: &str, times: &str, more: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{helm.sh/hook: '{times}'{more}}}}}\nspec:\n  \
         completions: {{{{ .Values.completions }}}}\n  activeDeadlineSeconds: 1\n  template: {{spec: {{restartPolicy: Never, \
         containers: [{{name: {name}, image: {name}}}]}}}}\n"
    )
}

/// An app whose migration succeeds (no completion is wanted), or not.
fn app(value: &str, completions: u32) -> String {
    format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: web}}\nspec:\n  source: {{helm: {{chart: ./chart, values: \
         {{value: {value}, completions: {completions}}}}}}}\n  namespace: {{name: web}}\n"
    )
}

#[tokio::test]
async fn a_charts_hooks_run_once_for_each_version_and_a_failed_one_holds_the_change_back() {
    let config =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {value: '{{ .Values.value }}'}\n";
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: migrate, annotations: {helm.sh/hook: \
                   'pre-install,pre-upgrade', helm.sh/hook-weight: '-1', helm.sh/hook-delete-policy: hook-succeeded}}\n";
    let files = [
        ("web.yaml", app("one", 0)),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
        ("chart/Chart.yaml", CHART.to_owned()),
        ("chart/templates/config.yaml", config.to_owned()),
        ("chart/templates/account.yaml", account.to_owned()),
        ("chart/templates/seed.yaml", job("seed", "pre-install", "")),
        ("chart/templates/migrate.yaml", job("migrate", "pre-install,pre-upgrade", "")),
        ("chart/templates/tell.yaml", job("tell", "post-install,post-upgrade", "")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    stage.converge().await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "one");
    let hooks = ["job/seed", "job/migrate", "job/tell"];
    let mut first = Vec::new();
    for hook in hooks {
        first.push(fra.uid("web", hook).await);
        assert_eq!(
            fra.field("web", hook, "{.status.conditions[?(@.type=='Complete')].status}").await,
            "True"
        );
    }
    assert!(fra.has("web", "serviceaccount/migrate").await);

    // What ran is history: it may go, and is not made again.
    fra.kubectl(&["delete", "-n", "web", "job/tell"]).await.unwrap();
    fra.kubectl(&["delete", "-n", "web", "configmap/web"]).await.unwrap();
    stage.value("fra-1", "web/web", "one").await;
    assert!(!fra.has("web", "job/tell").await);

    // The migration fails: what comes after it is not written, and everybody is told why.
    catalog.write("web.yaml", &app("two", 1)).unwrap();
    catalog.commit("Migrate badly").unwrap();
    let (code, said) = stage.wait(&["--timeout", "90s"]).await;
    assert_eq!(code, 1, "{said}\n{}", stage.fleet.tails());
    assert!(said.contains("DeadlineExceeded"), "{said}");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "one");
    assert!(!fra.has("web", "job/tell").await);

    // Mended, all of an upgrade runs, and nothing of an installation.
    catalog.write("web.yaml", &app("three", 0)).unwrap();
    catalog.commit("Migrate well").unwrap();
    stage.converge().await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "three");
    until("the hooks are those of the upgrade", LIMIT, async || {
        let mut now = Vec::new();
        for hook in hooks {
            now.push(fra.uid("web", hook).await);
        }
        anyhow::ensure!(now[0] == first[0] && now[1] != first[1] && now[2] != first[2], "{first:?} {now:?}");
        Ok(())
    })
    .await;
}
