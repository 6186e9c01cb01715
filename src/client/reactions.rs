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
    /// A bit for each row that has one: most processes read from few.
    rows: Box<[AtomicU64]>,
    /// The last roll-back that a writer has carried out, and how many of the writers have. Where a reader tells of roll-backs: seldom.
    rolled: Mutex<(u64, u32)>,
    /// What a writer of this process drives the zone with: readers that wait for an edge make use of it.
    driver: Mutex<Weak<Driver>>,
}

impl Reactions {
    pub(crate) fn new(rows: usize) -> Self {
        let versions = (0..rows).map(|_| AtomicU64::new(0)).collect();
        let bits = (0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let (writers, notes) = (AtomicU32::new(0), AtomicU64::new(0));
        Reactions { writers, notes, versions, rows: bits, rolled: Mutex::default(), driver: Mutex::default() }
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

    /// A writer comes, and knows of the roll-backs up to this one.
    pub(crate) fn add_writer(&self, rolls: u64) {
        self.writers.fetch_add(1, Ordering::SeqCst);
        self.carried_out(rolls);
    }

    /// A writer goes, having known of the roll-backs up to this one.
    pub(crate) fn remove_writer(&self, rolls: u64) {
        let mut rolled = self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        if rolled.0 == rolls {
            rolled.1 = rolled.1.saturating_sub(1);
        }
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    /// A writer has carried a roll-back out.
    pub(crate) fn carried_out(&self, rolls: u64) {
        let mut rolled = self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        *rolled = (rolls, if rolled.0 == rolls { rolled.1 + 1 } else { 1 });
    }

    /// Whether this process has writers, and all of them know of the roll-back.
    pub(crate) fn all_know(&self, rolls: u64) -> bool {
        let (known, count) = *self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        let writers = self.writers.load(Ordering::SeqCst);
        writers != 0 && known == rolls && count >= writers
    }

    /// A live reader hands out a frame of this version.
    #[inline(always)]
    pub(crate) fn note(&self, row: usize, version: u64) {
        if self.writers.load(Ordering::Relaxed) != 0 {
            self.note_for_writers(row, version);
        }
    }

    fn note_for_writers(&self, row: usize, version: u64) {
        if let Some(noted) = self.versions.get(row)
            && noted.load(Ordering::Relaxed) < version
        {
            noted.fetch_max(version, Ordering::Relaxed);
            let (bits, bit) = (&self.rows[row / 64], 1 << (row % 64));
            if bits.load(Ordering::Relaxed) & bit == 0 {
                bits.fetch_or(bit, Ordering::Relaxed);
            }
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
        for (word, bits) in self.rows.iter().enumerate() {
            let mut bits = bits.load(Ordering::Relaxed);
            while bits != 0 {
                let row = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(noted) = self.versions.get(row) {
                    sequencer::complete(zone, row, noted.load(Ordering::Relaxed));
                }
            }
        }
        sequencer::reaction_fence();
    }
}
