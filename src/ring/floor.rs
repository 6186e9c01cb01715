//! The floor: how a ring is reclaimed under readers that come, read and go, without waiting for any of them.
//!
//! **Promise.** What is between an active reader's cursor and the tail is not overwritten. The writer writes below
//! `floor + capacity` only, so this says: *the floor that the writer acts on never passes the cursor of a joined reader.*
//!
//! **Moving the floor** (the writer, [`Floor::advance`]; a page at a time, so its cost is amortised away):
//!
//! ```text
//!   floor = candidate          joining:  cursor = the floor as loaded
//!   fence                                entry_lane, roster + 1
//!   roster changed? look up entries      fence
//!   a cursor behind? floor back          floor still at or below the cursor? joined : again
//! ```
//!
//! It is Dekker's handshake. Of the two fences one comes first. If the writer's does, the joining side sees the
//! candidate and tries again from there. If the joining side's does, the writer sees the roster's change, hence the entry and its
//! cursor, and takes the floor back before it has overwritten anything. A cursor behind the floor that the writer acts on belongs
//! to somebody who has not joined yet (or is hostile): it holds nothing up.
//!
//! A joined reader only moves its cursor forward (release, after its last look at what it leaves), the writer loads it
//! (acquire, before it overwrites that).

use super::order::{
    CURSOR_SEE, CURSOR_SET, ENTRY_SEE, ENTRY_SET, FLOOR_FENCE, FLOOR_SET, JOIN_FENCE, RELAXED, ROSTER_RAISE, ROSTER_SEE,
};
use super::view::{Lane, Meeting, Zone};
use crate::layout::lane::{MARKS, PAGES};
use crate::layout::meeting::Entry;
use crate::layout::zone::NO_LANE;

/// How often a joining reader follows a floor that moves under it before it gives up.
const JOIN_TRIES: u32 = 10_000;
/// How often the writer looks again when readers join behind its candidate.
const ADVANCE_TRIES: u32 = 4;
/// The highest position that is believed: centuries of traffic, and far from overflow.
const MAX_POSITION: u64 = 1 << 62;

/// The writer's private half of a lane's floor.
#[derive(Debug)]
pub struct Floor {
    /// The lane's number, as in `entry_lane`.
    lane: u64,
    /// The floor that the writer acts on.
    floor: u64,
    /// The roster at the last look.
    roster: u64,
    /// The reader entries of this lane, as of `roster`.
    entries: Vec<u32>,
    /// How often a reader that joined meanwhile made the writer take its candidate back.
    taken_back: u64,
}

/// The floor can not move far enough: the slowest reader's cursor is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// That cursor.
    pub cursor: u64,
}

impl Floor {
    /// The floor of a fresh lane.
    pub fn new(lane: u64) -> Self {
        Floor { lane, floor: 0, roster: u64::MAX, entries: Vec::new(), taken_back: 0 }
    }

    /// The floor that the writer acts on.
    pub fn position(&self) -> u64 {
        self.floor
    }

    /// How often a reader that joined meanwhile made the writer take its candidate back.
    pub fn taken_back(&self) -> u64 {
        self.taken_back
    }

    /// Moves the floor to the first mark at or after `wanted`, if the readers have left what is before it; `tail` is the end
    /// of what is committed. On success, and if the floor is there already, the writer may write below it plus the capacity.
    #[cold]
    pub fn advance(
        &mut self,
        lane: Lane<'_>,
        zone: Zone<'_>,
        meeting: Meeting<'_>,
        tail: u64,
        wanted: u64,
    ) -> Result<u64, HeldUp> {
        if self.floor >= wanted {
            return Ok(self.floor);
        }
        let mut cursor = tail;
        for _ in 0..ADVANCE_TRIES {
            self.look_up(zone);
            cursor = self.slowest(meeting, tail);
            let Some(candidate) = self.mark_between(lane, wanted, cursor.min(tail)) else { break };
            lane.header.floor.0.store(candidate, FLOOR_SET.get());
            FLOOR_FENCE.fence();
            self.look_up(zone);
            cursor = self.slowest(meeting, tail);
            if cursor >= candidate {
                self.floor = candidate;
                return Ok(candidate);
            }
            lane.header.floor.0.store(self.floor, FLOOR_SET.get());
            self.taken_back += 1;
        }
        Err(HeldUp { cursor })
    }

    /// The first mark after the floor that is at or after `wanted`, unless it is after `most`.
    fn mark_between(&self, lane: Lane<'_>, wanted: u64, most: u64) -> Option<u64> {
        let shift = (lane.ring.capacity() / PAGES).trailing_zeros();
        let pages = (self.floor >> shift) + 1..=most >> shift;
        // The writer reads its own marks.
        let marks = pages.map(|page| lane.header.marks[page as usize % MARKS].position.load(RELAXED.get()));
        marks.take_while(|&mark| mark <= most).find(|&mark| mark >= wanted)
    }

    /// Looks up this lane's entries if the roster has changed.
    fn look_up(&mut self, zone: Zone<'_>) {
        let roster = zone.header.control.0.roster.load(ROSTER_SEE.get());
        if roster != self.roster {
            self.roster = roster;
            self.entries.clear();
            for (entry, lane) in zone.entry_lane.iter().enumerate() {
                if lane.load(ENTRY_SEE.get()) == self.lane {
                    self.entries.push(entry as u32);
                }
            }
        }
    }

    /// The least cursor of a joined reader; `tail` if there is none.
    fn slowest(&self, meeting: Meeting<'_>, tail: u64) -> u64 {
        let cursors = self.entries.iter().filter_map(|&entry| meeting.entries.get(entry as usize));
        let joined = cursors.map(|entry| entry.cursor.load(CURSOR_SEE.get())).filter(|&cursor| cursor >= self.floor);
        joined.fold(tail, u64::min)
    }
}

/// Why a reader could not join a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The writer's floor moved away again and again.
    Overrun,
    /// The lane's floor is not a position.
    Corrupt,
}

/// Joins a reader to a lane at its floor, and returns that: from then on nothing at or after it is overwritten until the
/// entry's cursor has moved. Run by the broker, or by whoever owns the entry.
pub fn join(lane: Lane<'_>, zone: Zone<'_>, entry: &Entry, index: usize, lane_number: u64) -> Result<u64, JoinError> {
    let joined = follow(lane, |cursor| enter(zone, entry, index, lane_number, cursor));
    if joined == Err(JoinError::Overrun) {
        leave(zone, index);
    }
    joined
}

/// Takes a reader that has joined a lane back to its floor, and returns that: what is there is kept for it again. Run by whoever owns the
/// entry. It is [`join`] without the roster, which has the entry already: the writer looks at its cursor in any case.
/// Release, as when it leaves something behind: the writer may find this cursor and not the one before.
pub fn join_again(lane: Lane<'_>, entry: &Entry) -> Result<u64, JoinError> {
    follow(lane, |cursor| entry.cursor.store(cursor, CURSOR_SET.get()))
}

/// Shows a cursor at the floor, until the floor is still there afterwards.
fn follow(lane: Lane<'_>, mut show: impl FnMut(u64)) -> Result<u64, JoinError> {
    // Relaxed: the fence below acquires the marks up to whatever floor was loaded before it.
    let mut cursor = lane.header.floor.0.load(RELAXED.get());
    for _ in 0..JOIN_TRIES {
        if cursor > MAX_POSITION || !cursor.is_multiple_of(8) {
            return Err(JoinError::Corrupt);
        }
        show(cursor);
        JOIN_FENCE.fence();
        let floor = lane.header.floor.0.load(RELAXED.get());
        if floor <= cursor {
            return Ok(cursor);
        }
        cursor = floor;
    }
    Err(JoinError::Overrun)
}

/// Puts a reader's entry on the roster at `cursor`. On its own this is enough for a lane whose writer does not publish yet.
pub fn enter(zone: Zone<'_>, entry: &Entry, index: usize, lane_number: u64, cursor: u64) {
    entry.cursor.store(cursor, RELAXED.get());
    if let Some(lane) = zone.entry_lane.get(index) {
        lane.store(lane_number, ENTRY_SET.get());
    }
    raise_roster(zone);
}

/// Takes a reader's entry off the roster: its cursor holds nothing up any more.
pub fn leave(zone: Zone<'_>, index: usize) {
    if let Some(lane) = zone.entry_lane.get(index) {
        lane.store(NO_LANE, ENTRY_SET.get());
    }
    raise_roster(zone);
}

/// Tells writers and readers of the zone that lanes or entries have changed.
pub fn raise_roster(zone: Zone<'_>) {
    zone.header.control.0.roster.fetch_add(1, ROSTER_RAISE.get());
}

/// The reader's word that it has done with everything before `position`.
#[inline(always)]
pub fn leave_behind(entry: &Entry, position: u64) {
    entry.cursor.store(position, CURSOR_SET.get());
}
