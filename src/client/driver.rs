//! What anybody who can write a zone can do for it: run the edges that are due when the broker is gone, and wake whoever sleeps.

use super::waiting;
use crate::layout::zone::Reason;
use crate::os::clock::{self, monotonic_us};
use crate::os::mapping::{MeetingMap, ZoneMap};
use crate::ring::bell::{self, Fence};
use crate::ring::sequencer::{self, Proposal, Races};
use crate::ring::{halt, lockstep};
use crate::wire::Policy;
use std::sync::atomic::{AtomicBool, Ordering};

/// A zone as one process can drive it: shared by its writers there, and lent to its readers.
pub(crate) struct Driver {
    pub(crate) zone: ZoneMap,
    pub(crate) meeting: MeetingMap,
    pub(crate) policy: Policy,
    fence: Fence,
    /// When this was made: stands for the last edge while there was none.
    made_us: u64,
    /// The heartbeat has been overdue: it is ours until the broker clicks again.
    orphaned: AtomicBool,
}

impl Driver {
    pub(crate) fn new(zone: ZoneMap, meeting: MeetingMap, policy: Policy, fence: Fence) -> Driver {
        Driver { zone, meeting, policy, fence, made_us: monotonic_us(), orphaned: AtomicBool::new(false) }
    }

    /// Runs the edge that is due, if one is and the zone is not halted; whether it did.
    pub(crate) fn mind(&self, row: u32) -> bool {
        let (zone, now) = (self.zone.view(), monotonic_us());
        // The round first: what is found due is due in this one, not in the next.
        let round = lockstep::round(zone);
        let is_due = self.due_of(round).is_some_and(|due| due <= now);
        if !is_due || halt::is_halted(&zone.header.control.0, now) {
            return false;
        }
        let races = &mut Races::default();
        if zone.geometry.pace.is_lockstep() {
            let proposal = Proposal { reason: Reason::Deadline, proposer: row, tagged: false };
            lockstep::pass(zone, round, &proposal, clock::now, races);
        } else {
            self.orphaned.store(true, Ordering::Relaxed);
            let proposal = Proposal { reason: Reason::Click, proposer: row, tagged: false };
            sequencer::seal(zone, &proposal, clock::now, races);
        }
        self.ring_synced();
        true
    }

    /// When an edge is due that nobody has run, in microseconds of the monotonic clock. The broker's heartbeat counts as overdue after twice
    /// its time; after that it is ours.
    pub(crate) fn due_us(&self) -> Option<u64> {
        self.due_of(lockstep::round(self.zone.view()))
    }

    fn due_of(&self, round: lockstep::Round) -> Option<u64> {
        let zone = self.zone.view();
        if zone.geometry.pace.is_lockstep() {
            return Some(lockstep::round_began(zone, round)? + u64::from(self.policy.deadline_ms) * 1000);
        }
        if self.policy.click_ms == 0 {
            return None;
        }
        let period = u64::from(self.policy.click_ms) * 1000;
        let last = sequencer::record(zone, zone.generation());
        let is_brokers =
            |record: &sequencer::Record| record.reason == Reason::Click && record.proposer == zone.geometry.writers;
        if last.is_some_and(|record| is_brokers(&record)) {
            self.orphaned.store(false, Ordering::Relaxed);
        }
        let patience = if self.orphaned.load(Ordering::Relaxed) { period } else { 2 * period };
        Some(last.map_or(self.made_us, |record| record.time_us) + patience)
    }

    /// Wakes those who sleep for an edge.
    pub(crate) fn ring_synced(&self) {
        bell::ring(&self.meeting.view().header.synced.0, bell::ALL, self.fence, waiting::wake);
    }

    /// Wakes everybody.
    pub(crate) fn ring_all(&self) {
        let bells = self.meeting.view().header;
        for bell in [&bells.live.0, &bells.synced.0, &bells.room.0] {
            bell::ring(bell, bell::ALL, self.fence, waiting::wake);
        }
    }

    /// Asks everybody in the zone to finish and commit now.
    pub(crate) fn raise_early(&self) {
        // Relaxed: a count, that is looked at when it is looked at.
        self.zone.view().header.control.0.early.fetch_add(1, Ordering::Relaxed);
        self.ring_all();
    }
}
