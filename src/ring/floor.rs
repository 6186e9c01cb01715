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

mod holes;

use super::order::{
    CURSOR_SEE, CURSOR_SET, ENTRY_SEE, ENTRY_SET, FLOOR_FENCE, FLOOR_SET, JOIN_FENCE, RELAXED, ROSTER_RAISE, ROSTER_SEE,
};
use super::view::{Lane, Meeting, Zone};
use crate::layout::lane::{MARKS, MAX_PINS, PAGES};
use crate::layout::meeting::Entry;
use crate::layout::zone::{ENTRY_EVICTED, ENTRY_LANE, ENTRY_PINS, ENTRY_SYNCED, NO_LANE};
use holes::Hole;

/// How often a joining reader follows a floor that moves under it before it gives up.
const JOIN_TRIES: u32 = 10_000;
/// How often the writer looks again when readers join behind its candidate.
const ADVANCE_TRIES: u32 = 4;
/// The highest position that is believed: centuries of traffic, and far from overflow.
pub(super) const MAX_POSITION: u64 = 1 << 62;

/// The writer's private half of a lane's floor.
#[derive(Debug)]
pub struct Floor {
    /// The lane's number, as in `entry_lane`.
    lane: u64,
    /// Readers hold nothing up: only what they pin stays.
    lossy: bool,
    /// The floor that the writer acts on.
    floor: u64,
    /// The roster at the last look.
    roster: u64,
    /// The reader entries of this lane, as of `roster`.
    entries: Vec<Listed>,
    /// What the writer goes round.
    holes: Vec<Hole>,
    /// How often a reader that joined meanwhile made the writer take its candidate back.
    taken_back: u64,
}

/// A reader's entry, as the roster has it.
#[derive(Clone, Copy, Debug)]
struct Listed {
    index: u32,
    /// What it pins is gone round.
    pins: bool,
    synced: bool,
    evicted: bool,
}

/// The floor can not move far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// The slowest reader's cursor.
    pub cursor: u64,
    /// That reader's entry; `None`: it is no reader that holds the floor up.
    pub entry: Option<u32>,
    /// That reader takes whole eras.
    pub synced: bool,
}

/// Where the next commit fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where it begins: the tail, or behind what readers hold there.
    pub start: u64,
    /// Nothing may be written at or after this position.
    pub limit: u64,
}

impl Floor {
    /// The floor of a fresh lane, whose readers hold their writer up.
    pub fn new(lane: u64) -> Self {
        Floor {
            lane,
            lossy: false,
            floor: 0,
            roster: u64::MAX,
            entries: Vec::new(),
            holes: Vec::with_capacity(MAX_PINS as usize),
            taken_back: 0,
        }
    }

    /// The floor of a fresh lane that passes its readers.
    pub fn lossy(lane: u64) -> Self {
        Floor { lossy: true, ..Floor::new(lane) }
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
    /// of what is committed. On success, and if the floor is there already, the writer may write below it plus the capacity, but for what
    /// is held there: see [`Floor::room`].
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
        let mut slowest = HeldUp { cursor: tail, entry: None, synced: false };
        for _ in 0..ADVANCE_TRIES {
            self.look_up(zone);
            slowest = self.slowest(self.entries.iter().copied(), meeting, tail);
            let Some(candidate) = self.mark_between(lane, wanted, slowest.cursor.min(tail)) else { break };
            lane.header.floor.0.store(candidate, FLOOR_SET.get());
            FLOOR_FENCE.fence();
            self.look_up(zone);
            slowest = self.slowest(self.entries.iter().copied(), meeting, tail);
            if slowest.cursor >= candidate {
                self.find_holes(lane, meeting, candidate);
                self.floor = candidate;
                return Ok(candidate);
            }
            lane.header.floor.0.store(self.floor, FLOOR_SET.get());
            self.taken_back += 1;
        }
        Err(slowest)
    }

    /// Whether the floor could reach `wanted` if all readers were at `most`.
    pub fn could_reach(&self, lane: Lane<'_>, wanted: u64, most: u64) -> bool {
        self.floor >= wanted || self.mark_between(lane, wanted, most).is_some()
    }

    /// Who is furthest behind of those that are waited for; nobody and `tail` if there is none.
    pub fn held_up(&self, zone: Zone<'_>, meeting: Meeting<'_>, tail: u64) -> HeldUp {
        self.slowest(listed(zone, self.lane), meeting, tail)
    }

    /// Whether a reader that is waited for takes whole eras.
    pub fn waits_for_eras(&self) -> bool {
        !self.lossy && self.entries.iter().any(|listed| listed.synced && !listed.evicted)
    }

    /// Waits for this reader no longer: its cursor holds nothing up any more, only what it has pinned stays. False: it is gone, or was
    /// evicted already.
    #[cold]
    pub fn evict(&mut self, zone: Zone<'_>, entry: u32) -> bool {
        let Some(word) = zone.entry_lane.get(entry as usize) else { return false };
        // Relaxed: ordered before anything is overwritten by the floor's fence.
        let listed = word.load(RELAXED.get());
        let evicted = listed & ENTRY_LANE == self.lane
            && listed & ENTRY_EVICTED == 0
            && word.compare_exchange(listed, listed | ENTRY_EVICTED, RELAXED.get(), RELAXED.get()).is_ok();
        self.roster = u64::MAX;
        evicted
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
            self.entries.extend(listed(zone, self.lane));
        }
    }

    /// The joined reader with the least cursor that is waited for; nobody and `tail` if there is none.
    fn slowest(&self, entries: impl IntoIterator<Item = Listed>, meeting: Meeting<'_>, tail: u64) -> HeldUp {
        let mut slowest = HeldUp { cursor: tail, entry: None, synced: false };
        if self.lossy {
            return slowest;
        }
        for listed in entries.into_iter().filter(|listed| !listed.evicted) {
            let Some(entry) = meeting.entries.get(listed.index as usize) else { continue };
            let cursor = entry.cursor.load(CURSOR_SEE.get());
            if cursor >= self.floor && cursor < slowest.cursor {
                slowest = HeldUp { cursor, entry: Some(listed.index), synced: listed.synced };
            }
        }
        slowest
    }
}

/// The entries that the roster has for a lane.
fn listed(zone: Zone<'_>, lane: u64) -> impl Iterator<Item = Listed> {
    let words = zone.entry_lane.iter().map(|word| word.load(ENTRY_SEE.get()));
    let its = words.enumerate().filter(move |(_, word)| word & ENTRY_LANE == lane);
    its.map(|(index, word)| Listed {
        index: index as u32,
        pins: word & ENTRY_PINS != 0,
        synced: word & ENTRY_SYNCED != 0,
        evicted: word & ENTRY_EVICTED != 0,
    })
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
/// `lane_number`: with the entry's flags.
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
