//! The network: streams between spokes and the hub.
//!
//! In: messages. Out: the same, in order within a stream, or not at all once the stream broke. A broken stream may be
//! noticed late on either side, so that an old one and a new one of the same spoke overlap.
//! Never: invents a message, or loses one of a stream that is whole.

use std::collections::VecDeque;

use nave_proto::v1;

/// A stream.
#[derive(Default)]
pub struct Stream {
    /// Its number; later ones are larger.
    pub id: u64,
    /// On its way to the hub.
    pub up: VecDeque<v1::FromSpoke>,
    /// On its way to the spoke.
    pub down: VecDeque<v1::ToSpoke>,
    /// The spoke has it open.
    pub spoke: bool,
    /// The hub has it open.
    pub hub: bool,
}

/// All streams of one spoke.
#[derive(Default)]
pub struct Link {
    /// From old to new.
    pub streams: Vec<Stream>,
    /// Nothing goes through.
    pub partitioned: bool,
    opened: u64,
}

impl Link {
    /// The spoke opens a stream and gives up those that it had.
    pub fn open(&mut self) -> &mut Stream {
        self.streams.iter_mut().for_each(|stream| stream.spoke = false);
        self.opened += 1;
        self.streams.push(Stream { id: self.opened, spoke: true, hub: true, ..Stream::default() });
        self.streams.last_mut().expect("pushed just now")
    }

    /// The stream that the spoke is on.
    pub fn spokes(&mut self) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.spoke)
    }

    /// A stream by its number.
    pub fn get(&mut self, id: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// Forgets streams that nobody has open and nothing is on.
    pub fn tidy(&mut self) {
        self.streams.retain(|stream| stream.spoke || (stream.hub && !stream.up.is_empty()));
    }
}
