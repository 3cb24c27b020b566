//! Repositories made by `git`, and a server that runs `git http-backend`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nave_hub::git::{Access, Login, Options, Repository};
use nave_placement::catalog::{CommitId, FileKind, Tree};
use tempfile::TempDir;

/// A scratch directory with a source repository `source` and room for mirrors.
pub struct Scratch {
    pub directory: TempDir,
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.com")])
        .output()
        .expect("git is installed");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "git {arguments:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
    text
}

impl Scratch {
    pub fn new() -> Self {
        Self::with_format("sha1")
    }

    pub fn with_format(format: &str) -> Self {
        let scratch = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(scratch.source()).unwrap();
        scratch.git(&["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        scratch
    }

    pub fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.source(), arguments)
    }

    /// Writes files, commits everything, gives the commit.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> CommitId {
        for (path, content) in files {
            let path = self.source().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    pub fn head(&self) -> CommitId {
        CommitId(self.git(&["rev-parse", "HEAD"]).into())
    }

    pub fn options(&self, url: impl Into<String>) -> Options {
        Options::new(url, self.directory.path().join("data/git/main"))
    }

    /// What reaches a server of this directory.
    pub fn access(&self, ca_file: Option<&str>, login: Login) -> Access {
        let ca_file = ca_file.map(|name| self.directory.path().join(name));
        Access { name: "forge".into(), url: "https://127.0.0.1".into(), login, ca_file, proxy: None }
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn local(&self) -> Repository {
        Repository::open(self.options(format!("file://{}", self.source().display()))).unwrap()
    }

    /// Every file of the source repository with its size and time of change.
    pub fn snapshot(&self) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
        let mut found = Vec::new();
        let mut pending = vec![self.source()];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.path().symlink_metadata().unwrap();
                if meta.is_dir() {
                    pending.push(entry.path());
                }
                found.push((entry.path(), meta.len(), meta.modified().unwrap()));
            }
        }
        found.sort();
        found
    }
}

pub fn paths(tree: &Tree) -> Vec<(&str, FileKind, u64)> {
    tree.iter().map(|(path, entry)| (&**path, entry.kind, entry.size)).collect()
}

pub async fn text(repository: &Repository, tree: &Tree, path: &str) -> String {
    let content = repository.read(&tree[path].blob, 1 << 20).await.unwrap();
    String::from_utf8(content.to_vec()).unwrap()
}

/// `git http-backend` on a loopback port, one thread per connection, ended with the process.
pub struct Server {
    pub address: String,
    pub demands: Arc<Mutex<Demands>>,
}

/// What a test wants of a server.
#[derive(Default)]
pub struct Demands {
    /// Basic credentials (base64) without which nothing is served.
    pub credentials: Option<&'static str>,
    /// Where everything is redirected.
    pub redirect: Option<String>,
    /// How many requests came with credentials.
    pub credentials_seen: usize,
    /// What is answered to a POST below `/app/`, and what was shown there.
    pub issues: Option<String>,
    pub shown: Vec<String>,
    /// How many requests there were, and how many of them were answered with objects.
    pub requests: usize,
    pub packs: usize,
}

impl Server {
    pub fn start(root: &Path) -> Self {
        Self::listen(root, None)
    }

    /// Over TLS, with a certificate of a new CA that is written to `root/ca.pem`.
    pub fn start_tls(root: &Path) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new([]).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(root.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["127.0.0.1".into()]).unwrap();
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key);
        Self::listen(root, Some(Arc::new(config.unwrap())))
    }

    fn listen(root: &Path, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let demands = Arc::<Mutex<Demands>>::default();
        let (root, asked) = (root.to_owned(), demands.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, asked, tls) = (root.clone(), asked.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &root, &asked),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &root, &asked)
                    }
                });
            }
        });
        Self { address, demands }
    }
}

/// Answers one request and closes the connection.
fn serve(stream: impl Read + Write, root: &Path, demands: &Mutex<Demands>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    // As a proxy it is asked for whole URLs, and answers itself.
    let target = target.strip_prefix("http://forge.invalid").map_or(target.clone(), str::to_owned);
    let mut headers = std::collections::BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let length: u64 = header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body).ok()?;
    let mut stream = reader.into_inner();
    let refusal = {
        let mut demands = demands.lock().unwrap();
        if let Some(issued) =
            demands.issues.clone().filter(|_| method == "POST" && target.starts_with("/app/"))
        {
            demands.shown.push(format!("{target} {}", header("authorization")));
            let length = issued.len();
            let head =
                format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            return write!(stream, "{head}{issued}").ok();
        }
        demands.requests += 1;
        demands.credentials_seen += usize::from(headers.contains_key("authorization"));
        if let Some(to) = &demands.redirect {
            Some(format!("302 Found\r\nLocation: {to}{target}"))
        } else if demands.credentials.is_some_and(|c| header("authorization") != format!("Basic {c}")) {
            Some("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"".to_owned())
        } else {
            None
        }
    };
    if let Some(refusal) = refusal {
        return write!(stream, "HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .envs([
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ])
        .envs([("PATH_INFO", path), ("QUERY_STRING", query), ("REQUEST_METHOD", &method)])
        .envs([
            ("CONTENT_TYPE", header("content-type")),
            ("HTTP_CONTENT_ENCODING", header("content-encoding")),
        ])
        .envs([("CONTENT_LENGTH", length.to_string()), ("GIT_PROTOCOL", header("git-protocol"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(&body).ok()?;
    let output = child.wait_with_output().ok()?.stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    let body = &output[end + 4..];
    let length = body.len();
    demands.lock().unwrap().packs += usize::from(body.windows(8).any(|w| w == b"packfile"));
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
        .ok()?;
    stream.write_all(body).ok()?;
    stream.flush().ok()
}
