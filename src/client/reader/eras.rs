//! Whole eras: beginning the next one, handing out its messages, and finding the first one of which nothing is missing.

use super::Reader;
use crate::client::lanes::{Gone, Next, Taken, cut_of};
use crate::error::{Error, Result};
use crate::ring::sequencer;

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
        while self.in_era && self.turn < self.lanes.len() {
            let lane = &mut self.lanes[self.turn];
            match lane.next_sealed() {
                Ok(Next::Frame(frame)) => {
                    let sequence = lane.take(&frame);
                    return Ok(Some(Taken { lane: self.turn, frame, sequence, era: self.era }));
                }
                Ok(Next::Nothing | Next::Drained) => self.turn += 1,
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

    /// Ends the era begun and begins the next one that is sealed and whole: its number and whether it is merged.
    pub(crate) fn begin_next_era(&mut self) -> Result<Option<(u64, bool)>> {
        self.check_synced()?;
        self.finish_era()?;
        for _ in 0..ERA_TRIES {
            let generation = self.zone.view().generation();
            // After the generation: whoever has committed something in this era has announced its lane before.
            let news = self.keep_up()?;
            if let Some(index) = self.lanes.iter().position(|lane| lane.is_drained()) {
                return Err(self.close(index));
            }
            if generation == self.era {
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
    fn finish_era(&mut self) -> Result<()> {
        if !self.in_era {
            return Ok(());
        }
        while let Some(_skipped) = self.next_of_era()? {}
        for lane in &mut self.lanes {
            lane.release(&self.bells, self.fence);
        }
        Ok(())
    }

    /// Begins the era after the last one, or the oldest that the generation ring still knows.
    fn begin_era_of(&mut self, generation: u64) -> Result<Begun> {
        let oldest = sequencer::oldest_era(self.zone.view(), generation);
        let mut era = (self.era + 1).max(oldest);
        let mut merged = era != self.era + 1;
        if self.first {
            // The cuts of the era before have to be known, to tell whether this one is whole.
            if era == oldest && oldest > 1 {
                era += 1;
            }
            merged = false;
            match self.skip_before(era)? {
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
        (self.era, self.in_era, self.turn, self.first) = (era, true, 0, false);
        Ok(Begun::Era { merged })
    }

    /// The cuts of an era for all our lanes.
    fn load_cuts(&mut self, era: u64) -> Result<(), Gone> {
        let zone = self.zone.view();
        self.cuts.clear();
        for lane in &self.lanes {
            self.cuts.push(if era == 0 { Some(0) } else { cut_of(zone, era, lane.row())? });
        }
        Ok(())
    }

    /// Goes to the beginning of `era` in every lane, and finds out whether anything of it is missing.
    pub(super) fn skip_before(&mut self, era: u64) -> Result<Before> {
        let Ok(()) = self.load_cuts(era - 1) else { return Ok(Before::Gone) };
        let mut whole = true;
        for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
            let cut = cut.unwrap_or(0);
            lane.skip_to_cut(cut)?;
            lane.release(&self.bells, self.fence);
            whole &= lane.is_whole_after(cut);
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
