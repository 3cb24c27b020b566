//! Rooted: a spoke in a root of its own that holds what its image holds and what a pod is given, and nothing else.
//!
//! No image can be built or run where the tests run. What an image can go wrong by is shown all the same: a file that the
//! program looks for and does not find, a place that it writes to and may not. The shared libraries are there only because the
//! program that is built for tests does not bring them, as the one of the image does.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::fleet::documents::{app, config_map, placement};
use harness::process::{Program, binary};
use serde_json::Value;
use tempfile::TempDir;

use crate::installed::{Installed, OWN, arguments};
use crate::stage::LIMIT;

/// Where the kubelet mounts what the account is known by.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";
/// As whom the image and the manifests say that it runs.
const USER: &str = "65532";

/// A directory that nobody may write to, while it is somebody's root.
struct Root(TempDir);

impl Drop for Root {
    fn drop(&mut self) {
        // So that it can be removed.
        let _ = guard(self.0.path(), 0o755);
    }
}

impl Root {
    /// With the program, and what the kubelet mounts for an account.
    async fn new(kubeconfig: &Path) -> Result<Self> {
        let root = Self(TempDir::with_prefix("nave-root-")?);
        let built = binary("spoke")?;
        root.copy(&built, "usr/bin/spoke")?;
        for library in libraries(&built).await {
            root.copy(&library, library.strip_prefix("/")?)?;
        }
        let known: Value = serde_json::from_slice(&fs::read(kubeconfig)?)?;
        let authority = known["clusters"][0]["cluster"]["certificate-authority-data"].as_str();
        let authority = STANDARD.decode(authority.context("an authority")?)?;
        let token = known["users"][0]["user"]["token"].as_str().context("a token")?;
        let account = root.0.path().join(ACCOUNT);
        fs::create_dir_all(&account)?;
        for (name, bytes) in
            [("token", token.as_bytes()), ("ca.crt", &authority), ("namespace", OWN.as_bytes())]
        {
            fs::write(account.join(name), bytes)?;
        }
        guard(root.0.path(), 0o555)?;
        Ok(root)
    }

    fn copy(&self, file: &Path, to: impl AsRef<Path>) -> Result<()> {
        let to = self.0.path().join(to);
        fs::create_dir_all(to.parent().context("a directory")?)?;
        fs::copy(file, &to).with_context(|| format!("copying {}", file.display()))?;
        Ok(())
    }

    /// The program in it, as the user of the image, with this environment alone.
    fn spoke(&self, environment: &[(String, String)]) -> Program {
        let mut program = Program::at("env").arg("-i");
        for (name, value) in environment {
            program = program.arg(format!("{name}={value}"));
        }
        let [user, group] = ["user", "group"].map(|what| format!("--map-{what}={USER}"));
        let root = format!("--root={}", self.0.path().display());
        program.args(["unshare", &user, &group, &root, "--wd=/", "/usr/bin/spoke"])
    }

    /// Every file and directory in it, with its size.
    fn content(&self) -> BTreeMap<PathBuf, u64> {
        let mut content = BTreeMap::new();
        each(self.0.path(), &mut |path| {
            content.insert(path.to_owned(), fs::metadata(path)?.len());
            Ok(())
        })
        .unwrap();
        content
    }
}

/// Calls for everything below a directory, and then for the directory.
fn each(path: &Path, call: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            each(&entry?.path(), call)?;
        }
    }
    call(path)
}

fn guard(root: &Path, mode: u32) -> Result<()> {
    each(root, &mut |path| Ok(fs::set_permissions(path, Permissions::from_mode(mode))?))
}

/// The shared libraries of a program; none of one that brings its own.
async fn libraries(program: &Path) -> Vec<PathBuf> {
    // It fails for a program that needs none.
    let told = Program::at("ldd").arg(program).output(LIMIT).await.unwrap_or_default();
    let paths = told.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

#[tokio::test]
async fn a_spoke_needs_nothing_but_its_program_and_what_its_pod_is_given_and_writes_nowhere() {
    let files = [
        ("web.yaml", app("web").replace("namespace: {name: web}", "namespace: {name: apps}")),
        ("manifests/web/web.yaml", config_map("web", "0")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let mut at = Installed::start(&files, &[]).await;
    let spec = at.pod("spoke-1").await.unwrap();
    let account = spec["serviceAccountName"].as_str().unwrap();
    let root = Root::new(&at.cluster.service_account(OWN, account).await.unwrap()).await.unwrap();
    let before = root.content();
    let given = at.environment(&spec, "spoke-1").await.unwrap();
    let mut environment: Vec<_> =
        given.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect();
    // What every pod is told of its API server.
    let (host, port) = at
        .cluster
        .url()
        .trim_start_matches("https://")
        .split_once(':')
        .map(|(h, p)| (h.to_owned(), p.to_owned()))
        .unwrap();
    environment.push(("KUBERNETES_SERVICE_HOST".to_owned(), host));
    environment.push(("KUBERNETES_SERVICE_PORT".to_owned(), port));

    at.fleet.adopt_spoke("fra-1", root.spoke(&environment).args(arguments(&spec).unwrap())).unwrap();
    at.fleet.connected(1).await;
    at.converge().await;
    at.value("apps/web", "0").await;
    at.fleet.catalog.commit_file("manifests/web/web.yaml", &config_map("web", "1")).unwrap();
    at.converge().await;
    at.value("apps/web", "1").await;
    // As `kubectl exec` would run it.
    let status = root.spoke(&environment).arg("status").output(LIMIT).await.unwrap();
    assert!(status.contains("fra-1"), "{status}");
    assert_eq!(root.content(), before, "nothing was written");

    // That nothing can be written there is so, and not only never tried.
    let state = ["run", "--state-dir", "/state"];
    let refused = root.spoke(&environment).args(state).output(LIMIT).await.unwrap_err().to_string();
    assert!(refused.contains("/state") && refused.contains("Permission denied"), "{refused}");
}
