//! Lockstep: an edge that waits for every writer's permit, or for a deadline.
//!
//! **Promise.** An era has, of each writer that gave its permit for it, the commits before the permit and none after; of one that did not,
//! nothing new. It passes as soon as the last has given its permit (or has gone), and is never waited for by nobody.
//!
//! **The permit is the commit.** It is one word of the writer's row: era and version. Edges take the row's cut from it, not from the
//! row's version, so a commit made a moment later is in the next era whatever the timing.
//!
//! **The last one runs the edge.** A writer stores its permit, fences, and looks at the others'. Of two who are the last at once, one fence
//! comes first, so the other finds both permits. The broker does the same for a row whose writer has gone: first its state, then the fence,
//! then the look.
//!
//! **Who is late** is decided with the cut: once a deadline's edge has begun, a row without a permit gets its last cut again, marked; a
//! permit that comes after that is for nothing, and its writer finds out ([`was_taken`]). In an edge that all have permitted, a row
//! without one has just joined: it too gets its last cut again, and is not late. What earlier owners of the row left is in the era either way.
//!
//! **Rolling back.** In a revocable zone the word `closing` counts roll-backs beside the era. A roll-back raises the count by a CAS from
//! a word that says that no edge has begun; an edge begins by a CAS from the word under which it has seen all permits. One of the
//! two comes first, and the other finds another word: a deadline that was for the round before a roll-back is not for the one after. A writer that finds the count raised forgets what is not sealed, takes its permit back,
//! and only then says that it has rolled back: until then its permit counts for nothing.

use super::order::{
    CLOSING_BEGIN, CLOSING_SEE, COMMIT_SEE, PERMIT_FENCE, PERMIT_SEE, PERMIT_SET, RELAXED, ROLLED_SEE, ROLLED_SET,
    STATE_SEE,
};
use super::sequencer::{self, Cut, Proposal, ROLL_BITS, Races, STRADDLED};
use super::view::Zone;
use crate::layout::lane::MAX_VERSION;
use crate::layout::zone::{Header, Pace, ROW_OPEN, Reason, Row};
use crate::sync::{prefetch_for_read, prefetch_for_write};

/// Rows whose permits are asked for early.
const PREFETCHED: usize = 4;
const GIVEN: u64 = 1 << 46;
const ERA_SHIFT: u32 = 47;
const ROLLS: u64 = (1 << ROLL_BITS) - 1;
/// Of the `round` word: the time.
const TIME: u64 = (1 << 48) - 1;
const TIME_BITS: u32 = 48;
/// How often a roll-back tries again when others come between.
const TRIES: u32 = 64;

/// What an edge is about to seal: the era that is open, and how often it was rolled back. An edge that is begun for one round does not
/// begin the next, however late it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The era's number.
    pub era: u64,
    /// As in `closing`.
    pub(super) rolls: u64,
}

impl Round {
    /// The word `closing` while no edge has begun.
    fn open(self) -> u64 {
        (self.era - 1) << ROLL_BITS | self.rolls
    }

    /// The word `closing` once an edge has begun.
    fn begun(self) -> u64 {
        self.era << ROLL_BITS | self.rolls
    }

    /// What stands before the time in the `round` word, where eras and roll-backs have 8 bits each.
    fn key(self) -> u64 {
        (self.era & 0xff) << 8 | self.rolls & 0xff
    }
}

/// The round that is open now.
pub fn round(zone: Zone<'_>) -> Round {
    // The roll-backs first: whoever knows of one knows of the era that it was in.
    let (_, rolls) = sequencer::closing(zone.header);
    Round { era: zone.generation() + 1, rolls }
}

/// A permit for `era`, with the commits up to `version`.
const fn permit_word(era: u64, version: u64) -> u64 {
    era << ERA_SHIFT | GIVEN | version
}

/// The version that a permit for `era` names; `None`: the word is no permit for it. (The era is compared in its last 17 bits.)
const fn permitted(word: u64, era: u64) -> Option<u64> {
    if word & !MAX_VERSION == permit_word(era, 0) { Some(word & MAX_VERSION) } else { None }
}

/// The version that a row's permit for `era` names, if it was given.
pub fn permit_of(row: &Row, era: u64) -> Option<u64> {
    permitted(row.permit.load(PERMIT_SEE.get()), era)
}

/// Gives the row's permit for the era that is open, with all commits up to `version`. Then [`pass`] with the round that this returns.
pub fn permit(zone: Zone<'_>, row: &Row, version: u64) -> Round {
    let era = zone.generation() + 1;
    // If this is the last permit, these lines are needed at once: they travel while the fence waits for the store.
    zone.prefetch_slot(era);
    prefetch_for_write(&zone.header.closing.0);
    for other in zone.rows.iter().take(PREFETCHED) {
        prefetch_for_read(&other.permit);
    }
    // A swap for its barrier: what was there does not matter.
    row.permit.swap(permit_word(era, version), PERMIT_SET.get());
    PERMIT_FENCE.fence_behind_rmw();
    let (_, rolls) = sequencer::closing(zone.header);
    Round { era, rolls }
}

/// A row's writer has gone and its state says so: the round to [`pass`] now.
pub fn departed(zone: Zone<'_>) -> Round {
    PERMIT_FENCE.fence();
    round(zone)
}

/// Whether the permit of a sealed era was taken, and did not come too late: `None` if the generation ring has forgotten it.
pub fn was_taken(zone: Zone<'_>, era: u64, row: usize, version: u64) -> Option<bool> {
    let is_late = sequencer::straddled(zone, era, row)?;
    match sequencer::cut(zone, era, row) {
        Cut::Version(cut) => Some(cut >= version && !is_late),
        Cut::NoRow => Some(false),
        Cut::Gone => None,
    }
}

/// Notes when the first permit of a round was given, unless that is known. After a permit.
pub fn start_round(zone: Zone<'_>, round: Round, clock: impl Fn() -> Option<u64>) {
    let word = &zone.header.round.0;
    // Relaxed throughout: the word is a number of its own.
    let found = word.load(RELAXED.get());
    let is_known = found != 0 && found >> TIME_BITS == round.key();
    if !is_known && let Some(now) = clock() {
        let _ = word.compare_exchange(found, round.key() << TIME_BITS | now & TIME, RELAXED.get(), RELAXED.get());
    }
}

/// The open round has been held up by something that is nobody's fault: the deadline counts from now.
pub fn restart_round(zone: Zone<'_>, clock: impl Fn() -> Option<u64>) {
    let word = &zone.header.round.0;
    let found = word.load(RELAXED.get());
    if let (true, Some(now)) = (round_began(zone, round(zone)).is_some(), clock()) {
        // Lost: it has begun anew.
        let _ = word.compare_exchange(found, found & !TIME | now & TIME, RELAXED.get(), RELAXED.get());
    }
}

/// When the first permit of a round was given, in microseconds of the monotonic clock; `None`: nobody has given one.
pub fn round_began(zone: Zone<'_>, round: Round) -> Option<u64> {
    let found = zone.header.round.0.load(RELAXED.get());
    (found != 0 && found >> TIME_BITS == round.key()).then_some(found & TIME)
}

/// Whether a row's permit counts under this number of roll-backs.
fn counts(zone: Zone<'_>, row: &Row, rolls: u64) -> bool {
    zone.geometry.pace != Pace::Revocable || row.rolled.load(ROLLED_SEE.get()) == rolls
}

/// Whether some writer has given its permit, and every one that is waited for has.
fn all_permit(zone: Zone<'_>, round: Round) -> bool {
    // Relaxed: a row that is not counted yet is waited for in the next era.
    let high = zone.header.high.0.rows.load(RELAXED.get()) as usize;
    let mut any = false;
    for row in zone.rows.iter().take(high) {
        if row.state.load(STATE_SEE.get()) != ROW_OPEN || row.joined.load(RELAXED.get()) > round.era {
            continue;
        }
        if permitted_by(zone, row, round).is_none() {
            return false;
        }
        any = true;
    }
    any
}

/// Seals the round's era if all have permitted it ([`Reason::Permits`]), or whatever they have (any other reason), or if an edge has begun
/// already. True: the era is sealed. False: some have not given their permit, or the round was rolled back.
pub fn pass(
    zone: Zone<'_>,
    round: Round,
    proposal: &Proposal,
    clock: impl Fn() -> Option<u64>,
    races: &mut Races,
) -> bool {
    // First: reading a clock takes as long as the lines take to come here.
    let now = clock();
    let mut word = zone.header.closing.0.load(CLOSING_SEE.get());
    if word == round.open() {
        if proposal.reason == Reason::Permits && !all_permit(zone, round) {
            return false;
        }
        // One CAS against other edges and roll-backs. Lost: as if it had been found so.
        word = match zone.header.closing.0.compare_exchange(word, round.begun(), CLOSING_BEGIN.get(), CLOSING_SEE.get())
        {
            Ok(_) => round.begun(),
            Err(now) => now,
        };
    }
    if word >> ROLL_BITS < round.era {
        return false;
    }
    // If the word tells of a later roll-back, that is of a later era, and nothing more is decided here.
    finish(zone, Round { rolls: word & ROLLS, ..round }, proposal, now, races);
    true
}

/// Finishes an edge that has begun.
pub(super) fn finish(zone: Zone<'_>, round: Round, proposal: &Proposal, now: Option<u64>, races: &mut Races) {
    let generation = round.era - 1;
    let _ = sequencer::finish(zone, generation, proposal, now, races, |index, row, reason| {
        let last = sequencer::last_cut(zone, generation, index)?;
        if let Some(version) = permitted_by(zone, row, round).or_else(|| left_by(row)) {
            // No less than the last, should the word be of as many eras ago that its number is the same.
            return Ok(version.max(last));
        }
        // Relaxed: stored before the state, which says that this writer is there.
        let inherited = row.inherited.load(RELAXED.get()) & MAX_VERSION;
        let is_late = reason == Some(Reason::Deadline) && row.joined.load(RELAXED.get()) <= round.era;
        let version = inherited.max(last);
        Ok(if is_late { version | STRADDLED } else { version })
    });
}

/// The version that a row's permit names, if it counts in this round.
fn permitted_by(zone: Zone<'_>, row: &Row, round: Round) -> Option<u64> {
    // The roll-back first: a permit of before it was taken back before that.
    if counts(zone, row, round.rolls) { permit_of(row, round.era) } else { None }
}

/// The version of a row whose writer has gone. Its lanes have their ends; nothing comes after them.
fn left_by(row: &Row) -> Option<u64> {
    let has_gone = || row.state.load(STATE_SEE.get()) != ROW_OPEN;
    if !has_gone() {
        return None;
    }
    let version = row.version.load(COMMIT_SEE.get()) & MAX_VERSION;
    // Unless the row has a writer again, which may have committed that and given no permit.
    has_gone().then_some(version)
}

/// The era that is open can not be rolled back: an edge has begun to seal it, or the writer has given its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

/// Rolls the open era back for everybody, on behalf of `row`, which has not given its permit: how often that has happened now.
pub fn roll_back(zone: Zone<'_>, row: &Row) -> Result<u64, TooLate> {
    for _ in 0..TRIES {
        let word = zone.header.closing.0.load(CLOSING_SEE.get());
        let era = zone.generation() + 1;
        if word >> ROLL_BITS >= era || permit_of(row, era).is_some() {
            return Err(TooLate);
        }
        let rolls = (word + 1) & ROLLS;
        // Relaxed when lost: looks again.
        let raised = word & !ROLLS | rolls;
        if zone.header.closing.0.compare_exchange(word, raised, CLOSING_BEGIN.get(), RELAXED.get()).is_ok() {
            return Ok(rolls);
        }
    }
    Err(TooLate)
}

/// A writer has forgotten what was not sealed: its permit is taken back, and then it counts again.
pub fn rolled_back(row: &Row, rolls: u64) {
    // Relaxed: before the next, which publishes it.
    row.permit.store(0, RELAXED.get());
    row.rolled.store(rolls, ROLLED_SET.get());
}

/// How often the open era was rolled back, modulo 2^16.
pub fn rolls(header: &Header) -> u64 {
    sequencer::closing(header).1
}
