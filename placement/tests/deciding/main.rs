//! Deciding: stories that read as what users see, and laws that hold for every fleet.
//!
//! Each file of `tests/decisions` is a story: catalog documents, `Cluster` documents whose `status` says what spokes report,
//! then what is decided, again and again with what was decided before. Lines that begin with `>` are what came of it; with
//! `UPDATE=1` they are written anew. After every step the independent checker looks at it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod laws;
mod mutations;
mod story;
mod world;

use std::path::Path;

#[test]
fn every_story_is_decided_as_it_is_told() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let told = std::fs::read_to_string(&path).unwrap();
        let went = story::play(&told);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &went).unwrap();
        } else if told != went {
            wrong.push(format!("{}:\n{went}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
