//! Whole eras: beginning the next one, handing out its messages, and finding the first one of which nothing is missing.

use super::Reader;
use crate::client::lanes::{Gone, LaneIn, Next, Taken, cut_of};
use crate::client::waiting::{self, Deadline};
use crate::error::{Error, Result};
use crate::ring::{bell, order, sequencer};

/// Lanes whose next messages are asked for while an era begins.
const PREFETCHED: usize = 8;
/// How often a reader follows a generation ring that turns faster than it can look before it lets its caller breathe.
pub(super) const ERA_TRIES: u32 = 64;

impl Reader {
    pub(super) fn poll_synced(&mut self) -> Result<Option<Taken>> {
        loop {
            if self.in_era
                && let Some(taken) = self.next_of_era()?
            {
                return Ok(Some(taken));
            }
            if self.begin_next_era()?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The next message of the era begun; `None` when it is through.
    pub(crate) fn next_of_era(&mut self) -> Result<Option<Taken>> {
        self.check_fork()?;
        if self.is_halted() {
            self.wait_out_halt();
        }
        while self.in_era && self.turn < self.lanes.len() {
            let lane = &mut self.lanes[self.turn];
            match lane.next_sealed() {
                Ok(Next::Frame(frame)) => {
                    let sequence = lane.take(&frame);
                    return Ok(Some(Taken { lane: self.turn, frame, sequence, era: self.era }));
                }
                // Lossy lanes were made sure of before.
                Ok(Next::Nothing | Next::Drained | Next::Lost(_)) => self.turn += 1,
                Err(error) => {
                    self.remove(self.turn);
                    return Err(error);
                }
            }
        }
        self.in_era = false;
        Ok(None)
    }

    pub(crate) fn check_synced(&self) -> Result<()> {
        self.check_fork()?;
        if self.synced {
            return Ok(());
        }
        Err(Error::Invalid("a live reader has no eras: open it as a synced one".to_owned()))
    }

    /// The era begun and not ended yet, for C.
    #[cfg(feature = "capi")]
    pub(crate) fn era_begun(&self) -> Option<u64> {
        self.unreleased.then_some(self.era)
    }

    /// Ends the era begun and begins the next one that is sealed and whole: its number and whether it is merged.
    pub(crate) fn begin_next_era(&mut self) -> Result<Option<(u64, bool)>> {
        self.check_synced()?;
        if self.untold.is_some() {
            return Err(self.untold.take().unwrap_or(Error::Timeout));
        }
        if self.is_halted() {
            return Ok(None);
        }
        self.finish_era()?;
        for _ in 0..ERA_TRIES {
            let generation = self.header.generation.0.load(order::GENERATION_SEE.get());
            // After the generation: whoever has committed something in this era has announced its lane before.
            let news = self.keep_up()?;
            if let Some(index) = self.lanes.iter().position(|lane| lane.is_to_be_told()) {
                return Err(self.close(index));
            }
            if self.keep_eras > 0 {
                self.give_up_the_past(generation);
            }
            if generation <= self.era {
                if news {
                    continue;
                }
                return Ok(None);
            }
            match self.begin_era_of(generation)? {
                Begun::Era { merged } => return Ok(Some((self.era, merged))),
                Begun::Skipped | Begun::Gone => {}
            }
        }
        Ok(None)
    }

    /// Skips what is left of the era begun, and leaves it behind.
    pub(crate) fn finish_era(&mut self) -> Result<()> {
        if !self.unreleased {
            return Ok(());
        }
        while let Some(_skipped) = self.next_of_era()? {}
        self.unreleased = false;
        for lane in &mut self.lanes {
            lane.release(&self.bells, self.fence);
            lane.done_with(self.era);
        }
        bell::ring(&self.bells.done.0, bell::ALL, self.fence, waiting::wake);
        Ok(())
    }

    /// An era is dropped: the rest of it is skipped, and its writers may go on. An error is told by the next call.
    pub(crate) fn end_era(&mut self, era: u64) {
        if self.epoch.is_current()
            && self.era == era
            && !self.is_halted()
            && let Err(error) = self.finish_era()
        {
            self.untold.get_or_insert(error);
        }
    }

    /// Sleeps until the zone is not halted any more.
    #[cold]
    fn wait_out_halt(&self) {
        while self.is_halted() {
            let bell = &self.bells.synced.0;
            let expected = waiting::announce(bell, u32::MAX);
            if self.is_halted() {
                waiting::sleep(bell, expected, Deadline::never());
            }
        }
    }

    /// Goes back (or on) to an era: the next one begun is this. Any that is still whole can be had; the one after the last sealed at the
    /// latest.
    ///
    /// # Errors
    /// [`Error::Gone`] says which is the oldest that is still whole, and the reader is where it was; [`Error::Timeout`] if a writer moved its
    /// floor away again and again; [`Error::Invalid`] for a live reader; [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// let level = writer.channel("level").open::<f64>()?;
    /// let mut reader = bus.zone("plant").reader("log").channel::<f64>("level").synced().open()?;
    /// for value in [1.0, 2.0, 3.0] {
    ///     writer.publish(level, &value)?;
    ///     writer.edge()?;
    ///     while reader.try_era()?.is_some() {}
    /// }
    /// reader.rewind(2)?;
    /// let mut era = reader.next_era(Duration::from_secs(1))?;
    /// assert_eq!(era.next()?.unwrap().copy::<f64>()?, 2.0);
    /// let mut era = era.previous()?;
    /// assert_eq!((era.number(), era.next()?.unwrap().copy::<f64>()?), (1, 1.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rewind(&mut self, era: u64) -> Result<()> {
        self.check_synced()?;
        self.finish_era()?;
        self.keep_up()?;
        let generation = self.zone.view().generation();
        let mut saved = Vec::with_capacity(self.lanes.len());
        let mut failed = None;
        for lane in &mut self.lanes {
            match lane.go_to_floor() {
                Ok(before) => saved.push(before),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // At the floors: only there it shows what is missing.
        let is_sealed = era >= 1 && era <= generation + 1;
        if failed.is_none() && !(is_sealed && matches!(self.look_before(era), Before::Whole)) {
            failed = Some(self.gone(era));
        }
        if failed.is_none() && !matches!(self.skip_before(era)?, Before::Whole) {
            failed = Some(self.gone(era));
        }
        if let Some(error) = failed {
            for (lane, saved) in self.lanes.iter_mut().zip(&saved) {
                lane.go_to(saved);
            }
            return Err(error);
        }
        (self.era, self.first) = (era - 1, false);
        self.alert();
        Ok(())
    }

    /// The error that says that an era is not to be had, given where the lanes are now: at their floors.
    pub(super) fn gone(&mut self, era: u64) -> Error {
        let generation = self.zone.view().generation();
        let first = sequencer::oldest_era(self.zone.view(), generation).max(self.whole_from);
        let oldest = (first..=generation).find(|&era| matches!(self.look_before(era), Before::Whole));
        Error::Gone { era, oldest, generation }
    }

    /// Whether anything of `era` is missing in the lanes as they are now.
    pub(super) fn look_before(&mut self, era: u64) -> Before {
        if era < self.whole_from {
            return Before::Parts;
        }
        let Ok(()) = self.load_cuts(era - 1) else { return Before::Gone };
        let mut lanes = self.lanes.iter().zip(&self.cuts);
        let whole = lanes.all(|(lane, cut)| lane.is_whole_after(cut.unwrap_or(0)));
        if whole { Before::Whole } else { Before::Parts }
    }

    /// Begins the era after the last one, or the oldest that the generation ring still knows.
    fn begin_era_of(&mut self, generation: u64) -> Result<Begun> {
        // Beside the cuts, which are looked at first.
        self.lanes.iter().take(PREFETCHED).for_each(LaneIn::prefetch);
        let oldest = sequencer::oldest_era(self.zone.view(), generation);
        let mut era = (self.era + 1).max(oldest);
        let mut merged = era != self.era + 1;
        if self.first {
            // The cuts of the era before have to be known, to tell whether this one is whole.
            if era == oldest && oldest > 1 {
                era += 1;
            }
            merged = false;
            match self.skip_in_time(era)? {
                Before::Whole => {}
                Before::Parts => {
                    self.era = era;
                    return Ok(Begun::Skipped);
                }
                Before::Gone => return Ok(Begun::Gone),
            }
        }
        let Ok(()) = self.load_cuts(era) else { return Ok(Begun::Gone) };
        for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
            lane.set_cut(*cut);
        }
        if self.guarded && !self.secure()? {
            return self.lose_eras(generation).map(|()| Begun::Gone);
        }
        (self.era, self.in_era, self.turn, self.first) = (era, true, 0, false);
        self.unreleased = true;
        Ok(Begun::Era { merged })
    }

    /// Makes sure that the era whose cuts are set can be handed out whole; false: writers of lossy lanes have overwritten parts of it.
    #[cold]
    fn secure(&mut self) -> Result<bool> {
        if self.lanes.iter().any(LaneIn::is_lapped) {
            return Ok(false);
        }
        for index in 0..self.lanes.len() {
            if !self.lanes[index].is_guarded() {
                continue;
            }
            match self.lanes[index].secure() {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.remove(index);
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    /// Goes on with the next era of which nothing is lost; behind all that are sealed, if parts of the open one are lost, too.
    ///
    /// # Errors
    /// [`Error::ErasLost`] says which are, if any.
    #[cold]
    fn lose_eras(&mut self, generation: u64) -> Result<()> {
        let first = self.era + 1;
        let is_whole = |reader: &mut Self, era| matches!(reader.look_before(era), Before::Whole);
        let next = (first..=generation).find(|&era| is_whole(self, era)).unwrap_or(generation + 1);
        let last = next - 1;
        if matches!(self.skip_in_time(next)?, Before::Gone) || last < first {
            return Ok(());
        }
        (self.era, self.first) = (last, false);
        Err(Error::ErasLost { first, last })
    }

    /// The cuts of an era for all our lanes.
    pub(super) fn load_cuts(&mut self, era: u64) -> Result<(), Gone> {
        let zone = self.zone.view();
        self.cuts.clear();
        for lane in &self.lanes {
            self.cuts.push(if era == 0 { Some(0) } else { cut_of(zone, era, lane.row())? });
        }
        Ok(())
    }

    /// The same as [`Reader::skip_before`], but [`Before::Gone`] if a lossy writer is too fast: then look again.
    fn skip_in_time(&mut self, era: u64) -> Result<Before> {
        match self.skip_before(era) {
            Err(Error::Timeout) => Ok(Before::Gone),
            other => other,
        }
    }

    /// Goes to the beginning of `era` in every lane, and finds out whether anything of it is missing.
    pub(super) fn skip_before(&mut self, era: u64) -> Result<Before> {
        let Ok(()) = self.load_cuts(era - 1) else { return Ok(Before::Gone) };
        let mut whole = era >= self.whole_from;
        for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
            let cut = cut.unwrap_or(0);
            lane.skip_to_cut(cut)?;
            lane.release(&self.bells, self.fence);
            whole &= lane.is_whole_after(cut);
        }
        if whole {
            self.lanes.iter_mut().for_each(LaneIn::has_caught_up);
        }
        Ok(if whole { Before::Whole } else { Before::Parts })
    }
}

/// What came of looking at an era.
enum Begun {
    /// It is being handed out.
    Era { merged: bool },
    /// Parts of it were gone when this reader came.
    Skipped,
    /// The generation ring went on meanwhile: look again.
    Gone,
}

/// What is known of the time before the first era.
pub(super) enum Before {
    Whole,
    Parts,
    Gone,
}
