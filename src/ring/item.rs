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
//! **Which was written last** stands beside the first version, stored after the version that it points at. Who has loaded the row's version, or a
//! cut, finds a hint that is at least that of the newest commit up to there; if it points at a version that is not after the bound, that is the
//! newest, since a later hint points at a later one, or at one being written. So most reads look at one version; only if the writer has gone
//! on since do they look at all.
//!
//! **Live.** The same for the row's version in place of the cut. The newest committed version is overwritten only after a newer one of the same
//! item was written to another slot: who has missed it sees two slots that are newer than its commit or being written, at its last look at
//! them. So a read is good while at most one is; and if the row's version is still what it was, there is none to look for.

use super::lockstep;
use super::order::{GENERATION_SEE, ITEM_COPY_FENCE, ITEM_FENCE, ITEM_LAST_LOOK, ITEM_TOUCH, ITEM_WRITE, RELAXED};
use super::sequencer::{self, Cut, Touched};
use super::view::{Item, Zone};
use crate::layout::table::{HINT_SHIFT, Header, WRITING};
use crate::layout::zone::{self, Row};
use crate::sync::AtomicU64;

/// How often a writer looks again while edges pass it before it gives up.
const TRIES: u32 = 1000;
/// Bits of a slot's number.
const SLOT_BITS: u32 = 3;

/// The slot of the newest version not after `bound`, the first of equal ones; `V` if there is none. (No branches: which slot it is can not be
/// foretold.)
#[inline(always)]
fn pick<const V: usize>(versions: &[u64; V], bound: u64) -> usize {
    let mut picked = V;
    // One more than the best, so that 0 is better than none.
    let mut best = 0;
    for (slot, &version) in versions.iter().enumerate() {
        let is_better = (version <= bound) & (version.wrapping_add(1) > best);
        picked = if is_better { slot } else { picked };
        best = if is_better { version.wrapping_add(1) } else { best };
    }
    picked
}

impl<'a, const V: usize> Item<'a, V> {
    /// The version in a slot, without ordering.
    #[inline(always)]
    fn version(&self, slot: usize) -> u64 {
        self.versions[slot].load(RELAXED.get()) & WRITING
    }

    /// The newest version not after `bound`, and its slot, if that was written last.
    #[inline(always)]
    fn last(&self, bound: u64) -> Option<(usize, u64)> {
        let slot = (self.versions[0].load(RELAXED.get()) >> HINT_SHIFT) as usize;
        if slot >= V {
            return None;
        }
        // Relaxed: if this is older than what the hint is for, the last look, after the fence, finds that: the writer's fence came before the hint.
        let version = self.version(slot);
        (version <= bound).then_some((slot, version))
    }

    /// The newest version not after `bound`, and its slot.
    fn newest(&self, bound: u64) -> Option<(usize, u64)> {
        // Relaxed: those that a commit has made were published with the row's version, or with the cut. That another is being written, or has been
        // since, counts at the last look, after the fence.
        let seen = std::array::from_fn(|slot| self.version(slot));
        let slot = pick::<V>(&seen, bound);
        seen.get(slot).map(|&version| (slot, version))
    }

    /// Whether it was never set up to a commit: for the next writer of the table.
    pub fn has_no_value(&self, end: u64) -> bool {
        self.newest(end).is_none_or(|(_, version)| version == 0)
    }

    /// Whether this is one of its versions: for the writer.
    pub fn has(&self, version: u64) -> bool {
        (0..V).any(|slot| self.version(slot) == version)
    }

    /// The words of one version's value.
    #[inline(always)]
    fn value(&self, slot: usize) -> &'a [AtomicU64] {
        let words = self.values.len() / V;
        self.values.get(slot * words..(slot + 1) * words).unwrap_or_default()
    }
}

/// Reads an item as it was at the commit `bound`, if its writer has not gone on since; as [`read_live`]. (Apart, so that what is copied stays in
/// registers: with another way to it, it would go through memory.)
#[inline(always)]
pub fn glance<const V: usize, R>(
    item: Item<'_, V>,
    bound: u64,
    copy: impl FnOnce(&[AtomicU64]) -> R,
) -> Option<(u64, R)> {
    let (slot, version) = item.last(bound)?;
    let copied = copy(item.value(slot));
    ITEM_COPY_FENCE.fence();
    (item.version(slot) == version).then_some((version, copied))
}

/// Reads an item as it was at the commit `bound`: the version of its value, after `copy` was handed its words. `row`: the row's version, which was
/// `found` when `bound` was taken from it. `None`: the writer was faster; load the row's version again.
#[inline(always)]
pub fn read_live<const V: usize>(
    item: Item<'_, V>,
    row: (&AtomicU64, u64),
    bound: u64,
    mut copy: impl FnMut(&[AtomicU64]),
) -> Option<u64> {
    match glance(item, bound, &mut copy) {
        Some((version, ())) => Some(version),
        None => read_passed(item, row, bound, copy),
    }
}

/// The same when the writer has gone on since the row's version was loaded.
#[cold]
fn read_passed<const V: usize>(
    item: Item<'_, V>,
    (row, found): (&AtomicU64, u64),
    bound: u64,
    copy: impl FnOnce(&[AtomicU64]),
) -> Option<u64> {
    let (slot, version) = item.newest(bound)?;
    copy(item.value(slot));
    ITEM_COPY_FENCE.fence();
    if item.version(slot) != version {
        return None;
    }
    // Relaxed: after the fence. Nothing was committed since: no version was freed that could have been the one to read.
    let is_still = row.load(RELAXED.get()) == found;
    let newer = (0..V).filter(|&slot| item.version(slot) > bound).count();
    (is_still || newer <= 1 || ITEM_LAST_LOOK.is_left_out()).then_some(version)
}

/// Reads an item as it was at the cut of a sealed era: the version of its value, after `copy` was handed its words. `Err(true)`: the writer was
/// faster, look again; `Err(false)`: the generation has gone two eras further, and what the item was then is not kept any more.
#[inline(always)]
pub fn read_synced<const V: usize>(
    item: Item<'_, V>,
    zone: Zone<'_>,
    era: u64,
    cut: u64,
    copy: impl FnOnce(&[AtomicU64]),
) -> Result<u64, bool> {
    let found = item.last(cut).or_else(|| item.newest(cut));
    if let Some((slot, _)) = found {
        copy(item.value(slot));
    }
    ITEM_COPY_FENCE.fence();
    // Relaxed, here and below: after the fence.
    if zone.header.generation.0.load(RELAXED.get()) > era + 1 && !ITEM_LAST_LOOK.is_left_out() {
        return Err(false);
    }
    match found {
        Some((slot, version)) if item.version(slot) == version => Ok(version),
        _ => Err(true),
    }
}

/// Reads an item of a writer that writes no more: as it was at its last commit.
pub fn read_last<const V: usize>(item: Item<'_, V>, end: u64, copy: impl FnOnce(&[AtomicU64])) -> Option<u64> {
    let (slot, version) = item.newest(end)?;
    copy(item.value(slot));
    Some(version)
}

/// From which commit on this incarnation of a table has all that the one before had; 0: not yet.
#[inline(always)]
pub fn first(header: &Header) -> u64 {
    // Relaxed: the items were published with the row's version, which is compared with this.
    header.first.0.load(RELAXED.get())
}

/// The next commit, of this version, makes this incarnation of a table the one to read.
pub fn set_first(header: &Header, version: u64) {
    // Relaxed: as above.
    header.first.0.store(version, RELAXED.get());
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
    /// CURR's cut, and PREV's. In a lockstep zone they are looked at again each time.
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
    #[inline(always)]
    pub fn choose<'z, const V: usize>(
        &mut self,
        header: &zone::Header,
        zone: impl Fn() -> Zone<'z>,
        item: Item<'_, V>,
        committed: u64,
        help: impl FnMut(),
    ) -> Result<usize, Overtaken> {
        if header.generation.0.load(GENERATION_SEE.get()) == self.generation {
            let (slot, needs) = look(item, self.cuts, committed);
            if needs <= self.least || ITEM_TOUCH.is_left_out() {
                return Ok(slot);
            }
            if sequencer::touch(zone(), self.generation, self.row, committed) == Touched::Touched {
                self.least = committed;
                return Ok(slot);
            }
        }
        self.choose_with_care(zone(), item, committed, help)
    }

    /// The same when the generation has moved, an edge is under way, or there are permits.
    #[inline(never)]
    fn choose_with_care<const V: usize>(
        &mut self,
        zone: Zone<'_>,
        item: Item<'_, V>,
        committed: u64,
        mut help: impl FnMut(),
    ) -> Result<usize, Overtaken> {
        for _ in 0..TRIES {
            let generation = zone.generation();
            if generation != self.generation && !self.learn(zone, generation) {
                continue;
            }
            if zone.geometry.pace.is_lockstep() {
                // The next cut is this one again, or the permit's: what a helper may know does not matter.
                let permit = zone.rows.get(self.row).and_then(|row: &Row| lockstep::permit_of(row, generation + 1));
                let [current, previous] = self.cuts;
                let (slot, _) = look(item, [previous, current, permit.unwrap_or(current)], committed);
                return Ok(slot);
            }
            let (slot, needs) = look(item, self.cuts, committed);
            if needs <= self.least || ITEM_TOUCH.is_left_out() {
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
        self.cuts = [current, previous];
        // Whoever decides the next cut knows of this one, and so of the version that it names. (In lockstep there are permits to look at.)
        self.least = current;
        self.generation = if zone.geometry.pace.is_lockstep() { u64::MAX } else { generation };
        true
    }
}

/// The slot of an item to overwrite, and what the next cut must not be less than for that. `bounds`: cuts at which the item can be asked for.
///
/// A version is what the item is at bounds from it on, up to the next newer one. Of equal ones (which were never written) any will do.
#[inline(always)]
fn look<const V: usize, const B: usize>(item: Item<'_, V>, bounds: [u64; B], committed: u64) -> (usize, u64) {
    // In order, each with its slot: one more than the version, so that what was taken back, WRITING, is 0. (Versions have 46 bits.)
    let mut ranks = [0; V];
    for (slot, rank) in ranks.iter_mut().enumerate() {
        // Relaxed: the writer's own.
        let version = item.version(slot);
        *rank = (if version == WRITING { 0 } else { version + 1 }) << SLOT_BITS | slot as u64;
    }
    for end in (1..V).rev() {
        for n in 0..end {
            let (low, high) = (ranks[n].min(ranks[n + 1]), ranks[n].max(ranks[n + 1]));
            (ranks[n], ranks[n + 1]) = (low, high);
        }
    }
    let slot_of = |rank: u64| (rank & ((1 << SLOT_BITS) - 1)) as usize;
    let newest = ranks[V - 1];
    if newest >> SLOT_BITS > committed + 1 {
        // In a batch: set before.
        return (slot_of(newest), 0);
    }
    for n in 0..V - 1 {
        let (rank, next) = (ranks[n] >> SLOT_BITS, ranks[n + 1] >> SLOT_BITS);
        let is_needed = bounds.iter().any(|&bound| rank <= bound + 1 && bound + 1 < next);
        if rank == 0 || !is_needed {
            return (slot_of(ranks[n]), if rank == 0 { 0 } else { next - 1 });
        }
    }
    // Not reached: there are more slots than bounds, and each needs one at most.
    (slot_of(ranks[0]), u64::MAX)
}

/// Writes a version of an item; `fill` is handed the words of the value. It is seen once the row's version has come to it.
#[inline(always)]
pub fn write<const V: usize>(item: Item<'_, V>, slot: usize, version: u64, fill: impl FnOnce(&[AtomicU64])) {
    let Some(word) = item.versions.get(slot) else { return };
    // Relaxed: the writer's own.
    let first = item.versions[0].load(RELAXED.get());
    let hint = first & !WRITING;
    word.store(if slot == 0 { WRITING | hint } else { WRITING }, ITEM_WRITE.get());
    ITEM_FENCE.fence();
    fill(item.value(slot));
    let to_here = (slot as u64) << HINT_SHIFT;
    if slot == 0 {
        // Relaxed: as below.
        word.store(version, RELAXED.get());
        return;
    }
    // Relaxed: the commit publishes it. Whoever meets it before that takes it for newer, and knows by the fence above what made
    // it free.
    word.store(version, RELAXED.get());
    if hint != to_here {
        // Relaxed: whoever meets it knows by the fence above that this slot was written to.
        item.versions[0].store(first & WRITING | to_here, RELAXED.get());
    }
}

/// Takes back what [`write`] has written and was not committed.
pub fn take_back<const V: usize>(item: Item<'_, V>, version: u64) {
    for word in item.versions {
        // Relaxed: the writer's own; the next commit comes after it.
        let found = word.load(RELAXED.get());
        if found & WRITING == version {
            word.store(found | WRITING, RELAXED.get());
        }
    }
}
