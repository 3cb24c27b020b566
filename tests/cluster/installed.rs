//! Installed: a spoke that runs as its Deployment would run it, with the rights of its service account.
//!
//! In: what `hub cluster join -o manifest` printed, applied to a real API server. Out: an [`Installed`].
//! Never: knows an argument or a variable that does not stand in the applied Deployment. No image can run here: the built
//! binary stands for it.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::fleet::Fleet;
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::process::Program;
use harness::wait::until;
use serde_json::Value;

use crate::stage::{LIMIT, Witness as _};

/// The spoke's own namespace.
pub const OWN: &str = "nave-system";
/// Namespaces that somebody made for apps.
pub const GIVEN: [&str; 2] = ["apps", "shop"];

/// The narrowest way to install an agent for ConfigMaps and Secrets there.
pub const NARROW: [&str; 6] =
    ["--rbac", "namespaces", "--allow-namespaces", "apps,shop", "--allow-kinds", "configmaps,secrets"];

/// The fleet and its one cluster.
pub struct Installed {
    // Dropped in this order: the spoke ends before what it watches.
    pub fleet: Fleet,
    pub cluster: Cluster,
    manifest: String,
}

impl Installed {
    /// Applies the manifest of a cluster that joins. The spoke does not run yet.
    pub async fn start(files: &[(&str, String)], options: &[&str]) -> Self {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let catalog = Repository::with("catalog", &files).unwrap();
        let cluster = Cluster::start(Options { name: "fra-1".to_owned(), workloads: false });
        let (fleet, cluster) = tokio::join!(Fleet::start(catalog), cluster);
        let (fleet, cluster) = (fleet.unwrap(), cluster.unwrap());
        for namespace in GIVEN {
            cluster.kubectl(&["create", "namespace", namespace]).await.unwrap();
        }
        let join = [&["cluster", "join", "fra-1", "-o", "manifest"], options].concat();
        let printed = fleet.hub(&join).await.unwrap();
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let installed = Self { fleet, cluster, manifest: printed.stdout };
        installed.apply_again().await;
        installed
    }

    /// Applies the same manifest, as after somebody changed something of it.
    pub async fn apply_again(&self) {
        self.cluster.apply(&self.manifest).await.unwrap();
    }

    async fn get(&self, object: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.cluster.kubectl(&["get", "-n", OWN, object, "-o", "json"]).await?)?)
    }

    /// The container of the Deployment, in a pod of this name, which then is there.
    pub async fn container(&self, pod: &str) -> Program {
        self.prepare(pod).await.unwrap()
    }

    async fn prepare(&self, pod: &str) -> Result<Program> {
        let spec = self.pod(pod).await?;
        let account = spec["serviceAccountName"].as_str().context("an account")?;
        let kubeconfig = self.cluster.service_account(OWN, account).await?;
        let mut program = Program::built("spoke")?.env("KUBECONFIG", kubeconfig).env("HOME", "/nonexistent");
        program = program.args(arguments(&spec)?);
        for (name, value) in self.environment(&spec, pod).await? {
            program = program.env(&name, value);
        }
        Ok(program)
    }

    /// A pod of the Deployment, which then is there: its spec.
    pub async fn pod(&self, name: &str) -> Result<Value> {
        let deployment = self.get("deployment/nave-spoke").await?;
        let mut template = deployment["spec"]["template"].clone();
        template["apiVersion"] = "v1".into();
        template["kind"] = "Pod".into();
        template["metadata"]["name"] = name.into();
        template["metadata"]["namespace"] = OWN.into();
        self.cluster.apply(&template.to_string()).await?;
        Ok(template["spec"].take())
    }

    /// The variables of the container in a pod of this name; a path below a mount is where its content is here.
    pub async fn environment(&self, spec: &Value, pod: &str) -> Result<Vec<(String, OsString)>> {
        let container = &spec["containers"][0];
        let mounted = self.mounted(spec, container).await?;
        let mut all = Vec::new();
        for variable in container["env"].as_array().context("an environment")? {
            let Some(value) = self.value_of(variable, pod).await? else { continue };
            let here = mounted
                .iter()
                .find_map(|(at, path)| Some(path.join(value.strip_prefix(at)?.strip_prefix('/')?)));
            let name = variable["name"].as_str().context("a name")?.to_owned();
            all.push((name, here.map_or_else(|| value.into(), PathBuf::into_os_string)));
        }
        Ok(all)
    }

    /// The ConfigMaps that are mounted, as files: where the container sees them, and where they are.
    async fn mounted(&self, spec: &Value, container: &Value) -> Result<Vec<(String, PathBuf)>> {
        let mut mounted = Vec::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volumes = spec["volumes"].as_array().context("volumes")?;
            let volume =
                volumes.iter().find(|volume| volume["name"] == mount["name"]).context("its volume")?;
            let Some(map) = volume["configMap"]["name"].as_str() else { continue };
            let directory = self.cluster.directory().join(map);
            std::fs::create_dir_all(&directory)?;
            let data = self.get(&format!("configmap/{map}")).await?;
            for (name, text) in data["data"].as_object().context("data")? {
                std::fs::write(directory.join(name), text.as_str().unwrap_or_default())?;
            }
            mounted.push((mount["mountPath"].as_str().context("a path")?.to_owned(), directory));
        }
        Ok(mounted)
    }

    /// What the kubelet makes of a variable; `None` where an optional source is not there.
    async fn value_of(&self, variable: &Value, pod: &str) -> Result<Option<String>> {
        if let Some(value) = variable["value"].as_str() {
            return Ok(Some(value.to_owned()));
        }
        let from = &variable["valueFrom"];
        match from["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => return Ok(Some(pod.to_owned())),
            Some("metadata.namespace") => return Ok(Some(OWN.to_owned())),
            _ => {}
        }
        let (name, key) = (&from["secretKeyRef"]["name"], &from["secretKeyRef"]["key"]);
        let (name, key) = (name.as_str().context("{variable}")?, key.as_str().context("a key")?);
        match self.get(&format!("secret/{name}")).await {
            Ok(secret) => {
                let value = secret["data"][key].as_str().context("the key")?;
                Ok(Some(String::from_utf8(STANDARD.decode(value)?)?))
            }
            Err(_) if from["secretKeyRef"]["optional"] == true => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts the spoke in a pod of this name, in place of one that may run.
    pub async fn run(&mut self, pod: &str) {
        self.fleet.kill_spoke("fra-1");
        let program = self.container(pod).await;
        self.fleet.adopt_spoke("fra-1", program).unwrap();
    }

    /// Starts it for the first time, and waits until the hub counts its cluster.
    pub async fn join(&mut self, pod: &str) {
        self.run(pod).await;
        self.fleet.connected(1).await;
    }

    /// Another command of the spoke, with its account, as `kubectl exec` would run it in the pod `spoke-1`.
    pub async fn says(&self, command: &[&str]) -> (bool, String) {
        let account = self.cluster.service_account(OWN, "nave-spoke").await.unwrap();
        let deployment = self.get("deployment/nave-spoke").await.unwrap();
        let spec = &deployment["spec"]["template"]["spec"];
        let mut program = Program::built("spoke").unwrap().args(command).env("KUBECONFIG", account);
        for (name, value) in self.environment(spec, "spoke-1").await.unwrap() {
            program = program.env(&name, value);
        }
        match program.output(LIMIT).await {
            Ok(text) => (true, text),
            Err(error) => (false, format!("{error:#}")),
        }
    }

    /// Waits until `spoke doctor` finds no fault: the status that it reads is written a few seconds after the fact.
    pub async fn is_well(&self) {
        until("the doctor finds no fault", LIMIT, async || {
            let (well, said) = self.says(&["doctor"]).await;
            ensure!(well, "{said}");
            Ok(())
        })
        .await;
    }

    /// Waits until the last commit is everywhere.
    pub async fn converge(&self) {
        let head = self.fleet.catalog.head().unwrap();
        // What failed before is told until the spoke has looked again, and `hub wait` ends with it.
        until("the last commit is everywhere", LIMIT, async || {
            self.fleet.converge(&["--commit", &head]).await
        })
        .await;
    }

    /// Waits until a ConfigMap `namespace/name` has this value.
    pub async fn value(&self, object: &str, wanted: &str) {
        until(&format!("{object} is {wanted}"), LIMIT, async || {
            let seen = self.cluster.config_map(object).await?;
            ensure!(seen == wanted, "{seen}\n{}", self.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// Waits until the hub tells this of an app.
    pub async fn told(&self, app: &str, words: &[&str]) {
        until(&format!("the hub tells {words:?} of {app}"), LIMIT, async || {
            let status = self.fleet.status().await?;
            let groups = status["groups"].as_array().context("status has groups")?;
            let told = |group: &&Value| {
                group["app"] == app && words.iter().all(|word| group["message"].to_string().contains(word))
            };
            groups.iter().find(told).with_context(|| format!("{groups:#?}\n{}", self.fleet.tails()))?;
            Ok::<_, anyhow::Error>(())
        })
        .await;
    }
}

/// The arguments of a pod's container.
pub fn arguments(spec: &Value) -> Result<Vec<String>> {
    let arguments = spec["containers"][0]["args"].as_array().context("arguments")?;
    arguments.iter().map(|argument| Ok(argument.as_str().context("a text")?.to_owned())).collect()
}
