//! Weighing: a pack as it comes in, before anybody unpacks it.
//!
//! In: its bytes, in whatever parts. Out: nothing, or why it is not taken. Never: keeps what is in it.
//!
//! Whoever unpacks a pack holds an object whole, and with it those that it is a delta of. A delta of a hundred bytes may stand for a gigabyte, a
//! chain of such for any number of them; their first bytes say so. An object is held as it was packed, too, and that may go on for ever.

use flate2::{Decompress, FlushDecompress, Status};

use super::errors::Unfit;

/// Most bytes of a pack; offsets in it are of 32 bits here.
const MOST_BYTES: u64 = 4 << 30;
/// Most objects. Each takes some 160 bytes while its pack is unpacked, 320 MB in all; a history of 100 000 commits has about a million.
const MOST_OBJECTS: u32 = 2_000_000;
/// Most bytes of an object with all that it is a delta of; no more are allocated at once for one object either.
const MOST_WEIGHT: u64 = super::mirror::MOST_ALLOCATED;
/// Most deltas upon each other: Git itself makes no longer chains.
const MOST_DELTAS: u16 = 4095;
/// What does not shrink becomes larger by five bytes for each block, of which there is one for each 16 KiB at least.
const SLACK: u64 = 64 << 10;
/// What is unpacked at once, and forgotten.
const ROOM: usize = 32 << 10;
/// Two numbers of at most ten bytes: the sizes of what a delta is of, and of what comes of it.
const SIZES: usize = 20;

/// What is known of a pack so far.
pub(super) struct Pack {
    /// Bytes of an object's id, and of the checksum at the end.
    id: usize,
    at: u64,
    /// Objects that have not ended.
    left: u32,
    stage: Stage,
    entry: Entry,
    /// In the order of their offsets: 12 bytes for each object.
    known: Vec<Known>,
    /// All that come of deltas whose base is named by its id: it may be any of them.
    by_id: u64,
    inflate: Decompress,
    room: Box<[u8]>,
}

enum Stage {
    /// The first bytes of the pack.
    Head(Vec<u8>),
    /// An object's kind and size; by how many bits the next ones of the size are shifted.
    Kind(u32),
    /// How far before it stands what it is a delta of.
    Distance(u64),
    /// So many bytes of the id of what it is a delta of.
    Id(usize),
    /// What is compressed.
    Data,
    /// So many bytes of the checksum.
    Checksum(usize),
}

/// An object that has not ended.
#[derive(Default)]
struct Entry {
    start: u64,
    kind: u8,
    /// As it says, uncompressed.
    size: u64,
    packed: u64,
    unpacked: u64,
    /// Where the object is that it is a delta of, if it says where.
    base: Option<u64>,
    /// The beginning of a delta.
    sizes: Vec<u8>,
}

/// An object that has ended.
struct Known {
    at: u32,
    /// With all that it is a delta of.
    bytes: u32,
    deltas: u16,
}

const OFFSET_DELTA: u8 = 6;
const ID_DELTA: u8 = 7;

impl Pack {
    /// One of objects whose ids have so many bytes.
    pub fn new(id: usize) -> Self {
        Self {
            id,
            at: 0,
            left: 0,
            stage: Stage::Head(Vec::new()),
            entry: Entry::default(),
            known: Vec::new(),
            by_id: 0,
            inflate: Decompress::new(true),
            room: vec![0; ROOM].into(),
        }
    }

    /// Takes what comes next.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Unfit> {
        while let Some(&byte) = bytes.first() {
            let taken = match &mut self.stage {
                Stage::Data => self.inflated(bytes)?,
                Stage::Checksum(0) => return Err(Unfit::TooMuch("it goes on after the pack's end")),
                Stage::Checksum(left) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    taken
                }
                _ => {
                    self.step(byte)?;
                    1
                }
            };
            self.at += taken as u64;
            bytes = &bytes[taken..];
            if self.at >= MOST_BYTES {
                return Err(Unfit::TooMuch("a pack of more than 4 GiB"));
            }
        }
        Ok(())
    }

    /// Takes a byte of what is not compressed.
    fn step(&mut self, byte: u8) -> Result<(), Unfit> {
        let (entry, more, low) = (&mut self.entry, byte & 0x80 != 0, u64::from(byte & 0x7f));
        self.stage = match &mut self.stage {
            Stage::Head(head) => {
                head.push(byte);
                let Some((magic, number)) = head.split_first_chunk::<8>() else { return Ok(()) };
                let Ok(number) = number.try_into().map(u32::from_be_bytes) else { return Ok(()) };
                if !matches!(magic, b"PACK\0\0\0\x02" | b"PACK\0\0\0\x03") {
                    return Err(Unfit::NoPack("it does not begin as one"));
                }
                if number > MOST_OBJECTS {
                    return Err(Unfit::TooMuch("a pack of more than 2 000 000 objects"));
                }
                self.left = number;
                self.next(self.at + 1)
            }
            Stage::Kind(0) => {
                (entry.kind, entry.size) = ((byte >> 4) & 7, u64::from(byte & 0x0f));
                if more { Stage::Kind(4) } else { entry.after_kind(self.id)? }
            }
            Stage::Kind(shift) => {
                let shift = *shift;
                if shift > 53 {
                    return Err(Unfit::TooMuch(HEAVY));
                }
                entry.size |= low << shift;
                if more { Stage::Kind(shift + 7) } else { entry.after_kind(self.id)? }
            }
            Stage::Distance(before) => {
                let distance = *before << 7 | low;
                if more {
                    if distance > MOST_BYTES {
                        return Err(ELSEWHERE);
                    }
                    Stage::Distance(distance + 1)
                } else {
                    entry.base = entry.start.checked_sub(distance);
                    Stage::Data
                }
            }
            Stage::Id(1) => Stage::Data,
            Stage::Id(left) => Stage::Id(*left - 1),
            Stage::Data | Stage::Checksum(_) => return Ok(()),
        };
        Ok(())
    }

    /// Unpacks some of what is compressed; says how much that was.
    fn inflated(&mut self, bytes: &[u8]) -> Result<usize, Unfit> {
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let done = self.inflate.decompress(bytes, &mut self.room, FlushDecompress::None);
        let done = done.map_err(|_| Unfit::NoPack("an object cannot be unpacked"))?;
        let (taken, made) = (self.inflate.total_in() - before.0, self.inflate.total_out() - before.1);
        let entry = &mut self.entry;
        entry.packed += taken;
        entry.unpacked += made;
        if entry.kind >= OFFSET_DELTA {
            let wanted = SIZES.saturating_sub(entry.sizes.len()).min(made as usize);
            entry.sizes.extend_from_slice(&self.room[..wanted]);
        }
        if entry.unpacked > entry.size || entry.packed > entry.size + entry.size / 8 + SLACK {
            return Err(Unfit::TooMuch("an object that is larger than it says"));
        }
        if taken == 0 && made == 0 && done != Status::StreamEnd {
            return Err(Unfit::NoPack("an object cannot be unpacked"));
        }
        if done == Status::StreamEnd {
            let known = self.weighed()?;
            self.known.push(known);
            self.left = self.left.saturating_sub(1);
            self.inflate.reset(true);
            self.stage = self.next(self.at + taken);
        }
        Ok(taken as usize)
    }

    /// What comes after the head or an object.
    fn next(&mut self, start: u64) -> Stage {
        if self.left == 0 {
            return Stage::Checksum(self.id);
        }
        self.entry = Entry { start, ..Entry::default() };
        Stage::Kind(0)
    }

    /// The object that ended.
    fn weighed(&mut self) -> Result<Known, Unfit> {
        let entry = &self.entry;
        let at = u32::try_from(entry.start).map_err(|_| ELSEWHERE)?;
        let (bytes, deltas) = match (entry.kind, entry.base) {
            (OFFSET_DELTA, Some(base)) => {
                let found = self.known.binary_search_by_key(&base, |known| known.at.into());
                let base = found.ok().and_then(|found| self.known.get(found)).ok_or(ELSEWHERE)?;
                let own = entry.size.saturating_add(result(&entry.sizes)?);
                (u64::from(base.bytes).saturating_add(own), base.deltas + 1)
            }
            (ID_DELTA, _) => {
                self.by_id = self.by_id.saturating_add(result(&entry.sizes)?);
                (self.by_id, 1)
            }
            (OFFSET_DELTA, None) => return Err(ELSEWHERE),
            _ => (entry.size, 0),
        };
        if deltas > MOST_DELTAS {
            return Err(Unfit::TooMuch(
                "a chain of more than 4095 deltas; `git repack -adf` makes shorter ones",
            ));
        }
        match u32::try_from(bytes) {
            Ok(bytes) if u64::from(bytes) <= MOST_WEIGHT => Ok(Known { at, bytes, deltas }),
            _ => Err(Unfit::TooMuch(HEAVY)),
        }
    }
}

const HEAVY: &str = "an object that takes more than 1 GiB to unpack, with all that it is a delta of";
const ELSEWHERE: Unfit = Unfit::NoPack("a delta is of what does not stand before it");

impl Entry {
    fn after_kind(&self, id: usize) -> Result<Stage, Unfit> {
        if self.size > MOST_WEIGHT {
            return Err(Unfit::TooMuch(HEAVY));
        }
        match self.kind {
            1..=4 => Ok(Stage::Data),
            OFFSET_DELTA => Ok(Stage::Distance(0)),
            ID_DELTA => Ok(Stage::Id(id)),
            _ => Err(Unfit::NoPack("an object is of no known kind")),
        }
    }
}

/// How many bytes come of a delta: the second of the numbers that it begins with.
fn result(sizes: &[u8]) -> Result<u64, Unfit> {
    let short = Unfit::NoPack("a delta does not say how large it is");
    let first = sizes.iter().position(|byte| byte & 0x80 == 0).ok_or(short)?;
    let (mut size, mut shift) = (0_u64, 0);
    for byte in &sizes[first + 1..] {
        if shift > 56 {
            return Err(Unfit::TooMuch(HEAVY));
        }
        size |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
        shift += 7;
    }
    Err(short)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::slice;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    /// An entry of this kind and size; between them and the content stands what says of what it is a delta.
    fn entry(kind: u8, size: usize, base: &[u8], content: &[u8]) -> Vec<u8> {
        let mut found = vec![0x80 | kind << 4 | (size & 0x0f) as u8, 0x80 | (size >> 4 & 0x7f) as u8];
        found.extend([0x80 | (size >> 11 & 0x7f) as u8, 0x80 | (size >> 18 & 0x7f) as u8]);
        found.push((size >> 25 & 0x7f) as u8);
        found.extend_from_slice(base);
        let mut encoder = ZlibEncoder::new(found, Compression::fast());
        encoder.write_all(content).expect("memory is written");
        encoder.finish().expect("memory is written")
    }

    fn pack(number: u32, entries: &[Vec<u8>]) -> Vec<u8> {
        [b"PACK\0\0\0\x02", &number.to_be_bytes()[..], &entries.concat(), &[0; 20]].concat()
    }

    fn said(bytes: &[u8], step: usize) -> Result<(), Unfit> {
        let mut pack = Pack::new(20);
        bytes.chunks(step).try_for_each(|chunk| pack.take(chunk))
    }

    /// Of 5 bytes, with a result of 256 MiB.
    const GREAT: [u8; 5] = [5, 0x80, 0x80, 0x80, 0x80];

    #[test]
    fn a_pack_is_taken_however_it_is_cut_and_one_that_would_become_too_large_is_not() {
        let blob = entry(3, 5, &[], b"hello");
        let length = blob.len() as u8;
        let small = entry(6, 3, &[length], &[5, 5, 0x90]);
        let great = [&GREAT[..], &[1]].concat();
        let great = |base: &[u8], kind| entry(kind, great.len(), base, &great);
        let by_offset = [great(&[length], 6)];
        let next = by_offset[0].len() as u8;
        let offsets: Vec<_> = by_offset.into_iter().chain((0..4).map(|_| great(&[next], 6))).collect();
        let ids: Vec<_> = (0..5).map(|_| great(&[7; 20], 7)).collect();
        let with = |rest: &[Vec<u8>]| pack(rest.len() as u32 + 1, &[slice::from_ref(&blob), rest].concat());
        let above = entry(6, 3, &[small.len() as u8], &[5, 5, 0x90]);
        let deep: Vec<_> = [small.clone()].into_iter().chain(vec![above; 4095]).collect();
        let too_much = |why| Err(Unfit::TooMuch(why));
        let chain = too_much("a chain of more than 4095 deltas; `git repack -adf` makes shorter ones");
        let larger = too_much("an object that is larger than it says");
        let rows = [
            (with(&[]), Ok(())),
            (with(slice::from_ref(&small)), Ok(())),
            (with(&[blob.clone(), entry(7, 3, &[1; 20], &[5, 5, 0x90])]), Ok(())),
            (pack(0, &[]), Ok(())),
            (with(&offsets[..3]), Ok(())),
            (with(&offsets), too_much(HEAVY)),
            (with(&ids[..3]), Ok(())),
            (with(&ids), too_much(HEAVY)),
            (with(&[entry(6, 12, &[length], &[&[5][..], &[0xff; 9], &[1, 0]].concat())]), too_much(HEAVY)),
            (with(&deep[..4095]), Ok(())),
            (with(&deep), chain),
            (with(&[entry(6, 3, &[0], &[5, 5, 0x90])]), Err(ELSEWHERE)),
            (with(&[entry(6, 3, &[3], &[5, 5, 0x90])]), Err(ELSEWHERE)),
            (with(&[entry(6, 3, &[0xff, 0x7f], &[5, 5, 0x90])]), Err(ELSEWHERE)),
            (with(&[entry(3, 4, &[], b"hello")]), larger),
            (with(&[entry(5, 5, &[], b"hello")]), Err(Unfit::NoPack("an object is of no known kind"))),
            (pack(u32::MAX, &[]), too_much("a pack of more than 2 000 000 objects")),
            ([with(&[]), vec![0]].concat(), too_much("it goes on after the pack's end")),
            (b"KCAP\0\0\0\x02\0\0\0\0".to_vec(), Err(Unfit::NoPack("it does not begin as one"))),
        ];
        for (at, (bytes, expected)) in rows.iter().enumerate() {
            for step in [1, 7, bytes.len()] {
                assert_eq!(said(bytes, step), *expected, "row {at}, by {step}");
            }
        }
    }

    #[test]
    fn an_object_that_stays_empty_for_ever_is_not_taken() {
        let mut bytes = b"PACK\0\0\0\x02\0\0\0\x01\x33\x78\x01".to_vec();
        // Blocks of nothing.
        bytes.extend([0, 0, 0, 0xff, 0xff].repeat(16 << 10));
        assert_eq!(said(&bytes, 1000), Err(Unfit::TooMuch("an object that is larger than it says")));
    }
}
