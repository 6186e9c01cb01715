//! The SYNC edge: one atomic step that makes a whole era visible, of all writers, on all channels.
//!
//! **Promise.** Era `n` is, for each row, the commits after its cut of era `n - 1` up to its cut of era `n`. Both are decided
//! once, before the generation becomes `n`, and never change while anybody may read them. So every synced reader sees the
//! same eras; a commit, over however many lanes, is in exactly one of them.
//!
//! **Lock-free.** Anybody may run an edge, any number at once, and any of them may stop anywhere. For era `n = generation + 1`
//! the helpers decide how many rows it has, then each row's cut, then flip the generation; each by a CAS from a word of
//! an older lap, so the first wins and the rest agree. Nobody waits for a writer: what it has not committed is in the next era.
//!
//! **Stale helpers.** A helper that stopped between its load and its CAS may go on when the slot serves another era. Between
//! the two it looks whether the generation is still `n - 1`. If it is, the slot can not have been reused when the word was loaded
//! (which has to be before the look: acquire), and the word differs from any later decision until the laps wrap.
//!
//! **An exact edge** covers what anybody had committed before the call. A helper may have decided a cut earlier, so the
//! caller notes all versions first and goes again until the cuts have reached them: twice is the rule.
//!
//! **Cause before effect.** Cuts are taken one row after the other: an era could hold a reaction to a live message and not the
//! message. Two steps close this. (1) An edge says which era it closes, then fences, then takes cuts; a writer that finds
//! itself before a commit with an era closing and its own cut open decides that first ([`settle`]): its commit goes into the next era. (2) A
//! writer that reacts to what it has read live first completes the versions of those rows, then fences ([`complete`]). If a helper took
//! the cause's row before the cause, its fence came before the reaction's fence, so the reaction's writer sees the era closing.

use super::order::{
    CLOSING_FENCE, CLOSING_RAISE, CLOSING_SEE, COMMIT_SEE, COMPLETE, CUT_DECIDE, CUT_LOOK, CUT_SEE, FLIP,
    GENERATION_SEE, GENERATION_STILL, REACTION_FENCE, RELAXED, ROWS_SEE,
};
use super::view::Zone;
use crate::layout::lane::MAX_VERSION;
use crate::layout::zone::{self, LAP_BITS, SLOT_WORDS};
use crate::sync::AtomicU64;

/// How often an exact edge goes again before it says that it can not keep up. Twice is the rule.
const EXACT_TRIES: u32 = 64;
const LAP_SHIFT: u32 = 48;
const VALUE: u64 = MAX_VERSION;

/// What happened to this edge and others at the same time; counted so that a stress run can show that it was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Races {
    /// Passes over the rows.
    pub passes: u64,
    /// Cuts that somebody else had decided first.
    pub cuts_helped: u64,
    /// Flips that somebody else had made first.
    pub flips_lost: u64,
    /// Exact edges that had to go again.
    pub retries: u64,
}

/// An exact edge went again and again and was overtaken each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken;

/// A row's cut of an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The era has this row's commits up to this version.
    Version(u64),
    /// The era was closed before this row was there.
    NoRow,
    /// The generation ring does not hold this era any more (or not yet).
    Gone,
}

impl<'a> Zone<'a> {
    fn slot(self, era: u64) -> &'a [AtomicU64] {
        let stride = self.geometry.slot_stride();
        let first = (era % u64::from(self.geometry.eras)) as usize * stride;
        &self.slots[first..first + stride]
    }

    fn lap(self, era: u64) -> u64 {
        (era / u64::from(self.geometry.eras) + 1) & ((1 << LAP_BITS) - 1)
    }

    /// The number of the last sealed era: CURR. 0: none yet.
    #[inline(always)]
    pub fn generation(self) -> u64 {
        self.header.generation.0.load(GENERATION_SEE.get())
    }

    /// Whether the generation is still what it was when an edge began.
    fn is_still(self, generation: u64) -> bool {
        self.header.generation.0.load(GENERATION_STILL.get()) == generation
    }
}

/// Seals the era after the present generation, or finds it sealed; returns its number.
pub fn seal(zone: Zone<'_>, races: &mut Races) -> u64 {
    let generation = zone.generation();
    let era = generation + 1;
    races.passes += 1;
    zone.header.closing.0.fetch_max(era, CLOSING_RAISE.get());
    CLOSING_FENCE.fence();

    let lap = zone.lap(era) << LAP_SHIFT;
    let slot = zone.slot(era);
    let Some(rows) = decide_rows(zone, slot, generation, lap) else { return era };
    for (row, cut) in zone.rows.iter().zip(&slot[SLOT_WORDS..]).take(rows) {
        loop {
            let word = cut.load(CUT_LOOK.get());
            if word >> LAP_SHIFT == lap >> LAP_SHIFT {
                races.cuts_helped += 1;
                break;
            }
            let version = row.version.load(COMMIT_SEE.get()) & VALUE;
            if !zone.is_still(generation) {
                return era;
            }
            // Relaxed when lost: whoever loses looks again, and takes what was decided.
            if cut.compare_exchange(word, lap | version, CUT_DECIDE.get(), RELAXED.get()).is_ok() {
                break;
            }
        }
    }
    // Relaxed when lost: all cuts are known here, and whoever goes on loads the generation again.
    if zone.header.generation.0.compare_exchange(generation, era, FLIP.get(), RELAXED.get()).is_err() {
        races.flips_lost += 1;
    }
    era
}

/// Decides, or finds decided, how many rows the era has; `None`: it is sealed already.
fn decide_rows(zone: Zone<'_>, slot: &[AtomicU64], generation: u64, lap: u64) -> Option<usize> {
    let mut word = slot[0].load(ROWS_SEE.get());
    if word >> LAP_SHIFT != lap >> LAP_SHIFT {
        // Relaxed: rows are there from the beginning, and one that is not counted yet is in the next era. Whoever knows of a cut of the
        // last era that is not 0 knows of its row.
        let high = zone.header.high.0.load(RELAXED.get()).min(zone.rows.len() as u64);
        if !zone.is_still(generation) {
            return None;
        }
        // Relaxed: the fence has published the generation, which is all that a stale helper must find here.
        word = match slot[0].compare_exchange(word, lap | high, RELAXED.get(), RELAXED.get()) {
            Ok(_) => lap | high,
            Err(decided) if decided >> LAP_SHIFT == lap >> LAP_SHIFT => decided,
            Err(_) => return None,
        };
    }
    Some((word & VALUE) as usize)
}

/// An exact edge: the era returned, or an earlier one, holds all that anybody had committed before the call. `scratch` has
/// room for every row's version.
pub fn edge(zone: Zone<'_>, scratch: &mut [u64], races: &mut Races) -> Result<u64, Overtaken> {
    // Relaxed: who knows of a row's commit knows of its row, which was raised before.
    let high = zone.header.high.0.load(RELAXED.get()) as usize;
    let before = scratch.iter_mut().zip(zone.rows).take(high);
    let mut noted = 0;
    for (version, row) in before {
        *version = row.version.load(COMMIT_SEE.get()) & VALUE;
        noted += 1;
    }
    for _ in 0..EXACT_TRIES {
        let era = seal(zone, races);
        let covers = |(row, &version): (usize, &u64)| match cut(zone, era, row) {
            Cut::Version(cut) => cut >= version,
            Cut::NoRow => version == 0,
            Cut::Gone => false,
        };
        if scratch[..noted].iter().enumerate().all(covers) {
            return Ok(era);
        }
        races.retries += 1;
    }
    Err(Overtaken)
}

/// A row's cut of a sealed era.
pub fn cut(zone: Zone<'_>, era: u64, row: usize) -> Cut {
    let slot = zone.slot(era);
    let lap = zone.lap(era);
    let Some(word) = slot[SLOT_WORDS..].get(row) else { return Cut::NoRow };
    let rows = slot[0].load(CUT_SEE.get());
    let word = word.load(CUT_SEE.get());
    // The slot is rewritten once the generation is E - 1 further on.
    let generation = zone.header.generation.0.load(GENERATION_STILL.get());
    let held = era <= generation && generation - era < u64::from(zone.geometry.eras) - 1;
    if !held || rows >> LAP_SHIFT != lap {
        return Cut::Gone;
    }
    if row as u64 >= rows & VALUE {
        return Cut::NoRow;
    }
    if word >> LAP_SHIFT == lap { Cut::Version(word & VALUE) } else { Cut::Gone }
}

/// The oldest era whose cuts can be asked for at this generation: the ring keeps `E - 1` of them.
pub fn oldest_era(zone: Zone<'_>, generation: u64) -> u64 {
    (generation + 2).saturating_sub(u64::from(zone.geometry.eras)).max(1)
}

/// The era that a commit of this row is in, if that is sealed and still in the generation ring.
pub fn era_of(zone: Zone<'_>, row: usize, version: u64) -> Option<u64> {
    let generation = zone.generation();
    let includes = |era| matches!(cut(zone, era, row), Cut::Version(cut) if cut >= version);
    let lacks = |era| match cut(zone, era, row) {
        Cut::Version(cut) => cut < version,
        Cut::NoRow => true,
        Cut::Gone => false,
    };
    if generation == 0 || !includes(generation) {
        return None;
    }
    let (mut low, mut high) = (oldest_era(zone, generation), generation);
    // The first era that includes it: cuts only grow.
    while low < high {
        let middle = low + (high - low) / 2;
        if includes(middle) { high = middle } else { low = middle + 1 }
    }
    // The ring may have turned meanwhile: believed only if both sides of the border are still there.
    (includes(high) && (high == 1 || lacks(high - 1))).then_some(high)
}

/// Before a commit of `row`, whose version is `version`: if an edge is closing an era, decides the row's cut of it, so that the
/// commit falls into the next. `settled` is the last era that this was done for; one load when there is nothing to do.
#[inline(always)]
pub fn settle<'z>(header: &zone::Header, zone: impl FnOnce() -> Zone<'z>, row: usize, version: u64, settled: &mut u64) {
    let closing = header.closing.0.load(CLOSING_SEE.get());
    if closing != *settled {
        settle_era(zone(), row, version, closing);
        *settled = closing;
    }
}

#[cold]
fn settle_era(zone: Zone<'_>, row: usize, version: u64, closing: u64) {
    let generation = zone.generation();
    if generation >= closing {
        return;
    }
    let lap = zone.lap(generation + 1) << LAP_SHIFT;
    if let Some(cut) = zone.slot(generation + 1)[SLOT_WORDS..].get(row) {
        let word = cut.load(CUT_LOOK.get());
        if word >> LAP_SHIFT != lap >> LAP_SHIFT && zone.is_still(generation) {
            // Relaxed when lost: then it is decided, and that is all that the commit waits for.
            let _ = cut.compare_exchange(word, lap | version & VALUE, CUT_DECIDE.get(), RELAXED.get());
        }
    }
}

/// Completes a row's version up to one that a reader was given live: its writer showed that frame a moment before it stored
/// the version, and may have stopped in between.
#[inline]
pub fn complete(zone: Zone<'_>, row: usize, version: u64) {
    if let Some(row) = zone.rows.get(row)
        && row.version.load(COMMIT_SEE.get()) < version
    {
        row.version.fetch_max(version, COMPLETE.get());
    }
}

/// After completing all that the next commit may react to.
pub fn reaction_fence() {
    REACTION_FENCE.fence();
}
