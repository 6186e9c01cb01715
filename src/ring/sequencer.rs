//! The SYNC edge: one atomic step that makes a whole era visible, of all writers, on all channels.
//!
//! **Promise.** Era `n` is, for each row, the commits after its cut of era `n - 1` up to its cut of era `n`. Both are decided
//! once, before the generation becomes `n`, and never change while anybody may read them. So every synced reader sees the
//! same eras; a commit, over however many lanes, is in exactly one of them. The same holds for when the edge passed, why, its tag, and
//! which rows had a batch open.
//!
//! **Lock-free.** Anybody may run an edge, any number at once, and any of them may stop anywhere. For era `n = generation + 1`
//! the helpers decide why it passes and how many rows it has, when, its tag, then each row's cut, then flip the generation; each by a
//! CAS from a word of an older lap, so the first wins and the rest agree. Nobody waits for a writer: what it has not committed is in the
//! next era.
//!
//! **Stale helpers.** A helper that stopped between its load and its CAS may go on when the slot serves another era. Between
//! the two it looks whether the generation is still `n - 1`. If it is, the slot can not have been reused when the word was loaded
//! (which has to be before the look: acquire), and the word differs from any later decision until the laps wrap.
//!
//! **A tag** is 64 bits, and a word of the slot has room for 48: a CAS decides *whose* tag it is (in the word that says why), and everybody
//! copies that row's into two words of the slot. Its owner changes it only when no era is open that it may have proposed: whoever copies the
//! new one into an era of the old comes after the flip, and finds both words decided.
//!
//! **An exact edge** covers what anybody had committed before the call. If it has decided the row count and every cut itself, it does:
//! they were loaded after the call began. Else a helper may have decided one earlier; then the caller notes all versions and goes again until the cuts
//! have reached them: twice is the rule.
//!
//! **Straddlers.** A writer says which version its open batch will have. An edge takes that first, then the version: if the version is
//! behind, the batch is not in the era, and the cut says so.
//!
//! **Cause before effect.** Cuts are taken one row after the other: an era could hold a reaction to a live message and not the
//! message. Two steps close this. (1) An edge says which era it closes, then fences, then takes cuts; a writer that finds
//! itself before a commit with an era closing and its own cut open decides that first ([`settle_era`]): its commit goes into the next era. (2) A
//! writer that reacts to what it has read live first completes the versions of those rows, then fences ([`complete`]). If a helper took
//! the cause's row before the cause, its fence came before the reaction's fence, so the reaction's writer sees the era closing.
//!
//! **Edges among live messages.** A live reader that hands out edges too has to know of a message that it is in the open era, before that
//! is sealed. It takes the row's version, fences, and looks at `closing` ([`is_in_open_era`]): an edge that does not show there finds that
//! version. If one shows, the cut that it has decided tells; if it has decided none yet, the message waits.

mod sealed;

pub(super) use sealed::last_cut;
pub use sealed::{Cut, Record, cut, era_of, is_in_open_era, oldest_era, record, straddled};

use super::lockstep;
use super::order::{
    CLOSING_FENCE, CLOSING_RAISE, CLOSING_SEE, COMMIT_SEE, COMPLETE, CUT_DECIDE, CUT_LOOK, CUT_TOUCH, FLIP,
    GENERATION_SEE, GENERATION_STILL, OPEN_CLEAR, OPEN_SEE, REACTION_FENCE, RELAXED, WORD_DECIDE, WORD_SEE,
};
use super::view::Zone;
use crate::layout::lane::MAX_VERSION;
use crate::layout::zone::{self, LAP_BITS, Pace, Reason, Row, SLOT_WORDS};
use crate::sync::AtomicU64;

/// How often an exact edge goes again before it says that it can not keep up. Twice is the rule.
const EXACT_TRIES: u32 = 64;
const LAP_SHIFT: u32 = 48;
const VALUE: u64 = (1 << LAP_SHIFT) - 1;
const VERSION: u64 = MAX_VERSION;
/// Of a cut: the row had a batch open, or, in an era that a deadline has passed, had not given its permit.
pub(super) const STRADDLED: u64 = 1 << 46;
/// Bits of `closing` below the era.
pub const ROLL_BITS: u32 = 16;

/// The words of a slot before its cuts.
const BEGUN: usize = 0;
const TIME: usize = 1;
const TAG_LOW: usize = 2;
const TAG_HIGH: usize = 3;

/// What happened to this edge and others at the same time; counted so that a stress run can show that it was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Races {
    /// Passes over the rows.
    pub passes: u64,
    /// Cuts that somebody else had decided first.
    pub cuts_helped: u64,
    /// Flips made here: eras sealed.
    pub flips: u64,
    /// Flips that somebody else had made first.
    pub flips_lost: u64,
    /// Exact edges that had to go again.
    pub retries: u64,
}

/// An exact edge went again and again and was overtaken each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken;

/// What an edge puts down about its era, if it is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Why it passes.
    pub reason: Reason,
    /// The row of whoever proposes; the number of rows for the broker.
    pub proposer: u32,
    /// Whether the proposer's tag goes with it.
    pub tagged: bool,
}

/// The era was sealed by somebody else meanwhile.
pub(super) struct Sealed;

/// The `begun` word of a slot, taken apart.
#[derive(Clone, Copy)]
struct Begun(u64);

impl Begun {
    fn new(proposal: &Proposal, rows: u64) -> Self {
        let Proposal { reason, proposer, tagged } = *proposal;
        Begun(u64::from(tagged) << 27 | (reason as u64) << 22 | u64::from(proposer) << 11 | rows)
    }

    fn rows(self) -> usize {
        (self.0 & 0x7ff) as usize
    }

    fn proposer(self) -> u32 {
        (self.0 >> 11 & 0x7ff) as u32
    }

    fn reason(self) -> Option<Reason> {
        Reason::from_number(self.0 >> 22 & 0x1f)
    }

    fn is_tagged(self) -> bool {
        self.0 >> 27 & 1 != 0
    }
}

impl<'a> Zone<'a> {
    fn slot(self, era: u64) -> &'a [AtomicU64] {
        let stride = self.geometry.slot_stride();
        // The eras of the ring are a power of two.
        let first = (era & (u64::from(self.geometry.eras) - 1)) as usize * stride;
        &self.slots[first..first + stride]
    }

    /// The lap of an era, where it stands in a word.
    fn lap(self, era: u64) -> u64 {
        (((era >> self.geometry.eras.trailing_zeros()) + 1) & ((1 << LAP_BITS) - 1)) << LAP_SHIFT
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

    /// Whether the ring holds an era whose words were loaded before this: the slot is rewritten once the generation is E - 1 further on.
    fn holds(self, era: u64) -> bool {
        let generation = self.header.generation.0.load(GENERATION_STILL.get());
        era <= generation && generation - era < u64::from(self.geometry.eras) - 1
    }

    /// The slot of an era that may be sealed soon: readers of the era that had it before have copies of its line.
    #[inline(always)]
    pub fn prefetch_slot(self, era: u64) {
        let stride = self.geometry.slot_stride();
        if let Some(word) = self.slots.get((era % u64::from(self.geometry.eras)) as usize * stride) {
            crate::sync::prefetch_for_write(word);
        }
    }

    /// Where a participant puts the tag that it proposes.
    fn tag(self, proposer: u32) -> &'a AtomicU64 {
        self.rows.get(proposer as usize).map_or(&self.header.high.0.tag, |row| &row.tag)
    }
}

#[inline(always)]
fn is_of(word: u64, lap: u64) -> bool {
    word & !VALUE == lap
}

/// The era that an edge has begun to close, and how often the open one was rolled back.
#[inline(always)]
pub fn closing(header: &zone::Header) -> (u64, u64) {
    let word = header.closing.0.load(CLOSING_SEE.get());
    (word >> ROLL_BITS, word & ((1 << ROLL_BITS) - 1))
}

/// Seals the era after the present generation, or finds it sealed; returns its number. For zones whose edges wait for nobody.
pub fn seal(zone: Zone<'_>, proposal: &Proposal, clock: impl Fn() -> Option<u64>, races: &mut Races) -> u64 {
    let generation = zone.generation();
    seal_after(zone, generation, proposal, clock, races);
    generation + 1
}

/// Seals the era after `generation`, or finds it sealed. True: the row count and every cut were decided here, so that no row is left out that
/// had committed before the call, and each cut names a version that its row had after the call began.
fn seal_after(
    zone: Zone<'_>,
    generation: u64,
    proposal: &Proposal,
    clock: impl Fn() -> Option<u64>,
    races: &mut Races,
) -> bool {
    // First: reading a clock takes as long as the line of the last commit takes to come here.
    let now = clock();
    zone.header.closing.0.fetch_max((generation + 1) << ROLL_BITS, CLOSING_RAISE.get());
    CLOSING_FENCE.fence_behind_rmw();
    let decided = finish(zone, generation, proposal, now, races, |_, row, _| {
        // The open batch first: if the version is behind it then, it is not in the era.
        let open = row.open.load(OPEN_SEE.get());
        let version = row.version.load(COMMIT_SEE.get()) & VERSION;
        Ok(if open > version { version | STRADDLED } else { version })
    });
    decided.is_ok_and(|all_ours| all_ours)
}

/// Decides all that is to be decided about the era after `generation`, and flips; whether the row count and every cut were decided here.
/// `ballot` proposes a row's cut.
pub(super) fn finish(
    zone: Zone<'_>,
    generation: u64,
    proposal: &Proposal,
    now: Option<u64>,
    races: &mut Races,
    ballot: impl Fn(usize, &Row, Option<Reason>) -> Result<u64, Sealed>,
) -> Result<bool, Sealed> {
    let era = generation + 1;
    races.passes += 1;
    let lap = zone.lap(era);
    let slot = zone.slot(era);
    // Relaxed: rows are there from the beginning, and one that is not counted yet is in the next era. Whoever knows of a cut of the
    // last era that is not 0 knows of its row.
    let high = || zone.header.high.0.rows.load(RELAXED.get()).min(zone.rows.len() as u64);
    let begun = decide(zone, &slot[BEGUN], generation, lap, || Some(Begun::new(proposal, high()).0))?;
    // With the row count: who had committed before the call has its row counted.
    let mut all_ours = begun.ours;
    let begun = Begun(begun.value);
    decide(zone, &slot[TIME], generation, lap, || now.map(|time| time & VALUE))?;
    if begun.is_tagged() {
        // Relaxed: it was put down before `begun` was decided, so nothing older is found. The next one is put down after the flip, which comes
        // after the two words were decided: who finds it decides nothing.
        let tag = || zone.tag(begun.proposer()).load(RELAXED.get());
        decide(zone, &slot[TAG_LOW], generation, lap, || Some(tag() & 0xffff_ffff))?;
        decide(zone, &slot[TAG_HIGH], generation, lap, || Some(tag() >> 32))?;
    }
    for (index, (row, cut)) in zone.rows.iter().zip(&slot[SLOT_WORDS..]).take(begun.rows()).enumerate() {
        loop {
            let word = cut.load(CUT_LOOK.get());
            if is_of(word, lap) {
                races.cuts_helped += 1;
                all_ours = false;
                break;
            }
            let version = ballot(index, row, begun.reason())?;
            if !zone.is_still(generation) {
                return Err(Sealed);
            }
            // Relaxed when lost: whoever loses looks again, and takes what was decided.
            if cut.compare_exchange(word, lap | version, CUT_DECIDE.get(), RELAXED.get()).is_ok() {
                break;
            }
        }
    }
    // Relaxed when lost: all cuts are known here, and whoever goes on loads the generation again.
    match zone.header.generation.0.compare_exchange(generation, era, FLIP.get(), RELAXED.get()) {
        Ok(_) => races.flips += 1,
        Err(_) => races.flips_lost += 1,
    }
    Ok(all_ours)
}

/// Decides a word of the slot that is not a cut, or finds it decided.
fn decide(
    zone: Zone<'_>,
    word: &AtomicU64,
    generation: u64,
    lap: u64,
    propose: impl FnOnce() -> Option<u64>,
) -> Result<Decided, Sealed> {
    let found = word.load(WORD_SEE.get());
    if is_of(found, lap) {
        return Ok(Decided { value: found & VALUE, ours: false });
    }
    let Some(proposed) = propose() else { return Ok(Decided { value: 0, ours: false }) };
    if !zone.is_still(generation) {
        return Err(Sealed);
    }
    // Lost: whose tag it is was decided by whoever put that down before.
    match word.compare_exchange(found, lap | proposed, WORD_DECIDE.get(), WORD_SEE.get()) {
        Ok(_) => Ok(Decided { value: proposed, ours: true }),
        Err(decided) if is_of(decided, lap) => Ok(Decided { value: decided & VALUE, ours: false }),
        Err(_) => Err(Sealed),
    }
}

/// What a word of the slot says (0 if nothing was proposed), and whether it was decided here.
struct Decided {
    value: u64,
    ours: bool,
}

/// Puts down the tag that `proposer` is going to propose; before that, finishes any edge that it may have proposed another for.
pub fn propose_tag(
    zone: Zone<'_>,
    proposer: u32,
    tag: u64,
    clock: impl Fn() -> Option<u64>,
    races: &mut Races,
) -> Result<(), Overtaken> {
    for _ in 0..EXACT_TRIES {
        let (era, _) = closing(zone.header);
        if zone.generation() >= era {
            // Relaxed: after the look at the generation (acquire), and shown by the word that says whose tag an era has.
            zone.tag(proposer).store(tag, RELAXED.get());
            return Ok(());
        }
        finish_begun(zone, &clock, races);
    }
    Err(Overtaken)
}

/// An exact edge: the era returned, or an earlier one, holds all that anybody had committed before the call; if it is to be tagged, the
/// era returned has the tag ([`propose_tag`] comes first). `scratch` has room for every row's version.
pub fn edge(
    zone: Zone<'_>,
    scratch: &mut [u64],
    proposal: &Proposal,
    clock: impl Fn() -> Option<u64>,
    races: &mut Races,
) -> Result<u64, Overtaken> {
    let mut noted = None;
    for _ in 0..EXACT_TRIES {
        let generation = zone.generation();
        let era = generation + 1;
        let all_ours = seal_after(zone, generation, proposal, &clock, races);
        // Else somebody else has decided a cut, perhaps before the call: the cuts have to reach what the rows have come to by now.
        let covers = all_ours || {
            let noted = *noted.get_or_insert_with(|| note(zone, scratch));
            scratch[..noted].iter().enumerate().all(|(row, &version)| match cut(zone, era, row) {
                Cut::Version(cut) => cut >= version,
                Cut::NoRow => version == 0,
                Cut::Gone => false,
            })
        };
        let is_ours = || {
            let record = record(zone, era);
            record.is_some_and(|record| record.tag.is_some() && record.proposer == proposal.proposer)
        };
        if covers && (!proposal.tagged || is_ours()) {
            return Ok(era);
        }
        races.retries += 1;
    }
    Err(Overtaken)
}

/// Notes every row's version; how many rows there are.
fn note(zone: Zone<'_>, scratch: &mut [u64]) -> usize {
    // Relaxed: who knows of a row's commit knows of its row, which was raised before.
    let high = zone.header.high.0.rows.load(RELAXED.get()) as usize;
    let mut noted = 0;
    for (version, row) in scratch.iter_mut().zip(zone.rows).take(high) {
        *version = row.version.load(COMMIT_SEE.get()) & VERSION;
        noted += 1;
    }
    noted
}

/// Before a commit of `row`, whose version is `version`: [`settle_era`], if `closing` is not what it was when this was last done. `settled` is
/// what it was then; one load when there is nothing to do.
#[inline(always)]
pub fn settle<'z>(header: &zone::Header, zone: impl FnOnce() -> Zone<'z>, row: usize, version: u64, settled: &mut u64) {
    let closing = header.closing.0.load(CLOSING_SEE.get());
    if closing != *settled {
        settle_era(zone(), row, version, closing >> ROLL_BITS);
        *settled = closing;
    }
}

/// Before a commit of `row`, whose version is `version`, when `closing` is not what it was at the last commit: if an edge is closing an
/// era, decides the row's cut of it, so that the commit falls into the next. Lockstep edges take permits: there is nothing to decide.
#[cold]
pub fn settle_era(zone: Zone<'_>, row: usize, version: u64, closing: u64) {
    let generation = zone.generation();
    if generation >= closing || zone.geometry.pace != Pace::Free {
        return;
    }
    let lap = zone.lap(generation + 1);
    if let Some(cut) = zone.slot(generation + 1)[SLOT_WORDS..].get(row) {
        let word = cut.load(CUT_LOOK.get());
        // Relaxed: the writer's own word.
        let open = zone.rows.get(row).map_or(0, |row| row.open.load(RELAXED.get()));
        let proposed = if open > version { version | STRADDLED } else { version };
        if !is_of(word, lap) && zone.is_still(generation) {
            // Relaxed when lost: then it is decided, and that is all that the commit waits for.
            let _ = cut.compare_exchange(word, lap | proposed, CUT_DECIDE.get(), RELAXED.get());
        }
    }
}

/// What came of [`touch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Whoever decides the cut from now on decides for this version at least.
    Touched,
    /// It is decided; the generation has not moved yet, as far as anybody can tell.
    Decided,
    /// The generation has moved, or somebody was faster: look again.
    Moved,
}

/// Changes a row's undecided cut word of the era after `generation`, so that a helper that has looked at it, and then at an older version of the
/// row than `version`, finds another word and looks again. For the row's writer. In what the word says beside the lap, which is an older era's
/// that nobody can ask for any more, only `version` counts: it grows, so the word never is again what it was.
pub fn touch(zone: Zone<'_>, generation: u64, row: usize, version: u64) -> Touched {
    let Some(cut) = zone.slot(generation + 1)[SLOT_WORDS..].get(row) else { return Touched::Moved };
    let word = cut.load(CUT_LOOK.get());
    if is_of(word, zone.lap(generation + 1)) {
        return Touched::Decided;
    }
    if !zone.is_still(generation) {
        return Touched::Moved;
    }
    // Relaxed when lost: looks again.
    match cut.compare_exchange(word, word & !VALUE | version & VERSION, CUT_TOUCH.get(), RELAXED.get()) {
        Ok(_) => Touched::Touched,
        Err(_) => Touched::Moved,
    }
}

/// A writer opens a batch, which will have this version.
#[inline(always)]
pub fn open_batch(row: &Row, version: u64) {
    // Relaxed: an edge that has not seen it yet passed before, as far as anybody can tell.
    row.open.store(version, RELAXED.get());
}

/// A writer's batch is committed or rolled back.
#[inline(always)]
pub fn close_batch(row: &Row) {
    row.open.store(0, OPEN_CLEAR.get());
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

/// Finishes an edge that somebody has begun and not finished, if there is one, and begins none.
pub fn finish_begun(zone: Zone<'_>, clock: impl Fn() -> Option<u64>, races: &mut Races) {
    let (era, rolls) = closing(zone.header);
    // After that: whoever raised it knew that the era before was sealed.
    let generation = zone.generation();
    if era > generation {
        let proposal = Proposal { reason: Reason::Rest, proposer: zone.geometry.writers, tagged: false };
        match zone.geometry.pace {
            Pace::Free => {
                seal_after(zone, generation, &proposal, clock, races);
            }
            Pace::Lockstep | Pace::Revocable => {
                lockstep::finish(zone, lockstep::Round { era, rolls }, &proposal, clock(), races);
            }
        }
    }
}
