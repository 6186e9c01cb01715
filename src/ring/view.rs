//! What the core sees of a segment: references to its shared structs, and a ring of words. Made by `os::mapping` from mapped
//! memory, and by the models from loom's atomics.

use crate::layout::{lane, meeting, zone};
use crate::sync::AtomicU64;
#[cfg(not(loom))]
use std::{marker::PhantomData, ptr::NonNull};

/// A lane's ring: a power of two of bytes, addressed by positions that only grow.
///
/// `word` reaches every 8-byte word through the first of the two mappings; `payload` may run on into the second.
#[derive(Clone, Copy)]
#[cfg(not(loom))]
pub struct Ring<'a> {
    base: NonNull<u8>,
    /// Of the offset of a word: the capacity less 8.
    mask: u64,
    memory: PhantomData<&'a AtomicU64>,
}

// SAFETY: a `Ring` is a shared reference to atomics in all but name; what else it hands out is a raw pointer.
#[cfg(not(loom))]
unsafe impl Send for Ring<'_> {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for Ring<'_> {}

#[cfg(not(loom))]
impl<'a> Ring<'a> {
    /// A ring of `capacity` bytes at `base`.
    ///
    /// # Safety
    /// `capacity` is a power of two of at least 8; `base` is page-aligned; for `'a`, `2 * capacity` bytes from `base` are
    /// mapped readable, the second half showing the same memory as the first.
    pub unsafe fn new(base: NonNull<u8>, capacity: u64) -> Self {
        debug_assert!(capacity.is_power_of_two() && capacity >= 8);
        Ring { base, mask: capacity - 8, memory: PhantomData }
    }

    /// Size in bytes.
    #[inline(always)]
    pub fn capacity(self) -> u64 {
        self.mask + 8
    }

    /// The word at `position`, rounded down to 8.
    #[inline(always)]
    pub fn word(self, position: u64) -> &'a AtomicU64 {
        let offset = (position & self.mask) as usize;
        // SAFETY: `offset` is a multiple of 8 and at most `capacity - 8`, so the word lies inside the first mapping, which
        // `new` was promised for `'a`; other processes touch these words with atomic accesses only while we may.
        unsafe { self.base.add(offset).cast::<AtomicU64>().as_ref() }
    }

    /// Where the bytes at `position`, rounded down to 8, are. From here, `capacity` bytes are contiguous. Writing is for the lane's writer.
    #[inline(always)]
    pub fn payload(self, position: u64) -> NonNull<u8> {
        let offset = (position & self.mask) as usize;
        // SAFETY: `offset` is at most `capacity - 8`, in the first half of what is mapped.
        unsafe { self.base.add(offset) }
    }
}

/// A lane's ring in a model: a power of two of words.
#[derive(Clone, Copy)]
#[cfg(loom)]
pub struct Ring<'a> {
    words: &'a [AtomicU64],
}

#[cfg(loom)]
impl<'a> Ring<'a> {
    /// A ring over `words`.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        assert!(words.len().is_power_of_two());
        Ring { words }
    }

    /// Size in bytes.
    pub fn capacity(self) -> u64 {
        self.words.len() as u64 * 8
    }

    /// The word at `position`, rounded down to 8.
    pub fn word(self, position: u64) -> &'a AtomicU64 {
        &self.words[(position / 8) as usize % self.words.len()]
    }
}

/// A lane segment.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Its header.
    pub header: &'a lane::Header,
    /// Its ring.
    pub ring: Ring<'a>,
}

/// A zone segment.
#[derive(Clone, Copy)]
pub struct Zone<'a> {
    /// Its header.
    pub header: &'a zone::Header,
    /// `geometry.writers` rows.
    pub rows: &'a [zone::Row],
    /// `geometry.eras` slots of `geometry.slot_stride()` words.
    pub slots: &'a [AtomicU64],
    /// `geometry.entries` words: the lane that each reader entry is for, or [`zone::NO_LANE`].
    pub entry_lane: &'a [AtomicU64],
    /// Its shape.
    pub geometry: zone::Geometry,
}

/// A meeting segment.
#[derive(Clone, Copy)]
pub struct Meeting<'a> {
    /// Its header: the bells.
    pub header: &'a meeting::Header,
    /// Its reader entries.
    pub entries: &'a [meeting::Entry],
}

/// An item of a table, with its number of versions: 4, or, in a lockstep zone, 5.
#[derive(Clone, Copy)]
pub struct Item<'a, const V: usize> {
    /// Its versions.
    pub versions: &'a [AtomicU64; V],
    /// As many values, each of as many words.
    pub values: &'a [AtomicU64],
}
