//! The lane segment: one writer's ring in one channel.
//!
//! ```text
//!  0          128       256             1280 ... 4096                4096 + capacity
//!  +----------+---------+---------------+-------+--------------------+
//!  | preamble | floor   | marks[32]     | zero  | ring               |
//!  +----------+---------+---------------+-------+--------------------+
//!
//!  frame at position p (8-byte aligned; for a payload aligned to more than 8, p + 16 is what is aligned)
//!    0                    31 32                    63
//!   +-----------------------+-----------------------+
//!   |  length: 32           | flags: P A J S        |   head; 0 = nothing here yet
//!   +-----------------------+-----------------------+
//!   |  version: 46 of 64                            |   the commit that published this frame (padding has none)
//!   +-----------------------+-----------------------+
//!   |  payload, length bytes, padded to 8           |
//! ```
//!
//! Written by the lane's one writer only (the broker seals the segment against anyone else), read by readers and the broker.

use super::Preamble;
use crate::sync::AtomicU64;

/// Bytes before the ring.
pub const RING_OFFSET: u64 = 4096;
/// Pages that a ring is cut into for its floor: the floor moves a page at a time.
pub const PAGES: u64 = if crate::sync::MODEL { 4 } else { 16 };
/// Slots of the mark table: twice the pages, since the retained range can touch one page more than the ring has.
pub const MARKS: usize = 2 * PAGES as usize;
/// The smallest ring, in bytes.
pub const MIN_CAPACITY: u64 = 4096;
/// The largest ring, in bytes.
pub const MAX_CAPACITY: u64 = 1 << 30;
/// Bytes of head and version before a payload.
pub const FRAME_HEADER: u64 = 16;
/// The largest alignment of a payload, in bytes.
pub const MAX_ALIGN: u64 = 4096;
/// The most pages of a ring that its writer goes round because readers hold something there: a quarter.
pub const MAX_PINS: u32 = PAGES as u32 / 4;
/// The highest version: 46 bits, two years at a million commits a second. A row is retired before that.
pub const MAX_VERSION: u64 = (1 << 46) - 1;

/// The head of the lane segment; see the diagram of this module.
#[repr(C, align(128))]
pub struct Header {
    /// What this segment is.
    pub preamble: Preamble,
    /// The oldest readable position: a frame's start, `0 ..= tail`. Written by the writer ([`crate::ring::floor`]), read by
    /// joining readers.
    pub floor: Line<AtomicU64>,
    /// Where each page's first frame starts: page number `n` is in slot `n % 32`.
    pub marks: [Mark; MARKS],
}

/// A word on two cache lines of its own (adjacent lines are fetched together).
#[repr(C, align(128))]
pub struct Line<T>(pub T);

/// The first frame that starts at or after the beginning of a page. Written by the writer after the commit that moved its
/// tail into the page; believed by a reader only if the floor, loaded afterwards, is not past it.
#[repr(C)]
pub struct Mark {
    /// Where that frame starts, in bytes since the lane began.
    pub position: AtomicU64,
    /// Its sequence number in this lane, from 0.
    pub sequence: AtomicU64,
    /// The version of the last commit before it: this frame's is higher.
    pub after: AtomicU64,
    /// Where the frames before it end: at `position`, or before it, if the writer went round what a reader holds.
    pub ends: AtomicU64,
}

/// The lane segment's size in bytes for a ring of `capacity` bytes.
pub const fn segment_size(capacity: u64) -> u64 {
    RING_OFFSET + capacity
}

/// The most bytes that one commit can always have in a ring of `capacity` bytes, once drained, if the writer goes round up to `pins`
/// pinned pages.
///
/// A pinned page is held up to the first commit that begins after it: with a head to skip it, a page, a commit and 8 bytes. Before each
/// there may be a gap in which the next commit does not fit: a commit and 8 bytes. Beside these there have to be room for the commit and the
/// empty head after it, and a page, since the floor moves by pages:
/// `pins * (page + 2 * commit + 16) + commit + 8 + page <= capacity`.
pub const fn max_commit(capacity: u64, pins: u32) -> u64 {
    let (pins, page) = (pins as u64, capacity / PAGES);
    let free = capacity.saturating_sub((pins + 1) * page + 16 * pins + 8);
    free / (2 * pins + 1) / 8 * 8
}

/// The largest payload that a ring of `capacity` bytes with payloads aligned to `align` can always take, once drained, if the writer goes
/// round up to `pins` pinned pages: one commit, less the frame's header and the alignment's padding.
pub const fn max_payload(capacity: u64, align: u64, pins: u32) -> u64 {
    let padding = if align > 8 { align } else { 0 };
    max_commit(capacity, pins).saturating_sub(FRAME_HEADER + padding) / 8 * 8
}

#[cfg(loom)]
impl Header {
    /// A zeroed header for a model.
    pub fn zeroed() -> Self {
        use super::word;
        let mark = |_| Mark { position: word(), sequence: word(), after: word(), ends: word() };
        Header { preamble: Preamble, floor: Line(word()), marks: std::array::from_fn(mark) }
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<Mark>() == 32);
    assert!(offset_of!(Header, floor) == 128);
    assert!(offset_of!(Header, marks) == 256);
    assert!(size_of::<Header>() == 1280);
    assert!(size_of::<Header>() as u64 <= RING_OFFSET);
    assert!(MARKS as u64 == 2 * PAGES);
};
