//! Small words: durations, amounts, names, and what of a cluster is looked at. What is read is shown as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nave_placement::catalog::schema::find;
use nave_placement::select::{Look, Shown, thousandths};
use nave_placement::{AppKey, ClusterName, duration};

fuzz_target!(|text: &str| {
    let _ = duration(text);
    let _ = find(text);
    if let Ok(amount) = thousandths(text) {
        let shown = Shown(amount).to_string();
        // Amounts are read up to fifteen digits.
        if shown.len() <= 15 {
            assert_eq!(thousandths(&shown), Ok(amount), "{text:?} is shown as {shown}");
        }
    }
    if let Ok(look) = text.parse::<Look>() {
        let shown = look.to_string();
        assert_eq!(shown.parse::<Look>().as_ref(), Ok(&look), "{text:?} is shown as {shown:?}");
    }
    if let Ok(name) = text.parse::<ClusterName>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(app) = text.parse::<AppKey>() {
        assert_eq!(app.to_string().parse::<AppKey>().as_ref(), Ok(&app));
    }
});
