//! A zone: the channels and writers that share one edge.

use super::driver::Driver;
use super::halt::{Halt, HaltParts};
use super::link::{Link, take_fds, unexpected};
use super::lock::{Lock, LockWatch};
use super::reader::ReaderBuilder;
use super::stats::Stats;
use super::table::TableReader;
use super::waiting;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::layout::zone::Pace;
use crate::os::mapping::{Access, MeetingMap, ZoneMap};
use crate::wire::{Ask, TableInfo, Tell, ZoneOptions};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// A zone by name. Nothing is made before a writer or reader is opened in it; it goes with the last of them.
#[derive(Clone)]
pub struct Zone {
    link: Arc<Link>,
    name: String,
    options: ZoneOptions,
}

impl Zone {
    pub(crate) fn new(link: Arc<Link>, name: &str) -> Self {
        Zone { link, name: name.to_owned(), options: ZoneOptions::default() }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn options(&self) -> ZoneOptions {
        self.options
    }

    /// With all its options at once, for C.
    #[cfg(feature = "capi")]
    pub(crate) fn with(self, options: ZoneOptions) -> Self {
        Zone { options, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most writers at a time, 1 to 1024; 64 by default. A zone that is there keeps what it was made with, and refuses
    /// to be opened with another number.
    #[must_use]
    pub fn writers(mut self, most: u32) -> Self {
        self.options.writers = most;
        self
    }

    /// How many eras the generation ring holds: a power of two, 4 to 4096; 64 by default. A synced reader that falls behind by more
    /// gets the oldest ones merged.
    #[must_use]
    pub fn eras(mut self, held: u32) -> Self {
        self.options.eras = held;
        self
    }

    /// The most subscriptions (reader x lane) at a time, 1 to 65536; 1024 by default.
    #[must_use]
    pub fn subscriptions(mut self, most: u32) -> Self {
        self.options.entries = most;
        self
    }

    /// A heartbeat: the broker runs an edge every `period`, in whole milliseconds; when it is gone, the writers do.
    #[must_use]
    pub fn click(mut self, period: Duration) -> Self {
        self.options.policy.click_ms = milliseconds(period);
        self
    }

    /// An edge after every `commits` commits of one writer, run by that writer.
    #[must_use]
    pub fn every_commits(mut self, commits: u64) -> Self {
        self.options.policy.commits = commits;
        self
    }

    /// An edge whenever one writer has published `bytes` bytes, run by that writer.
    #[must_use]
    pub fn every_bytes(mut self, bytes: u64) -> Self {
        self.options.policy.bytes = bytes;
        self
    }

    /// Lockstep: edges pass when every writer has given its [permit](Writer::permit), or at last `deadline` (in whole milliseconds) after the
    /// first has.
    #[must_use]
    pub fn lockstep(mut self, deadline: Duration) -> Self {
        self.options.pace = Some(Pace::Lockstep);
        self.options.policy.deadline_ms = milliseconds(deadline);
        self
    }

    /// Lockstep whose open era can be [rolled back](Writer::roll_back_era). Such a zone refuses live readers.
    #[must_use]
    pub fn revocable(self, deadline: Duration) -> Self {
        let mut zone = self.lockstep(deadline);
        zone.options.pace = Some(Pace::Revocable);
        zone
    }

    /// How many sealed eras stay to be had after their writers have gone; none by default. The generation ring is made to hold as many. What
    /// present writers have published stays as long as their rings have room.
    #[must_use]
    pub fn keep_eras(mut self, eras: u32) -> Self {
        self.options.policy.keep_eras = eras;
        self
    }

    /// How many bytes of history each lane holds at least, unless its writer asks for a larger ring.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: u64) -> Self {
        self.options.policy.keep_bytes = bytes;
        self
    }

    /// Makes the zone, if it is not there, and lets it stay when nobody is in it, until [`Zone::remove`] or the broker's end.
    ///
    /// # Errors
    /// Options that do not go together, or differ from the zone's; no broker.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let zone = bus.zone("plant").click(Duration::from_millis(20)).keep_eras(100);
    /// zone.create()?;
    /// assert_eq!(bus.list()?[0].policy.click_ms, 20);
    /// zone.remove()?;
    /// assert!(bus.list()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn create(&self) -> Result<()> {
        self.link.call(Ask::CreateZone { zone: self.name.clone(), options: self.options }).map(drop)
    }

    /// Lets the zone go as soon as nobody is in it, with all that it keeps.
    ///
    /// # Errors
    /// There is no such zone; no broker.
    pub fn remove(&self) -> Result<()> {
        self.link.call(Ask::RemoveZone { zone: self.name.clone() }).map(drop)
    }

    /// An exact edge, run by the broker for somebody who has no writer in the zone; perhaps with a tag. In a lockstep zone: an edge that
    /// waits for no more permits. (A [`Writer`] runs its own, without asking anybody.)
    ///
    /// # Errors
    /// There is no such zone; it is halted; no broker.
    pub fn edge(&self, tag: Option<u64>) -> Result<u64> {
        match self.link.call(Ask::Edge { zone: self.name.clone(), tag })? {
            (Tell::Sealed { era }, _) => Ok(era),
            (other, _) => Err(unexpected("Sealed", &other)),
        }
    }

    /// Halts the zone: brings every writer to rest at its next message boundary, and holds edges and readers, until the guard is dropped or
    /// this process dies. Waits until all writers are at rest, at most for `deadline` (10 ms is usual); [`Halt::late`] names those that
    /// are not.
    ///
    /// This holds for the caller's own writers as well: publishing while one holds the guard waits for ever, unless the writer
    /// [refuses](Writer::on_halt).
    ///
    /// # Errors
    /// [`Error::Halted`] if somebody else has halted it and does not let go by the deadline; there is no such zone; no broker (a
    /// [writer](Writer::halt) needs none).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// writer.on_halt(syncline::HaltMode::Refuse);
    /// let setpoint = writer.channel("setpoint").open::<f64>()?;
    /// let halt = bus.zone("plant").halt(Duration::from_millis(10))?;
    /// assert!(halt.late().is_empty());
    /// assert!(matches!(writer.publish(setpoint, &1.0), Err(syncline::Error::Halted)));
    /// halt.release();
    /// writer.publish(setpoint, &1.0)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn halt(&self, deadline: Duration) -> Result<Halt> {
        let (zone, driver) = self.attach()?;
        Halt::raise(HaltParts { link: self.link.clone(), zone, driver: Arc::new(driver) }, deadline)
    }

    /// Asks everybody in the zone to finish what they are at and commit now; see [`Writer::request_early`].
    ///
    /// # Errors
    /// There is no such zone; no broker.
    pub fn request_early(&self) -> Result<()> {
        self.attach().map(|(_, driver)| driver.raise_early())
    }

    /// Waits until every reader that takes eras has done with `era`; see [`Writer::wait_done`].
    ///
    /// # Errors
    /// [`Error::Laggards`]; there is no such zone; no broker.
    pub fn wait_done(&self, era: u64, timeout: Duration) -> Result<()> {
        let (zone, driver) = self.attach()?;
        super::done::wait(&self.link, zone, &driver, era, timeout)
    }

    /// Counters of all writers, lanes and readers of the zone, to be read again and again without the broker, and without anybody's notice.
    ///
    /// # Errors
    /// There is no such zone; no broker.
    pub fn stats(&self) -> Result<Stats> {
        Stats::open(&self.link, &self.name)
    }

    /// The zone's segments, without a row.
    fn attach(&self) -> Result<(u64, Driver)> {
        let (told, fds) = self.link.call(Ask::Attach { zone: self.name.clone() })?;
        let Tell::Attached { zone, geometry, policy } = told else { return Err(unexpected("Attached", &told)) };
        let [zone_fd, meeting_fd] = take_fds(fds)?;
        let zone_map = ZoneMap::new(zone_fd.as_fd(), geometry, Access::ReadWrite)
            .map_err(Error::io("mapping the zone segment"))?;
        let meeting =
            MeetingMap::new(meeting_fd.as_fd(), geometry.entries).map_err(Error::io("mapping the meeting segment"))?;
        let fence = waiting::attach(&meeting, &self.link)?;
        Ok((zone, Driver::new(zone_map, meeting, policy, fence)))
    }

    /// Opens a writer; `name` is for people.
    ///
    /// # Errors
    /// A bad name; options that differ from the zone's; no free row; no broker.
    pub fn writer(&self, name: &str) -> Result<Writer> {
        Writer::open(self, name)
    }

    /// Opens a table for reading.
    ///
    /// # Errors
    /// There is none of that name; quotas; no broker.
    pub fn table(&self, name: &str) -> Result<TableReader> {
        TableReader::open(self, name, None)
    }

    /// Opens a table for reading, once it is there.
    ///
    /// # Errors
    /// [`Error::Timeout`]; quotas; no broker.
    pub fn wait_table(&self, name: &str, timeout: Duration) -> Result<TableReader> {
        TableReader::open(self, name, Some(timeout))
    }

    /// The zone's tables.
    ///
    /// # Errors
    /// No broker.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.link.list_tables(&self.name)
    }

    /// Describes a reader; `name` is for people.
    pub fn reader(&self, name: &str) -> ReaderBuilder {
        ReaderBuilder::new(self.clone(), name)
    }

    /// A lock by name, between the processes that use this zone; the zone need not exist. Locks have names of their own: one may be called as
    /// a channel is.
    pub fn lock(&self, name: &str) -> Lock {
        Lock::named(self.link.clone(), &self.name, name)
    }

    /// Watches who owns a table and how many wait for it.
    ///
    /// # Errors
    /// As [`Lock::watch`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let zone = bus.zone("plant");
    /// let mut writer = zone.writer("controller")?;
    /// let table = writer.table("state").item::<f64>("level").open()?;
    /// let mut watch = zone.watch_owner("state")?;
    /// assert_eq!(watch.next(Duration::from_secs(1))?.holder_pid, std::process::id());
    /// writer.close_table(table)?;
    /// watch.wait_free(Duration::from_secs(1))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_owner(&self, table: &str) -> Result<LockWatch> {
        Lock::of_table(self.link.clone(), &self.name, table).watch()
    }

    /// Waits until at least `count` readers subscribe to a channel, and returns how many do. The channel need not exist yet.
    ///
    /// # Errors
    /// [`Error::Timeout`]; no broker.
    pub fn wait_readers(&self, channel: &str, count: u32, timeout: Duration) -> Result<u32> {
        let ask = Ask::WaitReaders { zone: self.name.clone(), channel: channel.to_owned(), count };
        let id = self.link.send(ask)?;
        let answer = self.link.next_reply(id, timeout);
        self.link.forget(id);
        match answer {
            Ok((Tell::Readers { count }, _)) => Ok(count),
            Ok((other, _)) => Err(unexpected("Readers", &other)),
            Err(error) => {
                if matches!(error, Error::Timeout) {
                    self.link.tell(Ask::Cancel { id })?;
                }
                Err(error)
            }
        }
    }
}

/// Whole milliseconds, at least one of anything that is not zero.
pub(crate) fn milliseconds(time: Duration) -> u32 {
    let least = u128::from(!time.is_zero());
    u32::try_from(time.as_millis().max(least)).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bus;
    use crate::os::testing::seccomp;
    use crate::ring::bell;

    /// Whether ringers of the zone are asked for full fences: on all bells, or on none.
    fn are_fences_demanded(zone: &Zone) -> bool {
        let (_, driver) = zone.attach().unwrap();
        let bells = driver.meeting.view().header;
        let [first, others @ ..] =
            [&bells.live.0, &bells.synced.0, &bells.room.0, &bells.done.0].map(bell::are_fences_demanded);
        assert!(others.iter().all(|other| *other == first));
        first
    }

    /// In a thread that may not call membarrier.
    fn refused<R: Send>(body: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                seccomp::refuse(&[libc::SYS_membarrier], libc::EPERM);
                body()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn who_may_not_call_membarrier_asks_for_fences_before_it_sleeps() {
        let bus = Bus::embedded().unwrap();
        let _writers = ["reader", "writer", "neither"].map(|zone| bus.zone(zone).writer("w").unwrap());
        assert!(!are_fences_demanded(&bus.zone("reader")));
        let _reader = refused(|| bus.zone("reader").reader("r").channel::<u64>("c").open().unwrap());
        assert!(are_fences_demanded(&bus.zone("reader")));
        let _writer = refused(|| bus.zone("writer").writer("w").unwrap());
        assert!(are_fences_demanded(&bus.zone("writer")));
        assert!(!are_fences_demanded(&bus.zone("neither")));
    }

    #[test]
    fn a_broker_that_may_not_call_membarrier_asks_for_fences_in_every_zone() {
        // Its thread is the child of this one, and refused the same.
        let bus = refused(|| Bus::embedded().unwrap());
        let _writer = bus.zone("z").writer("w").unwrap();
        assert!(are_fences_demanded(&bus.zone("z")));
        let _reader = refused(|| bus.zone("z").reader("r").channel::<u64>("c").open().unwrap());
    }
}
