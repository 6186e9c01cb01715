//! A sealed era as its reader walks through it.

use super::edge::Edge;
use super::message::Message;
use super::reader::Reader;
use crate::error::Result;

/// A whole era: what all writers had committed between two edges, on all the reader's channels.
///
/// Messages come in the order (channel, writer, position), the same for every reader. What is not taken before the era is dropped is
/// skipped; once it is dropped, the reader has done with it.
pub struct Era<'r> {
    /// `None`: given on to the era before.
    reader: Option<&'r mut Reader>,
    number: u64,
    merged: bool,
}

impl<'r> Era<'r> {
    pub(crate) fn new(reader: &'r mut Reader, number: u64, merged: bool) -> Self {
        Era { reader: Some(reader), number, merged }
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether earlier eras, which the zone has forgotten the cuts of, are handed out with this one: nothing is lost, but what
    /// was in which era is not known any more.
    pub fn is_merged(&self) -> bool {
        self.merged
    }

    /// What is on record of its edge: when and why it passed, its tag, who straddled it. `None`: the zone has forgotten it meanwhile.
    pub fn edge(&self) -> Option<Edge> {
        self.reader.as_ref()?.edge_info(self.number).ok()?
    }

    /// The next message of the era; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a lane holds what no sound writer writes; that lane is given up, the rest goes on.
    #[expect(clippy::should_implement_trait, reason = "a message borrows the era: no Iterator can say that")]
    pub fn next(&mut self) -> Result<Option<Message<'_>>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let taken = reader.next_of_era()?;
        Ok(taken.map(|taken| Message::new(reader, taken)))
    }

    /// The era before (PREV). The reader goes on from there: its next era is this one again.
    ///
    /// # Errors
    /// [`Error::Gone`](crate::Error::Gone) if that is not whole any more; the reader goes on behind this era. Else as [`Reader::rewind`].
    pub fn previous(mut self) -> Result<Era<'r>> {
        let number = self.number - 1;
        let gone = |generation| crate::Error::Gone { era: number, oldest: None, generation };
        let Some(reader) = self.reader.take() else { return Err(gone(0)) };
        reader.rewind(number)?;
        match reader.begin_next_era()? {
            Some((number, merged)) => Ok(Era::new(reader, number, merged)),
            None => Err(gone(reader.generation()?)),
        }
    }
}

impl Drop for Era<'_> {
    fn drop(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.end_era(self.number);
        }
    }
}

impl std::fmt::Debug for Era<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Era").field("number", &self.number).field("merged", &self.merged).finish_non_exhaustive()
    }
}
