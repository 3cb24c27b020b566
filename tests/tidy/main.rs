//! The rules of this repository that no other tool checks. Each is a test; a breach is shown as `file:line: why`.

mod samples;
mod tree;

use std::fs;
use std::path::Path;

use tree::{assert_none, files, top};

/// Four hundred lines are a question, six hundred are two files.
const LONGEST_FILE: usize = 600;

const PACKAGES: [&str; 4] = ["hub/src", "spoke/src", "placement/src", "proto/src"];

/// Files that may let time pass: where waiting is written once, and where slowness is what is made.
const MAY_SLEEP: [&str; 4] = [
    "tests/harness/wait.rs",
    "tests/harness/proxy.rs",
    "tests/harness/faults/forward.rs",
    // A minute in which nothing happens is what it measures.
    "tests/scenarios/memory.rs",
];

/// What a pure package has no use for: I/O, the clock, chance.
const IMPURE: [&str; 14] = [
    "tokio",
    "futures",
    "kube",
    "k8s-openapi",
    "tonic",
    "reqwest",
    "hyper",
    "redb",
    "etcd-client",
    "gix",
    "rand",
    "fastrand",
    "getrandom",
    "tempfile",
];

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let undocumented = |source: &tree::Source| !source.text.trim_start().starts_with("//!");
    let sources = files("rs").into_iter().filter(|source| !source.is_generated());
    let breaches = sources.filter(undocumented).map(|source| source.breach(1, "does not begin with `//!`"));
    assert_none(breaches);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let sources = files("rs").into_iter().filter(|source| !source.is_generated());
    let breaches = sources.filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LONGEST_FILE)
            .then(|| source.breach(lines, format!("{lines} lines: more than {LONGEST_FILE}")))
    });
    assert_none(breaches);
}

#[test]
fn what_can_fail_is_handled_or_says_why_it_cannot() {
    let sources = files("rs").into_iter().filter(|source| source.is_in(&PACKAGES));
    let sources = sources.filter(|source| !source.is_test() && !source.is_generated());
    let breaches = sources.flat_map(|source| {
        source.without_tests().lines_where(|line| {
            let code = line.split("//").next().unwrap_or(line);
            code.contains(".unwrap()").then(|| "unwrap() outside tests".into())
        })
    });
    assert_none(breaches);
}

#[test]
fn placement_cannot_do_io() {
    let path = top().join("placement/Cargo.toml");
    let manifest = fs::read_to_string(&path).unwrap();
    let mut section = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        // Its tests may read files; what is built into hub and spoke may not.
        let built_in = section.contains("dependencies") && !section.contains("dev-dependencies");
        assert!(!(built_in && IMPURE.contains(&name)), "placement depends on {name}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two parts, so that this file keeps its own rule.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX:"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
    ];
    let sources = ["rs", "proto", "toml", "yaml", "sh", "md"].into_iter().flat_map(files);
    let breaches = sources.filter(|source| !source.is_generated()).flat_map(|source| {
        source.lines_where(|line| {
            let mark = marks.iter().find(|&&mark| line.contains(mark))?;
            Some(format!("{mark} is for an issue, not for the tree"))
        })
    });
    assert_none(breaches);
}

#[test]
fn tests_wait_for_conditions_not_for_time() {
    let sleeps = [concat!("thread::sl", "eep("), concat!("time::sl", "eep("), concat!("sleep_un", "til(")];
    let sources = files("rs").into_iter().filter(|source| source.is_test());
    let sources = sources.filter(|source| !MAY_SLEEP.contains(&source.path.as_str()));
    let breaches = sources.flat_map(|source| {
        source.lines_where(|line| {
            let sleeps = sleeps.iter().any(|sleep| line.contains(sleep));
            sleeps.then(|| "sleeps: use harness::wait, or paused time".into())
        })
    });
    assert_none(breaches);
}

#[test]
fn documents_link_to_files_that_exist() {
    let breaches = files("md").into_iter().flat_map(|document| {
        let directory = top().join(&document.path).parent().map(Path::to_owned).unwrap_or_default();
        document.lines_where(|line| {
            let dangling = links(line).find(|target| !directory.join(target).exists())?;
            Some(format!("{dangling} does not exist"))
        })
    });
    assert_none(breaches);
}

/// The targets of a line's Markdown links that name files, without their fragments.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let of_files =
        targets.filter(|target| !target.contains(':') && !target.starts_with('#') && !target.is_empty());
    of_files.map(|target| target.split('#').next().unwrap_or(target))
}
