//! Tables: declared, made for one writer after the other, given to readers.
//!
//! Each writer of a table gets a segment of its own, an *incarnation*. Its memory is made in slices, as a lane's is; it is sealed after its writer
//! has mapped it and before any reader has it. The last incarnation that was committed stays for the next owner, which goes on from it, and those
//! before as long as readers may ask for their eras. A table goes with its zone.

mod readers;

use super::lanes::SLICE;
use super::locks::LockKey;
use super::quota::{check_room, refused, system, unknown};
use super::registry::{Owner, Registry, invalid, lost};
use super::segments::{Fd, create_table, declaration, table_first};
use super::session::Post;
use crate::error::{Code, Result};
use crate::layout::table::versions;
use crate::os::memfd::Segment;
use crate::wire::{LockKind, Schema, TableItem, Tell, check_name};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The most incarnations of a table that are kept though they have ended.
const MOST_ENDED: usize = 3;
/// The longest declaration in bytes: that of a million named items.
pub(crate) const MAX_DECLARATION: u64 = 64 << 20;

/// A table of a zone.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) zone: u64,
    pub(super) name: String,
    pub(super) schema: Schema,
    declaration: Arc<OwnedFd>,
    /// Bytes of the declaration, here and in its segment.
    declared: u64,
    /// In their order: those that have ended with something in it and may be asked for, or gone on from; and the one that has a writer, if one has.
    pub(super) incarnations: Vec<Incarnation>,
    pub(super) readers: BTreeMap<u64, TableReader>,
    /// The number of the last ownership.
    fence: u64,
}

/// A reader of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableReader {
    pub(super) owner: Owner,
    /// It can be told of new incarnations.
    pub(super) connected: bool,
}

/// What one owner of a table writes.
#[derive(Debug)]
pub(super) struct Incarnation {
    number: u64,
    writer: u64,
    writer_name: String,
    owner: Owner,
    row: u32,
    inherited: u64,
    /// The number of its writer's ownership.
    fence: u64,
    state: State,
}

/// From making to end.
#[derive(Debug)]
enum State {
    /// Its memory is being made; `request` is who waits for that.
    Filling { segment: Segment, done: u64, request: u32 },
    /// On its way from the one to the other.
    Dropped,
    /// Its writer has not mapped it yet.
    Made(Arc<Segment>),
    /// In use.
    Open(Arc<OwnedFd>),
    /// It has got its last commit; from `first` on it is to be read.
    Ended { fd: Arc<OwnedFd>, first: u64, end: u64 },
}

/// Somebody waits for a table to read.
#[derive(Debug)]
pub(super) struct TableWait {
    owner: Owner,
    id: u32,
    zone: String,
    table: String,
}

impl Incarnation {
    fn has_writer(&self) -> bool {
        !matches!(self.state, State::Ended { .. })
    }

    /// What readers are given, if they are to have it.
    fn shared(&self) -> Option<(Arc<OwnedFd>, Option<u64>)> {
        match &self.state {
            State::Open(fd) => Some((fd.clone(), None)),
            State::Ended { fd, end, .. } => Some((fd.clone(), Some(*end))),
            State::Filling { .. } | State::Dropped | State::Made(_) => None,
        }
    }

    fn told(&self, reader: u64, end: Option<u64>) -> Tell {
        Tell::TableAdded {
            reader,
            incarnation: self.number,
            row: self.row,
            inherited: self.inherited,
            writer_name: self.writer_name.clone(),
            writer_pid: self.owner.pid,
            end,
        }
    }
}

impl Registry {
    /// More items of the table that a writer is going to open.
    pub(super) fn table_items(&mut self, owner: Owner, serial: u64, items: Vec<TableItem>) -> Result<()> {
        let writer = self.own_writer(owner, serial)?;
        let zone = self.zones.get(&writer.zone).ok_or_else(lost)?;
        let versions = versions(zone.geometry.pace);
        let writer = self.writers.get_mut(&serial).ok_or_else(lost)?;
        let mut draft = writer.draft.take().unwrap_or_else(|| Schema::new(versions));
        let before = draft.memory();
        let declared = items.into_iter().try_for_each(|item| draft.push(item).map_err(invalid));
        let declared = declared.and_then(|()| match draft.encoded_len() {
            ..=MAX_DECLARATION => self.ledger.reserve(draft.memory() - before),
            found => Err(refused(
                Code::TooLarge,
                format!("declaration of a table: expected at most {MAX_DECLARATION} bytes, found {found}; declare fewer names"),
            )),
        });
        match declared {
            Ok(()) => writer.draft = Some(draft),
            Err(_) => self.ledger.release(before),
        }
        declared
    }

    /// Opens a table for its next writer.
    pub(super) fn open_table(
        &mut self,
        owner: Owner,
        id: u32,
        (serial, name, fence): (u64, String, u64),
        post: &mut dyn Post,
    ) -> Result<()> {
        check_name("table", &name).map_err(invalid)?;
        self.own_writer(owner, serial)?;
        let number = self.next_number();
        let writer = self.writers.get_mut(&serial).ok_or_else(lost)?;
        let draft = writer.draft.take();
        // From here on what is kept of it is the table's.
        self.ledger.release(draft.as_ref().map_or(0, Schema::memory));
        let (zone_number, row, writer_name) = (writer.zone, writer.row, writer.name.clone());
        self.check_ownership(owner, zone_number, &name, fence)?;
        let zone = self.zones.get(&zone_number).ok_or_else(lost)?;
        if zone.geometry.pace == crate::Pace::Revocable {
            return Err(invalid(format!(
                "table `{name}`: expected a zone whose eras can not be rolled back, found `{}`; use another zone",
                zone.name
            )));
        }
        let key = (zone_number, name.clone());
        let found = self.tables.get(&key);
        let schema = match (found, draft) {
            (None, None) => {
                let text = format!(
                    "table `{name}`: expected its items declared, since it is not there, found none; declare them"
                );
                return Err(refused(Code::Unknown, text));
            }
            (None, Some(draft)) => draft,
            (Some(table), None) => table.schema.clone(),
            (Some(table), Some(draft)) => match table.schema.difference(&draft) {
                None => draft,
                Some(difference) => {
                    let text = format!(
                        "table `{name}` of zone `{}`: {difference}; declare what it has, or nothing to take that, or use another table",
                        zone.name
                    );
                    return Err(refused(Code::Mismatch, text));
                }
            },
        };
        let of_zone = self.tables.keys().filter(|(zone, _)| *zone == zone_number).count();
        check_room("tables of the zone", of_zone, usize::from(found.is_none()), self.limits.tables)?;
        if found.is_some_and(|table| table.incarnations.iter().any(Incarnation::has_writer)) {
            return Err(invalid(format!("table `{name}`: expected no writer, found one; close that first")));
        }
        let size = schema.segment_size();
        if size > self.limits.table_bytes {
            let most = self.limits.table_bytes;
            return Err(refused(
                Code::TooLarge,
                format!(
                    "table `{name}`: expected at most {most} bytes, found {size}; declare less, or raise the broker's limit"
                ),
            ));
        }
        let declared = if found.is_none() { schema.encoded_len() + schema.memory() } else { 0 };
        self.ledger.reserve(size + declared)?;
        let zone_name = &zone.name;
        let inherited = zone.segments.inherited(row);
        let uid = owner.uid;
        let segment_name = format!("syncline:table:row{row}:uid{uid}:serial{number}:{zone_name}:{name}");
        let made = create_table(segment_name, number, &schema).and_then(|segment| {
            let declaration = match self.tables.get(&key) {
                Some(table) => table.declaration.clone(),
                None => declaration(format!("syncline:declaration:serial{number}:{zone_name}:{name}"), &schema)?,
            };
            Ok((segment, declaration))
        });
        let (segment, declaration) = match made {
            Ok(made) => made,
            Err(error) => {
                self.ledger.release(size + declared);
                return Err(system(format!("making table `{name}`"), error));
            }
        };
        let table = self.tables.entry(key.clone()).or_insert_with(|| Table {
            zone: zone_number,
            name,
            schema,
            declaration,
            declared,
            incarnations: Vec::new(),
            readers: BTreeMap::new(),
            fence,
        });
        table.fence = fence;
        let state = State::Filling { segment, done: 0, request: id };
        table.incarnations.push(Incarnation {
            number,
            writer: serial,
            writer_name,
            owner,
            row,
            inherited,
            fence,
            state,
        });
        self.incarnations.insert(number, key);
        self.fill_table(number, post);
        Ok(())
    }

    /// Whether the connection has the write ownership of this number.
    fn check_ownership(&self, owner: Owner, zone: u64, table: &str, fence: u64) -> Result<()> {
        let zone = &self.zones.get(&zone).ok_or_else(lost)?.name;
        let is_it = |key: &LockKey| key.kind == LockKind::Table && key.zone == *zone && key.name == table;
        if self.holds_lock(owner.client, fence).is_some_and(is_it) {
            return Ok(());
        }
        Err(invalid(format!(
            "table `{table}` of zone `{zone}`: expected its ownership, found {fence}, which is none; acquire it first"
        )))
    }

    fn table_of(&mut self, incarnation: u64) -> Option<&mut Table> {
        self.tables.get_mut(self.incarnations.get(&incarnation)?)
    }

    /// Makes the next slice of a table's memory; after the last, its writer gets it.
    pub(super) fn fill_table(&mut self, number: u64, post: &mut dyn Post) {
        // Its writer may be gone by now.
        let Some(table) = self.table_of(number) else { return };
        let declaration = table.declaration.clone();
        let name = table.name.clone();
        let before = table.incarnations.iter().rev().find_map(|incarnation| match &incarnation.state {
            State::Ended { fd, end, .. } => Some((fd.clone(), *end)),
            _ => None,
        });
        let Some(incarnation) = table.incarnations.iter_mut().find(|other| other.number == number) else { return };
        let client = incarnation.owner.client;
        let State::Filling { segment, done, request } = &mut incarnation.state else { return };
        let id = *request;
        let next = segment.size().min(*done + SLICE);
        if let Err(error) = segment.populate(*done, next) {
            let error = system(format!("making {} bytes of memory for table `{name}`", segment.size()), error);
            self.drop_incarnation(number);
            post.refuse(client, id, &error);
            return;
        }
        *done = next;
        if next < segment.size() {
            self.filling.push_back(number);
            return;
        }
        let State::Filling { segment, .. } = std::mem::replace(&mut incarnation.state, State::Dropped) else { return };
        let segment = Arc::new(segment);
        incarnation.state = State::Made(segment.clone());
        let mut fds = vec![Fd::Writable(segment), Fd::ReadOnly(declaration)];
        let end = before.as_ref().map(|(_, end)| *end);
        fds.extend(before.map(|(fd, _)| Fd::ReadOnly(fd)));
        post.post(client, id, Tell::TableMade { incarnation: number, before: end }, fds);
    }

    /// The writer has mapped its table: it is sealed and given to the readers that are there, and to those who wait for it.
    pub(super) fn table_mapped(&mut self, owner: Owner, id: u32, number: u64, post: &mut dyn Post) -> Result<()> {
        let table = self.table_of(number).ok_or_else(|| unknown("table's incarnation", number))?;
        let (zone, name) = (table.zone, table.name.clone());
        let incarnation = table
            .incarnations
            .iter_mut()
            .find(|other| other.number == number && other.owner.client == owner.client)
            .ok_or_else(|| unknown("table's incarnation", number))?;
        let State::Made(segment) = &incarnation.state else {
            return Err(invalid(format!("table `{name}`: expected it made and not mapped yet, found it otherwise")));
        };
        let shared = segment
            .read_only()
            .and_then(|fd| segment.seal_lane().map(|()| Arc::new(fd)))
            .map_err(|error| system(format!("sealing table `{name}`"), error));
        let fd = match shared {
            Ok(fd) => fd,
            Err(error) => {
                self.drop_incarnation(number);
                return Err(error);
            }
        };
        incarnation.state = State::Open(fd.clone());
        let incarnation = &*incarnation;
        for (&reader, TableReader { owner, .. }) in table.readers.iter().filter(|(_, reader)| reader.connected) {
            post.post(owner.client, 0, incarnation.told(reader, None), vec![Fd::ReadOnly(fd.clone())]);
        }
        let zone_name = match self.zones.get(&zone) {
            Some(zone) => {
                zone.segments.announce();
                tracing::info!(zone = zone.name, table = name, pid = owner.pid, "table has a writer");
                zone.name.clone()
            }
            None => return Err(lost()),
        };
        post.post(owner.client, id, Tell::TableOpen { incarnation: number }, Vec::new());
        let (met, waits) = std::mem::take(&mut self.table_waits)
            .into_iter()
            .partition::<Vec<_>, _>(|wait| wait.zone == zone_name && wait.table == name);
        self.table_waits = waits;
        for TableWait { owner, id, zone, table } in met {
            if let Err(error) = self.read_table(owner, id, (zone, table, false), post) {
                post.refuse(owner.client, id, &error);
            }
        }
        Ok(())
    }

    /// The write ownership of this number is given back: what its owner has written has its end, also if its writer goes on without it.
    pub(super) fn end_ownership(&mut self, fence: u64, post: &mut dyn Post) {
        let owned = |table: &Table| {
            let its = |one: &&Incarnation| one.fence == fence && one.has_writer();
            table.incarnations.iter().find(its).map(|one| (one.number, table.zone))
        };
        if let Some((number, zone)) = self.tables.values().find_map(owned) {
            self.end_incarnation(number, false, post);
            if let Some(zone) = self.zones.get(&zone) {
                zone.segments.announce();
            }
        }
    }

    /// A writer is gone: its tables get their last commit. After the last commit of its row was finished or buried, before the row is free.
    pub(super) fn end_tables(&mut self, serial: u64, died: bool, post: &mut dyn Post) {
        let of_writer = |table: &Table| -> Vec<u64> {
            let its = |incarnation: &&Incarnation| incarnation.writer == serial && incarnation.has_writer();
            table.incarnations.iter().filter(its).map(|incarnation| incarnation.number).collect()
        };
        let numbers: Vec<u64> = self.tables.values().flat_map(of_writer).collect();
        numbers.into_iter().for_each(|number| self.end_incarnation(number, died, post));
    }

    fn end_incarnation(&mut self, number: u64, died: bool, post: &mut dyn Post) {
        let Some(key) = self.incarnations.get(&number).cloned() else { return };
        let (Some(table), Some(zone)) = (self.tables.get_mut(&key), self.zones.get(&key.0)) else { return };
        let Some(index) = table.incarnations.iter().position(|other| other.number == number) else { return };
        let incarnation = &mut table.incarnations[index];
        let mut end = 0;
        if let State::Open(fd) = &incarnation.state {
            let version = zone.segments.version(incarnation.row);
            let first = table_first(fd.as_fd(), &table.schema).unwrap_or(0);
            // Its first commit may not have come to be.
            if first != 0 && first <= version {
                end = version;
            }
            let fd = fd.clone();
            incarnation.state = State::Ended { fd, first, end };
        }
        tracing::info!(zone = zone.name, table = table.name, died, "table has lost its writer");
        for (&reader, TableReader { owner, .. }) in table.readers.iter().filter(|(_, reader)| reader.connected) {
            post.post(owner.client, 0, Tell::TableEnded { reader, incarnation: number, end, died }, Vec::new());
        }
        if end == 0 {
            table.incarnations.retain(|other| other.number != number);
            self.incarnations.remove(&number);
            self.ledger.release(table.schema.segment_size());
        }
        self.prune(&key);
        self.settle_table(&key);
    }

    /// Lets incarnations go that have ended and that nobody can ask for any more: there is a later one that was there in PREV already. If owners
    /// change faster than edges pass, the oldest goes all the same.
    fn prune(&mut self, key: &(u64, String)) {
        let (Some(table), Some(zone)) = (self.tables.get_mut(key), self.zones.get(&key.0)) else { return };
        let was_there = |one: &Incarnation| {
            let (first, end) = match &one.state {
                State::Open(fd) => (table_first(fd.as_fd(), &table.schema).unwrap_or(0), u64::MAX),
                State::Ended { first, end, .. } => (*first, *end),
                _ => return false,
            };
            first != 0 && zone.segments.previous_cut(one.row).is_some_and(|cut| first <= cut.min(end))
        };
        let needed = table.incarnations.iter().rposition(was_there).unwrap_or(0);
        let ended = table.incarnations.iter().filter(|one| !one.has_writer()).count();
        let gone = needed.max(ended.saturating_sub(MOST_ENDED));
        for one in table.incarnations.drain(..gone) {
            self.incarnations.remove(&one.number);
            self.ledger.release(table.schema.segment_size());
        }
    }

    /// An incarnation is not to be: its memory could not be made, or shared.
    fn drop_incarnation(&mut self, number: u64) {
        let Some(key) = self.incarnations.remove(&number) else { return };
        let Some(table) = self.tables.get_mut(&key) else { return };
        table.incarnations.retain(|other| other.number != number);
        self.ledger.release(table.schema.segment_size());
        self.settle_table(&key);
    }

    /// Lets a table go that never had anything in it, and has no reader.
    fn settle_table(&mut self, key: &(u64, String)) {
        let is_left = |table: &Table| table.incarnations.is_empty() && table.readers.is_empty();
        if self.tables.get(key).is_some_and(is_left)
            && let Some(table) = self.tables.remove(key)
        {
            self.ledger.release(table.declared);
        }
    }

    /// A zone is gone, and its tables with it.
    pub(super) fn drop_tables(&mut self, zone: u64) {
        let keys: Vec<_> = self.tables.keys().filter(|(of, _)| *of == zone).cloned().collect();
        for table in keys.iter().filter_map(|key| self.tables.remove(key)) {
            for incarnation in &table.incarnations {
                self.incarnations.remove(&incarnation.number);
                self.ledger.release(table.schema.segment_size());
            }
            self.ledger.release(table.declared);
        }
    }

    /// Whether a zone has readers of tables.
    pub(super) fn has_table_readers(&self, zone: u64) -> bool {
        self.tables.values().any(|table| table.zone == zone && !table.readers.is_empty())
    }

    /// Descriptors that are held for tables.
    pub(super) fn table_fds(&self) -> usize {
        self.tables.values().map(|table| 1 + table.incarnations.len()).sum()
    }
}
