//! References of Git and ranges of versions: whatever is read is shown in a form that means the same, and the best of some candidates
//! does not depend on their order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nave_placement::catalog::{GitRef, Range};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<GitRef>() {
        let shown = reference.to_string();
        assert_eq!(shown.parse::<GitRef>().as_ref(), Ok(&reference), "{text:?} is shown as {shown:?}");
    }
    let Ok(range) = text.parse::<Range>() else { return };
    let shown = range.to_string();
    assert_eq!(shown.parse::<Range>().as_ref(), Ok(&range), "{text:?} is shown as {shown:?}");
    if let Some(exact) = range.exact().map(ToString::to_string) {
        assert_eq!(range.best([&*exact].into_iter()), Some(&*exact), "{text:?} is not its own");
    }
    let words: Vec<&str> = text.split([' ', ',', '|', '^', '~', '<', '>', '=']).collect();
    assert_eq!(range.best(words.iter().copied()), range.best(words.iter().rev().copied()), "{text:?}");
});
