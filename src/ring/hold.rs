//! How a reader that its writer does not wait for keeps what it is reading.
//!
//! **Promise.** What such a reader hands out is what was published, whole; and it knows exactly what it has missed.
//!
//! In a lossy lane, and once it was evicted from a reliable one, the writer passes a reader. There are two ways to read then:
//!
//! ```text
//!   pinned                                   copying
//!   pin = position, on entering a page       copy the frame
//!   fence                                    fence
//!   passed? forget what is there             passed? forget the copy
//!   read in place                            use the copy
//! ```
//!
//! The first is the floor's handshake ([`super::floor`]): of its fence and the writer's one comes first, so either the reader finds that it
//! was passed, or the writer finds the pin, and goes round that page ([`super::floor`]'s holes) until the pin has changed. A pin does not
//! move while the reader is in its page, so this costs nothing for most messages. Only so many readers of a lane may pin as it was made for.
//! The others copy: whatever they have read of a newer lap was written after the floor had passed, which they then see.
//!
//! *Passed* means, in a lossy lane, that the floor is behind the position; in a reliable one, that the reader was evicted. Nothing that is
//! found at a position, an empty head least of all, is believed before that was looked at.

use super::floor::MAX_POSITION;
use super::lane::{Start, starts};
use super::order::{COPY_FENCE, PIN_FENCE, PIN_SET, RELAXED};
use super::view::Lane;
use crate::layout::lane::PAGES;
use crate::layout::meeting::Entry;

/// How often a reader goes after a floor that moves under it before it lets its caller breathe.
const REJOIN_TRIES: u32 = 64;

/// No page.
const NONE: u64 = u64::MAX;

/// A reader's private half: what it holds.
#[derive(Debug)]
pub struct Hold {
    /// It pins; else it copies.
    pins: bool,
    /// The page that is pinned, or [`NONE`].
    page: u64,
    /// log2 of the page size.
    page_shift: u32,
}

impl Hold {
    /// A reader of a lane of `capacity` bytes that holds nothing yet. `pins`: its pins count.
    pub fn new(capacity: u64, pins: bool) -> Hold {
        Hold { pins, page: NONE, page_shift: (capacity / PAGES).trailing_zeros() }
    }

    /// Whether this reader pins what it reads; else it has to copy.
    #[inline(always)]
    pub fn pins(&self) -> bool {
        self.pins
    }

    /// Takes hold of what is at `position`. False: the writer has passed it. `passed`: whether it has. For a reader that copies, this is a
    /// first look only: see [`Hold::held`].
    #[inline(always)]
    pub fn take(&mut self, entry: &Entry, position: u64, passed: impl FnOnce() -> bool) -> bool {
        let page = position >> self.page_shift;
        if self.page == page {
            return true;
        }
        if !self.pins {
            return !passed();
        }
        self.page = NONE;
        let pinned = pin(entry, position, passed);
        if pinned {
            self.page = page;
        }
        pinned
    }

    /// Whether what was read or copied since [`Hold::take`] was there all the time.
    #[inline(always)]
    pub fn held(&self, passed: impl FnOnce() -> bool) -> bool {
        self.pins || still_there(passed)
    }

    /// Whether what begins at `position` is in the page that is held.
    pub fn covers(&self, position: u64) -> bool {
        self.page == position >> self.page_shift
    }

    /// The oldest place of a lossy lane, held. `None`: the writer moves on faster than this can look: try again.
    ///
    /// # Errors
    /// The lane's floor is not a position, or has no mark.
    pub fn rejoin(&mut self, lane: Lane<'_>, entry: &Entry) -> Result<Option<Start>, &'static str> {
        self.page = NONE;
        let start = rejoin(lane, entry, self.pins)?;
        if self.pins
            && let Some(start) = start
        {
            self.page = start.reader.position >> self.page_shift;
        }
        Ok(start)
    }
}

/// Pins the page that `position` is in. True: from now on what begins there is kept until the pin moves.
fn pin(entry: &Entry, position: u64, passed: impl FnOnce() -> bool) -> bool {
    entry.pin.store(position, PIN_SET.get());
    PIN_FENCE.fence();
    !passed()
}

/// After reading what is not pinned: whether that was there all the time.
pub fn still_there(passed: impl FnOnce() -> bool) -> bool {
    COPY_FENCE.fence();
    !passed()
}

/// Whether a lossy lane's writer has passed this position.
#[inline(always)]
pub fn is_passed(lane: Lane<'_>, position: u64) -> bool {
    // Relaxed: ordered by the fences of `pin` and `still_there`.
    lane.header.floor.0.load(RELAXED.get()) > position
}

fn rejoin(lane: Lane<'_>, entry: &Entry, pins: bool) -> Result<Option<Start>, &'static str> {
    for _ in 0..REJOIN_TRIES {
        let floor = lane.header.floor.0.load(RELAXED.get());
        if floor > MAX_POSITION || !floor.is_multiple_of(8) {
            return Err("no position in its floor");
        }
        // Either fence takes the marks up to the floor that was loaded.
        let is_there =
            if pins { pin(entry, floor, || is_passed(lane, floor)) } else { still_there(|| is_passed(lane, floor)) };
        if !is_there {
            continue;
        }
        let first = if floor == 0 { Some(Start::default()) } else { starts(lane, floor).next() };
        // A mark's place in the table is used again a lap after the floor has passed it.
        if !still_there(|| is_passed(lane, floor)) {
            continue;
        }
        return match first {
            Some(start) if start.reader.position == floor => Ok(Some(start)),
            _ => Err("no page mark at its floor"),
        };
    }
    Ok(None)
}
