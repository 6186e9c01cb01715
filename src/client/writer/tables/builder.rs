//! What a table is to have.

use super::Table;
use crate::client::payload::{Described, Payload};
use crate::client::writer::Writer;
use crate::error::Result;
use crate::wire::{TableItem, TypeDesc};
use std::time::Duration;

/// Describes a table to write; from [`Writer::table`].
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct TableBuilder<'w> {
    writer: &'w mut Writer,
    name: &'w str,
    items: Vec<TableItem>,
    wait: Duration,
}

impl<'w> TableBuilder<'w> {
    pub(super) fn new(writer: &'w mut Writer, name: &'w str) -> Self {
        TableBuilder { writer, name, items: Vec::new(), wait: Duration::ZERO }
    }

    /// An item of type `T`.
    pub fn item<T: Described>(self, name: &str) -> Self {
        self.items::<T>(name, 1)
    }

    /// `count` items of type `T`, under one name, which may be empty: they have indices in any case.
    pub fn items<T: Described>(self, name: &str, count: u32) -> Self {
        self.described(name, count, 0, <T as Payload>::type_desc())
    }

    /// An item of up to `max_len` bytes.
    pub fn bytes(self, name: &str, max_len: u32) -> Self {
        self.described(name, 1, max_len, TypeDesc::bytes())
    }

    /// `count` items of any number of `T` each, up to `most` of them.
    pub fn slices<T: Described>(self, name: &str, count: u32, most: u32) -> Self
    where
        [T]: Payload,
    {
        let max_len = most.saturating_mul(size_of::<T>() as u32);
        self.described(name, count, max_len, <[T] as Payload>::type_desc())
    }

    /// `count` items of a type that is known at run time only; `max_len`: of the longest value, in bytes, if the type leaves that open, else 0.
    pub fn described(mut self, name: &str, count: u32, max_len: u32, ty: TypeDesc) -> Self {
        self.items.push(TableItem { name: name.to_owned(), count, max_len, ty: Some(ty) });
        self
    }

    /// How long to wait while others own the table; not at all by default. Whoever waits gets it in turn.
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.wait = timeout;
        self
    }

    /// Becomes the owner of the table, which is made if it is not there, and goes on from its last committed values. Without any items declared:
    /// with those that it has. In a synced view it is this owner's from the next edge on.
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout): others own it. The table is declared otherwise; a declaration that can not be; a zone whose eras can be rolled back;
    /// a batch is open; quotas; no broker.
    pub fn open(self) -> Result<Table> {
        let TableBuilder { writer, name, items, wait } = self;
        writer.open_table(name, items, wait)
    }
}
