//! What readers hold behind the floor, and how the writer goes round it.
//!
//! **Promise.** A page that a reader has pinned, whose pins count, is not overwritten while it is pinned; and the writer never waits for
//! that.
//!
//! The floor of a lossy lane passes its readers, and in a reliable one it passes readers that were evicted. Whoever reads in place has
//! *pinned* the page it is in ([`super::super::hold`]): a word in its entry, with which it has looked at the floor again. When the floor
//! passes a pin, the writer notes a *hole*: from the mark of the pinned page to the end of the last commit that begins in it. It writes
//! up to the hole in the next lap, shows a head that skips it, and goes on behind it. A hole is forgotten when its pin has changed.
//!
//! The ring stays large enough: only so many readers may pin as the lane was made for ([`max_commit`](crate::layout::lane::max_commit)),
//! each pins one page, and no commit is larger than what then fits.

use super::{Floor, HeldUp, Room};
use crate::layout::lane::{MARKS, PAGES};
use crate::layout::zone::ENTRY_LANE;
use crate::ring::order::{ENTRY_SEE, PIN_SEE, RELAXED};
use crate::ring::view::{Lane, Meeting, Zone};

/// What a reader holds behind the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    entry: u32,
    /// The pin that holds it.
    pin: u64,
    from: u64,
    to: u64,
}

impl Hole {
    /// Where this hole is in the ring, at positions that end after `position`.
    fn after(&self, position: u64, capacity: u64) -> (u64, u64) {
        let laps = if position < self.to { 0 } else { (position - self.to) / capacity + 1 };
        (self.from + laps * capacity, self.to + laps * capacity)
    }
}

impl Floor {
    /// Room for `need` bytes at `from`, or behind what is held there; moves the floor as far as it must. `most`: where the floor can go at
    /// most, the end of what is committed.
    #[cold]
    pub fn room(
        &mut self,
        lane: Lane<'_>,
        zone: Zone<'_>,
        meeting: Meeting<'_>,
        most: u64,
        from: u64,
        need: u64,
    ) -> Result<Room, HeldUp> {
        let capacity = lane.ring.capacity();
        // Each step moves the floor by a page at least. Holes come and go meanwhile, so each begins anew.
        for _ in 0..=2 * PAGES {
            self.holes.retain(|hole| is_held(hole, self.lane, zone, meeting));
            let Room { start, limit } = self.fit(from, need, capacity);
            let end = start + need;
            if end <= self.floor + capacity {
                return Ok(Room { start, limit: limit.min(self.floor + capacity) });
            }
            self.advance(lane, zone, meeting, most, end - capacity)?;
        }
        Err(HeldUp { cursor: self.floor, entry: None, synced: false })
    }

    /// Where `need` bytes fit at `from` or after it, between the holes.
    fn fit(&self, from: u64, need: u64, capacity: u64) -> Room {
        let mut start = from;
        // Each step goes round a hole.
        for _ in 0..=self.holes.len() {
            match self.holes.iter().map(|hole| hole.after(start, capacity)).min() {
                Some((begins, ends)) if begins < start + need => start = ends,
                next => return Room { start, limit: next.map_or(u64::MAX, |(begins, _)| begins) },
            }
        }
        Room { start, limit: u64::MAX }
    }

    /// How many holes the writer goes round.
    pub fn holes(&self) -> usize {
        self.holes.len()
    }

    /// The floor has been moved to `floor`, and is not acted on yet: notes what is held between.
    pub(super) fn find_holes(&mut self, lane: Lane<'_>, meeting: Meeting<'_>, floor: u64) {
        for listed in self.entries.iter().filter(|listed| listed.pins && (self.lossy || listed.evicted)) {
            let Some(entry) = meeting.entries.get(listed.index as usize) else { continue };
            let pin = entry.pin.load(PIN_SEE.get());
            // A pin before that was not there when the floor passed it: it does not count, and its reader sees that.
            if pin >= self.floor && pin < floor {
                let (from, to) = held(lane, pin);
                // What this reader held before, if anything, it holds no more.
                self.holes.retain(|hole| hole.entry != listed.index);
                self.holes.push(Hole { entry: listed.index, pin, from, to });
            }
        }
    }
}

/// Whether what makes a hole is still there.
fn is_held(hole: &Hole, lane: u64, zone: Zone<'_>, meeting: Meeting<'_>) -> bool {
    let index = hole.entry as usize;
    let is_listed = zone.entry_lane.get(index).is_some_and(|word| word.load(ENTRY_SEE.get()) & ENTRY_LANE == lane);
    is_listed && meeting.entries.get(index).is_some_and(|entry| entry.pin.load(PIN_SEE.get()) == hole.pin)
}

/// What has to stay for a reader whose pin is `pin`: all that begins in the page. (The writer's own marks.)
fn held(lane: Lane<'_>, pin: u64) -> (u64, u64) {
    let page = lane.ring.capacity() / PAGES;
    let mark = |page: u64| &lane.header.marks[page as usize % MARKS];
    let first = mark(pin / page).position.load(RELAXED.get());
    (first.min(pin), mark(pin / page + 1).ends.load(RELAXED.get()))
}
