//! The zone segment: the generation ring, the rows of its writers, and which lane each reader entry is for.
//!
//! ```text
//!  0          128          256       384    512       640     768                                   (pages)
//!  +----------+------------+---------+------+---------+-------+-----------+-------------+---------------+
//!  | preamble | generation | closing | high | control | round | rows[W]   | slots[E]    | entry_lane[N] |
//!  +----------+------------+---------+------+---------+-------+-----------+-------------+---------------+
//!
//!  closing   era:48 | roll-backs:16              the era that an edge has begun to seal
//!  control   roster | early | halt | halts       what seldom changes and is looked at before every commit
//!  round     era:8 | roll-backs:8 | time:48      lockstep: when the first permit of this round was given
//!
//!  slot of era n (n % E):  SLOT_WORDS words, then cut[W]
//!   +-------+------+---------+----------+------------------------- - -
//!   | begun | time | tag low | tag high | cut[0] | cut[1] | ...
//!   +-------+------+---------+----------+------------------------- - -
//!
//!  entry_lane of entry n:  pins:1 | synced:1 | evicted:1 | 0:13 | lane:48
//!
//!  each of them begins with lap:16; the lap of era n = (n / E + 1) mod 2^16, so that zeroed slots belong to no first lap
//!   begun   lap:16 | 0:20 | tagged:1 | reason:5 | proposer:11 | rows:11      decided first
//!   time    lap:16 | time:48                      microseconds of the monotonic clock
//!   tag     lap:16 | 0:16 | half of the tag:32    if it is tagged
//!   cut     lap:16 | provisional:1 | straddled:1 | version:46
//! ```

use super::{Preamble, lane::Line};
use crate::sync::AtomicU64;

/// Bits of a lap; the models use 2, so that laps wrap within what they can explore.
pub const LAP_BITS: u32 = if crate::sync::MODEL { 2 } else { 16 };
/// Words of a slot before its cuts: with the first four cuts they are one cache line.
pub const SLOT_WORDS: usize = 4;
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
/// In a word of `entry_lane`: the lane's writer goes round what this reader pins. Set by the broker.
pub const ENTRY_PINS: u64 = 1 << 63;
/// In a word of `entry_lane`: this reader takes whole eras. Set by the broker.
pub const ENTRY_SYNCED: u64 = 1 << 62;
/// In a word of `entry_lane`: the lane's writer waits for this reader no longer. Set by the writer.
pub const ENTRY_EVICTED: u64 = 1 << 61;
/// In a word of `entry_lane`: the lane's number.
pub const ENTRY_LANE: u64 = ENTRY_EVICTED - 1;

/// The head of the zone segment; see the diagram of this module. Each word has its own pair of lines, but for those of `control`.
#[repr(C, align(128))]
pub struct Header {
    /// What this segment is.
    pub preamble: Preamble,
    /// How many eras are sealed, which is also the number of the last sealed one (CURR). `0 ..`; moved by the CAS of any
    /// participant that runs an edge; read by synced readers.
    pub generation: Line<AtomicU64>,
    /// `era:48 | roll-backs:16`. The highest era that an edge has begun to seal: `generation` or `generation + 1`; and how often the
    /// era then open was rolled back (modulo 2^16; [`Pace::Revocable`] only). Raised by edges, read by every commit.
    pub closing: Line<AtomicU64>,
    /// Rows ever used, and the tag that the broker proposes. Raised by the broker, read by edges.
    pub high: Line<High>,
    /// What seldom changes.
    pub control: Line<Control>,
    /// `era:8 | roll-backs:8 | time:48`: lockstep: when the first permit for the era after the generation was given, since it was last rolled
    /// back. Set by whoever gives it, read by whoever minds the deadline.
    pub round: Line<AtomicU64>,
}

/// A line of [`Header`]: rows ever used.
#[repr(C)]
pub struct High {
    /// Rows ever used, `0 ..= W`. Raised by the broker, read by edges.
    pub rows: AtomicU64,
    /// The tag of an era that the broker proposes; see [`Row::tag`].
    pub tag: AtomicU64,
}

/// A line of [`Header`]: looked at before every commit, seldom changed.
#[repr(C)]
pub struct Control {
    /// Counts changes of the zone's lanes and reader entries. Raised by the broker after it has told everybody concerned;
    /// read by writers before they overwrite, by readers before they hand out an era or say that there is nothing.
    pub roster: AtomicU64,
    /// Counts hints to finish and commit now. Raised by any participant that can write the zone; read by all.
    pub early: AtomicU64,
    /// 0, or `expiry:48 | token:16`: the zone is halted until that time (microseconds of the monotonic clock). Set and cleared by whoever
    /// halts, renewed by it and by the broker; read before every commit, and by readers.
    pub halt: AtomicU64,
    /// Counts halts: makes their tokens.
    pub halts: AtomicU64,
}

/// One writer's row.
///
/// ```text
///  0         8      16     24       32       40    48      64      72    80      88       96          104    112     120
///  +---------+------+------+--------+--------+-----+-------+-------+-----+-------+--------+-----------+------+-------+-----------+
///  | version | open | busy | permit | rolled | tag | edges | state | pid | start | joined | inherited | full | wakes | evictions |
///  +---------+------+------+--------+--------+-----+-------+-------+-----+-------+--------+-----------+------+-------+-----------+
/// ```
#[repr(C, align(128))]
pub struct Row {
    /// Last commit of this row's writer, across all its lanes. `0 ..= MAX_VERSION`; stored by the writer; completed by the
    /// broker after a death and by writers that have seen a frame of it; taken by edges and by readers of joint frames. A
    /// reused row goes on counting.
    pub version: AtomicU64,
    /// 0, or the version that the writer's open batch will have. Stored by the writer, taken by edges: a batch that is open when the edge
    /// passes is a straddler.
    pub open: AtomicU64,
    /// 1 from before a commit, or an edge of this writer's, looks for a halt until it is done. Stored by the writer, awaited by whoever halts the zone.
    pub busy: AtomicU64,
    /// Lockstep: `era:17 | given:1 | version:46`. The writer's word that the edge of that era may pass, with its commits up to this version.
    /// Stored by the writer, taken by edges.
    pub permit: AtomicU64,
    /// The roll-backs that this writer has carried out, as in `closing`. Stored by the writer (by the broker for a new one).
    pub rolled: AtomicU64,
    /// The tag of an era that this row's writer proposes. Stored by it, only while no era that it has proposed is open; copied into the slot
    /// by edges.
    pub tag: AtomicU64,
    /// How many eras this writer has sealed: its was the CAS that moved the generation. Stored by it; cleared by the broker.
    pub edges: AtomicU64,
    /// Keeps what follows off the version's line.
    #[cfg(not(loom))]
    pub padding: AtomicU64,
    /// 0 free, 1 open, 2 closed. Stored by the broker; lockstep edges wait for open rows only.
    pub state: AtomicU64,
    /// The writer's process id. Broker only; for whoever must probe it without the broker that made the row.
    pub pid: AtomicU64,
    /// The start time of that process, from `/proc/PID/stat`, in clock ticks since boot. Broker only.
    pub start: AtomicU64,
    /// Lockstep: the first era that waits for this writer. Stored by the broker before `state`.
    pub joined: AtomicU64,
    /// Lockstep: the version that this writer goes on counting from: what it did not commit itself, and gives no permit for. Stored by the
    /// broker before `state`.
    pub inherited: AtomicU64,
    /// How often this writer found no room. Stored by it; cleared by the broker.
    pub full: AtomicU64,
    /// How often this writer woke somebody. Stored by it; cleared by the broker.
    pub wakes: AtomicU64,
    /// How many readers this writer has evicted. Stored by it; cleared by the broker.
    pub evictions: AtomicU64,
}

/// `Row::state`: nobody has it.
pub const ROW_FREE: u64 = 0;
/// `Row::state`: a writer has it.
pub const ROW_OPEN: u64 = 1;
/// `Row::state`: it has counted far enough, and is given to nobody any more.
pub const ROW_CLOSED: u64 = 2;

/// What the edges of a zone wait for: part of its shape, since all who run one must mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Pace {
    /// For nobody: an edge takes what is committed.
    #[default]
    Free = 1,
    /// For the permit of every writer, or a deadline: an edge takes what was committed before the permit.
    Lockstep = 2,
    /// The same, and the open era can be rolled back. Such zones have no live readers.
    Revocable = 3,
}

impl Pace {
    /// Whether edges wait for permits.
    #[inline(always)]
    pub const fn is_lockstep(self) -> bool {
        !matches!(self, Pace::Free)
    }
}

/// Why an edge passed: in the `begun` word of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// A participant asked for it, just there.
    Exact = 1,
    /// A writer had made as many commits as the zone's policy says.
    Commits = 2,
    /// A writer had published as many bytes as the zone's policy says.
    Bytes = 3,
    /// The zone's heartbeat.
    Click = 4,
    /// Lockstep: every writer had given its permit.
    Permits = 5,
    /// Lockstep: the deadline had passed, and some were late.
    Deadline = 6,
    /// The broker sealed what was left by writers that are gone, or somebody finished an edge that had begun and had no reason yet: the broker
    /// one that was left half-done, a participant one that is in the way of its own, tagged one.
    Rest = 7,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Reason] = &[
        Reason::Exact,
        Reason::Commits,
        Reason::Bytes,
        Reason::Click,
        Reason::Permits,
        Reason::Deadline,
        Reason::Rest,
    ];

    /// The reason of this number, if there is one.
    pub fn from_number(number: u64) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| *reason as u64 == number)
    }

    /// One word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Exact => "exact",
            Reason::Commits => "commits",
            Reason::Bytes => "bytes",
            Reason::Click => "click",
            Reason::Permits => "permits",
            Reason::Deadline => "deadline",
            Reason::Rest => "rest",
        }
    }
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
    /// What edges wait for.
    pub pace: Pace,
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
        Header {
            preamble: Preamble,
            generation: Line(word()),
            closing: Line(word()),
            high: Line(High { rows: word(), tag: word() }),
            control: Line(Control { roster: word(), early: word(), halt: word(), halts: word() }),
            round: Line(word()),
        }
    }
}

#[cfg(loom)]
impl Row {
    /// A zeroed row for a model.
    pub fn zeroed() -> Self {
        use super::word;
        let [version, open, busy, permit, rolled, tag, edges] = std::array::from_fn(|_| word());
        let [state, pid, start, joined, inherited, full, wakes, evictions] = std::array::from_fn(|_| word());
        Row {
            version,
            open,
            busy,
            permit,
            rolled,
            tag,
            edges,
            state,
            pid,
            start,
            joined,
            inherited,
            full,
            wakes,
            evictions,
        }
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Header, generation) == 128);
    assert!(offset_of!(Header, closing) == 256);
    assert!(offset_of!(Header, high) == 384);
    assert!(offset_of!(Header, control) == 512);
    assert!(offset_of!(Header, round) == 640);
    assert!(size_of::<Header>() == 768);
    assert!(offset_of!(Row, tag) == 40);
    assert!(offset_of!(Row, edges) == 48);
    assert!(offset_of!(Row, state) == 64);
    assert!(offset_of!(Row, joined) == 88);
    assert!(offset_of!(Row, inherited) == 96);
    assert!(size_of::<Row>() == 128);
    assert!((MAX_WRITERS as u64) < 1 << 11, "rows and proposers have 11 bits");
};
