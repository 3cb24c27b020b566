//! Selectors as `-l` takes them: whatever is read is shown in a form that means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nave_placement::select::Selector;

fuzz_target!(|text: &str| {
    let Ok(selector) = text.parse::<Selector>() else { return };
    let shown = selector.to_string();
    assert_eq!(shown.parse::<Selector>().as_ref(), Ok(&selector), "{text:?} is shown as {shown:?}");
});
