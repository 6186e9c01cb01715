//! What one writer of a table has left, or writes, as a reader has it.

use crate::layout::zone;
use crate::os::mapping::{Shared, TableMap};
use crate::ring::order;
use crate::sync::AtomicU64;

/// What one writer of the table has left, or writes.
pub(super) struct Incarnation {
    pub(super) number: u64,
    pub(super) map: TableMap,
    pub(super) row: usize,
    pub(super) writer: Shared<zone::Row>,
    pub(super) inherited: u64,
    pub(super) writer_name: String,
    pub(super) writer_pid: u32,
    /// The commit from which on it is to be read; 0: not known yet.
    pub(super) first: u64,
    /// The last commit that counts, once it has one.
    pub(super) end: Option<u64>,
}

impl Incarnation {
    /// Its row's version, and the last commit that counts here. `None`: its row has another writer by now, and what its last one was is not known here yet.
    #[inline(always)]
    pub(super) fn version(&self) -> (u64, Option<u64>) {
        let found = self.writer.version.load(order::COMMIT_SEE.get());
        (found, self.bounded(found))
    }

    /// For [`item::read_live`]: what shows that nothing was committed since.
    #[inline(always)]
    pub(super) fn still(&self, found: u64) -> (&AtomicU64, u64) {
        (&self.writer.version, found)
    }

    /// The same, for a version of its row that was found before.
    #[inline(always)]
    pub(super) fn bounded(&self, version: u64) -> Option<u64> {
        match self.end {
            Some(end) => Some(version.min(end)),
            // After the version: whoever stored a later owner's has the row from the broker, which stored this first.
            None => (self.writer.inherited.load(order::RELAXED.get()) == self.inherited).then_some(version),
        }
    }

    pub(super) fn is_begun_at(&self, version: u64) -> bool {
        self.first != 0 && self.first <= version
    }
}
