//! The meeting segment: where readers and writers of a zone meet. Reader entries and bells.
//!
//! ```text
//!  0          128    256      384    512    640
//!  +----------+------+--------+------+------+--------------+
//!  | preamble | live | synced | room | done | entries[N]   |
//!  +----------+------+--------+------+------+--------------+
//! ```
//!
//! Readers and writers of the zone map it read-write; the broker too.

use super::{Preamble, lane::Line};
use crate::sync::{AtomicU32, AtomicU64};

/// `Entry::end` while the lane's writer is there.
pub const OPEN_END: u64 = u64::MAX;
/// `Entry::taken` of a reader that does not take eras.
pub const TAKES_NO_ERAS: u64 = u64::MAX;

/// `Entry::pin` of a reader that holds nothing.
pub const NO_PIN: u64 = u64::MAX;
/// Bytes of a reader's name in its entry.
pub const NAME_BYTES: usize = 24;

/// The head of the meeting segment.
#[repr(C, align(128))]
pub struct Header {
    /// What this segment is.
    pub preamble: Preamble,
    /// Rung by commits.
    pub live: Line<Bell>,
    /// Rung by edges.
    pub synced: Line<Bell>,
    /// Rung by readers that have left a page behind: for writers that wait for room, and for those that a halt stops.
    pub room: Line<Bell>,
    /// Rung by readers that have done with an era: for those who wait until all have.
    pub done: Line<Bell>,
}

/// Sleepers and the futex word that they sleep on; the protocol is in [`crate::ring::bell`].
#[repr(C)]
pub struct Bell {
    /// `ticket:31 | fence:1 | mask:32`: who sleeps (a bit for each channel or lane, modulo 32), counted up with every sleeper;
    /// `fence`: somebody here can not call membarrier, ringers need a full fence. Raised by sleepers, cleared by ringers.
    pub sleepers: AtomicU64,
    /// The futex word: counts rings.
    pub bell: AtomicU32,
    /// Zero.
    #[cfg(not(loom))]
    pub reserved: AtomicU32,
}

/// One subscription of one reader: reader x lane. Allotted by the broker.
#[repr(C, align(128))]
pub struct Entry {
    /// The oldest position that the reader may still read: the writer's floor does not pass it. Stored by the reader (by the
    /// broker while it joins), loaded by the lane's writer.
    pub cursor: AtomicU64,
    /// [`OPEN_END`], or, once the writer is gone, the position after its last valid frame. Stored by the broker, once.
    pub end: AtomicU64,
    /// The reader's process id. Broker only.
    pub pid: AtomicU64,
    /// The start time of that process, in clock ticks since boot. Broker only.
    pub start: AtomicU64,
    /// The last era that the reader has done with; [`TAKES_NO_ERAS`] for a live one without markers. Stored by the reader (by the broker
    /// while it joins), read by whoever waits until all have done with an era.
    pub taken: AtomicU64,
    /// [`NO_PIN`], or a position: the page that it is in is being read in place. Stored by a reader whose pins count, loaded by the lane's
    /// writer before it overwrites that page.
    pub pin: AtomicU64,
    /// Messages that it has taken. Stored by the reader.
    pub messages: AtomicU64,
    /// Its cursor, less the bytes of ring that it has taken (it may have skipped some). Stored by the reader when it skips.
    pub skipped: AtomicU64,
    /// Messages that were overwritten before it came to them. Stored by the reader.
    pub lost: AtomicU64,
    /// How often that happened. Stored by the reader.
    pub lags: AtomicU64,
    /// How often the reader went to sleep since it has this lane, whatever it waited for. Stored by the reader.
    pub sleeps: AtomicU64,
    /// The reader's user id. Broker only.
    pub uid: AtomicU64,
    /// The beginning of the reader's name; zeros after it. Broker only.
    pub name: [AtomicU64; NAME_BYTES / 8],
}

/// Size of the segment, in bytes, for `entries` entries.
pub const fn segment_size(entries: u32) -> u64 {
    super::whole_pages((size_of::<Header>() + entries as usize * size_of::<Entry>()) as u64)
}

#[cfg(loom)]
impl Header {
    /// Bells for a model.
    pub fn zeroed() -> Self {
        Header {
            preamble: Preamble,
            live: Line(Bell::zeroed()),
            synced: Line(Bell::zeroed()),
            room: Line(Bell::zeroed()),
            done: Line(Bell::zeroed()),
        }
    }
}

#[cfg(loom)]
impl Bell {
    /// A bell for a model.
    pub fn zeroed() -> Self {
        Bell { sleepers: AtomicU64::new(0), bell: AtomicU32::new(0) }
    }
}

#[cfg(loom)]
impl Entry {
    /// An entry for a model: at position 0, its lane open.
    pub fn open() -> Self {
        let word = AtomicU64::new;
        let [pid, start, taken, uid, messages, skipped, lost, lags, sleeps] = std::array::from_fn(|_| word(0));
        let name = std::array::from_fn(|_| word(0));
        let (cursor, end, pin) = (word(0), word(OPEN_END), word(NO_PIN));
        Entry { cursor, end, pid, start, taken, pin, uid, name, messages, skipped, lost, lags, sleeps }
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, live) == 128);
    assert!(offset_of!(Header, synced) == 256);
    assert!(offset_of!(Header, room) == 384);
    assert!(offset_of!(Header, done) == 512);
    assert!(size_of::<Header>() == 640);
    assert!(offset_of!(Entry, taken) == 32);
    assert!(offset_of!(Entry, pin) == 40);
    assert!(offset_of!(Entry, messages) == 48);
    assert!(size_of::<Bell>() == 16);
    assert!(size_of::<Entry>() == 128);
};
