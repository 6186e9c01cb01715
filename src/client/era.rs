//! A sealed era as its reader walks through it.

use super::message::Message;
use super::reader::Reader;
use crate::error::Result;

/// A whole era: what all writers had committed between two edges, on all the reader's channels.
///
/// Messages come in the order (channel, writer, position), the same for every reader. What is not taken before the era is dropped is
/// skipped.
pub struct Era<'r> {
    reader: &'r mut Reader,
    number: u64,
    merged: bool,
}

impl<'r> Era<'r> {
    pub(crate) fn new(reader: &'r mut Reader, number: u64, merged: bool) -> Self {
        Era { reader, number, merged }
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

    /// The next message of the era; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a lane holds what no sound writer writes; that lane is given up, the rest goes on.
    #[expect(clippy::should_implement_trait, reason = "a message borrows the era: no Iterator can say that")]
    pub fn next(&mut self) -> Result<Option<Message<'_>>> {
        let taken = self.reader.next_of_era()?;
        Ok(taken.map(|taken| Message::new(self.reader, taken)))
    }
}

impl std::fmt::Debug for Era<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Era").field("number", &self.number).field("merged", &self.merged).finish_non_exhaustive()
    }
}
