//! Making segments, and all that the broker reads or writes in them: the calls into `ring`.
//!
//! The broker maps a zone's own two segments for their life. A lane it maps only for a moment, read-only: when a reader joins
//! it, and when its writer is gone.

use super::registry::Owner;
use crate::layout::lane::{MAX_VERSION, segment_size};
use crate::layout::meeting::{self, NAME_BYTES, NO_PIN, OPEN_END, TAKES_NO_ERAS};
use crate::layout::zone::{
    ENTRY_EVICTED, ENTRY_LANE, ENTRY_PINS, ENTRY_SYNCED, Geometry, Pace, ROW_CLOSED, ROW_FREE, ROW_OPEN, Reason,
};
use crate::os::mapping::{LaneMap, MeetingMap, TableMap, ZoneMap};
use crate::os::memfd::{MAX_NAME, Segment};
use crate::os::{clock, futex, membarrier};
use crate::ring::bell::{self, Fence};
use crate::ring::floor::{self, JoinError};
use crate::ring::recovery::{self, Finished};
use crate::ring::sequencer::{self, Cut, Proposal, Races};
use crate::ring::{halt, item, lockstep, order};
use crate::sync::Ordering::{Relaxed, Release};
use crate::wire::{EdgeInfo, Schema};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A row whose version is beyond this is not given to another writer.
const RETIRED: u64 = MAX_VERSION / 2;

/// A descriptor on its way to a client.
#[derive(Clone, Debug)]
pub(super) enum Fd {
    Writable(Arc<Segment>),
    ReadOnly(Arc<OwnedFd>),
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Fd::Writable(segment) => segment.fd(),
            Fd::ReadOnly(fd) => fd.as_fd(),
        }
    }
}

/// What a reader is, for the entry that it gets for a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryKind<'a> {
    pub(super) takes_eras: bool,
    pub(super) synced: bool,
    /// The lane's writer goes round what it pins.
    pub(super) pins: bool,
    pub(super) name: &'a str,
}

impl EntryKind<'_> {
    /// With the lane's number: its word in `entry_lane`.
    fn word(&self, lane: u64) -> u64 {
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        lane & ENTRY_LANE | flag(self.pins, ENTRY_PINS) | flag(self.synced, ENTRY_SYNCED)
    }
}

/// A zone's own segments: the zone and its meeting.
#[derive(Debug)]
pub(super) struct ZoneSegments {
    zone: Arc<Segment>,
    zone_read_only: Arc<OwnedFd>,
    zone_map: ZoneMap,
    meeting: Arc<Segment>,
    meeting_map: MeetingMap,
}

impl ZoneSegments {
    /// Descriptors that each holds.
    pub(super) const FDS: usize = 3;

    pub(super) fn bytes(geometry: &Geometry) -> u64 {
        geometry.segment_size() + meeting::segment_size(geometry.entries)
    }

    pub(super) fn create(name: &str, number: u64, geometry: Geometry) -> io::Result<ZoneSegments> {
        let zone =
            Segment::create(&segment_name(format!("syncline:zone:serial{number}:{name}")), geometry.segment_size())?;
        zone.populate(0, zone.size())?;
        let zone_map = ZoneMap::create(zone.fd(), geometry, number)?;
        zone.seal_shared()?;
        let meeting_size = meeting::segment_size(geometry.entries);
        let meeting = Segment::create(&segment_name(format!("syncline:meeting:serial{number}:{name}")), meeting_size)?;
        meeting.populate(0, meeting_size)?;
        let meeting_map = MeetingMap::create(meeting.fd(), geometry.entries, number)?;
        meeting.seal_shared()?;
        if !membarrier::barrier() {
            // Nor could it put a fence into others for a client that may not call it: everybody fences, from the first ring on.
            bell::demand_fences_of_all(meeting_map.view().header);
        }
        let zone_read_only = Arc::new(zone.read_only()?);
        Ok(ZoneSegments { zone: Arc::new(zone), zone_read_only, zone_map, meeting: Arc::new(meeting), meeting_map })
    }

    /// What a writer maps: zone and meeting, both writable.
    pub(super) fn for_writer(&self) -> [Fd; 2] {
        [Fd::Writable(self.zone.clone()), Fd::Writable(self.meeting.clone())]
    }

    /// What a reader maps: the zone read-only, the meeting writable.
    pub(super) fn for_reader(&self) -> [Fd; 2] {
        [Fd::ReadOnly(self.zone_read_only.clone()), Fd::Writable(self.meeting.clone())]
    }

    /// What a reader of tables maps: the zone, read-only.
    pub(super) fn read_only(&self) -> Fd {
        Fd::ReadOnly(self.zone_read_only.clone())
    }

    /// What an onlooker maps: zone and meeting, both read-only.
    pub(super) fn for_onlooker(&self) -> io::Result<[Fd; 2]> {
        let meeting = Arc::new(self.meeting.read_only()?);
        Ok([Fd::ReadOnly(self.zone_read_only.clone()), Fd::ReadOnly(meeting)])
    }

    /// Counts changes of lanes and entries.
    pub(super) fn roster(&self) -> u64 {
        // Relaxed: the broker alone raises it.
        self.zone_map.view().header.control.0.roster.load(Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.zone_map.view().generation()
    }

    /// The commits of a row so far. Whoever is told this finds them in the lanes.
    pub(super) fn version(&self, row: u32) -> u64 {
        self.zone_map.view().rows.get(row as usize).map_or(0, |row| row.version.load(order::COMMIT_SEE.get()))
    }

    /// A row's cut of the era before the last, PREV; `None`: there is none yet.
    pub(super) fn previous_cut(&self, row: u32) -> Option<u64> {
        let zone = self.zone_map.view();
        match zone.generation().checked_sub(1).filter(|&era| era > 0).map(|era| sequencer::cut(zone, era, row as usize))
        {
            Some(Cut::Version(cut)) => Some(cut),
            _ => None,
        }
    }

    /// The version that a row's writer went on counting from.
    pub(super) fn inherited(&self, row: u32) -> u64 {
        self.zone_map.view().rows.get(row as usize).map_or(0, |row| row.inherited.load(Relaxed))
    }

    /// Gives a row to a writer: the version that it goes on counting from, or `None` if the row has counted far enough.
    pub(super) fn open_row(&self, index: u32, owner: Owner) -> Option<u64> {
        let zone = self.zone_map.view();
        let row = zone.rows.get(index as usize)?;
        let version = row.version.load(Relaxed);
        if version > RETIRED {
            row.state.store(ROW_CLOSED, Relaxed);
            return None;
        }
        row.pid.store(owner.pid.into(), Relaxed);
        row.start.store(owner.start, Relaxed);
        for word in [&row.open, &row.busy, &row.permit, &row.edges, &row.full, &row.wakes, &row.evictions] {
            word.store(0, Relaxed);
        }
        let (closing, rolls) = sequencer::closing(zone.header);
        row.rolled.store(rolls, Relaxed);
        // An edge that has begun does not wait for it.
        row.joined.store(closing.max(zone.generation()) + 1, Relaxed);
        row.inherited.store(version, Relaxed);
        row.state.store(ROW_OPEN, Release);
        // From now on edges decide a cut for it. Before the row is handed out, so before its first commit.
        zone.header.high.0.rows.fetch_max(u64::from(index) + 1, Release);
        Some(version)
    }

    /// Takes a row back. After the ends of all its lanes were written.
    pub(super) fn free_row(&self, index: u32) {
        if let Some(row) = self.zone_map.view().rows.get(index as usize) {
            row.pid.store(0, Relaxed);
            row.start.store(0, Relaxed);
            halt::leave(row);
            sequencer::close_batch(row);
            row.state.store(ROW_FREE, order::STATE_SET.get());
        }
    }

    /// Opens an entry for a reader of a lane that nothing was published in yet.
    pub(super) fn enter(&self, entry: u32, lane: u64, owner: Owner, kind: EntryKind<'_>) {
        if let Some(slot) = self.prepare_entry(entry, owner, kind) {
            floor::enter(self.zone_map.view(), slot, entry as usize, kind.word(lane), 0);
        }
    }

    /// Opens an entry for a reader that joins a lane in use.
    pub(super) fn join(
        &self,
        entry: u32,
        lane: u64,
        map: &LaneMap,
        owner: Owner,
        kind: EntryKind<'_>,
    ) -> Result<u64, JoinError> {
        let slot = self.prepare_entry(entry, owner, kind).ok_or(JoinError::Corrupt)?;
        floor::join(map.view(), self.zone_map.view(), slot, entry as usize, kind.word(lane))
    }

    fn prepare_entry(&self, entry: u32, owner: Owner, kind: EntryKind<'_>) -> Option<&meeting::Entry> {
        let slot = self.meeting_map.view().entries.get(entry as usize)?;
        slot.end.store(OPEN_END, Relaxed);
        slot.pid.store(owner.pid.into(), Relaxed);
        slot.start.store(owner.start, Relaxed);
        slot.taken.store(if kind.takes_eras { self.generation() } else { TAKES_NO_ERAS }, Relaxed);
        slot.pin.store(NO_PIN, Relaxed);
        slot.uid.store(owner.uid.into(), Relaxed);
        for word in [&slot.messages, &slot.skipped, &slot.lost, &slot.lags, &slot.sleeps] {
            word.store(0, Relaxed);
        }
        let mut name = [0; NAME_BYTES];
        let len = kind.name.len().min(NAME_BYTES);
        name[..len].copy_from_slice(&kind.name.as_bytes()[..len]);
        for (word, bytes) in slot.name.iter().zip(name.chunks_exact(8)) {
            word.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        Some(slot)
    }

    /// Whether the reader of an entry was evicted from its lane.
    pub(super) fn is_evicted(&self, entry: u32) -> bool {
        let word = self.zone_map.view().entry_lane.get(entry as usize);
        word.is_some_and(|word| word.load(Relaxed) & ENTRY_EVICTED != 0)
    }

    /// Closes an entry: its cursor holds nothing up any more. Its lane's writer may wait for just that.
    pub(super) fn leave(&self, entry: u32) {
        floor::leave(self.zone_map.view(), entry as usize);
        if let Some(slot) = self.meeting_map.view().entries.get(entry as usize) {
            slot.pid.store(0, Relaxed);
            slot.start.store(0, Relaxed);
        }
    }

    /// Wakes writers that wait for room.
    pub(super) fn ring_room(&self) {
        bell::ring(&self.meeting_map.view().header.room.0, bell::ALL, Fence::Full, wake);
    }

    /// Tells a reader where its lane ends.
    pub(super) fn set_end(&self, entry: u32, end: u64) {
        if let Some(slot) = self.meeting_map.view().entries.get(entry as usize) {
            recovery::set_end(slot, end);
        }
    }

    /// Says that lanes have changed, to whoever looks.
    pub(super) fn raise_roster(&self) {
        floor::raise_roster(self.zone_map.view());
    }

    /// Makes everybody look: lanes or entries have changed, and whoever is concerned has been told.
    pub(super) fn announce(&self) {
        self.raise_roster();
        let bells = self.meeting_map.view().header;
        bell::ring(&bells.live.0, bell::ALL, Fence::Full, wake);
        bell::ring(&bells.synced.0, bell::ALL, Fence::Full, wake);
    }

    /// The last era that the reader of an entry has done with.
    pub(super) fn taken(&self, entry: u32) -> Option<u64> {
        let taken = self.meeting_map.view().entries.get(entry as usize)?.taken.load(Relaxed);
        (taken != TAKES_NO_ERAS).then_some(taken)
    }

    // ---- edges ----

    fn proposal(&self, reason: Reason) -> Proposal {
        Proposal { reason, proposer: self.zone_map.view().geometry.writers, tagged: false }
    }

    fn ring_synced(&self) {
        bell::ring(&self.meeting_map.view().header.synced.0, bell::ALL, Fence::Full, wake);
    }

    /// The heartbeat.
    pub(super) fn click(&self) {
        sequencer::seal(self.zone_map.view(), &self.proposal(Reason::Click), clock::now, &mut Races::default());
        self.ring_synced();
    }

    /// An exact edge, as the broker's own; in a lockstep zone, one that waits for nobody any more. `None`: others' overtook it.
    pub(super) fn edge(&self, tag: Option<u64>) -> Option<u64> {
        let zone = self.zone_map.view();
        let races = &mut Races::default();
        let mut proposal = self.proposal(Reason::Exact);
        if zone.geometry.pace.is_lockstep() {
            proposal.reason = Reason::Deadline;
            let round = lockstep::round(zone);
            let sealed = lockstep::pass(zone, round, &proposal, clock::now, races);
            self.ring_synced();
            return sealed.then_some(round.era);
        }
        if let Some(tag) = tag {
            sequencer::propose_tag(zone, proposal.proposer, tag, clock::now, races).ok()?;
            proposal.tagged = true;
        }
        let mut scratch = vec![0; zone.rows.len()];
        let era = sequencer::edge(zone, &mut scratch, &proposal, clock::now, races).ok();
        self.ring_synced();
        era
    }

    /// Lockstep: seals the era if all whom it waits for have given their permit.
    pub(super) fn pass_if_all_permit(&self) {
        let zone = self.zone_map.view();
        let round = lockstep::departed(zone);
        if zone.geometry.pace.is_lockstep() {
            lockstep::pass(zone, round, &self.proposal(Reason::Permits), clock::now, &mut Races::default());
            self.ring_synced();
        }
    }

    /// Lockstep: when the deadline of those who have given their permit is; `None`: nobody waits.
    pub(super) fn deadline_us(&self, deadline_ms: u32) -> Option<u64> {
        let zone = self.zone_map.view();
        Some(lockstep::round_began(zone, lockstep::round(zone))? + u64::from(deadline_ms) * 1000)
    }

    /// Lockstep: seals the era if its deadline has passed at this time.
    pub(super) fn pass_by_deadline(&self, deadline_ms: u32, now_us: u64) {
        let zone = self.zone_map.view();
        // The round first: what is found due is due in this one, not in the next.
        let round = lockstep::round(zone);
        let began = lockstep::round_began(zone, round);
        if began.is_some_and(|began| began + u64::from(deadline_ms) * 1000 <= now_us) {
            let proposal = self.proposal(Reason::Deadline);
            lockstep::pass(zone, round, &proposal, clock::now, &mut Races::default());
            self.ring_synced();
        }
    }

    /// Finishes an edge that a participant has left half-done.
    pub(super) fn finish_edge(&self) {
        sequencer::finish_begun(self.zone_map.view(), clock::now, &mut Races::default());
        self.ring_synced();
    }

    /// Seals what writers that are gone have left unsealed: for a zone without writers, in which nobody else would.
    pub(super) fn seal_the_rest(&self) {
        let zone = self.zone_map.view();
        let generation = zone.generation();
        let is_sealed = |index: usize, version: u64| match sequencer::cut(zone, generation, index) {
            Cut::Version(cut) if generation > 0 => cut >= version,
            _ => version == 0,
        };
        let versions = (0..).zip(zone.rows).map(|(index, row)| (index, row.version.load(Relaxed)));
        if versions.into_iter().all(|(index, version)| is_sealed(index, version)) {
            return;
        }
        let proposal = self.proposal(Reason::Rest);
        let races = &mut Races::default();
        if zone.geometry.pace == Pace::Free {
            let mut scratch = vec![0; zone.rows.len()];
            if sequencer::edge(zone, &mut scratch, &proposal, clock::now, races).is_err() {
                tracing::warn!("edges that somebody else runs overtook the last one of a zone without writers");
            }
        } else {
            lockstep::pass(zone, lockstep::round(zone), &proposal, clock::now, races);
        }
        self.ring_synced();
    }

    /// The first era that has nothing of what a row whose writer is gone has left behind.
    pub(super) fn whole_without(&self, row: u32) -> u64 {
        let zone = self.zone_map.view();
        let generation = zone.generation();
        let is_sealed = match sequencer::cut(zone, generation, row as usize) {
            Cut::Version(cut) if generation > 0 => cut >= self.left_behind(row),
            _ => false,
        };
        generation + if is_sealed { 1 } else { 2 }
    }

    /// What is on record of the last sealed era.
    pub(super) fn last_edge(&self) -> Option<EdgeInfo> {
        let zone = self.zone_map.view();
        let era = zone.generation();
        let record = if era > 0 { sequencer::record(zone, era)? } else { return None };
        let is_straddler = |&row: &u32| sequencer::straddled(zone, era, row as usize) == Some(true);
        Some(EdgeInfo {
            era,
            reason: record.reason as u8,
            time_us: record.time_us,
            tag: record.tag,
            straddlers: (0..record.rows).filter(is_straddler).collect(),
        })
    }

    /// Whether a row has a batch open; over how many edges it has straddled; whether it has given its permit.
    pub(super) fn row_state(&self, index: u32) -> (bool, u32, bool) {
        let zone = self.zone_map.view();
        let Some(row) = zone.rows.get(index as usize) else { return (false, 0, false) };
        let generation = zone.generation();
        let oldest = sequencer::oldest_era(zone, generation);
        let straddled = |&era: &u64| sequencer::straddled(zone, era, index as usize) == Some(true);
        let straddles = (oldest..=generation).rev().take_while(straddled).count() as u32;
        let open = row.open.load(Relaxed) != 0;
        (open, straddles, lockstep::permit_of(row, generation + 1).is_some())
    }

    // ---- halts and hints ----

    /// Whether the zone is halted at this time.
    pub(super) fn is_halted(&self, now_us: u64) -> bool {
        halt::is_halted(&self.zone_map.view().header.control.0, now_us)
    }

    /// Moves the end of a halt on; false: it is over.
    pub(super) fn renew_halt(&self, token: u64, expiry_us: u64) -> bool {
        halt::renew(&self.zone_map.view().header.control.0, token, expiry_us)
    }

    /// Ends a halt whose owner is dead.
    pub(super) fn release_halt(&self, token: u64) {
        if halt::release(&self.zone_map.view().header.control.0, token) {
            lockstep::restart_round(self.zone_map.view(), clock::now);
        }
        self.ring_all();
    }

    /// Asks everybody to finish and commit now.
    pub(super) fn raise_early(&self) {
        self.zone_map.view().header.control.0.early.fetch_add(1, Relaxed);
        self.ring_all();
    }

    fn ring_all(&self) {
        let bells = self.meeting_map.view().header;
        for bell in [&bells.live.0, &bells.synced.0, &bells.room.0] {
            bell::ring(bell, bell::ALL, Fence::Full, wake);
        }
    }

    /// The last commit of a row whose writer is gone that stays.
    pub(super) fn left_behind(&self, row: u32) -> u64 {
        self.version(row).min(self.most(row))
    }

    /// What a dead or departed writer of a row leaves behind at most: all, or, in a revocable zone, what it had permitted.
    fn most(&self, index: u32) -> u64 {
        let zone = self.zone_map.view();
        let Some(row) = zone.rows.get(index as usize) else { return 0 };
        if zone.geometry.pace != Pace::Revocable {
            return u64::MAX;
        }
        let generation = zone.generation();
        let sealed = match sequencer::cut(zone, generation, index as usize) {
            Cut::Version(version) if generation > 0 => version,
            _ => 0,
        };
        let is_current = row.rolled.load(Relaxed) == lockstep::rolls(zone.header);
        let permitted = if is_current { lockstep::permit_of(row, generation + 1) } else { None };
        permitted.unwrap_or(0).max(sealed)
    }

    /// Finishes or buries the last commit of a writer that runs no more. `lanes`: all its lanes, with their limits.
    pub(super) fn finish(&self, row: u32, lanes: &[(LaneMap, u64)]) -> Finished {
        let views: Vec<_> = lanes.iter().map(|(map, max_payload)| (map.view(), *max_payload)).collect();
        let most = self.most(row);
        match self.zone_map.view().rows.get(row as usize) {
            Some(row) => recovery::finish(row, &views, most),
            None => Finished::default(),
        }
    }
}

/// A memory barrier on every registered process.
pub(super) fn barrier() -> bool {
    membarrier::barrier()
}

/// Makes a lane: its memory is not there yet, its preamble is.
pub(super) fn create_lane(name: String, lane: u64, capacity: u64) -> io::Result<Segment> {
    let segment = Segment::create(&segment_name(name), segment_size(capacity))?;
    LaneMap::create(segment.fd(), capacity, lane)?;
    Ok(segment)
}

/// Makes a table: its memory is not there yet, its preamble is.
pub(super) fn create_table(name: String, incarnation: u64, schema: &Schema) -> io::Result<Segment> {
    let segment = Segment::create(&segment_name(name), schema.segment_size())?;
    TableMap::create(segment.fd(), schema.segment_size(), schema.versions(), incarnation)?;
    Ok(segment)
}

/// A table's declaration, for all who open it.
pub(super) fn declaration(name: String, schema: &Schema) -> io::Result<Arc<OwnedFd>> {
    let segment = Segment::of_bytes(&segment_name(name), &schema.encode())?;
    Ok(Arc::new(segment.read_only()?))
}

/// From which commit on an incarnation of a table is to be read; 0: it never was.
pub(super) fn table_first(fd: BorrowedFd<'_>, schema: &Schema) -> io::Result<u64> {
    let map = TableMap::glance(fd, schema.segment_size(), schema.versions())?;
    Ok(item::first(map.header()))
}

/// Shows a lane to the broker, read-only.
pub(super) fn map_lane(fd: BorrowedFd<'_>, capacity: u64) -> io::Result<LaneMap> {
    LaneMap::glance(fd, capacity)
}

/// What fits into a memfd's name. What tells segments apart comes first, so only names are ever cut.
fn segment_name(mut name: String) -> String {
    while name.len() > MAX_NAME {
        name.pop();
    }
    name
}

fn wake(bell: &meeting::Bell) {
    // The word is mapped, so there is nothing to fail.
    let _ = futex::wake_all(&bell.bell);
}
