//! The zone segment: the generation ring, the rows of its writers, and which lane each reader entry is for.
//!
//! ```text
//!  0          128          256       384    512      640                                        (pages)
//!  +----------+------------+---------+------+--------+-----------+-------------+---------------+
//!  | preamble | generation | closing | high | roster | rows[W]   | slots[E]    | entry_lane[N] |
//!  +----------+------------+---------+------+--------+-----------+-------------+---------------+
//!
//!  slot of era n (n % E):  SLOT_WORDS words, then cut[W]
//!   +-------------------+----------+------------------------- - -
//!   | row count decided | reserved | cut[0] | cut[1] | ...
//!   +-------------------+----------+------------------------- - -
//!
//!  row count word: lap:16 | 0 | count:47         cut word: lap:16 | provisional:1 | version:47
//!  lap of era n = (n / E + 1) mod 2^16, so that zeroed slots belong to no first lap
//! ```

use super::{Preamble, lane::Line};
use crate::sync::AtomicU64;

/// Bits of a lap; the models use 2, so that laps wrap within what they can explore.
pub const LAP_BITS: u32 = if crate::sync::MODEL { 2 } else { 16 };
/// Words of a slot before its cuts.
pub const SLOT_WORDS: usize = if crate::sync::MODEL { 1 } else { 8 };
/// The fewest eras a generation ring can hold.
pub const MIN_ERAS: u32 = 4;
/// The most eras a generation ring can hold.
pub const MAX_ERAS: u32 = 4096;
/// The most writers a zone can have.
pub const MAX_WRITERS: u32 = 1024;
/// The most reader entries (reader x lane) a zone can have.
pub const MAX_ENTRIES: u32 = 65_536;
/// `entry_lane` of an entry that is not in use.
pub const NO_LANE: u64 = 0;

/// The head of the zone segment; see the diagram of this module. Each word has its own pair of lines.
#[repr(C, align(128))]
pub struct Header {
    /// What this segment is.
    pub preamble: Preamble,
    /// How many eras are sealed, which is also the number of the last sealed one (CURR). `0 ..`; moved by the CAS of any
    /// participant that runs an edge; read by synced readers.
    pub generation: Line<AtomicU64>,
    /// The highest era that an edge has begun to seal: `generation` or `generation + 1`. Raised by edges, read by every commit.
    pub closing: Line<AtomicU64>,
    /// Rows ever used, `0 ..= W`. Raised by the broker, read by edges.
    pub high: Line<AtomicU64>,
    /// Counts changes of the zone's lanes and reader entries. Raised by the broker after it has told everybody concerned;
    /// read by writers before they overwrite, by readers before they hand out an era or say that there is nothing.
    pub roster: Line<AtomicU64>,
}

/// One writer's row.
///
/// ```text
///  0         64      72      80     88      128
///  +---------+-------+-------+------+-------+
///  | version | state | pid   | start|       |
///  +---------+-------+-------+------+-------+
/// ```
#[repr(C, align(128))]
pub struct Row {
    /// Last commit of this row's writer, across all its lanes. `0 ..= MAX_VERSION`; stored by the writer; completed by the
    /// broker after a death and by writers that have seen a frame of it; taken by edges and by readers of joint frames. A
    /// reused row goes on counting.
    pub version: AtomicU64,
    /// Keeps what follows off the version's line.
    #[cfg(not(loom))]
    pub padding: [AtomicU64; 7],
    /// 0 free, 1 open, 2 closed. Broker only.
    pub state: AtomicU64,
    /// The writer's process id. Broker only; for whoever must probe it without the broker that made the row.
    pub pid: AtomicU64,
    /// The start time of that process, from `/proc/PID/stat`, in clock ticks since boot. Broker only.
    pub start: AtomicU64,
}

/// Shape of a zone segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows: the most writers at a time. `1 ..= MAX_WRITERS`.
    pub writers: u32,
    /// Slots of the generation ring. A power of two, `MIN_ERAS ..= MAX_ERAS`.
    pub eras: u32,
    /// Reader entries of the meeting segment. `1 ..= MAX_ENTRIES`.
    pub entries: u32,
}

impl Geometry {
    /// Whether every field is in its range.
    pub const fn is_valid(&self) -> bool {
        self.writers >= 1
            && self.writers <= MAX_WRITERS
            && self.eras >= MIN_ERAS
            && self.eras <= MAX_ERAS
            && self.eras.is_power_of_two()
            && self.entries >= 1
            && self.entries <= MAX_ENTRIES
    }

    /// Words of one slot: whole pairs of lines (the models care for words only).
    pub const fn slot_stride(&self) -> usize {
        let words = SLOT_WORDS + self.writers as usize;
        if crate::sync::MODEL { words } else { words.div_ceil(16) * 16 }
    }

    /// Offset of `rows`, in bytes.
    pub const fn rows_offset(&self) -> usize {
        size_of::<Header>()
    }

    /// Offset of `slots`, in bytes.
    pub const fn slots_offset(&self) -> usize {
        self.rows_offset() + self.writers as usize * size_of::<Row>()
    }

    /// Offset of `entry_lane`, in bytes.
    pub const fn entry_lane_offset(&self) -> usize {
        self.slots_offset() + self.eras as usize * self.slot_stride() * 8
    }

    /// Size of the segment, in bytes.
    pub const fn segment_size(&self) -> u64 {
        super::whole_pages((self.entry_lane_offset() + self.entries as usize * 8) as u64)
    }
}

#[cfg(loom)]
impl Header {
    /// A zeroed header for a model.
    pub fn zeroed() -> Self {
        use super::word;
        let [generation, closing, high, roster] = std::array::from_fn(|_| Line(word()));
        Header { preamble: Preamble, generation, closing, high, roster }
    }
}

#[cfg(loom)]
impl Row {
    /// A zeroed row for a model.
    pub fn zeroed() -> Self {
        use super::word;
        Row { version: word(), state: word(), pid: word(), start: word() }
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, generation) == 128);
    assert!(offset_of!(Header, closing) == 256);
    assert!(offset_of!(Header, high) == 384);
    assert!(offset_of!(Header, roster) == 512);
    assert!(size_of::<Header>() == 640);
    assert!(offset_of!(Row, state) == 64);
    assert!(size_of::<Row>() == 128);
};
