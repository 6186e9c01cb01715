//! An item of a table: several versions of one value, of which the writer always has one to write on that no reader needs.
//!
//! **Promise.** A reader finds the value that the item had at a commit (live) or at a sealed era's cut (synced: CURR, or PREV), whole, and
//! values of several items that were read at one commit or cut belong together. It never writes; it looks once more where the writer was
//! faster. An update costs what it changes: nothing is copied forward.
//!
//! **What is kept.** Of the versions that an item has, the newest not after a cut is what it was at that cut. Besides one to write on there are
//! the newest not after the cut of CURR, the same for PREV, and the newest that is committed; in lockstep also the newest not after the permit,
//! which may be the next cut. The writer overwrites none of these ([`Keeper::choose`]).
//!
//! **The next cut** may be decided for a version that is none of them: a helper may have loaded the row's version a while ago and be about to
//! decide for it. Before the writer overwrites what such a helper's cut would need, it *touches* its undecided cut word: the helper's
//! CAS fails, and it loads again. (One touch is for all commits up to it.) If the cut is decided already, the writer helps the edge to its end first: then it is CURR's.
//!
//! **Writing.** The version says WRITING, then a release fence, then the value, then its version. A reader copies, an acquire fence, and
//! looks at the version again: a word of the new value that it may have met comes with WRITING or what follows it.
//!
//! **Synced.** Before the copy the reader has chosen the newest version not after the cut, from those that it saw. If the one it should have
//! chosen was overwritten before it looked, it has seen WRITING or a later version there; its writer did that after the generation had gone two
//! eras further, and so the last look at the generation says so.
//!
//! **Live.** The same for the row's version in place of the cut. The newest committed version is overwritten only after a newer one of the same
//! item was written to another slot: who has missed it sees two slots that are newer than its commit or being written, at its last look at
//! them. So a read is good while at most one is.

use super::lockstep;
use super::order::{
    FIRST_SEE, FIRST_SET, ITEM_COPY_FENCE, ITEM_FENCE, ITEM_LAST_LOOK, ITEM_SEE, ITEM_SHOW, ITEM_TOUCH, ITEM_WRITE,
    RELAXED,
};
use super::sequencer::{self, Cut, Touched};
use super::view::{Item, Zone};
use crate::layout::table::{Header, MAX_VERSIONS, WRITING};
use crate::layout::zone::Row;

/// How often a writer looks again while edges pass it before it gives up.
const TRIES: u32 = 1000;

/// The slot of the newest version not after `bound`; the first of equal ones.
#[inline(always)]
fn pick(versions: &[u64; MAX_VERSIONS], count: usize, bound: u64) -> Option<usize> {
    let mut picked = None;
    let mut best = 0;
    for (slot, &version) in versions.iter().enumerate().take(count) {
        if version <= bound && (picked.is_none() || version > best) {
            (picked, best) = (Some(slot), version);
        }
    }
    picked
}

impl Item<'_> {
    #[inline(always)]
    fn see(&self) -> [u64; MAX_VERSIONS] {
        let mut versions = [WRITING; MAX_VERSIONS];
        for (seen, word) in versions.iter_mut().zip(self.versions) {
            *seen = word.load(ITEM_SEE.get());
        }
        versions
    }

    /// The words of one version's value.
    #[inline(always)]
    fn value(&self, slot: usize) -> &[crate::sync::AtomicU64] {
        let words = self.values.len() / self.versions.len().max(1);
        self.values.get(slot * words..(slot + 1) * words).unwrap_or_default()
    }
}

/// Reads an item as it was at the commit `bound`, which the row's version has reached: the version of its value, after `copy` was handed its
/// words. `None`: the writer was faster; load the row's version again.
#[inline(always)]
pub fn read_live(item: Item<'_>, bound: u64, copy: impl FnOnce(&[crate::sync::AtomicU64])) -> Option<u64> {
    let count = item.versions.len();
    let seen = item.see();
    let slot = pick(&seen, count, bound)?;
    copy(item.value(slot));
    ITEM_COPY_FENCE.fence();
    let mut newer = 0;
    for word in item.versions {
        // Relaxed: after the fence.
        newer += usize::from(word.load(RELAXED.get()) > bound);
    }
    let still = item.versions[slot].load(RELAXED.get()) == seen[slot];
    (still && (newer <= 1 || ITEM_LAST_LOOK.is_left_out())).then_some(seen[slot])
}

/// Reads an item as it was at the cut of a sealed era: the version of its value, after `copy` was handed its words. `Err(true)`: the writer was
/// faster, look again; `Err(false)`: the generation has gone two eras further, and what the item was then is not kept any more.
#[inline(always)]
pub fn read_synced(
    item: Item<'_>,
    zone: Zone<'_>,
    era: u64,
    cut: u64,
    copy: impl FnOnce(&[crate::sync::AtomicU64]),
) -> Result<u64, bool> {
    let count = item.versions.len();
    let seen = item.see();
    let slot = pick(&seen, count, cut);
    if let Some(slot) = slot {
        copy(item.value(slot));
    }
    ITEM_COPY_FENCE.fence();
    if zone.header.generation.0.load(RELAXED.get()) > era + 1 && !ITEM_LAST_LOOK.is_left_out() {
        return Err(false);
    }
    match slot {
        Some(slot) if item.versions[slot].load(RELAXED.get()) == seen[slot] => Ok(seen[slot]),
        _ => Err(true),
    }
}

/// The version that an item had at `bound`, without its value: what tells whether it has changed. As the reads, but that there is nothing to copy.
#[inline]
pub fn version_live(item: Item<'_>, bound: u64) -> Option<u64> {
    read_live(item, bound, |_| {})
}

/// From which commit on this incarnation of a table has all that the one before had; 0: not yet.
#[inline(always)]
pub fn first(header: &Header) -> u64 {
    header.first.0.load(FIRST_SEE.get())
}

/// The next commit, of this version, makes this incarnation of a table the one to read.
pub fn set_first(header: &Header, version: u64) {
    header.first.0.store(version, FIRST_SET.get());
}

/// Edges passed again and again, while a writer looked for a version to write on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken;

/// What a writer knows of the versions that its tables' readers may need.
#[derive(Clone, Copy, Debug)]
pub struct Keeper {
    row: usize,
    /// The generation that the cuts are of; `u64::MAX`: none yet.
    generation: u64,
    /// CURR's cut, and PREV's.
    cuts: [u64; 2],
    /// No cut of the era after `generation` is going to be less.
    least: u64,
}

impl Keeper {
    /// Of the writer of this row.
    pub fn new(row: usize) -> Keeper {
        Keeper { row, generation: u64::MAX, cuts: [0; 2], least: 0 }
    }

    /// The slot of an item to write the version `committed + 1` on. `help` runs the edge that is under way to its end.
    #[inline]
    pub fn choose<'z>(
        &mut self,
        zone: Zone<'z>,
        item: Item<'_>,
        committed: u64,
        mut help: impl FnMut(),
    ) -> Result<usize, Overtaken> {
        for _ in 0..TRIES {
            let generation = zone.generation();
            if generation != self.generation && !self.learn(zone, generation) {
                continue;
            }
            let (slot, needs) = self.look(zone, item, committed);
            if needs <= self.least {
                return Ok(slot);
            }
            if ITEM_TOUCH.is_left_out() {
                return Ok(slot);
            }
            match sequencer::touch(zone, generation, self.row, committed) {
                Touched::Touched => {
                    self.least = committed;
                    return Ok(slot);
                }
                Touched::Decided => help(),
                Touched::Moved => {}
            }
        }
        Err(Overtaken)
    }

    /// Takes the cuts of another generation; false: it has gone on.
    #[cold]
    fn learn(&mut self, zone: Zone<'_>, generation: u64) -> bool {
        let cut = |era: u64| match sequencer::cut(zone, era, self.row) {
            Cut::Version(version) => Some(version),
            Cut::NoRow => Some(0),
            Cut::Gone => None,
        };
        let before = generation.saturating_sub(1);
        let (Some(current), Some(previous)) =
            (if generation == 0 { Some(0) } else { cut(generation) }, if before == 0 { Some(0) } else { cut(before) })
        else {
            return false;
        };
        (self.generation, self.cuts) = (generation, [current, previous]);
        // Whoever decides the next cut knows of this one, and so of the version that it names. In lockstep it is this, or the permit's.
        self.least = if zone.geometry.pace.is_lockstep() { u64::MAX } else { current };
        true
    }

    /// The slot to overwrite, and what the next cut must not be less than for that.
    #[inline(always)]
    fn look(&self, zone: Zone<'_>, item: Item<'_>, committed: u64) -> (usize, u64) {
        let count = item.versions.len();
        let mut versions = [WRITING; MAX_VERSIONS];
        for (seen, word) in versions.iter_mut().zip(item.versions) {
            // Relaxed: the writer's own.
            *seen = word.load(RELAXED.get());
        }
        let permitted = match zone.geometry.pace.is_lockstep() {
            true => zone.rows.get(self.row).and_then(|row: &Row| lockstep::permit_of(row, self.generation + 1)),
            false => None,
        };
        let [current, previous] = self.cuts;
        let kept = [Some(committed), Some(current), Some(previous), permitted]
            .map(|bound| bound.and_then(|bound| pick(&versions, count, bound)));
        let mut chosen = (0, u64::MAX);
        let mut oldest = u64::MAX;
        for (slot, &version) in versions.iter().enumerate().take(count) {
            // In a batch: set before. Else: being written, by a writer that gave up.
            if version > committed {
                if version != WRITING {
                    return (slot, 0);
                }
                chosen = (slot, 0);
                oldest = 0;
                continue;
            }
            if kept.contains(&Some(slot)) {
                continue;
            }
            let twin = versions[..slot].contains(&version);
            if twin {
                chosen = (slot, 0);
                oldest = 0;
            } else if version < oldest {
                // Needed by cuts from it on, and not from the next newer on.
                let newer = |other: &&u64| **other > version && **other <= committed;
                let next = versions[..count].iter().filter(newer).min();
                chosen = (slot, next.copied().unwrap_or(u64::MAX));
                oldest = version;
            }
        }
        chosen
    }
}

/// Writes a version of an item; `fill` is handed the words of the value. It is seen once the row's version has come to it.
#[inline(always)]
pub fn write(item: Item<'_>, slot: usize, version: u64, fill: impl FnOnce(&[crate::sync::AtomicU64])) {
    let Some(word) = item.versions.get(slot) else { return };
    word.store(WRITING, ITEM_WRITE.get());
    ITEM_FENCE.fence();
    fill(item.value(slot));
    word.store(version, ITEM_SHOW.get());
}

/// Takes back what [`write`] has written and was not committed.
pub fn take_back(item: Item<'_>, version: u64) {
    for word in item.versions {
        // Relaxed: the writer's own; the next commit comes after it.
        if word.load(RELAXED.get()) == version {
            word.store(WRITING, RELAXED.get());
        }
    }
}
