//! The planner, told as stories: given a fleet and apps, when something happens, then assignments, drops, leavings, holds.
//!
//! Each file of `tests/scenarios` is one. Lines that begin with `>` are what came of the line before them; with `UPDATE=1`
//! they are written anew. After every step the independent checker looks at it.

mod check;
mod story;

use std::path::Path;

#[test]
fn every_story_goes_as_it_is_told() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
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
