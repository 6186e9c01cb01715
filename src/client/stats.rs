//! Counters: what writers, lanes and readers of a zone have done so far, read from shared memory.
//!
//! Nobody takes part in this: all is mapped read-only, and what a lane has seen costs its writer no counter ([`crate::ring::count`]). The
//! broker is asked where things are, at first and when lanes or readers have come or gone.

use super::lanes::name_in;
use super::link::{Link, Parcel, take_fds, unexpected};
use crate::error::{Error, Result};
use crate::layout::meeting::{Entry, NO_PIN};
use crate::layout::zone::{ENTRY_EVICTED, ENTRY_LANE, ENTRY_PINS, ENTRY_SYNCED, Geometry, NO_LANE, ROW_OPEN, Row};
use crate::os::clock::monotonic_us;
use crate::os::mapping::{Access, LaneMap, MeetingMap, ZoneMap};
use crate::ring::count::{Counted, count};
use crate::ring::{lockstep, order};
use crate::sync::AtomicU64;
use crate::wire::{Ask, Delivery, LaneInfo, Tell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How often a reading begins anew because lanes or readers have come or gone meanwhile, or a lane was rolled back.
const TRIES: u32 = 4;
/// How long the broker may take for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the counters of a zone; from [`Zone::stats`](crate::Zone::stats). Holds its memory mapped, lanes of writers that have gone until the next
/// reading.
///
/// # Examples
/// ```
/// # fn main() -> syncline::Result<()> {
/// let bus = syncline::Bus::embedded()?;
/// let mut writer = bus.zone("plant").writer("controller")?;
/// let level = writer.channel("level").open::<f64>()?;
/// let mut reader = bus.zone("plant").reader("log").channel::<f64>("level").open()?;
/// for value in [1.0, 2.0, 3.0] {
///     writer.publish(level, &value)?;
/// }
/// reader.try_recv()?;
/// let read = bus.zone("plant").stats()?.read()?;
/// assert_eq!((read.writers[0].commits, read.lanes[0].messages), (3, 3));
/// assert_eq!((read.readers[0].messages, read.readers[0].behind), (1, 2 * 24));
/// # Ok(())
/// # }
/// ```
pub struct Stats {
    link: Arc<Link>,
    name: String,
    /// The broker's number for the zone.
    number: u64,
    zone: ZoneMap,
    meeting: MeetingMap,
    /// Sorted by channel and row.
    lanes: Vec<LaneSeen>,
    /// Where a lane is in `lanes`, by its number.
    places: HashMap<u64, usize>,
    /// What `lanes` are of.
    roster: u64,
}

/// A lane that is looked at.
struct LaneSeen {
    info: LaneInfo,
    pins: u32,
    /// Where it ends, if its writer has gone.
    end: Option<u64>,
    /// `None`: it is no lane any more, whatever its writer has done to it.
    map: Option<LaneMap>,
    /// The last count.
    counted: Counted,
}

/// The counters of a zone, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct ZoneStats {
    /// Its name.
    pub zone: String,
    /// When this was read, in microseconds of the monotonic clock.
    pub time_us: u64,
    /// How many eras are sealed: the number of the last one.
    pub eras: u64,
    /// Its writers, by row.
    pub writers: Vec<WriterStats>,
    /// Its lanes, by channel and row; those of writers that have gone as long as the zone keeps them.
    pub lanes: Vec<LaneStats>,
    /// Its readers, once for each lane that they have.
    pub readers: Vec<ReaderStats>,
}

/// What a writer has done since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct WriterStats {
    /// Its row.
    #[cfg_attr(feature = "cli", serde(rename = "writer"))]
    pub row: u32,
    /// Its name; empty while it has no lane.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Single messages and batches that it has committed.
    pub commits: u64,
    /// Eras that it has sealed. (The others were sealed by other writers, or by the broker.)
    pub edges: u64,
    /// How often it found no room ([`Error::Full`]).
    pub full: u64,
    /// How often it woke somebody.
    pub wakes: u64,
    /// How many times it evicted a reader from a lane.
    pub evictions: u64,
}

/// What a lane (writer x channel) has seen since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct LaneStats {
    /// Its number, unique in this broker.
    pub lane: u64,
    /// Its channel.
    pub channel: String,
    /// Its writer's row.
    pub writer: u32,
    /// Its writer's name.
    pub name: String,
    /// Messages published. (Less after a roll-back.)
    pub messages: u64,
    /// Bytes published, by position in the ring: with 16 bytes of head a message, its padding to a multiple of 8, and what the writer went
    /// round.
    pub bytes: u64,
    /// Messages that are still in the ring, whoever has read them.
    pub retained_messages: u64,
    /// Bytes of these, as of `bytes`.
    pub retained_bytes: u64,
    /// Bytes of its ring.
    pub capacity: u64,
    /// What its writer does when a reader is behind: passes it.
    pub lossy: bool,
    /// The same: evicts it after so many milliseconds; 0: never.
    pub evict_after_ms: u32,
    /// How many readers have it.
    pub readers: u32,
    /// How many of them hold a page in place that its writer goes round.
    pub pins: u32,
    /// How many can at most.
    pub most_pins: u32,
    /// Its writer has gone.
    pub ended: bool,
    /// It holds what no sound writer makes; the counts are up to there.
    pub corrupt: bool,
}

/// What a reader has done in one lane since it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct ReaderStats {
    /// Its entry in the zone: what tells it from others of its name.
    pub entry: u32,
    /// Its name; only the first 24 bytes of a longer one.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// It takes whole eras.
    pub synced: bool,
    /// The lane's channel.
    pub channel: String,
    /// The lane's writer: its row.
    pub writer: u32,
    /// The lane's number, as of [`LaneStats::lane`].
    pub lane: u64,
    /// Messages that it has taken and left behind.
    pub messages: u64,
    /// Bytes of these, as of [`LaneStats::bytes`].
    pub bytes: u64,
    /// Messages that were overwritten before it came to them.
    pub lost: u64,
    /// How often that happened.
    pub lags: u64,
    /// How often it went to sleep, for whatever lane.
    pub sleeps: u64,
    /// How far it is behind the lane's end, in bytes of the ring; more than its capacity: it has lost what is between.
    pub behind: u64,
    /// The lane's writer waits for it no longer.
    pub evicted: bool,
    /// It holds a page in place that the lane's writer goes round.
    pub pinned: bool,
}

impl Stats {
    pub(crate) fn open(link: &Arc<Link>, name: &str) -> Result<Stats> {
        let shown = Shown::ask(link, name, |_| false)?;
        let zone = shown.map_zone()?;
        let meeting = shown.map_meeting()?;
        let mut stats = Stats {
            link: link.clone(),
            name: name.to_owned(),
            number: shown.number,
            zone,
            meeting,
            lanes: Vec::new(),
            places: HashMap::new(),
            roster: 0,
        };
        stats.take(shown);
        Ok(stats)
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        &self.name
    }

    pub(crate) fn check_fork(&self) -> Result<()> {
        self.link.check_fork()
    }

    /// Reads all counters. The broker is asked only if lanes or readers have come or gone; without one, what was known stays. Each counter is
    /// exact, but they are read one after the other: with writers and readers at work, a reader may seem to be ahead of its lane.
    ///
    /// # Errors
    /// The zone is gone; a lane that has come can not be mapped; [`Error::Forked`].
    pub fn read(&mut self) -> Result<ZoneStats> {
        self.check_fork()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let roster = self.roster_now();
            if roster != self.roster {
                self.ask_again(roster)?;
            }
            let read = self.look();
            if self.roster_now() == self.roster || tries == TRIES {
                return Ok(read);
            }
        }
    }

    fn roster_now(&self) -> u64 {
        self.zone.view().header.control.0.roster.load(order::ROSTER_SEE.get())
    }

    /// Lanes or readers have come or gone.
    #[cold]
    fn ask_again(&mut self, roster: u64) -> Result<()> {
        match Shown::ask(&self.link, &self.name, |lane| self.places.contains_key(&lane)) {
            Ok(shown) => {
                if shown.number != self.number {
                    // Another zone of this name.
                    self.zone = shown.map_zone()?;
                    self.meeting = shown.map_meeting()?;
                    self.number = shown.number;
                }
                self.take(shown);
                Ok(())
            }
            // Nobody knows more than we do.
            Err(Error::NoBroker { .. } | Error::Timeout) => {
                self.roster = roster;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over the lanes that there are now.
    fn take(&mut self, shown: Shown) {
        let mut known: HashMap<u64, LaneSeen> = self.lanes.drain(..).map(|lane| (lane.info.lane, lane)).collect();
        for (info, pins, end, map) in shown.lanes {
            let lane = match known.remove(&info.lane) {
                Some(lane) => LaneSeen { info, pins, end, ..lane },
                None => LaneSeen { info, pins, end, map, counted: Counted::default() },
            };
            self.lanes.push(lane);
        }
        self.lanes.sort_by_key(|lane| (lane.info.channel, lane.info.row, lane.info.lane));
        self.places = self.lanes.iter().enumerate().map(|(place, lane)| (lane.info.lane, place)).collect();
        self.roster = shown.roster;
    }

    fn look(&mut self) -> ZoneStats {
        let time_us = monotonic_us();
        for lane in &mut self.lanes {
            lane.count(&self.zone);
        }
        let mut lanes: Vec<LaneStats> = self.lanes.iter().map(LaneSeen::stats).collect();
        let readers = self.readers();
        for reader in &readers {
            let lane = self.places.get(&reader.lane).and_then(|&place| lanes.get_mut(place));
            if let Some(lane) = lane {
                lane.readers += 1;
                lane.pins += u32::from(reader.pinned);
            }
        }
        let eras = self.zone.view().generation();
        ZoneStats { zone: self.name.clone(), time_us, eras, writers: self.writers(), lanes, readers }
    }

    fn writers(&self) -> Vec<WriterStats> {
        // A row is used again: the newest lane has the name of whoever has it now.
        let mut names: HashMap<u32, &LaneInfo> = HashMap::new();
        for lane in self.lanes.iter().filter(|lane| lane.end.is_none()) {
            let newest = names.entry(lane.info.row).or_insert(&lane.info);
            if lane.info.serial > newest.serial {
                *newest = &lane.info;
            }
        }
        let rows = (0..).zip(self.zone.view().rows);
        let open = rows.filter(|(_, row)| row.state.load(order::STATE_SEE.get()) == ROW_OPEN);
        let stats = |(index, row): (u32, &Row)| WriterStats {
            row: index,
            name: names.get(&index).map(|info| info.writer_name.clone()).unwrap_or_default(),
            pid: relaxed(&row.pid) as u32,
            // The row goes on counting where its last writer has stopped.
            commits: row.version.load(order::COMMIT_SEE.get()).saturating_sub(relaxed(&row.inherited)),
            edges: relaxed(&row.edges),
            full: relaxed(&row.full),
            wakes: relaxed(&row.wakes),
            evictions: relaxed(&row.evictions),
        };
        open.map(stats).collect()
    }

    fn readers(&self) -> Vec<ReaderStats> {
        let entries = self.zone.view().entry_lane.iter().zip(self.meeting.view().entries);
        let stats = |(index, (word, entry)): (usize, (&AtomicU64, &Entry))| {
            let listed = word.load(order::ENTRY_SEE.get());
            let number = listed & ENTRY_LANE;
            if number == NO_LANE {
                return None;
            }
            let lane = self.lanes.get(*self.places.get(&number)?)?;
            let read = lane.reader(index as u32, listed, entry);
            // Given up, and perhaps another's by now?
            (word.load(order::ENTRY_SEE.get()) & ENTRY_LANE == number).then_some(read)
        };
        entries.enumerate().filter_map(stats).collect()
    }
}

impl LaneSeen {
    /// Counts the lane. If its writer outruns that, the last count stays.
    fn count(&mut self, zone: &ZoneMap) {
        let (Some(map), Some(row)) = (&self.map, zone.row(self.info.row)) else { return };
        let committed = |version| row.version.load(order::COMMIT_SEE.get()) >= version;
        let end = self.end.unwrap_or(u64::MAX);
        let rolls = || (lockstep::rolls(zone.view().header), row.rolled.load(order::ROLLED_SEE.get()));
        for _ in 0..TRIES {
            let before = rolls();
            let counted = count(map.view(), self.info.max_payload, end, committed);
            // Else what was walked may have been rolled back, and written anew.
            if rolls() == before
                && let Some(counted) = counted
            {
                self.counted = counted;
                return;
            }
        }
    }

    fn stats(&self) -> LaneStats {
        let LaneInfo { lane, channel_name, row, writer_name, capacity, delivery, .. } = &self.info;
        let Delivery { lossy, evict_ms } = *delivery;
        let Counted { begin, end, damage } = self.counted;
        LaneStats {
            lane: *lane,
            channel: channel_name.clone(),
            writer: *row,
            name: writer_name.clone(),
            messages: end.sequence,
            bytes: end.position,
            retained_messages: end.sequence.saturating_sub(begin.sequence),
            retained_bytes: end.position.saturating_sub(begin.position),
            capacity: *capacity,
            lossy,
            evict_after_ms: evict_ms,
            readers: 0,
            pins: 0,
            most_pins: self.pins,
            ended: self.end.is_some(),
            corrupt: damage.is_some() || self.map.is_none(),
        }
    }

    fn reader(&self, index: u32, listed: u64, entry: &Entry) -> ReaderStats {
        ReaderStats {
            entry: index,
            name: name_in(entry),
            pid: relaxed(&entry.pid) as u32,
            uid: relaxed(&entry.uid) as u32,
            synced: listed & ENTRY_SYNCED != 0,
            channel: self.info.channel_name.clone(),
            writer: self.info.row,
            lane: self.info.lane,
            messages: relaxed(&entry.messages),
            bytes: relaxed(&entry.cursor).wrapping_sub(relaxed(&entry.skipped)),
            lost: relaxed(&entry.lost),
            lags: relaxed(&entry.lags),
            sleeps: relaxed(&entry.sleeps),
            behind: self.counted.end.position.saturating_sub(relaxed(&entry.cursor)),
            evicted: listed & ENTRY_EVICTED != 0,
            pinned: listed & ENTRY_PINS != 0 && relaxed(&entry.pin) != NO_PIN,
        }
    }
}

fn relaxed(word: &AtomicU64) -> u64 {
    word.load(order::RELAXED.get())
}

/// Maps a lane; `None`: its writer has made it something else.
fn map_lane(info: &LaneInfo, fd: &OwnedFd) -> Result<Option<LaneMap>> {
    match LaneMap::glance(fd.as_fd(), info.capacity) {
        Ok(map) => Ok(Some(map)),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(error) => {
            let LaneInfo { writer_name, channel_name, .. } = info;
            Err(Error::io(format!("mapping the lane of `{writer_name}` in channel `{channel_name}`"))(error))
        }
    }
}

/// What the broker shows.
struct Shown {
    number: u64,
    geometry: Geometry,
    roster: u64,
    /// The zone and the meeting.
    fds: [OwnedFd; 2],
    /// With mappings of those that were not known.
    lanes: Vec<(LaneInfo, u32, Option<u64>, Option<LaneMap>)>,
}

impl Shown {
    fn ask(link: &Link, name: &str, is_known: impl Fn(u64) -> bool) -> Result<Shown> {
        let id = link.send(Ask::Inspect { zone: name.to_owned() })?;
        let shown = Shown::receive(|| link.next_reply(id, PATIENCE), is_known);
        link.forget(id);
        shown
    }

    fn receive(mut next: impl FnMut() -> Result<Parcel>, is_known: impl Fn(u64) -> bool) -> Result<Shown> {
        let (told, fds) = next()?;
        let Tell::ZoneShown { zone: number, geometry, roster } = told else {
            return Err(unexpected("ZoneShown", &told));
        };
        let mut shown = Shown { number, geometry, roster, fds: take_fds(fds)?, lanes: Vec::new() };
        loop {
            match next()? {
                (Tell::LaneShown { lane, pins, end }, fds) => {
                    // At once: there may be more lanes than a process may have descriptors.
                    let [fd] = take_fds(fds)?;
                    let map = if is_known(lane.lane) { None } else { map_lane(&lane, &fd)? };
                    shown.lanes.push((lane, pins, end, map));
                }
                (Tell::Done, _) => return Ok(shown),
                (other, _) => return Err(unexpected("LaneShown", &other)),
            }
        }
    }

    fn map_zone(&self) -> Result<ZoneMap> {
        let [zone, _] = &self.fds;
        ZoneMap::new(zone.as_fd(), self.geometry, Access::ReadOnly).map_err(Error::io("mapping the zone segment"))
    }

    fn map_meeting(&self) -> Result<MeetingMap> {
        let [_, meeting] = &self.fds;
        let mapped = MeetingMap::glance(meeting.as_fd(), self.geometry.entries);
        mapped.map_err(Error::io("mapping the meeting segment"))
    }
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").field("zone", &self.name).field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}
