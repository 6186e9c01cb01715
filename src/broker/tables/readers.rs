//! Readers of tables: shown what there is, told of what comes; and who only lists.

use super::{State, TableReader, TableWait};
use crate::broker::quota::{check_room, refused, unknown};
use crate::broker::registry::{Owner, Registry, invalid, lost};
use crate::broker::segments::Fd;
use crate::broker::session::Post;
use crate::error::{Code, Result};
use crate::wire::{TableInfo, Tell, check_name};

impl Registry {
    /// Gives a table to a reader.
    pub(in crate::broker) fn read_table(
        &mut self,
        owner: Owner,
        id: u32,
        (zone_name, name, wait): (String, String, bool),
        post: &mut dyn Post,
    ) -> Result<()> {
        check_name("zone", &zone_name).map_err(invalid)?;
        check_name("table", &name).map_err(invalid)?;
        let client = owner.client;
        let found = self.zone_names.get(&zone_name).map(|&zone| (zone, name.clone()));
        let has_some = |key: &(u64, String)| {
            self.tables.get(key).is_some_and(|table| table.incarnations.iter().any(|one| one.shared().is_some()))
        };
        let Some(key) = found.filter(has_some) else {
            if !wait {
                let text = format!(
                    "table `{name}` of zone `{zone_name}`: expected it to exist, found none; start its writer first, or wait for it"
                );
                return Err(refused(Code::Unknown, text));
            }
            let pending = self.table_waits.iter().filter(|wait| wait.owner.client == client).count();
            check_room("pending waits of this connection", pending, 1, self.limits.waits)?;
            self.table_waits.push(TableWait { owner, id, zone: zone_name, table: name });
            return Ok(());
        };
        self.prune(&key);
        let number = self.next_number();
        let readers = self.tables.values().filter(|table| table.zone == key.0).map(|table| table.readers.len()).sum();
        check_room("readers of tables of the zone", readers, 1, self.limits.readers)?;
        let zone = self.zones.get(&key.0).ok_or_else(lost)?;
        let table = self.tables.get_mut(&key).ok_or_else(lost)?;
        table.readers.insert(number, TableReader { owner, connected: true });
        let told = Tell::TableShown { reader: number, zone: key.0, geometry: zone.geometry };
        post.post(client, id, told, vec![zone.segments.read_only(), Fd::ReadOnly(table.declaration.clone())]);
        for incarnation in &table.incarnations {
            if let Some((fd, end)) = incarnation.shared() {
                post.answer(client, id, incarnation.told(number, end), vec![Fd::ReadOnly(fd)]);
            }
        }
        post.answer(client, id, Tell::TableReady { reader: number }, Vec::new());
        self.owned_by(client).table_readers.insert(number, key);
        Ok(())
    }

    /// A connection does not wait any more.
    pub(in crate::broker) fn cancel_table_wait(&mut self, client: u64, id: u32) {
        self.table_waits.retain(|wait| wait.owner.client != client || wait.id != id);
    }

    /// A connection waits for no table any more.
    pub(in crate::broker) fn forget_table_waits(&mut self, client: u64) {
        self.table_waits.retain(|wait| wait.owner.client != client);
    }

    /// A table's reader leaves by its own word.
    pub(in crate::broker) fn close_table_reader(&mut self, owner: Owner, number: u64) -> Result<()> {
        let owned = self.owned.get(&owner.client).and_then(|owned| owned.table_readers.get(&number).cloned());
        let key = owned.ok_or_else(|| unknown("table's reader", number))?;
        self.disown(owner.client, number);
        self.drop_table_reader(&key, number);
        Ok(())
    }

    /// A table's reader is gone.
    pub(in crate::broker) fn drop_table_reader(&mut self, key: &(u64, String), number: u64) {
        if let Some(table) = self.tables.get_mut(key) {
            table.readers.remove(&number);
        }
        self.settle_table(key);
        self.settle_zone(key.0);
    }

    /// A table's reader can be told nothing any more.
    pub(in crate::broker) fn disconnect_table_reader(&mut self, key: &(u64, String), number: u64) {
        if let Some(reader) = self.tables.get_mut(key).and_then(|table| table.readers.get_mut(&number)) {
            reader.connected = false;
        }
    }

    /// Tells which tables there are.
    pub(in crate::broker) fn list_tables(&self, owner: Owner, id: u32, zone: &str, post: &mut dyn Post) {
        for table in self.tables.values() {
            let Some(of) = self.zones.get(&table.zone).filter(|of| zone.is_empty() || of.name == zone) else {
                continue;
            };
            let writer = table.incarnations.iter().find(|one| matches!(one.state, State::Open(_)));
            let info = TableInfo {
                zone: of.name.clone(),
                name: table.name.clone(),
                items: table.schema.items(),
                bytes: table.schema.segment_size(),
                writer: writer.map(|one| one.writer_name.clone()).unwrap_or_default(),
                pid: writer.map_or(0, |one| one.owner.pid),
                fence: table.fence,
                readers: table.readers.len() as u32,
            };
            post.answer(owner.client, id, Tell::TableListed { table: Some(info), last: false }, Vec::new());
        }
        post.answer(owner.client, id, Tell::TableListed { table: None, last: true }, Vec::new());
    }
}
