//! Edges that come by themselves, halts, and the past that is kept: what the broker does when it is time.
//!
//! The broker runs a zone's heartbeat, and minds the deadline of a lockstep round; where it is gone, writers do both. It moves the end of a
//! halt on while its owner lives, and ends it when the owner is dead. It lets the lanes of writers that are gone go when so many eras
//! have passed as the zone is to keep.

use super::quota::{check_room, refused, unknown};
use super::registry::{LaneState, Owner, Registry, invalid, lost};
use super::segments::barrier;
use super::session::Post;
use crate::error::{Code, Result};
use crate::layout::lane;
use crate::layout::zone::Geometry;
use crate::os::clock::monotonic_us;
use crate::wire::{Policy, Tell, ZoneOptions, check_name};

/// How long those who have given their permit wait for the others, if nobody says otherwise, in milliseconds.
const DEFAULT_DEADLINE_MS: u32 = 1000;
/// How long a halt lasts if neither its owner nor the broker moves its end on.
pub(crate) const HALT_LEASE_US: u64 = 1_000_000;
/// How often the broker does that.
const HALT_RENEWAL_US: u64 = 250_000;
/// How often it looks whether what is kept may go.
const KEEP_LOOK_US: u64 = 1_000_000;

/// What is due in a zone, in microseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Timing {
    /// The next click; `None`: the zone has no heartbeat.
    click: Option<u64>,
    /// The halt that a client holds: who, and its token.
    halt: Option<(u64, u64)>,
    renewal: u64,
}

impl Timing {
    pub(super) fn new(policy: &Policy) -> Timing {
        let click = (policy.click_ms != 0).then(|| monotonic_us() + u64::from(policy.click_ms) * 1000);
        Timing { click, halt: None, renewal: 0 }
    }

    /// Whether a client holds a halt of the zone, which then stays: one made anew under its name would not be halted.
    pub(super) fn is_held(&self) -> bool {
        self.halt.is_some()
    }
}

/// The policy of a zone that is made; an error if its parts do not go together.
pub(super) fn policy_for(name: &str, geometry: &Geometry, asked: Policy) -> Result<Policy> {
    let mut policy = asked;
    if geometry.pace.is_lockstep() {
        if policy.click_ms != 0 || policy.commits != 0 || policy.bytes != 0 {
            return Err(invalid(format!(
                "zone `{name}`: expected no edges by clicks, commits or bytes in lockstep, found some; leave them out, or make it free"
            )));
        }
        if policy.deadline_ms == 0 {
            policy.deadline_ms = DEFAULT_DEADLINE_MS;
        }
    } else if policy.deadline_ms != 0 {
        return Err(invalid(format!(
            "zone `{name}`: expected a deadline in a lockstep zone only, found {} ms in a free one; make it lockstep, or leave it out",
            policy.deadline_ms
        )));
    }
    let most = geometry.eras - 2;
    if policy.keep_eras > most {
        return Err(invalid(format!(
            "zone `{name}`: expected at most {most} eras to keep with {} slots in its generation ring, found {}; ask for more slots",
            geometry.eras, policy.keep_eras
        )));
    }
    if policy.keep_bytes > lane::MAX_CAPACITY / 2 {
        return Err(invalid(format!(
            "zone `{name}`: expected at most {} bytes of history in a lane, found {}; keep less",
            lane::MAX_CAPACITY / 2,
            policy.keep_bytes
        )));
    }
    Ok(policy)
}

impl Registry {
    /// When there is something to do, in microseconds of the monotonic clock.
    pub(super) fn next_due(&self, now: u64) -> Option<u64> {
        let mut due = None;
        let mut add = |time: u64| due = Some(due.map_or(time, |due: u64| due.min(time)));
        for zone in self.zones.values() {
            if let Some(click) = zone.timing.click
                && !(zone.writers.is_empty() && zone.readers.is_empty())
            {
                add(click);
            }
            if zone.timing.halt.is_some() {
                add(zone.timing.renewal);
            }
            if zone.geometry.pace.is_lockstep() && !zone.writers.is_empty() {
                // Nobody tells the broker that a round waits.
                let most = (u64::from(zone.policy.deadline_ms) * 250).clamp(1_000, 100_000);
                let deadline = zone.segments.deadline_us(zone.policy.deadline_ms);
                add(deadline.unwrap_or(u64::MAX).min(now + most));
            }
        }
        if self.lanes.values().any(|lane| lane.entries.is_empty() && matches!(lane.state, LaneState::Kept(_))) {
            add(now + KEEP_LOOK_US);
        }
        due
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, post: &mut dyn Post) {
        let now = monotonic_us();
        let mut released = Vec::new();
        for zone in self.zones.values_mut() {
            if let Some((_, token)) = zone.timing.halt
                && zone.timing.renewal <= now
            {
                zone.timing.renewal = now + HALT_RENEWAL_US;
                if !zone.segments.renew_halt(token, now + HALT_LEASE_US) {
                    zone.timing.halt = None;
                    released.push(zone.number);
                }
            }
            if zone.segments.is_halted(now) {
                continue;
            }
            if let Some(click) = &mut zone.timing.click
                && *click <= now
            {
                if !(zone.writers.is_empty() && zone.readers.is_empty()) {
                    zone.segments.click();
                }
                // On its own beat, unless it has lost more than one.
                let period = u64::from(zone.policy.click_ms) * 1000;
                *click = if *click + period > now { *click + period } else { now + period };
            }
            let deadline_ms = zone.policy.deadline_ms;
            if zone.geometry.pace.is_lockstep() {
                zone.segments.pass_by_deadline(deadline_ms, now);
            }
        }
        for zone in released {
            self.settle_zone(zone);
        }
        self.drop_passed(post);
    }

    /// Drops the lanes that are kept no longer and that nobody reads.
    pub(super) fn drop_passed(&mut self, post: &mut dyn Post) {
        let kept = |(number, lane): (&u64, &super::registry::Lane)| {
            matches!(lane.state, LaneState::Kept(_)).then_some(*number)
        };
        let kept: Vec<u64> = self.lanes.iter().filter_map(kept).collect();
        for number in kept {
            let Some(lane) = self.lanes.get(&number) else { continue };
            let zone = lane.zone;
            if lane.entries.is_empty() && self.has_passed(number) {
                self.drop_lane(number, post);
                self.settle_zone(zone);
            }
        }
    }

    /// Whether a lane is over, and kept no longer.
    pub(super) fn has_passed(&self, number: u64) -> bool {
        let Some(lane) = self.lanes.get(&number) else { return false };
        match (&lane.state, self.zones.get(&lane.zone)) {
            (LaneState::Ended, _) => true,
            // What a free zone is not to keep goes with its last reader.
            (LaneState::Kept(_), Some(zone)) if zone.policy.keep_eras == 0 && !zone.geometry.pace.is_lockstep() => true,
            // Kept for the round that was open when its writer left: it passes with that, or with the last writer.
            (LaneState::Kept(kept), Some(zone)) if zone.policy.keep_eras == 0 => {
                zone.segments.generation() >= kept.since || zone.writers.is_empty()
            }
            (LaneState::Kept(kept), Some(zone)) => {
                zone.segments.generation() > kept.since + u64::from(zone.policy.keep_eras)
            }
            (LaneState::Kept(_), None) => true,
            _ => false,
        }
    }

    /// Makes a zone that stays when nobody is in it.
    pub(super) fn create_zone(&mut self, name: &str, options: ZoneOptions) -> Result<()> {
        let number = self.zone_for(name, options)?;
        self.zones.get_mut(&number).ok_or_else(lost)?.created = true;
        Ok(())
    }

    /// A zone goes with the last who is in it, whatever it keeps.
    pub(super) fn remove_zone(&mut self, name: &str, post: &mut dyn Post) -> Result<()> {
        let number = self.named_zone(name)?;
        let zone = self.zones.get_mut(&number).ok_or_else(lost)?;
        zone.created = false;
        let kept = |number: &&u64| {
            self.lanes
                .get(number)
                .is_some_and(|lane| matches!(lane.state, LaneState::Kept(_)) && lane.entries.is_empty())
        };
        let kept: Vec<u64> = zone.lanes.iter().filter(kept).copied().collect();
        for lane in kept {
            self.drop_lane(lane, post);
        }
        self.settle_zone(number);
        Ok(())
    }

    /// The number of the zone of this name.
    pub(super) fn named_zone(&self, name: &str) -> Result<u64> {
        check_name("zone", name).map_err(invalid)?;
        self.zone_names.get(name).copied().ok_or_else(|| {
            let text =
                format!("zone `{name}`: expected it to exist, found none; create it, or open a writer in it first");
            refused(Code::Unknown, text)
        })
    }

    /// An edge that somebody who has no row asks for.
    pub(super) fn run_edge(&mut self, name: &str, tag: Option<u64>) -> Result<Tell> {
        let zone = self.zones.get(&self.named_zone(name)?).ok_or_else(lost)?;
        if zone.segments.is_halted(monotonic_us()) {
            let text = format!("zone `{name}`: expected it to run, found it halted; ask again when it is released");
            return Err(refused(Code::Halted, text));
        }
        if tag.is_some() && zone.geometry.pace.is_lockstep() {
            return Err(invalid(format!(
                "zone `{name}`: expected no tag, since edges in lockstep carry none, found one; leave it out"
            )));
        }
        let sealed = zone.segments.edge(tag);
        let era = sealed.ok_or_else(|| {
            let text = format!("zone `{name}`: others' edges overtook this one again and again; ask again");
            refused(Code::Timeout, text)
        })?;
        Ok(Tell::Sealed { era })
    }

    /// A zone's segments for somebody who has no row.
    pub(super) fn attach(&mut self, owner: Owner, id: u32, name: &str, post: &mut dyn Post) -> Result<()> {
        let zone = self.zones.get(&self.named_zone(name)?).ok_or_else(lost)?;
        let told = Tell::Attached { zone: zone.number, geometry: zone.geometry, policy: zone.policy };
        post.post(owner.client, id, told, zone.segments.for_writer().into());
        Ok(())
    }

    /// A client has halted a zone.
    pub(super) fn halt_held(&mut self, owner: Owner, number: u64, token: u64) -> Result<()> {
        let zone = self.zones.get_mut(&number).ok_or_else(|| unknown("zone", number))?;
        // One that is over may be heard of as such only later: the zone is free before its owner says so.
        let is_anothers = zone.timing.halt.is_some_and(|(client, known)| {
            client != owner.client && zone.segments.renew_halt(known, monotonic_us() + HALT_LEASE_US)
        });
        check_room("halts of the zone", usize::from(is_anothers), 1, 1)?;
        zone.timing.halt = Some((owner.client, token));
        zone.timing.renewal = monotonic_us() + HALT_RENEWAL_US;
        self.owned_by(owner.client).halts.insert(number);
        Ok(())
    }

    /// A halt is over.
    pub(super) fn halt_released(&mut self, client: u64, number: u64, token: u64) {
        if let Some(zone) = self.zones.get_mut(&number)
            && let Some((holder, known)) = zone.timing.halt
            && holder == client
        {
            if known != token {
                // It has halted the zone again meanwhile.
                return;
            }
            zone.timing.halt = None;
        }
        self.disown_halt(client, number);
        self.settle_zone(number);
    }

    /// The holder of a halt is dead: all may go on.
    pub(super) fn end_halt(&mut self, client: u64, number: u64) {
        if let Some(zone) = self.zones.get_mut(&number)
            && let Some((holder, token)) = zone.timing.halt
            && holder == client
        {
            tracing::info!(zone = zone.name, client, "whoever halted the zone is dead: it goes on");
            zone.segments.release_halt(token);
            zone.timing.halt = None;
        }
        self.settle_zone(number);
    }

    /// Asks everybody in a zone to finish and commit now.
    pub(super) fn raise_early(&mut self, number: u64) -> Result<()> {
        self.zones.get(&number).ok_or_else(|| unknown("zone", number))?.segments.raise_early();
        Ok(())
    }

    /// A memory barrier, for a client that can not call one.
    pub(super) fn barrier(&self) -> Result<()> {
        if barrier() {
            return Ok(());
        }
        let text = "membarrier: expected that this kernel lets the broker call it, found that it does not; allow it";
        Err(refused(Code::Io, text))
    }
}
