//! A server of charts behind a private authority, and what Helm makes of charts for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::assets;
use harness::charts::ChartServer;
use harness::process::Program;
use harness::tls::Authority;
use nave_hub::charts::{ChartError, Charts, Pinned};
use nave_hub::git::{Access, Login};
use nave_placement::catalog::ChartName;
use nave_placement::render::Contents;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// Both helms.
pub const HELMS: [&str; 2] = ["helm", "helm3"];

/// Room for charts and what is kept of them.
pub struct Given {
    directory: TempDir,
    pub authority: Authority,
}

impl Given {
    pub fn new() -> Self {
        let given = Self {
            directory: tempfile::tempdir().expect("room"),
            authority: Authority::new().expect("it is made"),
        };
        given.write("ca.pem", &given.authority.pem());
        given
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is below")).expect("it is made");
        std::fs::write(&path, text).expect("it is written");
        path
    }

    pub async fn server(&self) -> ChartServer {
        let identity = self.authority.server(&["127.0.0.1", "localhost"]).expect("a certificate");
        ChartServer::start(identity.listener().expect("it listens")).await
    }

    /// What is said of a server: its authority, and a user `me` with this password.
    pub fn access(&self, url: String, password: Option<&str>) -> Access {
        let name = format!("of-{}", url.replace(['/', ':'], "-"));
        let login = password.map_or(Login::None, |password| Login::Basic {
            username: "me".into(),
            password_file: self.write(&format!("{name}.password"), password),
        });
        Access { name, url, login, ca_file: Some(self.path("ca.pem")), proxy: None }
    }

    pub fn charts(&self, credentials: Vec<Access>) -> Charts {
        Charts::new(self.path("room"), credentials)
    }

    /// Those of one server, whose certificate is trusted, both as a repository and as a registry.
    pub fn charts_of(&self, server: &ChartServer) -> Charts {
        self.charts(vec![self.access(server.url("/"), None), self.access(server.oci("/"), None)])
    }

    /// Has Helm pack a chart of these versions, each in a file below `packed`.
    pub async fn packed(&self, helm: &str, name: &str, versions: &[&str]) {
        self.packed_with(helm, name, versions, "kind: ConfigMap\n").await;
    }

    /// The same, with this template.
    pub async fn packed_with(&self, helm: &str, name: &str, versions: &[&str], template: &str) {
        for version in versions {
            let yaml = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
            self.write(&format!("{name}/Chart.yaml"), &yaml);
            self.write(&format!("{name}/values.yaml"), "replicas: 1\n");
            self.write(&format!("{name}/templates/a.yaml"), template);
            self.helm(helm, &["package", name, "-d", "packed"]).await;
        }
    }

    /// Has Helm index what is packed, and puts all of it on a server.
    pub async fn indexed(&self, helm: &str, server: &ChartServer, path: &str, url: Option<&str>) {
        let arguments =
            ["repo", "index", "packed"].into_iter().chain(url.into_iter().flat_map(|url| ["--url", url]));
        self.helm(helm, &arguments.collect::<Vec<_>>()).await;
        for entry in std::fs::read_dir(self.path("packed")).expect("it is there").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            server.put(&format!("{path}/{name}"), std::fs::read(entry.path()).expect("it is read"));
        }
    }

    /// Has Helm push what is packed.
    pub async fn pushed(&self, helm: &str, server: &ChartServer, path: &str) {
        let (door, ca_file) = (server.door_in_clear().await, self.path("ca.pem"));
        let (place, trust) = match helm {
            "helm3" => (door.oci(path), Vec::new()),
            _ => (server.oci(path), vec!["--ca-file", text(&ca_file)]),
        };
        for entry in std::fs::read_dir(self.path("packed")).expect("it is there").flatten() {
            let archive = entry.path();
            if archive.extension().is_some_and(|ending| ending == "tgz") {
                self.helm(helm, &[&["push", text(&archive), &place], &trust[..]].concat()).await;
            }
        }
    }

    async fn helm(&self, helm: &str, arguments: &[&str]) {
        self.told_by(helm, arguments).await.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }

    /// What Helm says, or how it fails.
    pub async fn told_by(&self, helm: &str, arguments: &[&str]) -> Result<String, String> {
        let program = Program::at(assets::binary(helm).expect("tests/setup/kubectl provides it"));
        let home = self.path("home");
        let program = program.args(arguments).directory(self.directory.path()).env("HOME", &home);
        let program = program.env("XDG_CONFIG_HOME", &home).env("XDG_CACHE_HOME", &home);
        program.output(LIMIT).await.map_err(|error| format!("{error:#}"))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is UTF-8")
}

/// A chart by its repository, name and range.
pub fn chart(repository: String, name: &str, version: &str) -> ChartName {
    ChartName {
        repository: repository.into(),
        chart: name.into(),
        version: version.parse().expect(version),
        is_strangers: false,
    }
}

/// The version that is meant, or what is said.
pub fn said(resolved: Result<Pinned, ChartError>) -> String {
    resolved.map_or_else(|error| format!("{error}"), |pinned| pinned.version)
}

pub fn paths(files: &Contents) -> Vec<&str> {
    files.keys().map(|path| &**path).collect()
}
