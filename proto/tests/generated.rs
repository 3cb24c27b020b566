//! The generated code that is checked in is what the `.proto` files give.
//!
//! `NAVE_BLESS=1 cargo test -p nave-proto --test generated` writes it anew after a change.

use std::path::Path;

const PROTOS: &[&str] = &[
    "nave/v1/assignment.proto",
    "nave/v1/content.proto",
    "nave/v1/enrolment.proto",
    "nave/v1/operator.proto",
    "nave/v1/session.proto",
    "nave/v1/store.proto",
];

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(PROTOS, [root]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".nave.v1.InlineBundle.zstd")
        .bytes(".nave.v1.Chunk.data")
        .bytes(".nave.v1.KeyedEntry.entry")
        .btree_map(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("code is generated");
}

#[test]
fn the_generated_code_is_up_to_date() {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    if std::env::var_os("NAVE_BLESS").is_some() {
        generate(&checked_in);
        return;
    }
    let fresh = tempfile::tempdir().expect("a directory");
    generate(fresh.path());
    let read = |dir: &Path| std::fs::read_to_string(dir.join("nave.v1.rs")).expect("generated file");
    assert!(
        read(fresh.path()) == read(&checked_in),
        "run NAVE_BLESS=1 cargo test -p nave-proto --test generated"
    );
}
