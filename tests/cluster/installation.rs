//! Installation: what `hub cluster join -o manifest` prints gives a spoke the rights that it needs, and no others.

use anyhow::ensure;
use harness::connect::ConnectProxy;
use harness::fleet::documents::{app, app_with, config_map, placement};
use harness::wait::until;
use serde_json::{Value, json};

use crate::definitions;
use crate::installed::{Installed, NARROW, OWN};
use crate::stage::{LIMIT, Witness as _};

/// An account that is impersonated, and all that it may.
const DEPLOYER: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: apps}\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: deployer, namespace: apps}\n\
rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch, delete]}]\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer, namespace: apps}\n\
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\n\
subjects: [{kind: ServiceAccount, name: deployer, namespace: apps}]\n";

/// What an autoscaler scales.
fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  selector: {{matchLabels: \
         {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: \
         {image}}}]}}\n"
    )
}

const SCALER: &str = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: apps}\nspec: \
                      {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 9}\n";

/// A pod on a node that is not there, which the API server says when it is asked for its log.
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: apps}\nspec: {nodeName: nowhere, containers: \
                   [{name: main, image: x}]}\n";

/// Two apps in one namespace with a kind each, one in another namespace, one where the spoke may do nothing.
fn files() -> Vec<(&'static str, String)> {
    let in_namespace = |name: &str, namespace: &str| {
        app(name)
            .replace(&format!("namespace: {{name: {name}}}"), &format!("namespace: {{name: {namespace}}}"))
    };
    vec![
        ("web.yaml", in_namespace("web", "apps")),
        ("manifests/web/web.yaml", config_map("web", "0")),
        ("manifests/web/more.yaml", config_map("more", "0")),
        ("keys.yaml", in_namespace("keys", "apps")),
        ("manifests/keys/keys.yaml", secret("0")),
        ("shop.yaml", in_namespace("shop", "shop")),
        ("manifests/shop/shop.yaml", config_map("shop", "0")),
        ("placement.yaml", placement("all", &["web", "keys", "shop"], "{selector: {}}")),
    ]
}

fn secret(value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData: {{value: {value:?}}}\n")
}

impl Installed {
    /// Commits this value for every app.
    fn write(&self, value: &str) {
        let catalog = &self.fleet.catalog;
        catalog.write("manifests/web/web.yaml", &config_map("web", value)).unwrap();
        catalog.write("manifests/shop/shop.yaml", &config_map("shop", value)).unwrap();
        catalog.write("manifests/keys/keys.yaml", &secret(value)).unwrap();
        catalog.commit(&format!("Say {value}")).unwrap();
    }

    /// Takes the rule about a resource out of the spoke's Role in a namespace.
    async fn without(&self, namespace: &str, resource: &str) {
        let name = if namespace == OWN { "nave-spoke".to_owned() } else { format!("nave-spoke-{OWN}") };
        let role =
            self.cluster.kubectl(&["get", "role", "-n", namespace, &name, "-o", "json"]).await.unwrap();
        let role: Value = serde_json::from_str(&role).unwrap();
        let rules = role["rules"].as_array().unwrap();
        let at = rules.iter().position(|rule| rule["resources"][0] == resource);
        let at = at.unwrap_or_else(|| panic!("no rule about {resource} in {namespace}: {role:#}"));
        let patch = json!([{"op": "remove", "path": format!("/rules/{at}")}]).to_string();
        self.cluster
            .kubectl(&["patch", "role", "-n", namespace, &name, "--type=json", "-p", &patch])
            .await
            .unwrap();
    }

    /// All that an agent does with an app: brings it, updates it, puts it right, prunes.
    async fn works(&self) {
        self.converge().await;
        assert_eq!(self.cluster.config_map("apps/web").await.unwrap(), "0");
        self.write("1");
        self.converge().await;
        self.value("apps/web", "1").await;
        let edit = r#"{"data":{"value":"theirs"}}"#;
        self.cluster
            .kubectl(&["patch", "-n", "apps", "configmap/web", "--type=merge", "-p", edit])
            .await
            .unwrap();
        self.value("apps/web", "1").await;
        self.cluster.kubectl(&["delete", "-n", "shop", "configmap/shop"]).await.unwrap();
        self.value("shop/shop", "1").await;
        self.fleet.catalog.remove("manifests/web/more.yaml").unwrap();
        self.fleet.catalog.commit("Prune").unwrap();
        self.converge().await;
        assert!(!self.cluster.has("apps", "configmap/more").await);
    }

    async fn scale(&self, replicas: &str) {
        let to = format!("--replicas={replicas}");
        self.cluster.kubectl(&["scale", "-n", "apps", "deployment/web", &to]).await.unwrap();
    }

    /// Waits until a field of the Deployment has this value.
    async fn deployment_has(&self, path: &str, wanted: &str) {
        until(&format!("{path} is {wanted}"), LIMIT, async || {
            let seen = self.cluster.field("apps", "deployment/web", path).await;
            ensure!(seen == wanted, "{seen}\n{}", self.fleet.tails());
            Ok(())
        })
        .await;
    }

    async fn leaves(&self, gone: &[(&str, &str)]) {
        let order = ["cluster", "remove", "fra-1", "--workloads", "delete", "--reason", "the test ends"];
        let removed = self.fleet.hub(&order).await.unwrap();
        assert_eq!(removed.code, 0, "{}{}", removed.stdout, removed.stderr);
        for (namespace, object) in gone {
            until(&format!("{object} is deleted"), LIMIT, async || {
                ensure!(!self.cluster.has(namespace, object).await, "{}", self.fleet.tails());
                Ok(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_rights_in_chosen_namespaces_suffice() {
    let mut at = Installed::start(&files(), &NARROW).await;
    at.join("spoke-1").await;
    at.works().await;
    at.is_well().await;
    let bindings = at.cluster.kubectl(&["get", "clusterrolebindings", "-o", "json"]).await.unwrap();
    assert!(!bindings.contains("nave-spoke"), "nothing of the cluster as a whole");

    // An app that reaches further is its own problem.
    let stray = app_with("stray", "")
        .replace("namespace: {name: stray}", "namespace: {name: default, create: false}");
    at.fleet.catalog.write("stray.yaml", &stray).unwrap();
    at.fleet.catalog.write("manifests/stray/stray.yaml", &config_map("stray", "0")).unwrap();
    at.fleet
        .catalog
        .write("stray-placement.yaml", &placement("stray", &["stray"], "{selector: {}}"))
        .unwrap();
    at.write("2");
    at.told("stray", &["is forbidden", "configmaps", "default"]).await;
    for object in ["apps/web", "shop/shop"] {
        at.value(object, "2").await;
    }
    assert!(!at.cluster.has("default", "configmap/stray").await);
    at.leaves(&[("apps", "configmap/web"), ("apps", "secret/keys"), ("shop", "configmap/shop")]).await;
}

/// Each rule is taken away by itself, while everything is to change.
#[tokio::test]
async fn less_than_the_rights_in_chosen_namespaces_would_not_do() {
    let mut at = Installed::start(&files(), &NARROW).await;
    at.join("spoke-1").await;
    at.converge().await;
    // Where, the rule about what; which app has the problem; who goes on.
    let rows: [(&str, &str, &str, &[&str]); 4] = [
        ("apps", "configmaps", "web", &["shop/shop"]),
        ("apps", "secrets", "keys", &["apps/web", "shop/shop"]),
        ("apps", "namespaces", "keys", &["shop/shop"]),
        (OWN, "configmaps", "shop", &[]),
    ];
    for (round, (namespace, resource, app, others)) in rows.into_iter().enumerate() {
        let value = format!("without {resource} in {namespace}");
        at.without(namespace, resource).await;
        at.write(&value);
        at.told(app, &["is forbidden", resource, namespace]).await;
        for object in others {
            at.value(object, &value).await;
        }
        at.apply_again().await;
        at.converge().await;
        for object in ["apps/web", "shop/shop"] {
            assert_eq!(at.cluster.config_map(object).await.unwrap(), value, "round {round}");
        }
    }

    // Nothing new can be accepted, and what was accepted is kept as it is.
    let before = at.cluster.config_map("apps/web").await.unwrap();
    at.without(OWN, "secrets").await;
    at.write("unheard");
    let spoke = at.fleet.spoke_process("fra-1").unwrap();
    let said = spoke.line("is not stored, so it is not accepted", LIMIT).await.unwrap();
    assert!(said.contains("secrets") && said.contains("is forbidden"), "{said}");
    at.cluster.kubectl(&["delete", "-n", "apps", "configmap/web"]).await.unwrap();
    at.value("apps/web", &before).await;
    at.apply_again().await;
    at.converge().await;
    assert_eq!(at.cluster.config_map("apps/web").await.unwrap(), "unheard");

    // Whether the pod before has ended cannot be seen: the next does not take the state from it.
    at.without(OWN, "pods").await;
    let next = at.container("spoke-2").await;
    at.fleet.adopt_spoke("next", next).unwrap();
    let said = at.fleet.spoke_process("next").unwrap().line("pods", LIMIT).await.unwrap();
    assert!(said.contains("cannot get resource"), "{said}");
    at.fleet.kill_spoke("next");
    at.apply_again().await;

    // Neither which cluster this is nor a pause on the spot can be seen.
    at.without(OWN, "namespaces").await;
    let (well, said) = at.says(&["doctor"]).await;
    assert!(!well && said.contains(r#"cannot get resource "namespaces""#), "{said}");
    at.apply_again().await;
    at.is_well().await;
}

/// What the shipped manifest for chosen namespaces grants: every kind in them.
#[tokio::test]
async fn the_rights_to_every_kind_in_chosen_namespaces_suffice() {
    let every_kind = ["--rbac", "namespaces", "--allow-namespaces", "apps,shop"];
    let mut at = Installed::start(&files(), &every_kind).await;
    at.join("spoke-1").await;
    at.works().await;
    at.is_well().await;
    at.leaves(&[("apps", "configmap/web"), ("apps", "secret/keys"), ("shop", "configmap/shop")]).await;
}

#[tokio::test]
async fn an_app_is_treated_as_its_account_for_as_long_as_the_spoke_may_use_its_name() {
    let web = app_with("web", "  serviceAccount: deployer\n")
        .replace("namespace: {name: web}", "namespace: {name: apps, create: false}");
    let files = [
        ("web.yaml", web),
        ("manifests/web/web.yaml", config_map("web", "0")),
        ("manifests/web/more.yaml", config_map("more", "0")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let mut at = Installed::start(&files, &["--rbac", "namespaces", "--impersonate", "apps/deployer"]).await;
    at.cluster.apply(DEPLOYER).await.unwrap();
    at.join("spoke-1").await;
    at.converge().await;
    at.value("apps/web", "0").await;
    let say = |at: &Installed, value: &str| {
        at.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", value)).unwrap();
        at.fleet.catalog.commit(&format!("Say {value}")).unwrap();
    };
    at.fleet.catalog.remove("manifests/web/more.yaml").unwrap();
    say(&at, "1");
    at.converge().await;
    at.value("apps/web", "1").await;
    assert!(!at.cluster.has("apps", "configmap/more").await, "it is pruned");
    let edit = r#"{"data":{"value":"theirs"}}"#;
    at.cluster.kubectl(&["patch", "-n", "apps", "configmap/web", "--type=merge", "-p", edit]).await.unwrap();
    at.value("apps/web", "1").await;
    at.is_well().await;

    // The API server's own book of who wrote there: the spoke, in the account's name alone.
    let audit = at.cluster.audit().await.unwrap();
    let spoke = |entry: &&Value| {
        entry["user"]["username"] == "system:serviceaccount:nave-system:nave-spoke"
            && entry["objectRef"]["namespace"] == "apps"
    };
    let names: Vec<_> =
        audit.iter().filter(spoke).map(|entry| &entry["impersonatedUser"]["username"]).collect();
    assert!(names.len() >= 5, "created twice, changed, deleted, put back: {names:?}");
    assert!(names.iter().all(|name| **name == "system:serviceaccount:apps:deployer"), "{names:?}");

    at.without("apps", "serviceaccounts").await;
    say(&at, "2");
    at.told("web", &["is forbidden", "cannot impersonate resource", "serviceaccounts", "deployer"]).await;
    at.value("apps/web", "1").await;
    at.apply_again().await;
    at.converge().await;
    at.value("apps/web", "2").await;
}

/// Rights that nothing is written with.
#[tokio::test]
async fn without_the_rights_to_look_answers_are_refused_and_an_autoscaler_is_not_seen() {
    let web = app("web").replace("namespace: {name: web}", "namespace: {name: apps}");
    let files = [
        ("web.yaml", web),
        ("manifests/web/web.yaml", deployment("a")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let kinds = ["--rbac", "namespaces", "--allow-namespaces", "apps", "--allow-kinds", "deployments.apps"];
    let mut at = Installed::start(&files, &kinds).await;
    at.cluster.apply(&format!("{POD}---\n{SCALER}")).await.unwrap();
    at.join("spoke-1").await;
    until("it is written", LIMIT, async || at.cluster.has("apps", "deployment/web").await).await;

    // Which rule, what is asked, what is said while it is there, and what without it.
    let logs = &["logs", "web-1", "-n", "apps"][..];
    let rows = [
        ("pods", logs, "nowhere", r#"cannot get resource "pods""#),
        (
            "pods",
            &["get", "deploy", "web", "-n", "apps", "--events"],
            "No events",
            r#"cannot list resource "events""#,
        ),
        ("pods/log", logs, "nowhere", r#"cannot get resource "pods/log""#),
    ];
    for (resource, question, well, refused) in rows {
        for (wanted, takes) in [(well, false), (refused, true)] {
            if takes {
                at.without("apps", resource).await;
            }
            until(&format!("{question:?} is answered by {wanted}"), LIMIT, async || {
                let answer = at.fleet.hub(question).await?;
                let said = answer.stdout + &answer.stderr;
                ensure!(said.contains(wanted), "{said}");
                Ok(())
            })
            .await;
        }
        at.apply_again().await;
    }

    // What is scaled stays so while a new content is written; unseen, the autoscaler loses its replicas.
    at.scale("5").await;
    at.fleet.catalog.write("manifests/web/web.yaml", &deployment("b")).unwrap();
    at.fleet.catalog.commit("Another image").unwrap();
    at.deployment_has("{.spec.template.spec.containers[0].image}", "b").await;
    at.deployment_has("{.spec.replicas}", "5").await;
    at.without("apps", "horizontalpodautoscalers").await;
    at.scale("7").await;
    at.deployment_has("{.spec.replicas}", "2").await;
    at.apply_again().await;
    at.scale("6").await;
    at.fleet.catalog.write("manifests/web/web.yaml", &deployment("c")).unwrap();
    at.fleet.catalog.commit("Another image still").unwrap();
    at.deployment_has("{.spec.template.spec.containers[0].image}", "c").await;
    at.deployment_has("{.spec.replicas}", "6").await;
}

/// What even the hub may not do there.
const POLICY: &str = "deny: {kinds: [Secret], registries: [docker.io]}\n";

/// Objects with a pod template that nothing has to run.
fn template(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: {name}}}\ntemplate: {{spec: {{containers: [{{name: main, \
         image: {image:?}}}]}}}}\n"
    )
}

#[tokio::test]
async fn what_the_local_policy_denies_is_told_by_name_and_a_proxy_leads_to_the_hub_alone() {
    let mut files = files();
    files.push(("manifests/keys/beside.yaml", config_map("beside", "0")));
    files.push(("manifests/shop/theirs.yaml", template("theirs", "web:1")));
    files.push(("manifests/shop/ours.yaml", template("ours", "ghcr.io/acme/web:1")));
    let policy = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(policy.path(), POLICY).unwrap();
    let proxy = ConnectProxy::start(None).unwrap();
    let (policy, by) = (policy.path().to_str().unwrap(), format!("http://{}", proxy.address()));
    let mut at = Installed::start(&files, &["--policy", policy, "--proxy", &by]).await;
    at.join("spoke-1").await;

    // What is denied, by which rule, and what of the same app is there all the same.
    let rows = [
        ("keys", "Secret apps/keys", "kinds Secret is denied by \"Secret\" of deny.kinds", "apps/beside"),
        (
            "shop",
            "PodTemplate shop/theirs",
            "registries web:1 is denied by \"docker.io\" of deny.registries",
            "shop/shop",
        ),
    ];
    for (app, object, rule, beside) in rows {
        until(&format!("{object} is told of {app}"), LIMIT, async || {
            let shown = at.fleet.hub(&["app", "show", app, "-o", "json"]).await?.json()?;
            let entry = &shown["entries"][0];
            let said = entry["message"].as_str().unwrap_or_default();
            let told = entry["reason"] == "Denied" && said.contains(object) && said.contains(rule);
            let rest = entry["objects"].as_u64().unwrap_or_default() - 1;
            ensure!(told && entry["healthy"] == rest, "{entry:#}\n{}", at.fleet.tails());
            Ok(())
        })
        .await;
        let screen = at.fleet.hub(&["app", "show", app]).await.unwrap().stdout;
        assert!(screen.contains(object) && screen.contains(rule), "{screen}");
        at.value(beside, "0").await;
    }
    at.value("apps/web", "0").await;
    assert!(at.cluster.has("shop", "podtemplate/ours").await);

    // A later commit changes nothing of that.
    at.fleet.catalog.write("manifests/keys/beside.yaml", &config_map("beside", "1")).unwrap();
    at.write("1");
    for object in ["apps/web", "apps/beside", "shop/shop"] {
        at.value(object, "1").await;
    }
    at.told("keys", &["the local policy forbids it"]).await;
    assert!(!at.cluster.has("apps", "secret/keys").await);
    assert!(!at.cluster.has("shop", "podtemplate/theirs").await);
    at.is_well().await;
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|to| *to == at.fleet.address()), "{asked:?}");
    at.leaves(&[("apps", "configmap/web"), ("apps", "configmap/beside"), ("shop", "podtemplate/ours")]).await;
}

#[tokio::test]
async fn an_administrators_rights_bring_definitions_and_their_objects() {
    let mut files = files();
    // They bring a namespace of their own.
    let widgets = definitions::files().into_iter().map(|(path, text)| (path, text.replace("shop", "store")));
    files.extend(widgets);
    files.retain(|(path, _)| *path != "placement.yaml");
    let apps = ["web", "keys", "shop", "widgets"];
    files.push(("placement.yaml", placement("all", &apps, "{selector: {}}")));
    let mut at = Installed::start(&files, &[]).await;
    at.join("spoke-1").await;
    at.converge().await;
    // So that kubectl forgets what it knew of this server's kinds.
    at.cluster.kubectl(&["api-resources"]).await.unwrap();
    assert_eq!(at.cluster.field("store", "widget/small", "{.spec.size}").await, "1");

    // Used once: the next start has no need of it.
    at.cluster.kubectl(&["delete", "secret", "-n", OWN, "nave-spoke-join"]).await.unwrap();
    at.run("spoke-1").await;
    at.fleet.connected(1).await;
    at.write("1");
    at.converge().await;
    at.value("apps/web", "1").await;
    let audit = at.fleet.hub(&["audit", "-o", "json"]).await.unwrap();
    assert_eq!(audit.stdout.matches("\"Enrolled\"").count(), 1, "{}", audit.stdout);

    // One at a time: the second says who has the state, and waits for it.
    let second = at.container("spoke-2").await;
    at.fleet.adopt_spoke("second", second).unwrap();
    let waits = "in use by another spoke, pod spoke-1";
    at.fleet.spoke_process("second").unwrap().line(waits, LIMIT).await.unwrap();
    at.write("2");
    at.converge().await;
    at.fleet.kill_spoke("fra-1");
    let gone = ["delete", "pod", "-n", OWN, "spoke-1", "--force", "--grace-period=0"];
    at.cluster.kubectl(&gone).await.unwrap();
    at.write("3");
    at.converge().await;
    at.fleet.kill_spoke("second");
    // Of the same name as the pod that has the state now, as a container that is started again.
    at.run("spoke-2").await;
    at.write("4");
    at.converge().await;

    // Without the binding it may do nothing, says so, and comes back by itself.
    let binding = format!("nave-spoke-{OWN}");
    at.cluster.kubectl(&["delete", "clusterrolebinding", &binding]).await.unwrap();
    at.cluster.kubectl(&["delete", "-n", "apps", "configmap/web"]).await.unwrap();
    at.told("web", &["is forbidden"]).await;
    at.apply_again().await;
    at.value("apps/web", "4").await;
    at.leaves(&[("apps", "configmap/web"), ("store", "widget/small")]).await;
}
