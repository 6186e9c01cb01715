//! Messages of several lanes that one commit makes visible.

use super::loan::Loan;
use super::payload::{Described, Payload, bytes_of};
use super::table::Item;
use super::writer::{Lane, Table, Writer};
use crate::error::{Error, Result};
use bytemuck::{CheckedBitPattern, NoUninit};

/// A batch of one writer, over any of its lanes. [`Batch::commit`] makes all of it visible at once, to live readers too, and puts
/// it into one era. Dropping it rolls it back: nobody ever saw anything of it.
#[must_use = "dropping a batch rolls it back"]
pub struct Batch<'w> {
    writer: &'w mut Writer,
}

impl<'w> Batch<'w> {
    pub(crate) fn new(writer: &'w mut Writer) -> Self {
        Batch { writer }
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.writer
    }

    /// Adds a message.
    ///
    /// # Errors
    /// As [`Writer::publish`]; the batch stays as it was. [`Error::TooLarge`](crate::Error::TooLarge) also if a lane can never
    /// take the batch at once.
    pub fn push<P: Payload + ?Sized>(&mut self, lane: Lane<P>, message: &P) -> Result<()>
    where
        P::Item: NoUninit,
    {
        let bytes = bytes_of(message);
        let claim = self.writer.claim_in_batch(lane.key(), bytes.len())?;
        self.writer.payload_mut(lane.key(), claim).copy_from_slice(bytes);
        self.writer.push(lane.key(), claim);
        Ok(())
    }

    /// A place to write one message in; [`Loan::publish`] adds it to this batch.
    ///
    /// # Errors
    /// As [`Batch::push`].
    pub fn loan<T: Payload>(&mut self, lane: Lane<T>) -> Result<Loan<'_, T>>
    where
        T::Item: NoUninit,
    {
        Loan::of_batch(self.writer, lane.key(), size_of::<T::Item>())
    }

    /// A place to write one message of up to `count` elements in; [`Loan::publish`] adds it to this batch.
    ///
    /// # Errors
    /// As [`Batch::push`].
    pub fn loan_slice<T>(&mut self, lane: Lane<[T]>, count: usize) -> Result<Loan<'_, [T]>>
    where
        [T]: Payload<Item = T>,
        T: NoUninit,
    {
        let len = count.saturating_mul(size_of::<T>());
        Loan::of_batch(self.writer, lane.key(), len)
    }

    /// Sets an item of a table.
    ///
    /// # Errors
    /// As [`Writer::set`]; the batch stays as it was.
    pub fn set<P: Payload + ?Sized>(&mut self, item: Item<P>, value: &P) -> Result<()>
    where
        P::Item: NoUninit,
    {
        self.writer.set_in_batch(item.spot(), bytes_of(value))
    }

    /// Sets an item of any type to bytes.
    ///
    /// # Errors
    /// As [`Writer::set_raw`]; the batch stays as it was.
    pub fn set_raw(&mut self, item: Item<[u8]>, bytes: &[u8]) -> Result<()> {
        self.writer.check_elements(item.spot(), bytes.len())?;
        self.writer.set_in_batch(item.spot(), bytes)
    }

    /// The value of an item as the batch has it; see [`Writer::get`].
    ///
    /// # Errors
    /// As [`Writer::get`].
    pub fn get<T: Described + CheckedBitPattern>(&self, item: Item<T>) -> Result<T> {
        self.writer.get(item)
    }

    /// The value of an item as the batch has it, as bytes.
    ///
    /// # Errors
    /// As [`Writer::get`].
    pub fn get_bytes<P: Payload + ?Sized>(&self, item: Item<P>) -> Result<Vec<u8>> {
        self.writer.get_bytes(item)
    }

    /// Makes all of it visible at once.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Halted`], if the writer does not wait for the end of a halt; [`Error::RolledBack`]. The batch is rolled
    /// back then.
    pub fn commit(self) -> Result<()> {
        if !self.writer.is_current() {
            return Err(Error::Forked);
        }
        self.writer.commit_batch().map(drop)
    }

    /// Commits it and gives a table up in one step: should this process die in the middle of it, the next owner finds either all of the batch
    /// committed and the table given up, or nothing committed and that this owner [died](Writer::table_predecessor_died).
    ///
    /// # Errors
    /// As [`Batch::commit`]; [`Error::Invalid`] for a table of another writer; no broker. Nothing is committed then, and the table is kept.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// let bus = syncline::Bus::embedded()?;
    /// let zone = bus.zone("plant");
    /// let mut writer = zone.writer("early shift")?;
    /// let table = writer.table("state").item::<f64>("level").open()?;
    /// let level = writer.item::<f64>(table, "level")?;
    /// let mut batch = writer.batch()?;
    /// batch.set(level, &0.5)?;
    /// batch.commit_and_close(table)?;
    ///
    /// let mut writer = zone.writer("late shift")?;
    /// let table = writer.table("state").open()?;
    /// assert!(!writer.table_predecessor_died(table)?);
    /// assert_eq!(writer.get(writer.item::<f64>(table, "level")?)?, 0.5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit_and_close(self, table: Table) -> Result<()> {
        if !self.writer.is_current() {
            return Err(Error::Forked);
        }
        self.writer.promise_table(table)?;
        self.writer.commit_batch()?;
        self.writer.close_table(table)
    }

    /// Forgets it; so does dropping it.
    pub fn roll_back(self) {}
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.writer.roll_back();
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("writer", &self.writer).finish()
    }
}
