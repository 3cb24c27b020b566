//! A secret value that is looked for wherever it must not be.
//!
//! In: texts, files, directories. Out: where it was found, and how it was spelt. Compressed files are looked into.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nave_placement::Digest;

/// The value and all that would give it away.
#[derive(Debug)]
pub struct Canary {
    value: String,
    spellings: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// A value that was never written anywhere before.
    pub fn new() -> Self {
        let letters: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        Self::of(format!("canary-{letters}"))
    }

    /// Of a given value, which has to be rare.
    pub fn of(value: impl Into<String>) -> Self {
        let value = value.into();
        let bytes = value.as_bytes();
        let mut spellings = vec![
            ("plain", bytes.to_vec()),
            ("as hex", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
            ("as its digest", Digest::of(bytes).to_string().into_bytes()),
        ];
        // Base64 of it inside something longer, at each of three offsets, without the characters its neighbours share.
        for offset in 0..3 {
            let padded = [&vec![0; offset], bytes].concat();
            let encoded = STANDARD.encode(&padded[..padded.len() / 3 * 3]);
            spellings.push(("as base64", encoded.as_bytes()[[0, 2, 3][offset]..].to_vec()));
        }
        Self { value, spellings }
    }

    /// The value itself.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// How it is spelt in these bytes, if it is.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let found = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        self.spellings.iter().find(|(_, wanted)| found(wanted)).map(|(how, _)| *how)
    }

    /// The files below a directory that hold it; and how many were looked at, so that an empty search is noticed.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn search(&self, directory: &Path, but: &[&Path]) -> Result<(Vec<PathBuf>, usize)> {
        let (mut found, mut looked, mut open) = (Vec::new(), 0, vec![directory.to_owned()]);
        while let Some(next) = open.pop() {
            if but.iter().any(|but| next.starts_with(but)) {
                continue;
            }
            let kind = std::fs::symlink_metadata(&next)?.file_type();
            if kind.is_dir() {
                for entry in std::fs::read_dir(&next)? {
                    open.push(entry?.path());
                }
            } else if kind.is_file() {
                let bytes = std::fs::read(&next).with_context(|| next.display().to_string())?;
                // What is no zstd is looked at as it is.
                let inside = zstd::decode_all(&*bytes).unwrap_or_default();
                looked += 1;
                if self.found_in(&bytes).or_else(|| self.found_in(&inside)).is_some() {
                    found.push(next);
                }
            }
        }
        Ok((found, looked))
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_every_spelling_and_nowhere_else() {
        let canary = Canary::new();
        let value = canary.value();
        for before in ["", "a", "ab", "abc"] {
            let inside = format!("{before}{value} and more");
            assert_eq!(canary.found_in(STANDARD.encode(&inside).as_bytes()), Some("as base64"), "{before}");
            assert_eq!(canary.found_in(inside.as_bytes()), Some("plain"));
        }
        assert_eq!(
            canary.found_in(Digest::of(value.as_bytes()).to_string().as_bytes()),
            Some("as its digest")
        );
        assert_eq!(canary.found_in(Canary::new().value().as_bytes()), None);
        let directory = tempfile::tempdir().expect("a directory");
        let zipped = directory.path().join("zipped");
        std::fs::write(&zipped, zstd::encode_all(value.as_bytes(), 3).expect("compressed")).expect("written");
        std::fs::write(directory.path().join("other"), "nothing").expect("written");
        assert_eq!(canary.search(directory.path(), &[]).expect("readable"), (vec![zipped.clone()], 2));
        assert_eq!(canary.search(directory.path(), &[&zipped]).expect("readable"), (vec![], 1));
    }
}
