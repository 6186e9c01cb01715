//! The segments as bytes: `repr(C)`, fixed offsets, compile-time asserts. One file a segment.
//!
//! | segment | one per | file |
//! | --- | --- | --- |
//! | lane | writer x channel | [`lane`] |
//! | zone | zone | [`zone`] |
//! | meeting | zone (one uid) | [`meeting`] |
//! | table | table x writer | [`table`] |
//!
//! Every segment starts with a [`Preamble`], written by the broker before anyone else has the segment and never again.
//! All words are little-endian, as the supported machines are (x86-64, aarch64).

pub mod lane;
pub mod meeting;
pub mod table;
pub mod zone;

use crate::sync::AtomicU64;

/// Marks a Syncline segment: `"SYNCLINE"`, little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SYNCLINE");

/// The version of everything in `layout`; raised with any change.
pub const LAYOUT_VERSION: u32 = 5;

/// Bytes of one page of memory; segments are made of whole pages.
pub const PAGE: u64 = 4096;

/// What a segment is: the low half of [`Preamble::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A writer's ring in one channel.
    Lane = 1,
    /// A zone's generation ring and rows.
    Zone = 2,
    /// A zone's reader entries and bells.
    Meeting = 3,
    /// The items of a table.
    Table = 4,
}

/// The first line of every segment.
///
/// ```text
///  0       8       16            24      32      40         64
///  +-------+-------+-------------+-------+-------+----------+
///  | magic | kind  | layout hash | size  | ident | reserved |
///  +-------+-------+-------------+-------+-------+----------+
/// ```
/// Written by the broker alone, before it hands out the segment. Read (once, at mapping) by everyone; a lane's writer
/// could change it later, so nothing but the check at mapping relies on it.
#[repr(C, align(64))]
#[cfg(not(loom))]
pub struct Preamble {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`Kind`] in the low half, [`LAYOUT_VERSION`] in the high half.
    pub kind: AtomicU64,
    /// [`LAYOUT_HASH`].
    pub hash: AtomicU64,
    /// Size of the segment in bytes.
    pub size: AtomicU64,
    /// The broker's number for this zone or lane.
    pub ident: AtomicU64,
    /// Zero.
    pub reserved: [AtomicU64; 3],
}

/// The models need none.
#[cfg(loom)]
pub struct Preamble;

/// FNV-1a over the sizes and offsets that make up the layout: two builds that disagree on any of them do not meet.
pub const LAYOUT_HASH: u64 = {
    use std::mem::{offset_of, size_of};
    let facts = [
        LAYOUT_VERSION as u64,
        size_of::<Preamble>() as u64,
        size_of::<lane::Header>() as u64,
        offset_of!(lane::Header, floor) as u64,
        offset_of!(lane::Header, marks) as u64,
        lane::PAGES,
        lane::MARKS as u64,
        size_of::<lane::Mark>() as u64,
        size_of::<zone::Header>() as u64,
        offset_of!(zone::Header, generation) as u64,
        offset_of!(zone::Header, closing) as u64,
        offset_of!(zone::Header, high) as u64,
        offset_of!(zone::Header, control) as u64,
        offset_of!(zone::Header, round) as u64,
        offset_of!(zone::Control, halt) as u64,
        size_of::<zone::Row>() as u64,
        offset_of!(zone::Row, permit) as u64,
        offset_of!(zone::Row, tag) as u64,
        offset_of!(zone::Row, edges) as u64,
        offset_of!(zone::Row, state) as u64,
        offset_of!(zone::Row, joined) as u64,
        offset_of!(zone::Row, inherited) as u64,
        zone::SLOT_WORDS as u64,
        zone::LAP_BITS as u64,
        size_of::<meeting::Header>() as u64,
        offset_of!(meeting::Header, live) as u64,
        offset_of!(meeting::Header, synced) as u64,
        offset_of!(meeting::Header, room) as u64,
        offset_of!(meeting::Header, done) as u64,
        size_of::<meeting::Entry>() as u64,
        offset_of!(meeting::Entry, taken) as u64,
        offset_of!(table::Header, first) as u64,
        table::ITEMS_OFFSET,
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < facts.len() {
        hash = (hash ^ facts[i]).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
};

/// Rounds up to whole pages.
pub const fn whole_pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE) * PAGE
}

/// A zeroed atomic for the models, which can not overlay bytes.
#[cfg(loom)]
pub fn word() -> AtomicU64 {
    AtomicU64::new(0)
}

#[cfg(not(loom))]
const _: () = {
    assert!(std::mem::size_of::<Preamble>() == 64);
    assert!(cfg!(target_endian = "little"), "segments are little-endian");
    assert!(cfg!(target_pointer_width = "64"), "positions and mappings need 64 bits");
};
