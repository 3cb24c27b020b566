//! What is shown to be let in: passwords in files, tokens of GitHub Apps, keys of SSH.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nave_hub::git::{App, FetchError, Login, Repository};

use crate::fixture::{Scratch, Server};

/// `git:secret` and `x-access-token:ghs_one`, in base64.
const SECRET: &str = "Z2l0OnNlY3JldA==";
const TOKEN: &str = "eC1hY2Nlc3MtdG9rZW46Z2hzX29uZQ==";

#[tokio::test]
async fn a_password_in_a_file_is_read_anew_and_what_is_wrong_with_the_file_is_told() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("a", "0")], "root");
    let server = Server::start_tls(scratch.directory.path());
    server.demands.lock().unwrap().credentials = Some(SECRET);
    let password_file = scratch.write("password", "old\n");
    let mut options = scratch.options(format!("{}/source", server.address));
    let login = Login::Basic { username: "git".into(), password_file };
    options.access = Some(scratch.access(Some("ca.pem"), login));
    let repository = Repository::open(options.clone()).unwrap();
    let error = repository.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::AuthRefused { .. }), "{error:?}");
    scratch.write("password", "secret\n");
    assert_eq!(repository.fetch().await.unwrap().commit, head);
    scratch.write("password", " \n");
    let error = repository.fetch().await.unwrap_err();
    assert!(error.to_string().contains("the credentials forge cannot be used"), "{error}");
    let FetchError::NoCredentials { cause, .. } = error else { panic!("{error:?}") };
    assert!(cause.to_string().ends_with("password: it is empty"), "{cause}");

    options.url = options.url.replace("https://", "http://");
    let error = Repository::open(options).err().unwrap();
    assert!(error.to_string().contains("never sent in clear text"), "{error}");
}

#[tokio::test]
async fn a_github_app_shows_a_token_that_its_key_was_exchanged_for_and_asks_for_no_second_one_too_early() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("a", "0")], "root");
    let key = scratch.directory.path().join("app");
    ssh_keygen("rsa", &key);
    let mut asked_for = Vec::new();
    for until in ["2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z"] {
        let server = Server::start_tls(scratch.directory.path());
        {
            let mut demands = server.demands.lock().unwrap();
            demands.credentials = Some(TOKEN);
            demands.issues = Some(format!(r#"{{"token": "ghs_one", "expires_at": "{until}"}}"#));
        }
        let app = App {
            id: "1234".into(),
            installation: "99".into(),
            key_file: key.clone(),
            api: format!("{}/", server.address),
        };
        let mut options = scratch.options(format!("{}/source", server.address));
        options.access = Some(scratch.access(Some("ca.pem"), Login::GitHubApp(app)));
        let repository = Repository::open(options).unwrap();
        assert_eq!(repository.fetch().await.unwrap().commit, head);
        assert_eq!(repository.fetch().await.unwrap().commit, head);
        let shown = server.demands.lock().unwrap().shown.clone();
        asked_for.push(shown.len());
        is_an_assertion(&scratch, &key, shown.last().expect("a token was asked for"));
    }
    assert_eq!(asked_for, [1, 2], "only what ends soon is exchanged");
}

/// By openssl, and what GitHub wants of its claims.
fn is_an_assertion(scratch: &Scratch, key: &Path, shown: &str) {
    let assertion = shown.strip_prefix("/app/installations/99/access_tokens Bearer ").expect("an assertion");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let path = |name: &str| scratch.directory.path().join(name).to_str().unwrap().to_owned();
    scratch.write("signed", signed);
    std::fs::write(path("signature"), URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let key = key.to_str().unwrap();
    run("openssl", &["rsa", "-in", key, "-pubout", "-out", &path("public")]);
    run(
        "openssl",
        &["dgst", "-sha256", "-verify", &path("public"), "-signature", &path("signature"), &path("signed")],
    );
    let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "1234");
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 600, "{claims}");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it is installed");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn ssh_keygen(kind: &str, file: &Path) {
    let file = file.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", kind, "-m", "PEM", "-N", "", "-f", file]);
}

#[tokio::test]
async fn a_repository_that_only_a_proxy_reaches_is_read_through_it() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("a", "0")], "root");
    let proxy = Server::start(scratch.directory.path());
    let mut options = scratch.options("http://forge.invalid/source");
    let mut access = scratch.access(None, Login::None);
    access.proxy = Some(proxy.address.clone());
    options.access = Some(access);
    assert_eq!(Repository::open(options).unwrap().fetch().await.unwrap().commit, head);
}

/// Debian's SSH server, on loopback, for who runs the test.
struct Sshd {
    child: Child,
    port: u16,
    host_key: String,
}

impl Sshd {
    fn start(scratch: &Scratch, authorized: &Path) -> Self {
        let directory = scratch.directory.path();
        let host = directory.join("host");
        ssh_keygen("ed25519", &host);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPidFile none\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            host.display(),
            authorized.with_extension("pub").display()
        );
        let config = scratch.write("sshd.conf", &text);
        let path = std::env::var("PATH").unwrap();
        let sshd =
            std::env::split_paths(&path).map(|directory| directory.join("sshd")).find(|sshd| sshd.exists());
        let sshd = sshd.expect("sshd is not in the path; `tests/run setup` provides it");
        let mut command = Command::new(sshd);
        command
            .args(["-D", "-e", "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::yield_now();
        }
        let public = std::fs::read_to_string(host.with_extension("pub")).unwrap();
        Self { child, port, host_key: public.split(' ').take(2).collect::<Vec<_>>().join(" ") }
    }

    fn known(&self) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.host_key)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_repository_behind_ssh_is_read_by_a_key_and_only_from_a_host_whose_key_is_known() {
    let scratch = Scratch::new();
    let first = scratch.commit(&[("a", "0")], "root");
    let (key, stranger) = (scratch.directory.path().join("id"), scratch.directory.path().join("stranger"));
    ssh_keygen("ed25519", &key);
    ssh_keygen("ed25519", &stranger);
    let sshd = Sshd::start(&scratch, &key);
    let known_hosts_file = scratch.write("known_hosts", &sshd.known());
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let url = format!("ssh://{}@127.0.0.1:{}{}", user.trim(), sshd.port, scratch.source().display());
    let open = |key_file: Option<&Path>| {
        let mut options = scratch.options(url.clone());
        let login =
            Login::Ssh { key_file: key_file.map(Path::to_owned), known_hosts_file: known_hosts_file.clone() };
        options.access = Some(scratch.access(None, login));
        Repository::open(options).unwrap()
    };
    let repository = open(Some(&key));
    assert_eq!(repository.fetch().await.unwrap().commit, first);
    let second = scratch.commit(&[("a", "1"), ("b", "2")], "second");
    assert_eq!(repository.fetch().await.unwrap().commit, second);
    assert!(repository.is_descendant(&first, &second).await.unwrap(), "older history comes by SSH too");
    scratch.git(&["tag", "v1.2.0", &first.0]);
    let meant = repository.fetch_ref(&"^1".parse().unwrap()).await.unwrap();
    assert_eq!((meant.commit, &*meant.name), (first, "v1.2.0"));
    let third = scratch.commit(&[("c", "3")], "third");
    assert_eq!(repository.fetch_ref(&"main".parse().unwrap()).await.unwrap().commit, third);
    let told = repository.fetch_ref(&"nowhere".parse().unwrap()).await.unwrap_err().to_string();
    assert!(told.ends_with("has no branch, tag or commit nowhere; it has main"), "{told}");
    drop(repository);

    // What comes is weighed here as anywhere: a server that never ends is left.
    let public = key.with_extension("pub");
    let allowed = std::fs::read_to_string(&public).unwrap();
    // Messages of 65 520 bytes each, as long as any may be.
    let endless = "command=\"printf '000eversion 2\\n'; exec yes $(printf 'fff0%065515d' 0)\"";
    std::fs::write(&public, format!("{endless} {allowed}")).unwrap();
    let error = open(Some(&key)).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::TooMuch { .. }), "{error:?}");
    std::fs::write(&public, allowed).unwrap();

    let error = open(Some(&stranger)).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::AuthRefused { .. }), "{error:?}");
    let error = open(None).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::AuthRefused { .. }), "without a key or an agent: {error:?}");
    let other = std::fs::read_to_string(stranger.with_extension("pub")).unwrap();
    for known in [String::new(), format!("[127.0.0.1]:{} {other}", sshd.port)] {
        scratch.write("known_hosts", &known);
        let error = open(Some(&key)).fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::UnknownHost { .. }), "{known:?}: {error:?}");
    }
    std::fs::remove_file(&known_hosts_file).unwrap();
    let error = open(Some(&key)).fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NoCredentials { .. }), "{error:?}");

    let error = Repository::open(scratch.options(url)).err().unwrap();
    assert!(error.to_string().contains("give `credentials` for it"), "{error}");
}
