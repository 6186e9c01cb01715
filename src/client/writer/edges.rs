//! Edges, permits and hints of a writer.

use super::Writer;
use crate::client::halt::{Halt, HaltParts};
use crate::client::waiting;
use crate::error::{Error, Result};
use crate::layout::zone::{Pace, Reason};
use crate::os::clock;
use crate::ring::sequencer::{self, Cut, Proposal};
use crate::ring::{bell, halt, lockstep, order};
use std::time::Duration;

/// What a writer does while its zone is halted; see [`Writer::on_halt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HaltMode {
    /// Waits in its next call until the halt is over.
    #[default]
    Wait,
    /// Says [`Error::Halted`] at once.
    Refuse,
}

/// The last permit of a writer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Permit {
    /// The era that it was given for; 0: none is outstanding.
    era: u64,
    version: u64,
}

impl Writer {
    /// An exact edge: seals what all writers of the zone have committed. The era returned, or an earlier one, holds all that
    /// anybody had committed before the call. Never waits for anybody (but for the end of a halt).
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Timeout`] if others' edges overtook this one again and again; [`Error::Invalid`] in a lockstep zone, whose
    /// edges pass by [permits](Writer::permit); [`Error::Halted`].
    pub fn edge(&mut self) -> Result<u64> {
        self.exact_edge(None)
    }

    /// An exact edge that carries a tag of the application's: every reader finds it with the era returned.
    ///
    /// # Errors
    /// As [`Writer::edge`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// let bus = syncline::Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// let era = writer.edge_tagged(0xC0FFEE)?;
    /// assert_eq!(writer.edge_info(era)?.and_then(|edge| edge.tag), Some(0xC0FFEE));
    /// # Ok(())
    /// # }
    /// ```
    pub fn edge_tagged(&mut self, tag: u64) -> Result<u64> {
        self.exact_edge(Some(tag))
    }

    fn exact_edge(&mut self, tag: Option<u64>) -> Result<u64> {
        self.link.check_fork()?;
        if self.pace.is_lockstep() {
            return Err(Error::Invalid(
                "edge in a lockstep zone: expected a permit, whose last one makes the edge; call permit".to_owned(),
            ));
        }
        // As a commit does: a writer that is at rest runs no edge either, and what this process was given live is committed before
        // this call, too.
        self.begin_commit()?;
        let sealed = self.run_edge(Reason::Exact, tag);
        halt::leave(&self.own);
        sealed
    }

    /// Runs an edge. The row is busy meanwhile: under a halt no edge passes either.
    pub(super) fn run_edge(&mut self, reason: Reason, tag: Option<u64>) -> Result<u64> {
        let zone = self.zone.view();
        let overtaken = |sequencer::Overtaken| Error::Timeout;
        if let Some(tag) = tag {
            sequencer::propose_tag(zone, self.row, tag, clock::now, &mut self.races).map_err(overtaken)?;
        }
        let proposal = Proposal { reason, proposer: self.row, tagged: tag.is_some() };
        let sealed = sequencer::edge(zone, &mut self.scratch, &proposal, clock::now, &mut self.races);
        self.count_edges();
        // Whoever flipped the generation may have died before it rang.
        bell::ring(&self.bells.synced.0, bell::ALL, self.fence, waiting::wake);
        sealed.map_err(overtaken)
    }

    /// Shows how many eras this writer has sealed.
    fn count_edges(&self) {
        let (edges, flips) = (&self.own.edges, self.races.flips);
        // Relaxed: for whoever counts. Not stored for nothing: the line may be with others who run edges.
        if edges.load(order::RELAXED.get()) != flips {
            edges.store(flips, order::RELAXED.get());
        }
    }

    /// What is on record of a sealed era; `None`: the zone does not remember it, or it is not sealed yet.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn edge_info(&self, era: u64) -> Result<Option<crate::Edge>> {
        self.link.check_fork()?;
        Ok(crate::Edge::of(self.zone.view(), era))
    }

    /// Lockstep: this writer's word that the edge of the open era may pass, with all that it has committed up to now. What it commits
    /// afterwards is in the next era. The edge passes with the last permit, or at the zone's deadline. Returns the era's number; wait for it
    /// with a synced reader's [`next_era`](crate::Reader::next_era).
    ///
    /// If a deadline passed first, the era that names this writer as late does not have its work: its next permit brings it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the zone is not in lockstep, or this writer has given its permit for the open era; [`Error::RolledBack`];
    /// [`Error::Halted`]; [`Error::Forked`].
    pub fn permit(&mut self) -> Result<u64> {
        self.link.check_fork()?;
        if !self.pace.is_lockstep() {
            return Err(Error::Invalid(
                "permit in a zone without lockstep: expected an edge; call edge, or make the zone with lockstep"
                    .to_owned(),
            ));
        }
        self.begin_commit()?;
        self.settle_permit();
        let zone = self.zone.view();
        if self.permit.era > zone.generation() {
            halt::leave(&self.own);
            return Err(Error::Invalid(format!(
                "permit for era {}: expected one, found a second; wait for the edge first",
                self.permit.era
            )));
        }
        for lane in &mut self.lanes {
            lane.permitted = lane.ring.place();
        }
        let round = lockstep::permit(zone, &self.own, self.version);
        let era = round.era;
        self.permit = Permit { era, version: self.version };
        let proposal = Proposal { reason: Reason::Permits, proposer: self.row, tagged: false };
        if lockstep::pass(zone, round, &proposal, clock::now, &mut self.races) {
            self.count_edges();
            bell::ring(&self.bells.synced.0, bell::ALL, self.fence, waiting::wake);
        } else {
            lockstep::start_round(zone, round, clock::now);
        }
        halt::leave(&self.own);
        Ok(era)
    }

    /// Notes what became of the last permit, once that is known.
    pub(super) fn settle_permit(&mut self) {
        let zone = self.zone.view();
        let mut was_taken = false;
        // The generation may go on meanwhile, though only so far without this writer's permit.
        for _ in 0..64 {
            let generation = zone.generation();
            if self.permit.era == 0 || self.permit.era > generation {
                return;
            }
            match sequencer::cut(zone, generation, self.row as usize) {
                Cut::Version(cut) => {
                    was_taken = cut >= self.permit.version;
                    break;
                }
                Cut::NoRow => break,
                Cut::Gone => {}
            }
        }
        if was_taken {
            for lane in &mut self.lanes {
                lane.sealed = lane.permitted;
            }
        }
        self.permit.era = 0;
    }

    /// Revocable lockstep zones: drops all that everybody has published since the last edge. This writer must not have given its permit yet.
    /// Readers never knew; the other writers are told [`Error::RolledBack`] at their next call, and so are readers that wait for the era, unless
    /// all writers of their process know already. So whoever is told does the round again, by whichever call it was: told by its reader first,
    /// it is told again by its writer's next call, of which nothing is left either.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the zone is not revocable, this writer has given its permit, or the era is being sealed; [`Error::Forked`].
    pub fn roll_back_era(&mut self) -> Result<()> {
        self.link.check_fork()?;
        if self.pace != Pace::Revocable {
            return Err(Error::Invalid(
                "roll-back of an era: expected a zone made for that, found another; make it revocable".to_owned(),
            ));
        }
        if halt::found(&self.header.control.0).is_some() {
            self.wait_out_halt()?;
        }
        // What another has rolled back already, with a permit that was for nothing: that is no permit for what is open now.
        let rolls = lockstep::rolls(&self.header);
        if rolls != self.rolled {
            self.carry_out_roll_back(rolls);
        }
        let rolls = lockstep::roll_back(self.zone.view(), &self.own).map_err(|lockstep::TooLate| {
            Error::Invalid(
                "roll-back of an era: expected it before this writer's permit and before the edge, found it after; it is too late"
                    .to_owned(),
            )
        })?;
        self.carry_out_roll_back(rolls);
        self.driver.ring_all();
        Ok(())
    }

    /// Forgets all that is not sealed.
    pub(super) fn carry_out_roll_back(&mut self, rolls: u64) {
        self.settle_permit();
        self.roll_back();
        for lane in &mut self.lanes {
            lane.ring.go_back(lane.map.view(), lane.sealed);
        }
        self.permit.era = 0;
        lockstep::rolled_back(&self.own, rolls);
        if self.rolled != rolls {
            self.reactions.carried_out(rolls);
        }
        self.rolled = rolls;
    }

    /// Asks everybody in the zone to finish what they are at and commit now: writers see it on their next commit
    /// ([`Writer::early_requested`]), readers that [want to](crate::ReaderBuilder::early) in their wait, loops with [`Writer::step`].
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn request_early(&self) -> Result<()> {
        self.link.check_fork()?;
        self.driver.raise_early();
        Ok(())
    }

    /// Whether somebody has asked to finish and commit now, as of this writer's last commit or [`Writer::step`]; told once for each time.
    pub fn early_requested(&mut self) -> bool {
        std::mem::take(&mut self.early_asked)
    }

    /// For loops that neither publish nor wait: looks for a halt, in which it waits (or says so), and for hints to finish and commit now; whether
    /// there was one. Costs one look at a line of memory that seldom changes.
    ///
    /// # Errors
    /// [`Error::Halted`], if this writer does not wait; [`Error::Forked`].
    #[inline]
    pub fn step(&mut self) -> Result<bool> {
        if !self.epoch.is_current() {
            return Err(Error::Forked);
        }
        let control = &self.header.control.0;
        if halt::found(control).is_some() {
            self.wait_out_halt()?;
        }
        let early = self.header.control.0.early.load(order::RELAXED.get());
        if early != self.early {
            (self.early, self.early_asked) = (early, true);
        }
        Ok(self.early_requested())
    }

    /// What this writer's calls do while the zone is halted: wait, by default.
    pub fn on_halt(&mut self, mode: HaltMode) {
        self.on_halt = mode;
    }

    /// Halts the zone; see [`Zone::halt`](crate::Zone::halt).
    ///
    /// # Errors
    /// As there.
    pub fn halt(&self, deadline: Duration) -> Result<Halt> {
        self.link.check_fork()?;
        Halt::raise(HaltParts { link: self.link.clone(), zone: self.number, driver: self.driver.clone() }, deadline)
    }

    /// Waits until every reader that takes eras (synced, or live with markers) and has joined has done with `era`.
    ///
    /// # Errors
    /// [`Error::Laggards`] names those who have not by the deadline; [`Error::Forked`].
    pub fn wait_done(&self, era: u64, timeout: Duration) -> Result<()> {
        self.link.check_fork()?;
        crate::client::done::wait(&self.link, self.number, &self.driver, era, timeout)
    }
}
