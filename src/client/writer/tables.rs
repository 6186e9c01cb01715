//! Tables of a writer: opened, set in commits of their own or in batches, given up.
//!
//! Every commit that sets items also publishes which, in the table's channel of changes. Its frames are joint, as those of a batch over several
//! lanes: so whoever is told of a change finds it in the table.

mod builder;

pub use builder::TableBuilder;

use super::commit::count;
use super::{Writer, batch_open};
use crate::client::link::{take_fds, unexpected};
use crate::client::lock::{Lock, LockGuard};
use crate::client::payload::{Described, Payload, bytes_of};
use crate::client::table::{
    Change, Finder, Item, Spot, changes_channel, copy, declared, fill, foreign, next_tag, with_versions,
};
use crate::client::waiting;
use crate::error::{Error, Result};
use crate::os::clock;
use crate::os::mapping::{Access, TableMap};
use crate::ring::sequencer;
use crate::ring::{bell, halt, item, order};
use crate::sync::AtomicU64;
use crate::wire::{Ask, Schema, TableItem, Tell};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::os::fd::AsFd;
use std::time::Duration;

/// Bytes of the lane that says what has changed.
const CHANGES: u64 = 64 << 10;
/// What a commit says of its changes at most, as runs of indices; beyond that it says: anything.
const MOST_RUNS: usize = 256;
/// Bytes of a request that carries a declaration, about.
const PART: usize = 32 << 10;

/// A table of one writer; from [`TableBuilder::open`]. A table of another writer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    index: u32,
    tag: u32,
}

#[cfg(feature = "capi")]
impl Table {
    /// As one number, for C.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.tag) << 32 | u64::from(self.index)
    }

    /// What its items are known by: the tag, and which table of its writer it is.
    pub(crate) fn numbers(self) -> (u32, u32) {
        (self.tag, self.index)
    }

    /// From that number; any number makes a table, which then may be nobody's.
    pub(crate) fn from_bits(bits: u64) -> Table {
        Table { index: bits as u32, tag: (bits >> 32) as u32 }
    }
}

/// A table as its writer has it.
pub(super) struct TableOut {
    name: String,
    tag: u32,
    /// Its ownership; `None`: given up.
    guard: Option<LockGuard>,
    map: TableMap,
    schema: Schema,
    /// Index of the lane that says what has changed.
    changes: u32,
    /// What the open batch has set.
    changed: Vec<u32>,
}

impl Writer {
    /// Describes a table to write: its items are declared, and then it is opened.
    pub fn table<'w>(&'w mut self, name: &'w str) -> TableBuilder<'w> {
        TableBuilder::new(self, name)
    }

    fn open_table(&mut self, name: &str, items: Vec<TableItem>, wait: Duration) -> Result<Table> {
        if self.gate == 0 {
            return Err(batch_open());
        }
        let lock = Lock::of_table(self.link.clone(), &self.zone_name, name);
        let guard = match wait.is_zero() {
            true => lock.try_acquire()?.ok_or(Error::Timeout)?,
            false => lock.acquire(wait)?,
        };
        let fence = guard.fence();
        self.declare(items)?;
        let ask = Ask::OpenTable { writer: self.serial, table: name.to_owned(), fence };
        let (told, mut fds) = self.link.call(ask)?;
        let Tell::TableMade { incarnation, before } = told else { return Err(unexpected("TableMade", &told)) };
        let before = before.map(|end| (fds.pop(), end));
        let [fd, declaration] = take_fds(fds)?;
        let schema = declared(declaration)?;
        let (size, versions) = (schema.segment_size(), schema.versions());
        let failed = || format!("mapping table `{name}`");
        let map = TableMap::new(fd.as_fd(), size, versions, Access::ReadWrite).map_err(Error::io(failed()))?;
        let before = match before {
            Some((Some(fd), end)) => {
                let map = TableMap::new(fd.as_fd(), size, versions, Access::ReadOnly).map_err(Error::io(failed()))?;
                Some((map, end))
            }
            _ => None,
        };
        // Only now can the broker seal it and give it to readers.
        let (told, _) = self.link.call(Ask::TableMapped { incarnation })?;
        let Tell::TableOpen { .. } = told else { return Err(unexpected("TableOpen", &told)) };
        let changes = self.changes_lane(name)?;
        let tag = next_tag();
        let (name, guard) = (name.to_owned(), Some(guard));
        let out = TableOut { name, tag, guard, map, schema, changes, changed: Vec::new() };
        self.take_over(&out, before)?;
        // One that was given up, and its memory, make room.
        let index = match self.tables.iter().position(|table| table.guard.is_none()) {
            Some(index) => {
                self.tables[index] = out;
                index
            }
            None => {
                self.tables.push(out);
                self.tables.len() - 1
            }
        };
        Ok(Table { index: index as u32, tag })
    }

    /// Tells the broker what the table is to have.
    fn declare(&self, items: Vec<TableItem>) -> Result<()> {
        let mut part = Vec::new();
        let mut bytes = 0;
        for item in items {
            bytes += 64 + item.name.len();
            bytes += item.ty.iter().flat_map(|ty| &ty.fields).map(|field| 16 + field.name.len()).sum::<usize>();
            part.push(item);
            if bytes > PART {
                bytes = 0;
                let items = std::mem::take(&mut part);
                self.link.call(Ask::TableItems { writer: self.serial, items })?;
            }
        }
        if !part.is_empty() {
            self.link.call(Ask::TableItems { writer: self.serial, items: part })?;
        }
        Ok(())
    }

    /// The lane that says what has changed; this writer may have had the table before.
    fn changes_lane(&mut self, table: &str) -> Result<u32> {
        let channel = changes_channel(table);
        if let Some(index) = self.lanes.iter().position(|lane| lane.channel == channel) {
            return Ok(index as u32);
        }
        let key = self.channel(&channel).capacity(CHANGES).lossy().open_described(<[Change]>::type_desc())?;
        Ok(key.index)
    }

    /// The first commit of a table's new owner: it has what the one before had.
    fn take_over(&mut self, table: &TableOut, before: Option<(TableMap, u64)>) -> Result<()> {
        let first = self.version + 1;
        if let Some((map, end)) = before {
            for group in table.schema.groups() {
                for place in (0..group.run.count).filter_map(|n| group.run.place(n)) {
                    with_versions!(table.map, V => {
                        let (Some(old), Some(new)) = (map.item::<V>(place), table.map.item::<V>(place)) else { continue };
                        let copied = |values: &[crate::sync::AtomicU64]| {
                            item::write(new, 0, first, |words| {
                                for (to, from) in words.iter().zip(values) {
                                    to.store(from.load(order::RELAXED.get()), order::RELAXED.get());
                                }
                            });
                        };
                        // Else it would count as set from now on.
                        if old.has_no_value(end) {
                            continue;
                        }
                        // Its writer writes no more. What no sound one has left stays as if it was never set.
                        item::read_last(old, end, copied);
                    });
                }
            }
        }
        item::set_first(table.map.header(), first);
        self.begin_commit()?;
        self.own.version.store(first, order::COMMIT.get());
        self.version = first;
        halt::leave(&self.own);
        if self.left.take(0) {
            self.edge_if_due();
        }
        Ok(())
    }

    /// Gives a table up: its next owner goes on from the last commit.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table of another writer, or while a batch is open.
    pub fn close_table(&mut self, table: Table) -> Result<()> {
        if self.gate == 0 {
            return Err(batch_open());
        }
        self.own_table(table)?;
        self.tables[table.index as usize].guard = None;
        Ok(())
    }

    /// Tells the broker that a table is given up with what the open batch commits.
    pub(crate) fn promise_table(&self, table: Table) -> Result<()> {
        self.own_table(table)?.guard.as_ref().map_or(Ok(()), |guard| guard.promise(self))
    }

    fn own_table(&self, table: Table) -> Result<&TableOut> {
        let open = self.tables.get(table.index as usize).filter(|open| open.tag == table.tag && open.guard.is_some());
        open.ok_or_else(|| Error::Invalid("the table belongs to another writer, or was given up: open it".to_owned()))
    }

    pub(crate) fn finder(&self, table: Table) -> Result<Finder<'_>> {
        let open = self.own_table(table)?;
        Ok(Finder { schema: &open.schema, name: &open.name, tag: open.tag, table: table.index })
    }

    /// The item of this name; the first, if several have it.
    ///
    /// # Errors
    /// There is none, or it has another type; a table of another writer.
    pub fn item<P: Payload + ?Sized>(&self, table: Table, name: &str) -> Result<Item<P>> {
        self.item_of(table, name, 0)
    }

    /// The `n`-th item of those of this name, from 0.
    ///
    /// # Errors
    /// As [`Writer::item`].
    pub fn item_of<P: Payload + ?Sized>(&self, table: Table, name: &str, n: u32) -> Result<Item<P>> {
        let finder = self.finder(table)?;
        finder.typed(finder.named(name, n)?)
    }

    /// The item of this index.
    ///
    /// # Errors
    /// As [`Writer::item`].
    pub fn item_at<P: Payload + ?Sized>(&self, table: Table, index: u32) -> Result<Item<P>> {
        let finder = self.finder(table)?;
        finder.typed(finder.at(index)?)
    }

    /// The item of this index, of whatever type: it is set to bytes.
    ///
    /// # Errors
    /// As [`Writer::item`].
    pub fn any_item(&self, table: Table, index: u32) -> Result<Item<[u8]>> {
        Ok(Item::of(self.finder(table)?.at(index)?.0))
    }

    /// What the table was declared to have.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table of another writer.
    pub fn table_groups(&self, table: Table) -> Result<&[crate::wire::Group]> {
        Ok(self.own_table(table)?.schema.groups())
    }

    /// The number of this writer's ownership of the table: each owner's is larger than those of all before. Pass it on with what depends on being
    /// the owner, and whoever gets that can refuse an older one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table of another writer.
    pub fn table_fence(&self, table: Table) -> Result<u64> {
        Ok(self.own_table(table)?.guard.as_ref().map_or(0, LockGuard::fence))
    }

    /// Whether the owner before this one died while it owned the table.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table of another writer.
    pub fn table_predecessor_died(&self, table: Table) -> Result<bool> {
        Ok(self.own_table(table)?.guard.as_ref().is_some_and(LockGuard::predecessor_died))
    }

    /// Sets an item: a commit of its own.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::Invalid`] for an item of another writer, or while a batch is open; [`Error::Halted`]; [`Error::Overtaken`], if
    /// edges passed again and again; [`Error::Forked`]. Nothing is changed then.
    #[inline]
    pub fn set<P: Payload + ?Sized>(&mut self, item: Item<P>, value: &P) -> Result<()>
    where
        P::Item: NoUninit,
    {
        self.set_bytes(item.spot(), bytes_of(value))
    }

    /// Sets an item of any type to bytes: a commit of its own.
    ///
    /// # Errors
    /// As [`Writer::set`]; [`Error::TooLarge`] or [`Error::Invalid`] if these are not as many as the type has.
    pub fn set_raw(&mut self, item: Item<[u8]>, bytes: &[u8]) -> Result<()> {
        self.check_elements(item.spot(), bytes.len())?;
        self.set_bytes(item.spot(), bytes)
    }

    #[inline(always)]
    pub(crate) fn set_bytes(&mut self, spot: Spot, bytes: &[u8]) -> Result<()> {
        if self.gate == 0 {
            return Err(batch_open());
        }
        self.check_spot(spot, bytes.len())?;
        self.begin_commit()?;
        match self.set_and_show(spot, bytes) {
            Ok(mask) => {
                halt::leave(&self.own);
                if bell::ring(&self.bells.live.0, mask, self.fence, waiting::wake) {
                    count(&self.own.wakes);
                }
                if self.left.take(bytes.len()) {
                    self.edge_if_due();
                }
                Ok(())
            }
            Err(error) => {
                halt::leave(&self.own);
                Err(error)
            }
        }
    }

    /// The commit itself; who is to be rung.
    #[inline(always)]
    fn set_and_show(&mut self, spot: Spot, bytes: &[u8]) -> Result<bell::Mask> {
        let version = self.version + 1;
        let index = self.tables[spot.table as usize].changes as usize;
        let change = Change { first: spot.index, count: 1 };
        let Some(claim) = self.lanes[index].ring.claim_easy(size_of::<Change>() as u32) else {
            return self.set_and_show_special(spot, bytes, change);
        };
        self.write_item(spot, bytes)?;
        let lane = &mut self.lanes[index];
        lane.map.fill(claim.payload(), bytemuck::bytes_of(&change));
        lane.ring.show_easy_joint(lane.map.view(), claim, version);
        self.own.version.store(version, order::COMMIT.get());
        self.version = version;
        Ok(lane.mask.and(bell::Mask::of(bell::bit(u64::from(spot.index)))))
    }

    /// The same where the lane of changes enters a page.
    #[cold]
    fn set_and_show_special(&mut self, spot: Spot, bytes: &[u8], change: Change) -> Result<bell::Mask> {
        let version = self.version + 1;
        let index = self.tables[spot.table as usize].changes;
        let claim = self.claim(super::Key { index, writer: self.tag }, size_of::<Change>())?;
        self.write_item(spot, bytes)?;
        let lane = &mut self.lanes[index as usize];
        lane.map.fill(claim.payload(), bytemuck::bytes_of(&change));
        let view = lane.map.view();
        lane.ring.push(view, claim, version);
        lane.ring.show_batch(view, true);
        self.own.version.store(version, order::COMMIT.get());
        self.version = version;
        lane.ring.committed(view, version);
        Ok(lane.mask.and(bell::Mask::of(bell::bit(u64::from(spot.index)))))
    }

    #[inline(always)]
    fn check_spot(&self, spot: Spot, len: usize) -> Result<()> {
        if !self.epoch.is_current() {
            return Err(Error::Forked);
        }
        match self.tables.get(spot.table as usize) {
            Some(open) if open.tag == spot.tag && open.guard.is_some() => {}
            _ => return Err(foreign()),
        }
        let fits = if spot.variable { len <= spot.max_len as usize } else { len == spot.max_len as usize };
        if fits { Ok(()) } else { Err(wrong_length(spot, len)) }
    }

    /// Whether so many bytes are whole elements of an item's type; an item that there is not is for others to refuse.
    pub(crate) fn check_elements(&self, spot: Spot, len: usize) -> Result<()> {
        let table = self.tables.get(spot.table as usize).filter(|table| table.tag == spot.tag);
        let Some((group, _)) = table.and_then(|table| table.schema.item(spot.index)) else { return Ok(()) };
        let element = group.ty.size as usize;
        if !group.is_variable() || element <= 1 || len.is_multiple_of(element) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "item {}: expected whole elements of {element} bytes, found {len} bytes",
            spot.index
        )))
    }

    /// Writes the next version of an item.
    #[inline(always)]
    fn write_item(&mut self, spot: Spot, bytes: &[u8]) -> Result<()> {
        let next = self.version + 1;
        let zone = &self.zone;
        let map = &self.tables[spot.table as usize].map;
        let races = &mut self.races;
        let help = || sequencer::finish_begun(zone.view(), clock::now, races);
        with_versions!(map, V => {
            // SAFETY: the item is of this table (`check_spot`), so its place comes from the table's declaration, as the map does.
            let item = unsafe { map.item_declared::<V>(spot.place) };
            let chosen = self.keeper.choose(&self.header, || zone.view(), item, self.version, help);
            let slot = chosen.map_err(|item::Overtaken| Error::Overtaken)?;
            item::write(item, slot, next, |words| fill(spot, words, bytes));
        });
        Ok(())
    }

    /// Sets an item in the open batch.
    pub(crate) fn set_in_batch(&mut self, spot: Spot, bytes: &[u8]) -> Result<()> {
        self.check_spot(spot, bytes.len())?;
        let next = self.version + 1;
        let is_new = {
            let map = &self.tables[spot.table as usize].map;
            with_versions!(map, V => {
                let item = map.item::<V>(spot.place).ok_or_else(foreign)?;
                !item.has(next)
            })
        };
        self.write_item(spot, bytes)?;
        self.begin_batch();
        self.left.note(bytes.len());
        let table = &mut self.tables[spot.table as usize];
        if is_new {
            if table.changed.is_empty() {
                self.touched_tables.push(spot.table);
            }
            table.changed.push(spot.index);
        }
        Ok(())
    }

    /// Adds what the open batch has set to its messages; who is to be rung for that.
    pub(super) fn push_changes(&mut self) -> Result<u32> {
        let mut bits = 0;
        for n in 0..self.touched_tables.len() {
            let table = &mut self.tables[self.touched_tables[n] as usize];
            table.changed.sort_unstable();
            table.changed.iter().for_each(|&index| bits |= bell::bit(u64::from(index)));
            let mut runs: Vec<Change> = Vec::new();
            for &index in &table.changed {
                match runs.last_mut() {
                    Some(run) if run.first + run.count == index => run.count += 1,
                    _ => runs.push(Change { first: index, count: 1 }),
                }
            }
            if runs.len() > MOST_RUNS {
                // Which, whoever wants to know finds out by comparison.
                runs = vec![Change { first: 0, count: u32::MAX }];
                bits = u32::MAX;
            }
            let key = super::Key { index: table.changes, writer: self.tag };
            let bytes: &[u8] = bytemuck::cast_slice(&runs);
            let claim = self.claim_in_batch(key, bytes.len())?;
            self.payload_mut(key, claim).copy_from_slice(bytes);
            self.push(key, claim);
        }
        Ok(bits)
    }

    /// The open batch is committed.
    pub(super) fn forget_changes(&mut self) {
        for table in self.touched_tables.drain(..) {
            self.tables[table as usize].changed.clear();
        }
    }

    /// The open batch is rolled back.
    pub(super) fn take_changes_back(&mut self) {
        let next = self.version + 1;
        for table in self.touched_tables.drain(..) {
            let table = &mut self.tables[table as usize];
            for index in table.changed.drain(..) {
                let Some((_, place)) = table.schema.item(index) else { continue };
                with_versions!(table.map, V => {
                    if let Some(item) = table.map.item::<V>(place) {
                        item::take_back(item, next);
                    }
                });
            }
        }
    }

    /// The value of an item as this writer has it: with what its open batch has set.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an item of another writer; [`Error::BadValue`] for bits that are none of `T`'s values; [`Error::Forked`].
    pub fn get<T: Described + CheckedBitPattern>(&self, item: Item<T>) -> Result<T> {
        let bytes = self.get_bytes(item)?;
        bytemuck::checked::try_pod_read_unaligned(&bytes).map_err(|_| Error::BadValue {
            expected: T::NAME,
            size: size_of::<T>(),
            len: bytes.len(),
        })
    }

    /// The value of an item as this writer has it, as bytes.
    ///
    /// # Errors
    /// As [`Writer::get`].
    pub fn get_bytes<P: Payload + ?Sized>(&self, item: Item<P>) -> Result<Vec<u8>> {
        let spot = item.spot();
        let mut bytes = Vec::new();
        self.read_item(spot, |words| copy(spot, words, &mut bytes))?;
        Ok(bytes)
    }

    /// Hands the words of an item's value to `copy`, as this writer has it.
    pub(crate) fn read_item(&self, spot: Spot, copy: impl FnOnce(&[AtomicU64])) -> Result<()> {
        if !self.epoch.is_current() {
            return Err(Error::Forked);
        }
        let open = self.tables.get(spot.table as usize).filter(|open| open.tag == spot.tag && open.guard.is_some());
        let open = open.ok_or_else(foreign)?;
        let read = with_versions!(open.map, V => {
            let item = open.map.item::<V>(spot.place).ok_or_else(foreign)?;
            item::read_last(item, self.version + 1, copy)
        });
        read.map(drop).ok_or(Error::Overtaken)
    }
}

#[cold]
fn wrong_length(spot: Spot, len: usize) -> Error {
    let limit = u64::from(spot.max_len);
    if len as u64 > limit {
        return Error::TooLarge { len: len as u64, limit };
    }
    Error::Invalid(format!("item {}: expected a value of {limit} bytes, found {len}", spot.index))
}
