//! Reading a table.

mod bits;
mod incarnation;
mod view;

pub use view::{Seen, View};

use super::{Finder, Item, Spot, copy, next_tag, with_versions};
use crate::broker::MAX_DECLARATION;
use crate::client::link::{Link, take_fds, unexpected};
use crate::client::payload::{Described, Payload};
use crate::client::reactions::Reactions;
use crate::client::zone::Zone;
use crate::error::{Error, Result};
use crate::layout::zone;
use crate::os::fork::Epoch;
use crate::os::mapping::{Access, Shared, TableMap, ZoneMap};
use crate::os::memfd::Segment;
use crate::ring::sequencer::{self, Cut};
use crate::ring::{item, order};
use crate::sync::AtomicU64;
use crate::wire::{Ask, Group, Schema, Tell};
use bits::{checked, elements, read_bits};
use bytemuck::CheckedBitPattern;
use incarnation::Incarnation;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a reader looks again when the writer was faster.
const TRIES: u32 = 64;
/// How many incarnations a reader keeps: the present one, the one that PREV may need, and those that a mark may be of.
const KEPT: usize = 4;
/// The roster before anything was announced in the zone.
const NEVER_LOOKED: u64 = 0;

/// Reads a table. Send, not Sync: one thread at a time; open another for another thread, they share the memory.
///
/// It never writes to shared memory, holds nothing up, and makes no system call while the table keeps its writer. A table outlives its writers:
/// the next one goes on from the last committed values, and readers follow by themselves.
///
/// ```
/// # fn main() -> syncline::Result<()> {
/// let bus = syncline::Bus::embedded()?;
/// let zone = bus.zone("plant");
/// let mut writer = zone.writer("controller")?;
/// let table = writer.table("state").item::<f64>("level").items::<u32>("valve", 8).open()?;
/// let level = writer.item::<f64>(table, "level")?;
/// writer.set(level, &0.75)?;
///
/// let mut reader = zone.table("state")?;
/// let level = reader.item::<f64>("level")?;
/// assert_eq!(reader.get(level)?, 0.75);
///
/// // As of the last edge, and of the one before.
/// let valve = reader.item_of::<u32>("valve", 3)?;
/// let number = writer.edge()?;
/// let era = reader.current()?;
/// assert_eq!((era.era(), era.get(level)?, era.get(valve)?), (Some(number), 0.75, 0));
/// # Ok(())
/// # }
/// ```
pub struct TableReader {
    epoch: Epoch,
    link: Arc<Link>,
    of: Zone,
    name: String,
    zone: ZoneMap,
    header: Shared<zone::Header>,
    reactions: Arc<Reactions>,
    id: u64,
    tag: u32,
    /// `tag`, but 0 unless the last incarnation is the one to read live, and has a writer.
    steady: u32,
    schema: Arc<Schema>,
    /// By number; the last that is `begun` is the one to read live.
    incarnations: Vec<Incarnation>,
    /// The roster at the last take-in, or [`NEVER_LOOKED`].
    roster: u64,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl TableReader {
    pub(crate) fn open(zone: &Zone, name: &str, timeout: Option<Duration>) -> Result<TableReader> {
        let link = zone.link().clone();
        let ask = Ask::ReadTable { zone: zone.name().to_owned(), table: name.to_owned(), wait: timeout.is_some() };
        let id = link.send(ask)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut opened = TableReader::join(zone, name, id, timeout);
        link.forget(id);
        if timeout.is_some() {
            opened = opened.and_then(|reader| reader.wait_begun(deadline));
        }
        if matches!(opened, Err(Error::Timeout)) {
            link.tell(Ask::Cancel { id })?;
        }
        opened
    }

    fn join(of: &Zone, name: &str, id: u32, timeout: Option<Duration>) -> Result<TableReader> {
        let link = of.link().clone();
        let patience = Duration::from_secs(30);
        let (told, fds) = link.next_reply(id, timeout.unwrap_or(patience))?;
        let Tell::TableShown { reader: number, zone: zone_number, geometry } = told else {
            return Err(unexpected("TableShown", &told));
        };
        let [zone_fd, declaration] = take_fds(fds)?;
        let zone =
            ZoneMap::new(zone_fd.as_fd(), geometry, Access::ReadOnly).map_err(Error::io("mapping the zone segment"))?;
        let mut reader = TableReader {
            epoch: link.epoch(),
            of: of.clone(),
            name: name.to_owned(),
            header: zone.header(),
            zone,
            id: number,
            reactions: link.reactions(zone_number, geometry.writers as usize)?,
            tag: next_tag(),
            steady: 0,
            schema: Arc::new(declared(declaration)?),
            incarnations: Vec::new(),
            roster: NEVER_LOOKED,
            not_sync: std::marker::PhantomData,
            link,
        };
        loop {
            match reader.link.next_reply(id, patience)? {
                (Tell::TableReady { .. }, _) => return Ok(reader),
                (told @ Tell::TableAdded { .. }, fds) => reader.hear(told, fds)?,
                (other, _) => return Err(unexpected("TableAdded or TableReady", &other)),
            }
        }
    }

    /// Waits until there is something to read: its first owner makes a table, maps it, and then begins it with a commit.
    fn wait_begun(mut self, deadline: Option<Instant>) -> Result<TableReader> {
        while let Err(error) = self.newest().map(drop) {
            if !matches!(error, Error::Gone { .. }) {
                return Err(error);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Error::Timeout);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self)
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the table was declared to have.
    pub fn groups(&self) -> &[Group] {
        self.schema.groups()
    }

    /// How many items it has.
    pub fn len(&self) -> u32 {
        self.schema.items()
    }

    /// Whether it has none: a table always has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[cfg(feature = "capi")]
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.link.check_fork()
    }

    /// What its items are known by.
    #[cfg(feature = "capi")]
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    /// Another reader of the same table, for another thread.
    #[cfg(feature = "capi")]
    pub(crate) fn again(&self) -> Result<TableReader> {
        self.link.check_fork()?;
        self.of.table(&self.name)
    }

    pub(crate) fn finder(&self) -> Finder<'_> {
        Finder { schema: &self.schema, name: &self.name, tag: self.tag, table: 0 }
    }

    /// The item of this name; the first, if several have it.
    ///
    /// # Errors
    /// There is none, or it has another type.
    pub fn item<P: Payload + ?Sized>(&self, name: &str) -> Result<Item<P>> {
        self.item_of(name, 0)
    }

    /// The `n`-th item of those of this name, from 0.
    ///
    /// # Errors
    /// There is none, or it has another type.
    pub fn item_of<P: Payload + ?Sized>(&self, name: &str, n: u32) -> Result<Item<P>> {
        let finder = self.finder();
        finder.typed(finder.named(name, n)?)
    }

    /// The item of this index.
    ///
    /// # Errors
    /// There is none, or it has another type.
    pub fn item_at<P: Payload + ?Sized>(&self, index: u32) -> Result<Item<P>> {
        let finder = self.finder();
        finder.typed(finder.at(index)?)
    }

    /// The item of this index, of whatever type: it is read as bytes ([`TableReader::get_bytes`]).
    ///
    /// # Errors
    /// There is none.
    pub fn any_item(&self, index: u32) -> Result<Item<[u8]>> {
        Ok(Item::of(self.finder().at(index)?.0))
    }

    /// The newest value of an item.
    ///
    /// # Errors
    /// [`Error::Gone`] while its first owner has not begun it; [`Error::Overtaken`] if the writer was faster again and again; [`Error::BadValue`] for bits that are none of `T`'s values;
    /// [`Error::Invalid`] for an item of another table; [`Error::Forked`].
    #[inline(always)]
    pub fn get<T: Described + CheckedBitPattern>(&mut self, item: Item<T>) -> Result<T> {
        // The way of nearly every read: a value that nobody has a reference to need not go through memory.
        match self.glance(item.spot(), read_bits::<T>) {
            Some(value) => checked(value),
            None => self.get_with_care(item),
        }
    }

    #[inline(never)]
    fn get_with_care<T: Described + CheckedBitPattern>(&mut self, item: Item<T>) -> Result<T> {
        let mut value = MaybeUninit::uninit();
        self.read_live(item.spot(), |words| value = read_bits::<T>(words))?;
        checked(value)
    }

    /// The newest value of an item, as bytes.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn get_bytes<P: Payload + ?Sized>(&mut self, item: Item<P>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.get_to(item, &mut bytes)?;
        Ok(bytes)
    }

    /// The newest value of an item, into `buffer`, over what was there; its capacity is used again.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn get_to<P: Payload + ?Sized>(&mut self, item: Item<P>, buffer: &mut Vec<u8>) -> Result<()> {
        let spot = item.spot();
        self.read_live(spot, |words| copy(spot, words, buffer))
    }

    /// The newest value of an item of any number of `T`.
    ///
    /// # Errors
    /// As [`TableReader::get`].
    pub fn get_slice<T: Described + CheckedBitPattern>(&mut self, item: Item<[T]>) -> Result<Vec<T>> {
        elements(&self.get_bytes(item)?)
    }

    /// What `copy` makes of an item's newest value, if nothing is unusual.
    #[inline(always)]
    fn glance<R>(&self, spot: Spot, copy: impl FnOnce(&[AtomicU64]) -> R) -> Option<R> {
        let incarnation = self.incarnations.last()?;
        if spot.tag != self.steady || !self.epoch.is_current() {
            return None;
        }
        let found = incarnation.writer.version.load(order::COMMIT_SEE.get());
        // Relaxed: after the version. Before a row has another owner, and before there is another incarnation, the roster is raised.
        if self.header.control.0.roster.load(order::RELAXED.get()) != self.roster {
            return None;
        }
        // SAFETY: the item is of this handle (its tag), so its place comes from the table's declaration, as the map does; a table is steady only
        // if its items have four versions.
        let item = unsafe { incarnation.map.item_declared::<4>(spot.place) };
        let (_, copied) = item::glance(item, found, copy)?;
        self.reactions.note(incarnation.row, found);
        Some(copied)
    }

    #[inline(never)]
    pub(crate) fn read_live(&mut self, spot: Spot, mut copy: impl FnMut(&[AtomicU64])) -> Result<()> {
        self.check(spot)?;
        for _ in 0..TRIES {
            let (incarnation, found, bound) = self.newest()?;
            let read = with_versions!(incarnation.map, V => {
                // SAFETY: the item is of this handle (`check`), so its place comes from the table's declaration, as the maps do.
                let item = unsafe { incarnation.map.item_declared::<V>(spot.place) };
                item::read_live(item, incarnation.still(found), bound, &mut copy)
            });
            if read.is_some() {
                let row = incarnation.row;
                self.reactions.note(row, bound);
                return Ok(());
            }
            std::hint::spin_loop();
        }
        Err(Error::Overtaken)
    }

    #[inline(always)]
    fn check(&self, spot: Spot) -> Result<()> {
        if !self.epoch.is_current() {
            return Err(Error::Forked);
        }
        if spot.tag != self.tag { Err(foreign()) } else { Ok(()) }
    }

    /// The incarnation to read live, its row's version, and the last commit there.
    #[inline(always)]
    fn newest(&mut self) -> Result<(&Incarnation, u64, u64)> {
        let roster = self.header.control.0.roster.load(order::ROSTER_SEE.get());
        if roster != self.roster {
            self.take_in(roster)?;
        }
        // By far the most frequent: the last one is in use.
        if let Some(last) = self.incarnations.last()
            && last.first != 0
            && let (found, Some(bound)) = last.version()
        {
            let last = self.incarnations.len() - 1;
            return Ok((&self.incarnations[last], found, bound));
        }
        self.find_newest()
    }

    #[cold]
    fn find_newest(&mut self) -> Result<(&Incarnation, u64, u64)> {
        self.begin_those_begun();
        for pass in 0..2 {
            for index in (0..self.incarnations.len()).rev() {
                let incarnation = &self.incarnations[index];
                match incarnation.version() {
                    (found, Some(bound)) if incarnation.is_begun_at(bound) => {
                        return Ok((&self.incarnations[index], found, bound));
                    }
                    (_, Some(_)) => {}
                    // Its row has another owner: what its last commit was, the broker has said.
                    (_, None) if pass == 0 => {
                        self.take_in(self.roster)?;
                        break;
                    }
                    // It is on its way still.
                    (_, None) => return Err(Error::Overtaken),
                }
            }
        }
        Err(self.nothing(0))
    }

    fn nothing(&self, era: u64) -> Error {
        Error::Gone { era, oldest: None, generation: self.zone.view().generation() }
    }

    /// Notes from which commit on incarnations are to be read.
    fn begin_those_begun(&mut self) {
        for incarnation in &mut self.incarnations {
            if incarnation.first == 0 {
                let first = item::first(incarnation.map.header());
                if first != 0 && incarnation.version().1.is_some_and(|version| first <= version) {
                    incarnation.first = first;
                }
            }
        }
        // If its row is another's, its end was told and is on its way: until it is here, it is to be looked for at each read.
        let is_own = |last: &Incarnation| last.end.is_none() && last.version().1.is_some();
        let is_steady = |last: &Incarnation| last.first != 0 && is_own(last) && last.map.versions() == 4;
        self.steady = if self.incarnations.last().is_some_and(is_steady) { self.tag } else { 0 };
    }

    #[cold]
    fn take_in(&mut self, roster: u64) -> Result<()> {
        let news = self.link.take_in(self.id)?;
        self.take_news(news)?;
        self.begin_those_begun();
        self.roster = roster;
        Ok(())
    }

    fn take_news(&mut self, news: VecDeque<(Tell, Vec<OwnedFd>)>) -> Result<()> {
        news.into_iter().try_for_each(|(told, fds)| self.hear(told, fds))
    }

    fn hear(&mut self, told: Tell, fds: Vec<OwnedFd>) -> Result<()> {
        self.steady = 0;
        match told {
            Tell::TableAdded { incarnation: number, row, inherited, writer_name, writer_pid, end, .. } => {
                let [fd] = take_fds(fds)?;
                let Some(writer) = self.zone.row(row) else {
                    return Err(Error::Corrupt(format!("row {row}: the zone has fewer")));
                };
                let (size, versions) = (self.schema.segment_size(), self.schema.versions());
                let map = TableMap::new(fd.as_fd(), size, versions, Access::ReadOnly)
                    .map_err(Error::io(format!("mapping table `{}`", self.name)))?;
                let row = row as usize;
                self.incarnations.push(Incarnation {
                    number,
                    map,
                    row,
                    writer,
                    inherited,
                    writer_name,
                    writer_pid,
                    first: 0,
                    end,
                });
                if self.incarnations.len() > KEPT {
                    self.incarnations.remove(0);
                }
            }
            Tell::TableEnded { incarnation: number, end, .. } => {
                if end == 0 {
                    self.incarnations.retain(|other| other.number != number);
                } else if let Some(ended) = self.incarnations.iter_mut().find(|other| other.number == number) {
                    ended.end = Some(end);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who writes the table: name and process; `None`: nobody at present.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn writer(&mut self) -> Result<Option<(String, u32)>> {
        self.link.check_fork()?;
        let roster = self.header.control.0.roster.load(order::ROSTER_SEE.get());
        if roster != self.roster {
            self.take_in(roster)?;
        }
        let last = self.incarnations.iter().rev().find(|incarnation| incarnation.end.is_none());
        Ok(last.map(|last| (last.writer_name.clone(), last.writer_pid)))
    }

    // ---- views ----

    /// The table as it is now: several items read there belong together.
    ///
    /// # Errors
    /// [`Error::Gone`] while its first owner has not begun it; [`Error::Forked`].
    pub fn latest(&mut self) -> Result<View<'_>> {
        self.link.check_fork()?;
        let (incarnation, found, bound) = self.newest()?;
        let number = incarnation.number;
        let incarnation = self.incarnations.iter().position(|other| other.number == number).unwrap_or_default();
        let row = self.incarnations[incarnation].row;
        self.reactions.note(row, bound);
        Ok(View { reader: self, incarnation, found, bound, era: None })
    }

    /// Calls `read` with the table as it is, again and again while that says [`Error::Overtaken`], up to 64 times: several items are read as one
    /// commit has left them.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if the writer was faster each time; what `read` says.
    pub fn read<R>(&mut self, mut read: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        for _ in 1..TRIES {
            match read(&self.latest()?) {
                Err(Error::Overtaken) => std::hint::spin_loop(),
                other => return other,
            }
        }
        read(&self.latest()?)
    }

    /// The table as of the last sealed era, CURR. It can be read until two more have been sealed.
    ///
    /// # Errors
    /// [`Error::Gone`] if none has been sealed, or the table had no writer yet; [`Error::Forked`].
    pub fn current(&mut self) -> Result<View<'_>> {
        let mut generation = self.generation()?;
        for _ in 1..TRIES {
            let found = self.find(generation);
            let now = self.zone.view().generation();
            match found {
                // Two edges have passed since it was looked up.
                Err(Error::Gone { .. }) if now > generation => generation = now,
                found => return found.map(|found| self.era_at(generation, found)),
            }
        }
        self.at(generation)
    }

    /// The number of the zone's last sealed era; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn generation(&self) -> Result<u64> {
        self.link.check_fork()?;
        Ok(self.zone.view().generation())
    }

    /// The table as of a sealed era: the last one, CURR, or the one before, PREV.
    ///
    /// # Errors
    /// [`Error::Gone`] for others, or if the table had no writer then; [`Error::Forked`].
    pub fn at(&mut self, era: u64) -> Result<View<'_>> {
        let found = self.find(era)?;
        Ok(self.era_at(era, found))
    }

    fn era_at(&self, era: u64, (incarnation, bound): (usize, u64)) -> View<'_> {
        View { reader: self, incarnation, found: 0, bound, era: Some(era) }
    }

    /// Which incarnation shows a sealed era, and up to which commit.
    fn find(&mut self, era: u64) -> Result<(usize, u64)> {
        self.link.check_fork()?;
        let roster = self.header.control.0.roster.load(order::ROSTER_SEE.get());
        if roster != self.roster {
            self.take_in(roster)?;
        }
        self.begin_those_begun();
        if self.find_known(era)?.is_none() {
            // A row has another owner: what its last commit was, the broker has said.
            self.take_in(self.roster)?;
        }
        self.find_known(era)?.ok_or(Error::Overtaken)
    }

    /// The same, by what is known; `None`: it is not known where an incarnation ends.
    fn find_known(&self, era: u64) -> Result<Option<(usize, u64)>> {
        let generation = self.zone.view().generation();
        if era == 0 || era > generation || era + 1 < generation {
            return Err(Error::Gone {
                era,
                oldest: Some(generation.saturating_sub(1).max(1)).filter(|_| generation > 0),
                generation,
            });
        }
        for index in (0..self.incarnations.len()).rev() {
            let incarnation = &self.incarnations[index];
            let cut = match sequencer::cut(self.zone.view(), era, incarnation.row) {
                Cut::Version(cut) => cut,
                Cut::NoRow => 0,
                Cut::Gone => {
                    let generation = self.zone.view().generation();
                    let oldest = Some(generation.saturating_sub(1).max(1)).filter(|_| generation > 0);
                    return Err(Error::Gone { era, oldest, generation });
                }
            };
            let Some(bound) = incarnation.bounded(cut) else { return Ok(None) };
            if incarnation.is_begun_at(bound) {
                return Ok(Some((index, bound)));
            }
        }
        Err(self.nothing(era))
    }

    /// Whether a commit of a row is of the incarnation of what was seen, as far as is known: the row may have another owner by now.
    pub(super) fn is_of(&mut self, seen: &Seen, row: u32, version: u64) -> Result<bool> {
        let roster = self.header.control.0.roster.load(order::ROSTER_SEE.get());
        if roster != self.roster {
            self.take_in(roster)?;
        }
        let of = self.incarnations.iter().find(|incarnation| incarnation.number == seen.incarnation);
        let is_of =
            |of: &Incarnation| of.row == row as usize && version >= of.first && of.bounded(version) == Some(version);
        Ok(of.is_some_and(is_of))
    }

    /// Describes a watch of this table: it is woken when certain items have changed.
    pub fn watch(&self, name: &str) -> super::TableWatchBuilder {
        super::TableWatchBuilder::new(self.of.clone(), &self.name, name, self.schema.clone())
    }
}

#[cold]
pub(crate) fn foreign() -> Error {
    Error::Invalid("the item belongs to another table or handle, or to a table that was given up: use one that this handle has looked up".to_owned())
}

/// The declaration that the broker has sent.
pub(crate) fn declared(fd: OwnedFd) -> Result<Schema> {
    let bytes = Segment::read_bytes(fd, MAX_DECLARATION).map_err(Error::io("reading the declaration of a table"))?;
    Schema::decode(&bytes).map_err(Error::Corrupt)
}

impl Drop for TableReader {
    fn drop(&mut self) {
        if self.epoch.is_current() {
            self.link.close_inbox(self.id);
            // Without a broker, it goes with the process.
            let _ = self.link.call(Ask::CloseTableReader { reader: self.id });
        }
    }
}

impl std::fmt::Debug for TableReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableReader").field("name", &self.name).field("items", &self.len()).finish_non_exhaustive()
    }
}
