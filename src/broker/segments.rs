//! Making segments, and all that the broker reads or writes in them: the calls into `ring`.
//!
//! The broker maps a zone's own two segments for their life. A lane it maps only for a moment, read-only: when a reader joins
//! it, and when its writer is gone.

use super::registry::Owner;
use crate::layout::lane::{MAX_VERSION, segment_size};
use crate::layout::meeting::{self, OPEN_END};
use crate::layout::zone::Geometry;
use crate::os::futex;
use crate::os::mapping::{LaneMap, MeetingMap, ZoneMap};
use crate::os::memfd::{MAX_NAME, Segment};
use crate::ring::bell::{self, Fence};
use crate::ring::floor::{self, JoinError};
use crate::ring::recovery::{self, Finished};
use crate::ring::sequencer::{self, Cut, Races};
use crate::sync::Ordering::{Relaxed, Release};
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

    pub(super) fn generation(&self) -> u64 {
        self.zone_map.view().generation()
    }

    /// The commits of a row so far.
    pub(super) fn version(&self, row: u32) -> u64 {
        self.zone_map.view().rows.get(row as usize).map_or(0, |row| row.version.load(Relaxed))
    }

    /// Gives a row to a writer: the version that it goes on counting from, or `None` if the row has counted far enough.
    pub(super) fn open_row(&self, index: u32, owner: Owner) -> Option<u64> {
        let zone = self.zone_map.view();
        let row = zone.rows.get(index as usize)?;
        let version = row.version.load(Relaxed);
        if version > RETIRED {
            row.state.store(RowState::Closed as u64, Relaxed);
            return None;
        }
        row.pid.store(owner.pid.into(), Relaxed);
        row.start.store(owner.start, Relaxed);
        row.state.store(RowState::Open as u64, Relaxed);
        // From now on edges decide a cut for it. Before the row is handed out, so before its first commit.
        zone.header.high.0.rows.fetch_max(u64::from(index) + 1, Release);
        Some(version)
    }

    /// Takes a row back. After the ends of all its lanes were written.
    pub(super) fn free_row(&self, index: u32) {
        if let Some(row) = self.zone_map.view().rows.get(index as usize) {
            row.pid.store(0, Relaxed);
            row.start.store(0, Relaxed);
            row.state.store(RowState::Free as u64, Release);
        }
    }

    /// Opens an entry for a reader of a lane that nothing was published in yet.
    pub(super) fn enter(&self, entry: u32, lane: u64, owner: Owner) {
        if let Some(slot) = self.prepare_entry(entry, owner) {
            floor::enter(self.zone_map.view(), slot, entry as usize, lane, 0);
        }
    }

    /// Opens an entry for a reader that joins a lane in use.
    pub(super) fn join(&self, entry: u32, lane: u64, map: &LaneMap, owner: Owner) -> Result<u64, JoinError> {
        let slot = self.prepare_entry(entry, owner).ok_or(JoinError::Corrupt)?;
        floor::join(map.view(), self.zone_map.view(), slot, entry as usize, lane)
    }

    fn prepare_entry(&self, entry: u32, owner: Owner) -> Option<&meeting::Entry> {
        let slot = self.meeting_map.view().entries.get(entry as usize)?;
        slot.end.store(OPEN_END, Relaxed);
        slot.pid.store(owner.pid.into(), Relaxed);
        slot.start.store(owner.start, Relaxed);
        Some(slot)
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

    /// Makes everybody look: lanes or entries have changed, and whoever is concerned has been told.
    pub(super) fn announce(&self) {
        floor::raise_roster(self.zone_map.view());
        let bells = self.meeting_map.view().header;
        bell::ring(&bells.live.0, bell::ALL, Fence::Full, wake);
        bell::ring(&bells.synced.0, bell::ALL, Fence::Full, wake);
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
        if !versions.into_iter().all(|(index, version)| is_sealed(index, version)) {
            let mut scratch = vec![0; zone.rows.len()];
            if sequencer::edge(zone, &mut scratch, &mut Races::default()).is_err() {
                tracing::warn!("edges that somebody else runs overtook the last one of a zone without writers");
            }
        }
    }

    /// Finishes or buries the last commit of a writer that runs no more. `lanes`: all its lanes, with their limits.
    pub(super) fn finish(&self, row: u32, lanes: &[(LaneMap, u64)]) -> Finished {
        let views: Vec<_> = lanes.iter().map(|(map, max_payload)| (map.view(), *max_payload)).collect();
        match self.zone_map.view().rows.get(row as usize) {
            Some(row) => recovery::finish(row, &views),
            None => Finished::default(),
        }
    }
}

/// `Row::state`.
#[derive(Clone, Copy)]
#[repr(u64)]
enum RowState {
    Free = 0,
    Open = 1,
    Closed = 2,
}

/// Makes a lane: its memory is not there yet, its preamble is.
pub(super) fn create_lane(name: String, lane: u64, capacity: u64) -> io::Result<Segment> {
    let segment = Segment::create(&segment_name(name), segment_size(capacity))?;
    LaneMap::create(segment.fd(), capacity, lane)?;
    Ok(segment)
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
