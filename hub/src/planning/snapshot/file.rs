//! File: how a snapshot is written.
//!
//! ```text
//! nave-snapshot 1          this line is not compressed; 2: with catalogs of tenants
//! {"header":{…}}           from here on zstd; one JSON document a line
//! {"record":{…}}           …
//! {"catalog":{…}}          what follows of files is this tenant's
//! {"end":{"lines":412}}    without it, it is not whole
//! ```
//!
//! In: parts, one after another. Out: bytes; and back. Never: takes a part of a snapshot for a whole one.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nave_placement::catalog::{BlobId, CommitId, FileKind, Tree, TreeEntry};
use nave_placement::{CatalogName, Digest};
use serde::{Deserialize, Serialize};

use super::{Good, Header, Own, Snapshot};
use crate::state::{RecordError, State};
use crate::store::Version;

/// The version that is written, and the newest that can be read.
pub const VERSION: u32 = 2;
/// The version of one of a hub with the root catalog alone.
const PLAIN: u32 = 1;
/// What every snapshot begins with.
const MAGIC: &str = "nave-snapshot ";
/// zstd's default.
const LEVEL: i32 = 3;
/// The longest line: a bundle of 64 MiB in base64, with room.
const MAX_LINE: u64 = 96 << 20;
/// What all lines may have: a fleet of ten thousand clusters has some hundred MiB.
const MAX_BYTES: u64 = 4 << 30;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is something else.
    #[error("it is no snapshot; `hub snapshot` writes one")]
    NoSnapshot,
    /// A newer program wrote it.
    #[error(
        "it is a snapshot of version {found}, and this program reads up to {VERSION}; use the hub's own version of it"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Its end is not there.
    #[error("it is not whole: it ends after {lines} lines; take it anew with `hub snapshot`")]
    Truncated {
        /// Lines that could be read.
        lines: u64,
    },
    /// It holds what is no part of a snapshot.
    #[error("line {line} of it cannot be read; take it anew with `hub snapshot`")]
    Damaged {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is larger than any fleet's.
    #[error("it has more than {} GiB", MAX_BYTES >> 30)]
    TooLarge,
    /// A record of it is none.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A part of a snapshot. Bytes are base64: a reader of lines finds each whole.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Header(Header),
    Record {
        key: String,
        value: String,
    },
    Catalog {
        name: CatalogName,
    },
    File {
        path: Arc<str>,
        kind: Kind,
        blob: Arc<str>,
        size: u64,
    },
    Document {
        path: Arc<str>,
        text: String,
    },
    Good {
        commit: CommitId,
        file: Arc<str>,
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<Arc<str>>,
    },
    Bundle {
        digest: Digest,
        bytes: String,
    },
    End {
        lines: u64,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kind {
    File,
    Symlink,
    Submodule,
}

/// Writes a snapshot.
pub struct Writer {
    out: zstd::stream::write::Encoder<'static, Vec<u8>>,
    lines: u64,
}

impl Writer {
    /// With its header.
    ///
    /// # Errors
    /// When zstd fails.
    pub fn new(header: &Header) -> io::Result<Self> {
        let version = if header.tenants.is_empty() { PLAIN } else { VERSION };
        let begin = format!("{MAGIC}{version}\n").into_bytes();
        let mut out = zstd::stream::write::Encoder::new(begin, LEVEL)?;
        out.include_checksum(true)?;
        let mut writer = Self { out, lines: 0 };
        writer.line(&Line::Header(header.clone()))?;
        Ok(writer)
    }

    /// A record of the store.
    ///
    /// # Errors
    /// When zstd fails; so all below.
    pub fn record(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        self.line(&Line::Record { key: key.to_owned(), value: STANDARD.encode(value) })
    }

    /// What follows of files is of this tenant's catalog.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn catalog(&mut self, name: &CatalogName) -> io::Result<()> {
        self.line(&Line::Catalog { name: name.clone() })
    }

    /// The files of the commit in effect.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn tree(&mut self, tree: &Tree) -> io::Result<()> {
        for (path, TreeEntry { kind, blob, size }) in tree {
            let kind = match kind {
                FileKind::File => Kind::File,
                FileKind::Symlink => Kind::Symlink,
                FileKind::Submodule => Kind::Submodule,
            };
            self.line(&Line::File { path: path.clone(), kind, blob: blob.0.clone(), size: *size })?;
        }
        Ok(())
    }

    /// A file of it that holds catalog documents.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn document(&mut self, path: &Arc<str>, text: &[u8]) -> io::Result<()> {
        self.line(&Line::Document { path: path.clone(), text: STANDARD.encode(text) })
    }

    /// A file of an earlier commit.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn good(&mut self, good: &Good) -> io::Result<()> {
        let Good { commit, file, text, paths } = good.clone();
        self.line(&Line::Good { commit, file, text: STANDARD.encode(text), paths })
    }

    /// A bundle, without the values of Secrets.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn bundle(&mut self, digest: Digest, stripped: &[u8]) -> io::Result<()> {
        self.line(&Line::Bundle { digest, bytes: STANDARD.encode(stripped) })
    }

    /// Bytes that are written so far, compressed.
    pub fn written(&self) -> usize {
        self.out.get_ref().len()
    }

    /// The whole file.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        let lines = self.lines;
        self.line(&Line::End { lines })?;
        self.out.finish()
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.lines += 1;
        self.out.write_all(b"\n")
    }
}

/// Reads a snapshot.
///
/// # Errors
/// [`ReadError`].
pub fn read(bytes: &[u8]) -> Result<Snapshot, ReadError> {
    let rest = versioned(bytes)?;
    let damaged =
        |line, source: Box<dyn std::error::Error + Send + Sync>| ReadError::Damaged { line, source };
    let decoder = zstd::stream::read::Decoder::with_buffer(rest).map_err(|e| damaged(1, e.into()))?;
    let mut lines = BufReader::new(decoder.take(MAX_BYTES + 1));
    let (mut reading, mut number, mut total) = (Reading::default(), 0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        // A compressed stream that is cut off ends with an error, or with half a line.
        let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        let is_whole = matches!(read, Ok(bytes) if bytes > 0) && text.last() == Some(&b'\n');
        if !is_whole {
            return Err(ReadError::Truncated { lines: number });
        }
        total += text.len() as u64;
        if total > MAX_BYTES {
            return Err(ReadError::TooLarge);
        }
        number += 1;
        let line: Line = serde_json::from_slice(&text).map_err(|e| damaged(number, e.into()))?;
        if let Line::End { lines: said } = line {
            // Behind it is zstd's checksum alone.
            let is_end = lines.read(&mut [0]).is_ok_and(|more| more == 0);
            return match reading.header {
                Some(header) if is_end && said == number - 1 => Ok(reading.parts.with(header)),
                _ => Err(ReadError::Truncated { lines: number }),
            };
        }
        reading.take(line).map_err(|error| match error {
            Failure::Base64(error) => damaged(number, error.into()),
            Failure::Record(error) => error.into(),
        })?;
    }
}

/// What follows the line that names the version.
fn versioned(bytes: &[u8]) -> Result<&[u8], ReadError> {
    let rest = bytes.strip_prefix(MAGIC.as_bytes()).ok_or(ReadError::NoSnapshot)?;
    let end = rest.iter().take(12).position(|byte| *byte == b'\n').ok_or(ReadError::NoSnapshot)?;
    let version = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<u32>().ok());
    match version {
        Some(version) if version <= VERSION => Ok(&rest[end + 1..]),
        Some(found) => Err(ReadError::Newer { found }),
        None => Err(ReadError::NoSnapshot),
    }
}

#[derive(Default)]
struct Reading {
    header: Option<Header>,
    parts: Parts,
}

#[derive(Default)]
struct Parts {
    state: State,
    /// Of the root, then of each tenant.
    root: Own,
    tenants: BTreeMap<CatalogName, Own>,
    /// Whose files follow.
    tenant: Option<CatalogName>,
    bundles: HashMap<Digest, Bytes>,
}

impl Parts {
    fn own(&mut self) -> &mut Own {
        match &self.tenant {
            Some(name) => self.tenants.entry(name.clone()).or_default(),
            None => &mut self.root,
        }
    }

    fn with(self, header: Header) -> Snapshot {
        let Self { state, root, mut tenants, bundles, .. } = self;
        tenants.insert(header.catalog.clone(), root);
        Snapshot { header, state, owns: tenants, bundles }
    }
}

enum Failure {
    Base64(base64::DecodeError),
    Record(RecordError),
}

impl Reading {
    fn take(&mut self, line: Line) -> Result<(), Failure> {
        let decode = |text: &str| STANDARD.decode(text).map_err(Failure::Base64);
        let parts = &mut self.parts;
        match line {
            Line::Header(header) => self.header = Some(header),
            Line::Record { key, value } => {
                let value = Bytes::from(decode(&value)?);
                parts.state.fold(&key, Version(1), Some(&value)).map_err(Failure::Record)?;
            }
            Line::File { path, kind, blob, size } => {
                let kind = match kind {
                    Kind::File => FileKind::File,
                    Kind::Symlink => FileKind::Symlink,
                    Kind::Submodule => FileKind::Submodule,
                };
                parts.own().tree.insert(path, TreeEntry { kind, blob: BlobId(blob), size });
            }
            Line::Catalog { name } => parts.tenant = Some(name),
            Line::Document { path, text } => {
                _ = parts.own().documents.insert(path, decode(&text)?.into());
            }
            Line::Good { commit, file, text, paths } => {
                parts.own().good.push(Good { commit, file, text: decode(&text)?.into(), paths });
            }
            Line::Bundle { digest, bytes } => _ = parts.bundles.insert(digest, decode(&bytes)?.into()),
            // Its caller ends with it.
            Line::End { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Heard;
    use super::*;

    fn written() -> Vec<u8> {
        let header = Header {
            fleet: "acme".into(),
            catalog: CatalogName::root(),
            directory: "fleet".into(),
            commit: CommitId("1234".into()),
            taken_ms: 7,
            heard: Heard::default(),
            problems: Vec::new(),
            tenants: BTreeMap::new(),
        };
        let mut writer = Writer::new(&header).expect("it begins");
        let entry = TreeEntry { kind: FileKind::File, blob: BlobId("ab".into()), size: 3 };
        writer.tree(&Tree::from([("a.yaml".into(), entry)])).expect("written");
        writer.document(&"a.yaml".into(), b"a: b").expect("written");
        writer.bundle(Digest::of(b"x"), b"{}\n").expect("written");
        writer.finish().expect("it ends")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let snapshot = read(&written()).expect("it is whole");
        assert_eq!((&*snapshot.header.fleet, snapshot.header.taken_ms), ("acme", 7));
        let own = &snapshot.owns[&CatalogName::root()];
        assert_eq!(own.tree["a.yaml"].size, 3);
        assert_eq!(&*own.documents["a.yaml"], b"a: b");
        assert_eq!(snapshot.bundles().into_iter().collect::<Vec<_>>(), [Digest::of(b"x")]);
    }

    #[test]
    fn what_is_newer_cut_off_or_none_is_refused_by_name() {
        let whole = written();
        for end in (MAGIC.len() + 2)..whole.len() {
            let error = read(&whole[..end]).err().expect("it is cut off");
            assert!(
                matches!(error, ReadError::Truncated { .. } | ReadError::Damaged { line: 1, .. }),
                "{end}: {error}"
            );
        }
        let newer = [b"nave-snapshot 3\n".as_slice(), &whole[MAGIC.len() + 2..]].concat();
        let said = read(&newer).err().expect("it is newer").to_string();
        assert!(said.starts_with("it is a snapshot of version 3, and this program reads up to 2"), "{said}");
        for other in [b"".as_slice(), b"nave-snapshot", b"nave-snapshot x\n", b"PK\x03\x04"] {
            assert!(matches!(read(other), Err(ReadError::NoSnapshot)), "{other:?}");
        }
    }
}
