//! Claims and commits of a writer: also for loans, batches and C.
//!
//! Every commit goes the same way: it says that it begins and looks for a halt; completes what it may react to; looks for an era that is
//! closing, and for hints; shows its heads; stores its version; rings. What happens seldom (a halt, a hint, an edge, a roll-back) shows in
//! two lines that seldom change, and is heeded on a cold way.

use super::edges::HaltMode;
use super::{Key, LAST_VERSION, Writer, batch_open, wrong_lane};
use crate::client::waiting::{self, Deadline};
use crate::error::{Error, Result};
use crate::layout::zone::{Header, Pace};
use crate::os::clock::monotonic_us;
use crate::ring::lane::Claim;
use crate::ring::{bell, halt, lockstep, order, sequencer};
use crate::sync::AtomicU64;
use crate::wire::Policy;
use std::time::Duration;

/// Commits between two looks at the clock, at most: for the heartbeat that a broker no longer runs.
const MOST_UNWATCHED: u64 = 256;

/// Counts up a word that only its writer stores. Relaxed: for whoever counts, not for whoever acts.
#[cold]
pub(super) fn count(word: &AtomicU64) {
    word.store(word.load(order::RELAXED.get()).wrapping_add(1), order::RELAXED.get());
}

/// What is left until an edge may be due.
#[derive(Debug)]
pub(super) struct Left {
    commits: u64,
    bytes: i64,
    /// Commits until the next look at the clock.
    watch: u64,
    /// When that was last, in microseconds of the monotonic clock.
    watched_us: u64,
    /// Commits and bytes since this writer's last edge by policy, as of the last look.
    since: (u64, u64),
    given: (u64, i64),
}

impl Left {
    pub(super) fn new(policy: &Policy) -> Left {
        let mut left = Left { commits: 0, bytes: 0, watch: 1, watched_us: 0, since: (0, 0), given: (0, 0) };
        left.give(policy);
        left
    }

    /// Takes a commit of `len` bytes off; true if there may be something due.
    #[inline(always)]
    pub(super) fn take(&mut self, len: usize) -> bool {
        self.commits = self.commits.wrapping_sub(1);
        self.bytes = self.bytes.wrapping_sub(len as i64);
        (self.commits == 0) | (self.bytes <= 0)
    }

    /// Takes bytes of an open batch off.
    pub(super) fn note(&mut self, len: usize) {
        self.bytes = self.bytes.wrapping_sub(len as i64);
    }

    /// Books what was taken since the last time; commits and bytes since the last edge by policy.
    fn book(&mut self) -> (u64, u64) {
        self.since.0 += self.given.0.wrapping_sub(self.commits);
        self.since.1 += self.given.1.wrapping_sub(self.bytes) as u64;
        self.given = (self.commits, self.bytes);
        self.since
    }

    /// Gives what may be taken until the next look.
    fn give(&mut self, policy: &Policy) {
        let or_never = |most: u64, since: u64| if most == 0 { u64::MAX } else { most.saturating_sub(since).max(1) };
        let watch = if policy.click_ms == 0 { u64::MAX } else { self.watch };
        self.commits = or_never(policy.commits, self.since.0).min(watch);
        self.bytes = i64::try_from(or_never(policy.bytes, self.since.1)).unwrap_or(i64::MAX);
        self.given = (self.commits, self.bytes);
    }
}

/// Whether nothing is to be heeded before a commit: no halt, no new hint, no edge (or roll-back) since the last. In lockstep edges take
/// permits, so a commit need not know of them, and does not wait for the line that tells.
#[inline(always)]
fn is_quiet(header: &Header, pace: Pace, early: u64, settled: u64) -> bool {
    let control = &header.control.0;
    let halted = halt::found(control).is_some();
    let hinted = control.early.load(order::RELAXED.get()) != early;
    let closing = pace != Pace::Lockstep && header.closing.0.load(order::CLOSING_SEE.get()) != settled;
    !(halted | hinted | closing)
}

impl Writer {
    /// Room for a single message.
    #[inline(always)]
    pub(crate) fn claim_single(&mut self, key: Key, len: usize) -> Result<Claim> {
        if self.gate == 0 {
            return Err(batch_open());
        }
        self.claim(key, len)
    }

    /// Room for a message behind what the open batch has in this lane.
    #[inline(always)]
    pub(crate) fn claim(&mut self, key: Key, len: usize) -> Result<Claim> {
        if !self.epoch.is_current() {
            return Err(Error::Forked);
        }
        let lane = match self.lanes.get_mut(key.index as usize) {
            Some(lane) if key.writer == self.tag => lane,
            _ => return Err(wrong_lane()),
        };
        if len as u64 > lane.max_payload || self.version >= LAST_VERSION {
            return Err(self.refuse(key, len));
        }
        match lane.ring.claim(lane.map.view(), len as u32) {
            Ok(claim) => Ok(claim),
            Err(no_room) => self.make_room(key, len as u32, no_room),
        }
    }

    /// Room for a message of the open batch. Where pages can be held, the first of a batch makes room for the largest there can be, since the
    /// batch has to lie between two of them.
    #[inline(always)]
    pub(crate) fn claim_in_batch(&mut self, key: Key, len: usize) -> Result<Claim> {
        let claim = self.claim(key, len)?;
        let lane = &self.lanes[key.index as usize];
        if lane.has_pins { self.claim_between_pins(key, claim) } else { Ok(claim) }
    }

    /// Where the payload of a claim goes.
    #[inline(always)]
    pub(crate) fn payload_mut(&mut self, key: Key, claim: Claim) -> &mut [u8] {
        self.lanes[key.index as usize].map.payload_mut(claim.payload(), claim.payload_len() as usize)
    }

    /// What comes before any commit, or permit. When this returns, the row is busy until [`halt::leave`].
    ///
    /// # Errors
    /// [`Error::Halted`], [`Error::RolledBack`]; the row is at rest then.
    #[inline(always)]
    pub(super) fn begin_commit(&mut self) -> Result<()> {
        halt::enter(&self.own, self.fence);
        let zone = &self.zone;
        self.reactions.complete(|| zone.view(), &mut self.reacted);
        if is_quiet(&self.header, self.pace, self.early, self.settled) { Ok(()) } else { self.heed() }
    }

    /// Something has happened since the last commit. The row is busy, and still is if this returns without an error.
    #[cold]
    fn heed(&mut self) -> Result<()> {
        // By far the most frequent: edges have passed since, and none is under way.
        let closing = self.header.closing.0.load(order::CLOSING_SEE.get());
        if self.pace == Pace::Free
            && self.header.generation.0.load(order::GENERATION_SEE.get()) >= closing >> sequencer::ROLL_BITS
        {
            self.settled = closing;
            if is_quiet(&self.header, self.pace, self.early, closing) {
                return Ok(());
            }
        }
        let control = &self.header.control.0;
        while halt::found(control).is_some() {
            halt::leave(&self.own);
            self.wait_out_halt()?;
            halt::enter(&self.own, self.fence);
        }
        let control = &self.header.control.0;
        let early = control.early.load(order::RELAXED.get());
        if early != self.early {
            (self.early, self.early_asked) = (early, true);
        }
        let zone = &self.zone;
        sequencer::settle(&self.header, || zone.view(), self.row as usize, self.version, &mut self.settled);
        if self.pace == Pace::Revocable {
            let rolls = lockstep::rolls(&self.header);
            if rolls != self.rolled {
                self.carry_out_roll_back(rolls);
                halt::leave(&self.own);
                return Err(Error::RolledBack);
            }
        }
        Ok(())
    }

    /// Waits for the end of a halt, or says that there is one.
    pub(super) fn wait_out_halt(&self) -> Result<()> {
        let deadline = match self.on_halt {
            HaltMode::Refuse => Deadline::after(Duration::ZERO),
            HaltMode::Wait => Deadline::never(),
        };
        let control = &self.header.control.0;
        while halt::is_halted(control, monotonic_us()) {
            if deadline.has_passed() {
                return Err(Error::Halted);
            }
            let room = &self.bells.room.0;
            let expected = waiting::announce(room, u32::MAX);
            if halt::is_halted(control, monotonic_us()) {
                waiting::sleep(room, expected, deadline);
            }
        }
        Ok(())
    }

    /// Commits one message.
    ///
    /// # Errors
    /// As [`Writer::begin_commit`]: nothing is published then.
    #[inline(always)]
    pub(crate) fn commit_single(&mut self, key: Key, claim: Claim) -> Result<()> {
        self.begin_commit()?;
        let version = self.version + 1;
        let lane = &mut self.lanes[key.index as usize];
        let view = lane.map.view();
        lane.ring.show(view, claim, version);
        self.own.version.store(version, order::COMMIT.get());
        self.version = version;
        lane.ring.committed(view, version);
        halt::leave(&self.own);
        if bell::ring(&self.bells.live.0, lane.mask, self.fence, waiting::wake) {
            count(&self.own.wakes);
        }
        if self.left.take(claim.payload_len() as usize) {
            self.edge_if_due();
        }
        Ok(())
    }

    /// Something is going to be in the open batch.
    #[inline(always)]
    pub(super) fn begin_batch(&mut self) {
        if self.gate != 0 {
            self.gate = 0;
            sequencer::open_batch(&self.own, self.version + 1);
        }
    }

    /// Adds a message to the open batch.
    pub(crate) fn push(&mut self, key: Key, claim: Claim) {
        self.begin_batch();
        let lane = &mut self.lanes[key.index as usize];
        if !lane.ring.is_pending() {
            self.touched.push(key.index);
        }
        lane.ring.push(lane.map.view(), claim, self.version + 1);
        self.left.note(claim.payload_len() as usize);
    }

    /// Commits the open batch; returns how many lanes it was over.
    ///
    /// # Errors
    /// As [`Writer::begin_commit`]: the batch is rolled back then.
    pub(crate) fn commit_batch(&mut self) -> Result<usize> {
        let mut bits = 0;
        let has_changes = !self.touched_tables.is_empty();
        if has_changes {
            bits = self.push_changes().inspect_err(|_| self.roll_back())?;
        }
        let lanes = self.touched.len();
        if lanes == 0 {
            return Ok(0);
        }
        if let Err(error) = self.begin_commit() {
            self.roll_back();
            return Err(error);
        }
        let version = self.version + 1;
        let mut mask = bell::Mask::of(bits);
        for &index in &self.touched {
            let lane = &mut self.lanes[index as usize];
            lane.ring.show_batch(lane.map.view(), lanes > 1 || has_changes);
            mask = mask.and(lane.mask);
        }
        self.own.version.store(version, order::COMMIT.get());
        sequencer::close_batch(&self.own);
        self.version = version;
        self.gate = self.tag;
        for index in self.touched.drain(..) {
            let lane = &mut self.lanes[index as usize];
            lane.ring.committed(lane.map.view(), version);
        }
        if has_changes {
            self.forget_changes();
        }
        halt::leave(&self.own);
        if bell::ring(&self.bells.live.0, mask, self.fence, waiting::wake) {
            count(&self.own.wakes);
        }
        if self.left.take(0) {
            self.edge_if_due();
        }
        Ok(lanes)
    }

    /// This writer's serial, and the version that committing the open batch gives its row; `None` if there is nothing to commit.
    pub(crate) fn next_commit(&self) -> Option<(u64, u64)> {
        (self.gate == 0).then_some((self.serial, self.version + 1))
    }

    /// Forgets the open batch.
    pub(crate) fn roll_back(&mut self) {
        if self.gate == 0 {
            sequencer::close_batch(&self.own);
        }
        self.gate = self.tag;
        self.take_changes_back();
        for index in self.touched.drain(..) {
            self.lanes[index as usize].ring.roll_back();
        }
    }

    /// Runs the edges that the zone's policy says, if they are due. In a halt, the next commit makes them good.
    #[cold]
    pub(super) fn edge_if_due(&mut self) {
        let counted = self.left.book();
        halt::enter(&self.own, self.fence);
        if halt::found(&self.header.control.0).is_none() {
            self.run_edges_due(counted);
        }
        halt::leave(&self.own);
        self.left.give(&self.driver.policy);
    }

    fn run_edges_due(&mut self, (commits, bytes): (u64, u64)) {
        let policy = self.driver.policy;
        let reason = if policy.commits != 0 && commits >= policy.commits {
            Some(crate::Reason::Commits)
        } else if policy.bytes != 0 && bytes >= policy.bytes {
            Some(crate::Reason::Bytes)
        } else {
            None
        };
        // An edge that others overtook again and again is made good by the next commit.
        if let Some(reason) = reason
            && self.run_edge(reason, None).is_ok()
        {
            self.left.since = (0, 0);
        }
        if policy.click_ms != 0 {
            let now = monotonic_us();
            let passed = now - self.left.watched_us.min(now);
            let period = u64::from(policy.click_ms) * 1000;
            // About eight looks in a period.
            self.left.watch = match passed {
                _ if passed > period / 4 => 1,
                _ if passed < period / 16 => (self.left.watch * 2).min(MOST_UNWATCHED),
                _ => self.left.watch,
            };
            self.left.watched_us = now;
            self.driver.mind(self.row);
        }
    }
}
