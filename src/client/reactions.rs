//! What the live readers of this process were given, for the writers of this process: a commit may be a reaction to it, and no era
//! may hold the reaction without its cause (see [`crate::ring::sequencer`]).

use super::driver::Driver;
use crate::ring::sequencer;
use crate::ring::view::Zone;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One per zone and connection, shared by its readers and writers.
pub(crate) struct Reactions {
    /// Writers open: readers note nothing while there is none.
    writers: AtomicU32,
    /// Counts notes.
    notes: AtomicU64,
    /// The highest version given, per row.
    versions: Box<[AtomicU64]>,
    /// What a writer of this process drives the zone with: readers that wait for an edge make use of it.
    driver: Mutex<Weak<Driver>>,
}

impl Reactions {
    pub(crate) fn new(rows: usize) -> Self {
        let versions = (0..rows).map(|_| AtomicU64::new(0)).collect();
        Reactions { writers: AtomicU32::new(0), notes: AtomicU64::new(0), versions, driver: Mutex::default() }
    }

    /// The driver of this process for the zone, made if there is none.
    pub(crate) fn driver(&self, make: impl FnOnce() -> Driver) -> Arc<Driver> {
        let mut known = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let made = Arc::new(make());
            *known = Arc::downgrade(&made);
            made
        })
    }

    /// The driver of this process for the zone, while it has a writer there.
    pub(crate) fn known_driver(&self) -> Option<Arc<Driver>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Whether this process has a writer in the zone.
    #[inline(always)]
    pub(crate) fn has_writer(&self) -> bool {
        self.writers.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn add_writer(&self) {
        self.writers.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn remove_writer(&self) {
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    /// A live reader hands out a frame of this version.
    #[inline(always)]
    pub(crate) fn note(&self, row: usize, version: u64) {
        if self.has_writer() {
            self.note_for_writers(row, version);
        }
    }

    fn note_for_writers(&self, row: usize, version: u64) {
        if let Some(noted) = self.versions.get(row)
            && noted.load(Ordering::Relaxed) < version
        {
            noted.fetch_max(version, Ordering::Relaxed);
            self.notes.fetch_add(1, Ordering::Release);
        }
    }

    /// Before a commit: completes what was given since `seen`.
    #[inline(always)]
    pub(crate) fn complete<'z>(&self, zone: impl FnOnce() -> Zone<'z>, seen: &mut u64) {
        let notes = self.notes.load(Ordering::Acquire);
        if notes != *seen {
            *seen = notes;
            self.complete_all(zone());
        }
    }

    #[cold]
    fn complete_all(&self, zone: Zone<'_>) {
        for (row, noted) in self.versions.iter().enumerate() {
            let version = noted.load(Ordering::Relaxed);
            if version != 0 {
                sequencer::complete(zone, row, version);
            }
        }
        sequencer::reaction_fence();
    }
}
