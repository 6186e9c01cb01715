//! A message as its reader holds it.

use super::edge::Edge;
use super::lanes::Taken;
use super::payload::Described;
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::wire::TypeDesc;
use bytemuck::CheckedBitPattern;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'m> {
    /// The channel's name.
    pub channel: &'m str,
    /// The writer's row in its zone.
    pub writer: u32,
    /// The writer's name.
    pub writer_name: &'m str,
    /// The writer's process id.
    pub pid: u32,
}

/// A message in its lane. The writer can not overwrite it before this is dropped.
///
/// `copy`, `copy_slice` and `to_vec` copy it out, whole, and are sound whatever the writer does. Borrowing it in place
/// ([`Message::bytes_in_place`]) saves the copy and is `unsafe`: see there.
pub struct Message<'r> {
    reader: &'r mut Reader,
    taken: Taken,
}

/// Payloads up to this size are copied without an allocation.
const SMALL: usize = 512;

impl<'r> Message<'r> {
    pub(crate) fn new(reader: &'r mut Reader, taken: Taken) -> Self {
        Message { reader, taken }
    }

    /// The channel and the writer.
    pub fn origin(&self) -> Origin<'_> {
        let info = self.reader.lane_info(&self.taken);
        Origin { channel: &info.channel_name, writer: info.row, writer_name: &info.writer_name, pid: info.writer_pid }
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        self.origin().channel
    }

    /// The type that the channel was declared with.
    pub fn type_desc(&self) -> &TypeDesc {
        &self.reader.lane_info(&self.taken).ty
    }

    /// Its number among the messages of this writer in this channel, from 0, without gaps.
    pub fn sequence(&self) -> u64 {
        self.taken.sequence
    }

    /// The commit that published it.
    pub(crate) fn version(&self) -> u64 {
        self.taken.frame.version
    }

    /// The era that it is in. For a live reader: `None` until that era is sealed, and again when the zone has forgotten it.
    pub fn era(&self) -> Option<u64> {
        self.reader.era_of(&self.taken)
    }

    /// What is on record of the edge that sealed its era; `None` as for [`Message::era`].
    pub fn edge(&self) -> Option<Edge> {
        self.reader.edge_info(self.era()?).ok()?
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.taken.frame.len as usize
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the message out as a `T`.
    ///
    /// # Errors
    /// [`Error::BadValue`] if it has another size than `T`, or bits that are none of `T`'s values (an enum's, a `bool`'s).
    pub fn copy<T: Described + CheckedBitPattern>(&self) -> Result<T> {
        let bad = || Error::BadValue { expected: T::NAME, size: size_of::<T>(), len: self.len() };
        if self.len() != size_of::<T>() {
            return Err(bad());
        }
        let mut small = [0u8; SMALL];
        let mut large = Vec::new();
        let bytes = match small.get_mut(..self.len()) {
            Some(bytes) => bytes,
            None => {
                large.resize(self.len(), 0);
                &mut large[..]
            }
        };
        self.reader.copy_payload(&self.taken, bytes)?;
        bytemuck::checked::try_pod_read_unaligned(bytes).map_err(|_| bad())
    }

    /// Copies the message out as any number of `T`.
    ///
    /// # Errors
    /// [`Error::BadValue`] if its length is no multiple of `T`'s, or an element has bits that are none of `T`'s values.
    pub fn copy_slice<T: Described + CheckedBitPattern>(&self) -> Result<Vec<T>> {
        let bad = || Error::BadValue { expected: T::NAME, size: size_of::<T>(), len: self.len() };
        let size = size_of::<T>();
        if size == 0 || !self.len().is_multiple_of(size) {
            return Err(bad());
        }
        let bytes = self.to_vec()?;
        let elements = bytes.chunks_exact(size).map(bytemuck::checked::try_pod_read_unaligned);
        elements.collect::<Result<_, _>>().map_err(|_| bad())
    }

    /// Copies the message out as bytes.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len()];
        self.reader.copy_payload(&self.taken, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies the message into `buffer`, over what was there; its capacity is used again.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn copy_to(&self, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(self.len(), 0);
        self.reader.copy_payload(&self.taken, buffer)
    }

    /// The message in place, without a copy. (Empty in a forked child, which does not share the lane.)
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives. A sound writer does not: they are kept until the message is dropped. But
    /// the writer's process has them mapped writable, and a `&[u8]` whose bytes change is undefined behaviour in *this*
    /// process. Calling this is the decision to trust the writer; use [`Message::to_vec`] where you do not.
    pub unsafe fn bytes_in_place(&self) -> &[u8] {
        // SAFETY: passed on to our caller.
        unsafe { self.reader.payload_in_place(&self.taken) }
    }

    /// The message in place as a `T`, checked for size, alignment and valid bits.
    ///
    /// # Safety
    /// As for [`Message::bytes_in_place`]; moreover, bits that were checked must not change.
    ///
    /// # Errors
    /// [`Error::BadValue`] as for [`Message::copy`].
    pub unsafe fn in_place<T: Described + CheckedBitPattern>(&self) -> Result<&T> {
        // SAFETY: passed on to our caller.
        let bytes = unsafe { self.bytes_in_place() };
        bytemuck::checked::try_from_bytes(bytes).map_err(|_| Error::BadValue {
            expected: T::NAME,
            size: size_of::<T>(),
            len: bytes.len(),
        })
    }
}

impl Drop for Message<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.reader.release(&self.taken);
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("origin", &self.origin())
            .field("sequence", &self.sequence())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
