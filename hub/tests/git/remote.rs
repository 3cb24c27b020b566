//! Repositories behind HTTP.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nave_hub::git::{FetchError, Login, ReadError, Repository};

use crate::fixture::{Scratch, Server, git, paths, text};

fn shallow_file(scratch: &Scratch) -> bool {
    std::fs::metadata(scratch.directory.path().join("data/git/main/shallow")).is_ok_and(|m| m.len() > 0)
}

#[tokio::test]
async fn the_first_fetch_is_shallow_and_history_comes_when_it_is_asked_for() {
    for format in ["sha1", "sha256"] {
        let scratch = Scratch::with_format(format);
        let server = Server::start(scratch.directory.path());
        let root = scratch.commit(&[("a", "0")], "root");
        let commits: Vec<_> = (1..6).map(|n| scratch.commit(&[("a", &n.to_string())], "more")).collect();
        let repository = Repository::open(scratch.options(format!("{}/source", server.address))).unwrap();
        let head = repository.fetch().await.unwrap().commit;
        assert_eq!(&head, commits.last().unwrap());
        assert!(shallow_file(&scratch), "{format}");
        assert_eq!(paths(&repository.tree(&head).await.unwrap()).len(), 1);

        let next = scratch.commit(&[("b", "1")], "next");
        assert_eq!(repository.fetch().await.unwrap().commit, next);
        assert_eq!(repository.first_parents(Some(&head), &next).await.unwrap(), std::slice::from_ref(&next));
        assert!(repository.is_descendant(&head, &next).await.unwrap());
        assert!(shallow_file(&scratch), "{format}: nothing asked for more history yet");

        assert!(repository.is_descendant(&root, &next).await.unwrap());
        assert!(!shallow_file(&scratch), "{format}");
        let mut expected = commits.clone();
        expected.push(next.clone());
        assert_eq!(repository.first_parents(Some(&root), &next).await.unwrap(), expected);
        git(&scratch.directory.path().join("data/git/main"), &["fsck", "--strict"]);
    }
}

#[tokio::test]
async fn a_force_push_is_no_descendant_and_the_pinned_commit_stays_readable() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.directory.path());
    let root = scratch.commit(&[("a", "0")], "root");
    let old = scratch.commit(&[("a", "old")], "old");
    let options = scratch.options(format!("{}/source/.git", server.address));
    let repository = Repository::open(options.clone()).unwrap();
    assert_eq!(repository.fetch().await.unwrap().commit, old);
    repository.pin(&old).await.unwrap();
    scratch.git(&["reset", "-q", "--hard", &root.0]);
    let new = scratch.commit(&[("a", "new")], "new");
    scratch.git(&["reflog", "expire", "--expire=now", "--all"]);
    scratch.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(repository.fetch().await.unwrap().commit, new);
    assert!(!repository.is_descendant(&old, &new).await.unwrap());
    assert!(repository.is_descendant(&root, &new).await.unwrap());
    // Nobody has the history of `old` any more, so nobody can say what it already held.
    let error = repository.first_parents(Some(&old), &new).await.unwrap_err();
    assert!(matches!(error, ReadError::HistoryCut { .. }), "{error}");
    drop(repository);
    let mirror = scratch.directory.path().join("data/git/main");
    git(&mirror, &["gc", "-q", "--prune=now"]);
    let repository = Repository::open(options).unwrap();
    let tree = repository.tree(&old).await.unwrap();
    assert_eq!(text(&repository, &tree, "a").await, "old");
}

#[tokio::test]
async fn what_the_server_lacks_is_said_by_name() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.directory.path());
    scratch.commit(&[("a", "0")], "root");
    let mut options = scratch.options(format!("{}/source", server.address));
    options.branch = "production".into();
    let error = Repository::open(options).unwrap().fetch().await.unwrap_err();
    assert!(error.to_string().ends_with("has no branch production; it has main"), "{error}");

    let absent = Repository::open(scratch.options(format!("{}/absent", server.address))).unwrap();
    let error = absent.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::NotARepository { .. }), "{error:?}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        Repository::open(scratch.options(format!("http://{closed}/a"))).unwrap().fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
}

/// `me:secret`, in base64.
const SECRET: &str = "bWU6c2VjcmV0";

#[tokio::test]
async fn credentials_are_sent_over_tls_alone_and_never_asked_for() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("a", "0")], "root");
    let plain = Server::start(scratch.directory.path());
    plain.demands.lock().unwrap().credentials = Some(SECRET);
    let error = Repository::open(scratch.options(format!("{}/source", plain.address))).unwrap().fetch().await;
    assert!(matches!(error, Err(FetchError::AuthRefused { .. })), "{error:?}");
    let in_clear = plain.address.replace("http://", "http://me:secret@");
    let error = Repository::open(scratch.options(format!("{in_clear}/source"))).err().unwrap();
    assert!(error.to_string().contains("https://") && !error.to_string().contains("secret"), "{error}");

    let server = Server::start_tls(scratch.directory.path());
    server.demands.lock().unwrap().credentials = Some(SECRET);
    let address = server.address.replace("https://", "https://me:secret@");
    let mut options = scratch.options(format!("{address}/source"));
    options.access = Some(scratch.access(Some("ca.pem"), Login::None));
    let repository = Repository::open(options.clone()).unwrap();
    assert_eq!(repository.fetch().await.unwrap().commit, head);
    assert!(!repository.url().contains("secret"));

    server.demands.lock().unwrap().credentials = Some("b3RoZXI6b3RoZXI=");
    let error = repository.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::AuthRefused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_credentials() {
    let scratch = Scratch::new();
    let back = Server::start_tls(scratch.directory.path());
    let mut cas = std::fs::read_to_string(scratch.directory.path().join("ca.pem")).unwrap();
    let front = Server::start_tls(scratch.directory.path());
    cas += &std::fs::read_to_string(scratch.directory.path().join("ca.pem")).unwrap();
    std::fs::write(scratch.directory.path().join("both.pem"), cas).unwrap();
    let head = scratch.commit(&[("a", "0")], "root");
    front.demands.lock().unwrap().redirect = Some(back.address.clone());
    let url = front.address.replace("https://", "https://me:secret@");
    let mut options = scratch.options(format!("{url}/source"));
    options.access = Some(scratch.access(Some("both.pem"), Login::None));
    let repository = Repository::open(options).unwrap();
    assert_eq!(repository.fetch().await.unwrap().commit, head);
    back.demands.lock().unwrap().credentials = Some(SECRET);
    let error = repository.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::AuthRefused { .. }), "{error:?}");
    assert_eq!(back.demands.lock().unwrap().credentials_seen, 0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_ca_and_a_bad_ca_file_are_named() {
    let scratch = Scratch::new();
    scratch.commit(&[("a", "0")], "root");
    let server = Server::start_tls(scratch.directory.path());
    Server::start_tls(scratch.directory.path());
    for (file, expected) in
        [(Some("ca.pem"), "is not trusted"), (None, "is not trusted"), (Some("gone"), "gone")]
    {
        let mut options = scratch.options(format!("{}/source", server.address));
        options.access = Some(scratch.access(file, Login::None));
        let error = Repository::open(options).unwrap().fetch().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{file:?}: {error:?}");
    }
}

#[test]
fn a_silent_server_neither_delays_the_answer_nor_the_end_of_the_runtime() {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut kept: Vec<_> = listener.incoming().flatten().collect();
        kept.iter_mut().for_each(|s| drop(s.read(&mut [0])));
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut options = scratch.options(url.clone());
    options.timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let error = runtime.block_on(Repository::open(options).unwrap().fetch()).unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error:?}");

    let mut options = scratch.options(url);
    options.mirror = scratch.directory.path().join("second");
    let patient = Repository::open(options).unwrap();
    let given_up =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(100), patient.fetch()).await });
    assert!(given_up.is_err());
    drop(runtime);
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
}
