//! What is to be watched, and how.

use super::TableWatch;
use crate::client::table::Finder;
use crate::client::waiting::Wait;
use crate::client::zone::Zone;
use crate::error::{Error, Result};
use crate::wire::Schema;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Describes a watch; from [`TableReader::watch`](crate::TableReader::watch). Without any items: all of them.
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct TableWatchBuilder {
    pub(super) zone: Zone,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) schema: Arc<Schema>,
    pub(super) wanted: Vec<Range<u32>>,
    pub(super) every: Duration,
    pub(super) synced: bool,
    pub(super) wait: Wait,
    pub(super) failed: Option<Error>,
}

impl TableWatchBuilder {
    pub(crate) fn new(zone: Zone, table: &str, name: &str, schema: Arc<Schema>) -> Self {
        TableWatchBuilder {
            zone,
            table: table.to_owned(),
            name: name.to_owned(),
            schema,
            wanted: Vec::new(),
            every: Duration::ZERO,
            synced: false,
            wait: Wait::default(),
            failed: None,
        }
    }

    /// Watches the item of this index.
    pub fn index(self, index: u32) -> Self {
        self.range(index..index.saturating_add(1))
    }

    /// Watches the items of these indices.
    pub fn range(mut self, indices: Range<u32>) -> Self {
        let items = self.schema.items();
        if indices.is_empty() || indices.end > items {
            let text = format!(
                "watch of table `{}`: expected indices from 0 to {}, found {indices:?}; ask for items it has",
                self.table,
                items - 1
            );
            self.failed.get_or_insert(Error::Invalid(text));
        }
        self.wanted.push(indices);
        self
    }

    /// Watches the items of this name.
    pub fn item(mut self, name: &str) -> Self {
        let finder = Finder { schema: &self.schema, name: &self.table, tag: 0, table: 0 };
        match finder.named(name, 0) {
            Ok((spot, group)) => {
                let range = spot.index..spot.index + group.run.count;
                self.wanted.push(range);
            }
            Err(error) => drop(self.failed.get_or_insert(error)),
        }
        self
    }

    /// At most one notification in so long. Changes between are told together when the time has come: the last one is never lost.
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Told at edges, of what the era has changed. Without this: at commits.
    pub fn synced(mut self) -> Self {
        self.synced = true;
        self
    }

    /// How to wait; as for a reader.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Begins. What is changed after this returns is told.
    ///
    /// # Errors
    /// An item that the table does not have; as for opening a reader.
    pub fn open(self) -> Result<TableWatch> {
        TableWatch::open(self)
    }
}
