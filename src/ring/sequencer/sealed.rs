//! What a sealed era says: for readers, which change nothing.
//!
//! A slot is believed if its words have the era's lap and the generation, looked at after them, has not gone so far on that the slot is another
//! era's.

use super::{BEGUN, Begun, SLOT_WORDS, STRADDLED, Sealed, TAG_HIGH, TAG_LOW, TIME, VALUE, VERSION, closing, is_of};
use crate::layout::zone::{Pace, Reason};
use crate::ring::order::{COMMIT_SEE, CUT_SEE, GENERATION_STILL, MARKER_FENCE};
use crate::ring::view::Zone;

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

/// What was decided about an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Why its edge passed.
    pub reason: Reason,
    /// When, in microseconds of the monotonic clock.
    pub time_us: u64,
    /// The tag that the edge carried.
    pub tag: Option<u64>,
    /// The row of whoever asked for it; the number of rows for the broker.
    pub proposer: u32,
    /// How many rows it has.
    pub rows: u32,
}

/// A row's cut of a sealed era.
pub fn cut(zone: Zone<'_>, era: u64, row: usize) -> Cut {
    match cut_word(zone, era, row) {
        Ok(Some(word)) => Cut::Version(word & VERSION),
        Ok(None) => Cut::NoRow,
        Err(Forgotten) => Cut::Gone,
    }
}

/// The generation ring does not hold the era.
struct Forgotten;

#[inline]
fn cut_word(zone: Zone<'_>, era: u64, row: usize) -> Result<Option<u64>, Forgotten> {
    let slot = zone.slot(era);
    let lap = zone.lap(era);
    let Some(word) = slot[SLOT_WORDS..].get(row) else { return Ok(None) };
    let begun = slot[BEGUN].load(CUT_SEE.get());
    let word = word.load(CUT_SEE.get());
    if !zone.holds(era) || !is_of(begun, lap) {
        return Err(Forgotten);
    }
    if row >= Begun(begun & VALUE).rows() {
        return Ok(None);
    }
    if is_of(word, lap) { Ok(Some(word & VALUE)) } else { Err(Forgotten) }
}

/// The version that a row's cut of the era before the open one has: for a ballot. `Sealed`: the open one is sealed.
pub(in crate::ring) fn last_cut(zone: Zone<'_>, generation: u64, row: usize) -> Result<u64, Sealed> {
    if generation == 0 {
        return Ok(0);
    }
    match cut(zone, generation, row) {
        Cut::Version(version) => Ok(version),
        Cut::NoRow => Ok(0),
        Cut::Gone => Err(Sealed),
    }
}

/// What was decided about a sealed era; `None`: the generation ring does not hold it.
#[inline]
pub fn record(zone: Zone<'_>, era: u64) -> Option<Record> {
    let (slot, lap) = (zone.slot(era), zone.lap(era));
    // Each was decided before the flip, if at all; the words of another lap are none of this era's.
    let [begun, time, low, high] = [BEGUN, TIME, TAG_LOW, TAG_HIGH].map(|word| slot[word].load(CUT_SEE.get()));
    if !zone.holds(era) || !is_of(begun, lap) {
        return None;
    }
    let begun = Begun(begun & VALUE);
    let tagged = begun.is_tagged() && is_of(low, lap) && is_of(high, lap);
    Some(Record {
        reason: begun.reason()?,
        time_us: if is_of(time, lap) { time & VALUE } else { 0 },
        tag: tagged.then_some((high & 0xffff_ffff) << 32 | low & 0xffff_ffff),
        proposer: begun.proposer(),
        rows: begun.rows() as u32,
    })
}

/// Whether a row had a batch open when a sealed era's edge passed (or, if a deadline passed, had not given its permit). `None`: the
/// generation ring does not hold the era.
pub fn straddled(zone: Zone<'_>, era: u64, row: usize) -> Option<bool> {
    let word = cut_word(zone, era, row).ok()?;
    Some(word.is_some_and(|word| word & STRADDLED != 0))
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

/// Whether a commit of `row` is known to be in the era after `generation` or in an earlier one; false: as far as can be told now, it may
/// be in a later one. For a live reader that hands out edges among messages and has handed out those up to `generation`. `known` is the
/// caller's, one for each row, 0 at first: the last version of which this was found out. One comparison while that is enough.
#[inline(always)]
pub fn is_in_open_era<'z>(
    zone: impl FnOnce() -> Zone<'z>,
    generation: u64,
    row: usize,
    version: u64,
    known: &mut u64,
) -> bool {
    if version > *known {
        // What was known stays: of each row, an era only holds more than the one before.
        *known = known_of_open_era(zone(), generation, row).max(*known);
    }
    version <= *known
}

/// The version up to which a row's commits are known to be in the era after `generation` or in earlier ones.
#[cold]
fn known_of_open_era(zone: Zone<'_>, generation: u64, row: usize) -> u64 {
    let (slot, lap) = (zone.slot(generation + 1), zone.lap(generation + 1));
    let (Some(cut), Some(row)) = (slot[SLOT_WORDS..].get(row), zone.rows.get(row)) else { return 0 };
    // In lockstep a permit may have been given long before an edge begins, and a deadline may leave out what has no permit.
    if zone.geometry.pace == Pace::Free {
        let version = row.version.load(COMMIT_SEE.get()) & VERSION;
        // Either this fence comes before that of an edge, which then finds this version, or the edge shows here. (If the writer decided the
        // cut, it had found the edge before the commit that the version tells of.)
        MARKER_FENCE.fence();
        if closing(zone.header).0 <= generation {
            return version;
        }
    }
    let word = cut.load(CUT_SEE.get());
    // As in `holds`, but that the era may be open.
    let is_held = zone.header.generation.0.load(GENERATION_STILL.get()) < generation + u64::from(zone.geometry.eras);
    if is_held && is_of(word, lap) { word & VERSION } else { 0 }
}
