//! archives: charts as nobody packs them who means well. In: the app's name. Out: the bytes of a tar archive.
//! Never: compresses, or says what should come of them.

use crate::hostile::given::{entry, file, good_chart};

pub fn climbs(app: &str) -> Vec<u8> {
    [good_chart(app), file("c/../../../owned", "owned\n")].concat()
}

pub fn absolute(app: &str) -> Vec<u8> {
    [good_chart(app), file("/owned", "owned\n")].concat()
}

/// A lock file that is a link, beside a `Chart.yaml` that says what would be written through it.
pub fn linked(app: &str) -> Vec<u8> {
    let lock = entry("c/Chart.lock", b'2', "../../../../home/.bashrc", b"");
    [lock, good_chart(app)].concat()
}

pub fn swollen(app: &str) -> Vec<u8> {
    [good_chart(app), entry("c/zeros", b'0', "", &vec![0; 96 << 20])].concat()
}

pub fn countless(app: &str) -> Vec<u8> {
    let many = (0..50_000).flat_map(|number| file(&format!("c/f{number}"), ""));
    good_chart(app).into_iter().chain(many).collect()
}

fn named(name: &str) -> Vec<u8> {
    let chart = format!("apiVersion: v2\nname: \"{name}\"\nversion: 1.0.0\n");
    [file("c/Chart.yaml", &chart), file("c/templates/a.yaml", "kind: ConfigMap\n")].concat()
}

pub fn named_up(_: &str) -> Vec<u8> {
    named("../../owned")
}

pub fn named_dots(_: &str) -> Vec<u8> {
    named("..")
}
