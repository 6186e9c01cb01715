//! The table segment: the items of one incarnation of a table, each with several versions of its value.
//!
//! ```text
//!  0          128     256
//!  +----------+-------+-------------------------------------------------- - -
//!  | preamble | first | items
//!  +----------+-------+-------------------------------------------------- - -
//!
//!  item: V versions, on one cache line, then V values (V is 4; in a lockstep zone 5)
//!   +------------+------------+----- - -+----------+----------+---- - -
//!   | version[0] | version[1] | ...     | value[0] | value[1] | ...
//!   +------------+------------+----- - -+----------+----------+---- - -
//!  version     0:16 | version:48                  of the commit that has set the value, or WRITING
//!  version[0]  hint:16 | version:48               and which value was written last
//!
//!  value: whole words; of an item of bytes, its length in bytes (a word), then the bytes
//! ```
//!
//! Written by the table's one writer only (the broker seals the segment against anyone else), read by readers and the next owner. Where each
//! item is follows from the declaration of the table alone ([`Place`]), which the broker keeps: nothing in the segment says so.

use super::Preamble;
use super::lane::Line;
use crate::layout::zone::Pace;
use crate::sync::AtomicU64;

/// Bytes before the first item.
pub const ITEMS_OFFSET: u64 = 256;
/// The most items of a table.
pub const MAX_ITEMS: u32 = 1 << 20;
/// The most bytes of one value.
pub const MAX_VALUE: u32 = 1 << 20;
/// The most versions of an item.
pub const MAX_VERSIONS: usize = 5;
/// A version that no commit has: the value is being written, or was rolled back.
pub const WRITING: u64 = (1 << HINT_SHIFT) - 1;
/// Bits of a version below the hint.
pub const HINT_SHIFT: u32 = 48;
/// What items and runs of them begin at a multiple of.
const LINE: u64 = 64;

/// The head of the table segment; see the diagram of this module.
#[repr(C, align(128))]
pub struct Header {
    /// What this segment is.
    pub preamble: Preamble,
    /// The commit that made all items what they were in the incarnation before; 0 until that is prepared. Stored by the writer before that
    /// commit; readers use this incarnation for versions from there on.
    pub first: Line<AtomicU64>,
}

/// How many versions an item has, in a zone of this pace: what CURR shows, what PREV showed, the newest commit, and one to write on; where a
/// permit may name one that is newer than CURR and not sealed yet, that too.
pub const fn versions(pace: Pace) -> usize {
    if pace.is_lockstep() { MAX_VERSIONS } else { MAX_VERSIONS - 1 }
}

/// Where an item is in its segment. Made by [`Run::place`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its versions in bytes, a multiple of 32.
    pub offset: u64,
    /// Bytes from there to the first value.
    pub head: u32,
    /// Words of a value.
    pub words: u32,
}

impl Place {
    /// Where the item ends, in bytes.
    pub const fn end(&self, versions: usize) -> u64 {
        self.offset + self.head as u64 + versions as u64 * self.words as u64 * 8
    }
}

/// Items of the same size, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of the first in bytes.
    pub offset: u64,
    /// How many they are.
    pub count: u32,
    /// Bytes from each to the next.
    pub stride: u64,
    head: u32,
    words: u32,
}

impl Run {
    /// `count` items whose values have `bytes` bytes, with so many versions each, from `offset` or a little later on. `None`: more bytes than can
    /// be counted.
    pub fn new(offset: u64, count: u32, bytes: u32, versions: usize) -> Option<Run> {
        let words = u64::from(bytes).div_ceil(8).max(1);
        let many = versions as u64;
        // What fits beside its versions on a line stays there; larger values have lines of their own.
        let head = if words >= 8 || versions > 4 { LINE } else { 32 };
        let align = if head == LINE { LINE } else { 32 };
        let stride = (head + many * words * 8).next_multiple_of(align);
        let run = Run {
            offset: offset.checked_next_multiple_of(LINE)?,
            count,
            stride,
            head: head as u32,
            words: words as u32,
        };
        run.offset.checked_add(stride.checked_mul(count.into())?)?;
        Some(run)
    }

    /// Where the last item ends.
    pub const fn end(&self) -> u64 {
        self.offset + self.stride * self.count as u64
    }

    /// Where the `n`-th of them is, if there are as many.
    #[inline]
    pub const fn place(&self, n: u32) -> Option<Place> {
        if n >= self.count {
            return None;
        }
        Some(Place { offset: self.offset + self.stride * n as u64, head: self.head, words: self.words })
    }
}

/// Size of a segment whose last item ends at `end`, in bytes.
pub const fn segment_size(end: u64) -> u64 {
    super::whole_pages(if end < ITEMS_OFFSET { ITEMS_OFFSET } else { end })
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(offset_of!(Header, first) == 128);
    assert!(size_of::<Header>() as u64 == ITEMS_OFFSET);
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_on_one_line_and_small_items_too() {
        let run = Run::new(ITEMS_OFFSET, 10, 8, 4).unwrap();
        assert_eq!((run.stride, run.place(0).unwrap().head), (64, 32));
        let run = Run::new(ITEMS_OFFSET, 10, 64, 4).unwrap();
        assert_eq!((run.stride, run.place(0).unwrap().head), (320, 64));
        assert_eq!(Run::new(u64::MAX - 100, 1, 8, 4), None);
        assert_eq!(Run::new(1 << 62, u32::MAX, u32::MAX, 5), None);
    }

    proptest! {
        #[test]
        fn items_do_not_overlap(count in 1..100u32, bytes in 0..2000u32, versions in 4..=5usize, from in 0..10_000u64) {
            let run = Run::new(from, count, bytes, versions).unwrap();
            prop_assert!(run.offset >= from);
            let mut end = run.offset;
            for n in 0..count {
                let place = run.place(n).unwrap();
                prop_assert!(place.offset >= end && place.offset.is_multiple_of(32));
                prop_assert_eq!(place.offset / 64, (place.offset + 8 * versions as u64 - 1) / 64);
                prop_assert!(u64::from(place.head) >= 8 * versions as u64);
                prop_assert!(u64::from(place.words) * 8 >= u64::from(bytes));
                end = place.end(versions);
            }
            prop_assert!(end <= run.end());
            prop_assert_eq!(run.place(count), None);
        }
    }
}
