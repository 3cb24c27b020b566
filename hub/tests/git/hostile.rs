//! What a catalog's author may do to us by accident or on purpose.

use nave_hub::git::{FetchError, Login, ReadError, Repository};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::fixture::Scratch;

#[tokio::test]
async fn a_file_above_the_limit_is_refused_by_its_size() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("big", &"x".repeat(5000)), ("small", "x")], "one");
    scratch.git(&["repack", "-adq"]);
    let repository = scratch.local();
    repository.fetch().await.unwrap();
    let tree = repository.tree(&head).await.unwrap();
    let error = repository.read(&tree["big"].blob, 4999).await.unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { size: 5000, limit: 4999, .. }), "{error}");
    assert_eq!(repository.read(&tree["big"].blob, 5000).await.unwrap().len(), 5000);
    let all = repository.read_all(vec![tree["small"].blob.clone(), tree["big"].blob.clone()], 10).await;
    assert!(matches!(all[..], [Ok(_), Err(ReadError::TooLarge { .. })]));
}

#[tokio::test]
async fn too_many_paths_are_refused_also_when_they_are_nested_copies_of_one_directory() {
    let scratch = Scratch::new();
    let mut tree = make_tree(&scratch, "");
    // 10^8 directories in nine objects.
    for _ in 0..8 {
        let lines: String = (0..10).map(|n| format!("040000 tree {tree}\td{n}\n")).collect();
        tree = make_tree(&scratch, &lines);
    }
    let head = scratch.git(&["commit-tree", "-m", "bomb", &tree]);
    scratch.git(&["update-ref", "refs/heads/main", &head]);
    let mut options = scratch.options(scratch.source().to_str().unwrap());
    options.max_paths = 1000;
    let repository = Repository::open(options).unwrap();
    let head = repository.fetch().await.unwrap();
    let error = repository.tree(&head.commit).await.unwrap_err();
    assert!(matches!(error, ReadError::TooManyPaths { limit: 1000, .. }), "{error}");
}

#[tokio::test]
async fn a_path_that_climbs_out_is_refused() {
    let scratch = Scratch::new();
    let blob = {
        scratch.commit(&[("a", "1")], "one");
        scratch.git(&["rev-parse", "HEAD:a"])
    };
    // `git mktree` refuses such a name, so the object is written as it is.
    let id: Vec<u8> =
        (0..blob.len()).step_by(2).map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap()).collect();
    let raw = [b"100644 ..\0".as_slice(), &id].concat();
    let tree = feed(&scratch, &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &raw);
    let head = scratch.git(&["commit-tree", "-m", "climb", &tree]);
    scratch.git(&["update-ref", "refs/heads/main", &head]);
    let repository = scratch.local();
    let head = repository.fetch().await.unwrap();
    let error = repository.tree(&head.commit).await.unwrap_err();
    assert!(matches!(&error, ReadError::BadPath { path, .. } if path == ".."), "{error}");
}

fn make_tree(scratch: &Scratch, lines: &str) -> String {
    feed(scratch, &["mktree"], lines.as_bytes())
}

fn feed(scratch: &Scratch, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(scratch.source())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_link_local_address_is_not_asked_for_a_catalog_however_it_is_written() {
    let scratch = Scratch::new();
    let known_hosts_file = scratch.write("known_hosts", "");
    let ssh = Login::Ssh { key_file: None, known_hosts_file };
    for url in [
        "http://169.254.7.7/shop",
        "http://2851997447/shop",
        "https://0xa9fe0707/shop",
        "http://[::ffff:169.254.7.7]/shop",
        "ssh://git@2851997447/shop",
        "ssh://git@[::ffff:169.254.7.7]:2222/shop",
        "git@169.254.7.7:shop",
    ] {
        let mut options = scratch.options(url);
        options.is_guarded = true;
        if !url.starts_with("http") {
            options.access = Some(scratch.access(None, ssh.clone()));
        }
        let told = Repository::open(options).expect("it can be opened").fetch().await.expect_err(url);
        assert!(matches!(told, FetchError::Forbidden { .. }), "{url}: {told:?}");
    }
}
