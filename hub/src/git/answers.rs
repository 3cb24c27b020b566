//! Answers: what a Git server sends, packet by packet, as it is read.
//!
//! In: the bytes of an answer to come. Out: the same, or why no more of them are taken. Never: hands on what was not looked at; changes anything.
//!
//! A packet begins with its length as four hexadecimal digits. Those of a pack begin with a 1 after it; those of progress and errors with
//! a 2 or 3. <https://git-scm.com/docs/gitprotocol-v2>

use std::io::{self, BufRead, Read};

use super::errors::Unfit;
use super::weighing::Pack;

/// Most bytes beside a pack: references, and what is told on the way. 100 000 tags are some 12 MB.
const MOST_BESIDE: u64 = 32 << 20;
/// The packet of a pack that is empty, sent to keep a connection open.
const EMPTY: usize = 5;

/// An answer, read through.
pub(super) struct Answer<R> {
    inner: R,
    /// So many bytes of what is at hand were looked at.
    seen: usize,
    packets: Packets,
    unfit: Option<Unfit>,
}

impl<R> Answer<R> {
    /// Of a repository whose objects have ids of so many bytes.
    pub fn new(inner: R, id: usize) -> Self {
        Self { inner, seen: 0, packets: Packets::new(id), unfit: None }
    }
}

impl<R: BufRead> BufRead for Answer<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(unfit) = self.unfit {
            return Err(io::Error::other(unfit));
        }
        let bytes = self.inner.fill_buf()?;
        if let Err(unfit) = self.packets.take(bytes.get(self.seen..).unwrap_or_default()) {
            self.unfit = Some(unfit);
            return Err(io::Error::other(unfit));
        }
        self.seen = bytes.len();
        Ok(bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.seen = self.seen.saturating_sub(amount);
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for Answer<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

struct Packets {
    /// What there is of the next packet: 65 520 bytes at most.
    packet: Vec<u8>,
    beside: u64,
    pack: Pack,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Text,
    /// All that begins with a 1 is of the pack.
    Pack,
    /// There are no packets; all is of the pack.
    BarePack,
    /// It is none of Git's.
    Strange,
}

impl Packets {
    fn new(id: usize) -> Self {
        Self { packet: Vec::new(), beside: 0, pack: Pack::new(id), stage: Stage::Text }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Unfit> {
        while !bytes.is_empty() {
            match self.stage {
                Stage::BarePack => return self.pack.take(bytes),
                Stage::Strange => return self.beside(bytes.len()),
                Stage::Text | Stage::Pack => {}
            }
            let wanted = self.length().unwrap_or(4).saturating_sub(self.packet.len()).min(bytes.len());
            self.packet.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.length().is_some_and(|length| self.packet.len() >= length) {
                let packet = std::mem::take(&mut self.packet);
                self.whole(&packet)?;
                self.packet = packet;
                self.packet.clear();
            } else if self.packet.len() >= 4 && self.length().is_none() {
                let begun = std::mem::take(&mut self.packet);
                self.stage = if begun == b"PACK" { Stage::BarePack } else { Stage::Strange };
                self.take(&begun)?;
            }
        }
        Ok(())
    }

    /// How long the packet is that has begun, with its length; unknown where it does not say so, or not yet.
    fn length(&self) -> Option<usize> {
        let digits = std::str::from_utf8(self.packet.get(..4)?).ok()?;
        // A packet of less than its length is a mark between others.
        usize::from_str_radix(digits, 16).ok().map(|length| length.max(4))
    }

    fn whole(&mut self, packet: &[u8]) -> Result<(), Unfit> {
        let content = &packet[4..];
        let of_pack = content.strip_prefix(b"\x01").filter(|content| {
            // The line before the pack says that it comes; with the oldest protocol nothing does, and no other line begins so.
            self.stage == Stage::Pack || content.starts_with(b"P")
        });
        match of_pack {
            Some([]) => self.beside(EMPTY),
            Some(content) => {
                self.stage = Stage::Pack;
                self.pack.take(content)
            }
            None => {
                let text = content.strip_prefix(b"\x01").unwrap_or(content);
                if String::from_utf8_lossy(text).trim_end() == "packfile" {
                    self.stage = Stage::Pack;
                }
                self.beside(packet.len())
            }
        }
    }

    fn beside(&mut self, bytes: usize) -> Result<(), Unfit> {
        self.beside += bytes as u64;
        match self.beside > MOST_BESIDE {
            true => Err(Unfit::TooMuch("more than 32 MiB of references or messages")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(content: &[u8]) -> Vec<u8> {
        [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
    }

    fn read(bytes: &[u8], capacity: usize) -> Result<usize, String> {
        let mut read = Vec::new();
        let mut answer = Answer::new(io::BufReader::with_capacity(capacity, bytes), 20);
        answer.read_to_end(&mut read).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pack_is_weighed_wherever_it_stands_and_what_stands_beside_it_is_counted() {
        const BAD: &[u8] = b"PACK\0\0\0\x02\xff\xff\xff\xff";
        let good = [&b"\x01PACK\0\0\0\x02\0\0\0\0"[..], &[0; 20]].concat();
        let bad = packet(&[b"\x01", BAD].concat());
        let refused = Err("a pack of more than 2 000 000 objects".to_owned());
        let announced = packet(b"packfile\n");
        let rows = [
            ([announced.clone(), packet(b"\x02hello"), packet(&good), b"0000".to_vec()].concat(), Ok(())),
            ([packet(b"NAK\n"), packet(&good), b"00010002".to_vec()].concat(), Ok(())),
            ([announced.clone(), bad.clone()].concat(), refused.clone()),
            ([packet(b"\x01packfile\n"), bad.clone()].concat(), refused.clone()),
            ([packet(b"NAK\n"), bad.clone()].concat(), refused.clone()),
            (
                [announced.clone(), packet(b"\x01PAC"), packet(&[b"\x01", &BAD[3..]].concat())].concat(),
                refused.clone(),
            ),
            ([packet(b"NAK\n"), BAD.to_vec()].concat(), refused.clone()),
            (b"<html>PACK".to_vec(), Ok(())),
        ];
        for (at, (bytes, expected)) in rows.iter().enumerate() {
            for capacity in [1, 6, 1000] {
                let expected = expected.clone().map(|()| bytes.len());
                assert_eq!(read(bytes, capacity), expected, "row {at}, by {capacity}");
            }
        }
        let endless =
            [packet(b"0123 refs/heads/main\n"), packet(b"\x02hello"), packet(b"\x01"), b"0000".to_vec()];
        for again in endless {
            let mut packets = Packets::new(20);
            packets.beside = MOST_BESIDE - 50;
            let told = packets.take(&[announced.clone(), again.repeat(20)].concat());
            assert_eq!(told, Err(Unfit::TooMuch("more than 32 MiB of references or messages")));
        }
    }
}
