//! The processes of a cluster: what each is started with.
//!
//! In: binaries and etcd. Out: processes, just started; whether they come up is for the caller to see.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use super::kubeconfig;
use crate::port::Port;
use crate::process::{Process, Program};
use crate::tls::Authority;

/// Only this test can reach the server and its life is short: the token guards nothing.
const ADMIN_TOKEN: &str = "token-of-the-administrator";

/// Who changed what, and nothing else: one line a request.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
";

/// What all processes of one cluster share: its files, its address, its binaries.
#[derive(Debug)]
pub(super) struct Components {
    binaries: PathBuf,
    etcd: String,
    port: Port,
    kubelet_port: Port,
    authority: Authority,
    kubeconfig: PathBuf,
    directory: TempDir,
}

impl Components {
    /// Makes the keys and files of a cluster.
    pub fn prepare(binaries: PathBuf, name: &str, etcd: &[String]) -> Result<Self> {
        let directory = TempDir::with_prefix(format!("nave-{name}-"))?;
        let authority = Authority::new()?;
        let (port, kubelet_port) = (Port::take()?, Port::take()?);
        let kubeconfig = directory.path().join("kubeconfig.json");
        let this =
            Self { binaries, etcd: etcd.join(","), port, kubelet_port, authority, kubeconfig, directory };

        let server = this.authority.server(&["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
        fs::write(this.file("server.crt"), server.certificate_pem())?;
        fs::write(this.file("server.key"), server.key_pem())?;
        // Service account tokens are signed by a key of their own; of this identity only the keys are used.
        let tokens = this.authority.server(&["tokens"])?;
        fs::write(this.file("tokens.key"), tokens.key_pem())?;
        fs::write(this.file("tokens.pub"), tokens.public_key_pem())?;
        fs::write(this.file("authority.crt"), this.authority.pem())?;
        fs::write(this.file("audit-policy.yaml"), AUDIT_POLICY)?;
        fs::write(this.file("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n"))?;
        fs::write(
            this.kubeconfig(),
            kubeconfig::text(name, &this.url(), &this.authority.pem(), ADMIN_TOKEN),
        )?;
        Ok(this)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Writes a kubeconfig of another user.
    pub fn kubeconfig_for(&self, user: &str, token: &str) -> Result<PathBuf> {
        let path = self.file(&format!("kubeconfig-{user}.json"));
        fs::write(&path, kubeconfig::text(user, &self.url(), &self.authority.pem(), token))?;
        Ok(path)
    }

    pub fn api_server(&self) -> Result<Process> {
        self.program("kube-apiserver")
            .arg(format!("--etcd-servers={}", self.etcd))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.port()))
            .arg(self.flag("tls-cert-file", "server.crt"))
            .arg(self.flag("tls-private-key-file", "server.key"))
            .arg(self.flag("token-auth-file", "tokens.csv"))
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(self.flag("service-account-key-file", "tokens.pub"))
            .arg(self.flag("service-account-signing-key-file", "tokens.key"))
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // Without it a pod waits for its service account's token, which nobody needs on a hollow node.
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(self.flag("audit-policy-file", "audit-policy.yaml"))
            .arg(self.flag("audit-log-path", "audit.log"))
            .arg("--audit-log-mode=batch")
            .arg("--audit-log-batch-max-wait=1s")
            .start(self.directory())
    }

    /// What the API server wrote down of every request that may change something.
    pub fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    /// Controller manager, scheduler and node.
    pub fn workers(&self) -> Result<Workers> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig().display());
        // Their own ports would collide between clusters, and nobody asks them anything.
        let silent = ["--port=0", "--secure-port=0"];
        let controller_manager = self
            .program("kube-controller-manager")
            .arg(&kubeconfig)
            .args(silent)
            .arg("--leader-elect=false")
            .args(["--kube-api-qps=200", "--kube-api-burst=400"])
            .arg(self.flag("service-account-private-key-file", "tokens.key"))
            .arg(self.flag("root-ca-file", "authority.crt"))
            .start(self.directory())?;
        let scheduler = self
            .program("kube-scheduler")
            .arg(&kubeconfig)
            .args(silent)
            .arg("--leader-elect=false")
            .args(["--kube-api-qps=200", "--kube-api-burst=400"])
            .start(self.directory())?;
        let node = self
            .program("kubemark")
            .arg(&kubeconfig)
            .args(["--morph=kubelet", "--name=node-1", "--kubelet-read-only-port=0"])
            .arg(format!("--kubelet-port={}", self.kubelet_port.number()))
            .start(self.directory())?;
        Ok(Workers(vec![controller_manager, scheduler, node]))
    }

    fn program(&self, name: &str) -> Program {
        // Whatever a component leaves in its temporary directory goes with the cluster's.
        Program::at(self.binaries.join(name)).directory(self.directory()).env("TMPDIR", self.directory())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.file(file).display())
    }
}

/// What makes a cluster run workloads.
#[derive(Debug, Default)]
pub(super) struct Workers(Vec<Process>);

impl Workers {
    /// The last lines of the log of one that has ended, if one has.
    pub fn ended(&mut self) -> Option<String> {
        self.0.iter_mut().find_map(|process| process.status().map(|_| process.tail()))
    }

    /// The last lines of all logs.
    pub fn tail(&self) -> String {
        self.0.iter().map(Process::tail).collect::<Vec<_>>().join("\n")
    }
}
