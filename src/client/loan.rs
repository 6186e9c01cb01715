//! A place in a lane, to write a message in without a copy.

use super::payload::Payload;
use super::writer::{Key, Writer};
use crate::error::{Error, Result};
use crate::ring::lane::Claim;
use bytemuck::{NoUninit, Pod};
use std::marker::PhantomData;

/// Room for one message in the writer's lane. What was written there is published by [`Loan::publish`], which in a
/// batch adds it. Dropping the loan leaves no trace.
///
/// The bytes hold whatever an earlier message left there.
#[must_use = "dropping a loan publishes nothing"]
pub struct Loan<'w, P: Payload + ?Sized> {
    writer: &'w mut Writer,
    key: Key,
    claim: Claim,
    batch: bool,
    payload: PhantomData<fn(&P)>,
}

impl<'w, P: Payload + ?Sized> Loan<'w, P>
where
    P::Item: NoUninit,
{
    pub(crate) fn single(writer: &'w mut Writer, key: Key, len: usize) -> Result<Self> {
        let claim = writer.claim_single(key, len)?;
        Ok(Loan { writer, key, claim, batch: false, payload: PhantomData })
    }

    pub(crate) fn of_batch(writer: &'w mut Writer, key: Key, len: usize) -> Result<Self> {
        let claim = writer.claim_in_batch(key, len)?;
        Ok(Loan { writer, key, claim, batch: true, payload: PhantomData })
    }

    /// The bytes of the message. (None in a forked child, which does not share the lane.)
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.writer.is_current() { self.writer.payload_mut(self.key, self.claim) } else { &mut [] }
    }

    /// The elements of the message, in place.
    pub fn items_mut(&mut self) -> &mut [P::Item]
    where
        P::Item: Pod,
    {
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// Shortens the message to its first `count` elements.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is more than the loan has.
    pub fn truncate(&mut self, count: usize) -> Result<()> {
        let has = self.claim.payload_len() as usize / size_of::<P::Item>().max(1);
        if count > has {
            return Err(Error::Invalid(format!("loan of {has} elements: can not publish {count}")));
        }
        self.claim = self.claim.shortened((count * size_of::<P::Item>()) as u32);
        Ok(())
    }

    /// Publishes the message: a commit of its own; in a batch, adds it.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Halted`], [`Error::RolledBack`], as [`Writer::publish`].
    pub fn publish(self) -> Result<()> {
        if !self.writer.is_current() {
            return Err(Error::Forked);
        }
        if self.batch {
            self.writer.push(self.key, self.claim);
            Ok(())
        } else {
            self.writer.commit_single(self.key, self.claim)
        }
    }
}

impl<T: Payload<Item = T> + NoUninit> Loan<'_, T> {
    /// Writes the whole message.
    pub fn write(&mut self, value: T) -> &mut Self {
        let (place, value) = (self.bytes_mut(), bytemuck::bytes_of(&value));
        // As long as each other, but for a forked child.
        place.copy_from_slice(&value[..place.len()]);
        self
    }
}

impl<P: Payload + ?Sized> std::fmt::Debug for Loan<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan")
            .field("len", &self.claim.payload_len())
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
