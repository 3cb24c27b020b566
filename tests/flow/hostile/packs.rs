//! packs: packs that no `git` would send. In: the app's name. Out: what a server answers, byte by byte; some of it without end.
//! Never: checks anything; makes more of what is sent than its beginning.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use harness::fleet::documents;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const OFFSET_DELTA: u8 = 6;
const ID_DELTA: u8 = 7;
/// Most bytes in one packet of a pack.
const PACKET: usize = 65_515;
/// The zeros that bombs are made of.
const ZEROS: usize = 1 << 20;

/// What is sent, and what again and again after it.
pub struct Sent {
    pub first: Vec<u8>,
    pub then: Option<Vec<u8>>,
}

/// A repository that stands on one branch.
pub struct Repository {
    /// What is told of the branches.
    pub references: Sent,
    /// What is sent of the branch that is wanted.
    pub pack: Sent,
}

impl Repository {
    fn new(head: &str, pack: Sent) -> Self {
        let line = packet(format!("{head} refs/heads/main\n").as_bytes());
        Self { references: Sent { first: [line, b"0000".to_vec()].concat(), then: None }, pack }
    }
}

/// A line of Git's protocol.
pub fn packet(content: &[u8]) -> Vec<u8> {
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

/// On the band of packs, or of messages.
fn on(band: u8, content: &[u8]) -> Vec<u8> {
    content.chunks(PACKET).flat_map(|chunk| packet(&[&[band], chunk].concat())).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As zlib has it; what is short is stored as it is, which is done at once however often.
fn zipped(content: &[u8]) -> Vec<u8> {
    if content.len() < 100 {
        let (low, high) = content.iter().fold((1_u32, 0_u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % 65_521;
            (low, (high + low) % 65_521)
        });
        let length = content.len() as u8;
        let sum = (high << 16 | low).to_be_bytes();
        return [&[0x78, 0x01, 0x01, length, 0, !length, 0xff][..], content, &sum].concat();
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory is written");
    encoder.finish().expect("memory is written")
}

/// An object's kind and size.
fn head(kind: u8, mut size: u64) -> Vec<u8> {
    let mut found = vec![kind << 4 | (size & 0x0f) as u8];
    size >>= 4;
    while size > 0 {
        *found.last_mut().expect("it begins") |= 0x80;
        found.push((size & 0x7f) as u8);
        size >>= 7;
    }
    found
}

/// A number as deltas have it.
fn number(mut number: u64) -> Vec<u8> {
    let mut found = Vec::new();
    while number > 0x7f {
        found.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    found.push(number as u8);
    found
}

/// How far before a delta its base stands.
fn distance(mut distance: usize) -> Vec<u8> {
    let mut found = vec![(distance & 0x7f) as u8];
    distance >>= 7;
    while distance > 0 {
        distance -= 1;
        found.insert(0, 0x80 | (distance & 0x7f) as u8);
        distance >>= 7;
    }
    found
}

/// Makes content of a base of so many bytes: copies of its beginning, then what is new.
fn delta(base: usize, copies: &[usize], new: &[u8]) -> Vec<u8> {
    let result = copies.iter().sum::<usize>() + new.len();
    let mut found = [number(base as u64), number(result as u64)].concat();
    for length in copies {
        found.push(0x80 | 0x70);
        found.extend(&(*length as u32).to_le_bytes()[..3]);
    }
    if !new.is_empty() {
        found.push(new.len() as u8);
        found.extend_from_slice(new);
    }
    found
}

/// A pack that is being made.
struct Pack {
    /// As it says.
    number: u32,
    entries: Vec<u8>,
}

impl Pack {
    fn at(&self) -> usize {
        12 + self.entries.len()
    }

    fn put(&mut self, kind: u8, base: &[u8], content: &[u8]) -> usize {
        let at = self.at();
        let entry = [head(kind, content.len() as u64), base.to_vec(), zipped(content)];
        self.entries.extend(entry.concat());
        self.number += 1;
        at
    }

    /// A commit of an app whose only manifest has this id.
    fn with(app: &str, manifest: &[u8]) -> (Self, String) {
        let mut pack = Self { number: 0, entries: Vec::new() };
        let inner = [&b"100644 a.yaml\0"[..], manifest].concat();
        let outer = [&b"40000 m\0"[..], &*id("tree", &inner)].concat();
        let who = "Ada <ada@example.com> 1767225600 +0000";
        let root = hex(&id("tree", &outer));
        let commit = format!("tree {root}\nauthor {who}\ncommitter {who}\n\n{app}\n").into_bytes();
        pack.put(TREE, &[], &inner);
        pack.put(TREE, &[], &outer);
        pack.put(COMMIT, &[], &commit);
        (pack, hex(&id("commit", &commit)))
    }

    /// With one that means no harm.
    fn good(app: &str) -> (Self, String) {
        let manifest = documents::config_map(app, "harmless").into_bytes();
        let (mut pack, commit) = Self::with(app, &id("blob", &manifest));
        pack.put(BLOB, &[], &manifest);
        (pack, commit)
    }

    /// Without a checksum.
    fn open(&self) -> Vec<u8> {
        [b"PACK\0\0\0\x02", &self.number.to_be_bytes()[..], &self.entries].concat()
    }

    fn whole(&self) -> Vec<u8> {
        let pack = self.open();
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &pack);
        [&*pack, sum.as_ref()].concat()
    }

    /// All of it, and nothing else.
    fn sent(&self) -> Sent {
        let first = [packet(b"packfile\n"), on(1, &self.whole()), b"0000".to_vec()].concat();
        Sent { first, then: None }
    }
}

fn id(kind: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("{kind} {}\0", content.len());
    digest(&SHA1_FOR_LEGACY_USE_ONLY, &[head.as_bytes(), content].concat()).as_ref().to_vec()
}

/// So many deltas upon each other, the last of which is the manifest; each names its base by where it stands, or by its id.
fn chain(app: &str, length: usize, by_id: bool) -> Repository {
    let manifest = documents::config_map(app, "harmless");
    let content = |link: usize| format!("{manifest}# {link:06}\n").into_bytes();
    let (size, tail) = (content(0).len(), b"# 000000\n".len());
    let (mut pack, commit) = Pack::with(app, &id("blob", &content(length)));
    let mut at = pack.put(BLOB, &[], &content(0));
    for link in 1..=length {
        let new = format!("# {link:06}\n");
        let delta = delta(size, &[size - tail], new.as_bytes());
        at = match by_id {
            true => pack.put(ID_DELTA, &id("blob", &content(link - 1)), &delta),
            false => pack.put(OFFSET_DELTA, &distance(pack.at() - at), &delta),
        };
    }
    Repository::new(&commit, pack.sent())
}

/// More deltas upon each other than levels of a tree can be counted with 16 bits.
pub fn deep(app: &str) -> Repository {
    chain(app, 66_000, false)
}

/// As many as Git makes at most.
pub fn long(app: &str) -> Repository {
    chain(app, 4095, false)
}

/// The same, where each base has to be found.
pub fn long_by_id(app: &str) -> Repository {
    chain(app, 1000, true)
}

/// Of each object two deltas make one of 384 MiB, and of one of these two others: whoever unpacks one keeps all above it.
pub fn bomb(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    let mut size = ZEROS;
    let mut at = pack.put(BLOB, &[], &vec![0; size]);
    for _ in 0..16 {
        let (base, delta) = (at, delta(size, &[ZEROS; 384], &[]));
        for _ in 0..2 {
            at = pack.put(OFFSET_DELTA, &distance(pack.at() - base), &delta);
        }
        size = 384 * ZEROS;
    }
    Repository::new(&commit, pack.sent())
}

/// A delta that says that an exbibyte comes of it.
pub fn gigantic(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    let at = pack.put(BLOB, &[], b"0123456789");
    let delta = [number(10), number(1 << 60), vec![0x90, 10]].concat();
    pack.put(OFFSET_DELTA, &distance(pack.at() - at), &delta);
    Repository::new(&commit, pack.sent())
}

/// A delta of what is nowhere.
pub fn missing(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    pack.put(ID_DELTA, &[7; 20], &delta(10, &[10], b""));
    Repository::new(&commit, pack.sent())
}

/// Deltas that are of each other.
pub fn circle(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    let (one, two) = (id("blob", b"0123456789"), id("blob", b"9876543210"));
    pack.put(ID_DELTA, &two, &delta(10, &[], b"0123456789"));
    pack.put(ID_DELTA, &one, &delta(10, &[], b"9876543210"));
    Repository::new(&commit, pack.sent())
}

/// A delta that is of itself.
pub fn itself(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    pack.put(OFFSET_DELTA, &[0], &delta(10, &[10], b""));
    Repository::new(&commit, pack.sent())
}

/// A delta that copies what lies behind its base.
pub fn beyond(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    let at = pack.put(BLOB, &[], b"0123456789");
    // 16 bytes from the last of 32 bits on.
    let delta = [number(10), number(16), vec![0x9f, 0xff, 0xff, 0xff, 0xff, 16]].concat();
    pack.put(OFFSET_DELTA, &distance(pack.at() - at), &delta);
    Repository::new(&commit, pack.sent())
}

/// As many objects as a pack can say that it has, one after the other.
pub fn endless(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    pack.number = u32::MAX;
    let first = [packet(b"packfile\n"), on(1, &pack.open())].concat();
    let blobs = [head(BLOB, 1), zipped(b"x")].concat().repeat(1000);
    Repository::new(&commit, Sent { first, then: Some(on(1, &blobs)) })
}

/// An object whose content never begins, in blocks of nothing.
pub fn hollow(app: &str) -> Repository {
    let (mut pack, commit) = Pack::good(app);
    pack.number += 1;
    pack.entries.extend([head(BLOB, 1 << 20), vec![0x78, 0x01]].concat());
    let first = [packet(b"packfile\n"), on(1, &pack.open())].concat();
    let then = on(1, &[0, 0, 0, 0xff, 0xff].repeat(PACKET / 5));
    Repository::new(&commit, Sent { first, then: Some(then) })
}

/// A good pack, after which more comes.
pub fn goes_on(app: &str) -> Repository {
    let (pack, commit) = Pack::good(app);
    let first = [packet(b"packfile\n"), on(1, &pack.whole())].concat();
    Repository::new(&commit, Sent { first, then: Some(on(1, &[0; PACKET])) })
}

/// Messages, and no pack.
pub fn talks(app: &str) -> Repository {
    let (_, commit) = Pack::good(app);
    let first = packet(b"packfile\n");
    Repository::new(&commit, Sent { first, then: Some(on(2, "Counting objects\n".repeat(3000).as_bytes())) })
}

/// Branches, and no end of them.
pub fn references(app: &str) -> Repository {
    let (pack, commit) = Pack::good(app);
    let line = packet(format!("{commit} refs/heads/main{}\n", "-".repeat(1000)).as_bytes());
    let references = Sent { first: Vec::new(), then: Some(line.repeat(50)) };
    Repository { references, pack: pack.sent() }
}
