//! The contract of every place for records, as one test that each of them has to pass.
//!
//! In: an empty place. Out: a panic that says which promise it broke. Never: knows which place it is.

use super::keep::{Found, Keep};

/// Checks a place, with records of up to so many bytes.
///
/// # Panics
/// When it breaks a promise.
pub async fn check(keep: &dyn Keep, bytes: usize) {
    let large: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    let name = "assignment";
    let read = async |what: &str| keep.read(name).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let write = async |content: &[u8]| keep.write(name, content).await.expect("it is written");
    assert_eq!(read("before anything was stored").await, Found::Missing);
    for content in [&b"one"[..], &large, b"two", &large[1..], &large, &large] {
        write(content).await;
        let found = read("after a write").await;
        assert!(found == Found::Whole(content.to_vec()), "{} bytes did not come back", content.len());
    }
    for (name, content) in [("bundles/ab", &b"x"[..]), ("bundles/cd", b"")] {
        keep.write(name, content).await.expect("it is written");
        assert_eq!(keep.read(name).await.expect("it is read"), Found::Whole(content.to_vec()), "{name}");
    }
    let listed = keep.list("bundles/").await.expect("it is listed");
    assert_eq!(listed, ["bundles/ab", "bundles/cd"].map(str::to_owned).into());
    keep.remove("bundles/ab").await.expect("it is removed");
    keep.remove("bundles/ab").await.expect("it is removed already");
    assert_eq!(keep.list("bundles/").await.expect("it is listed"), ["bundles/cd".to_owned()].into());
    keep.set_aside(name).await.expect("it is set aside");
    assert_eq!(read("after it was set aside").await, Found::Missing);
    write(b"again").await;
    assert_eq!(read("written again").await, Found::Whole(b"again".to_vec()));
    keep.still_held().await.expect("nobody else has it");
}
