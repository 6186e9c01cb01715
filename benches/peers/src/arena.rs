//! Memory that both processes have mapped: the words by which a run is led, the bare references' words and slots.

use crate::Result;
use memmap2::MmapRaw;
use std::fs::File;
use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of the words, each used one on lines of its own.
const WORDS_BYTES: usize = 4096;
/// Bytes of the slots that go one way.
const WAY_BYTES: usize = 4 << 20;
const BALL: usize = 0;
const STOP: usize = 32;
const SENT: usize = 64;
const DRAINED: usize = 384;
const MET: usize = 416;
/// Two words for each way: its tail and its head.
const ENDS: usize = 96;
const BELLS: usize = 256;
const SEQLOCK: usize = 320;
const MADE: usize = 448;

/// The memory.
pub struct Arena {
    map: MmapRaw,
}

impl Arena {
    /// Makes the file that holds it, or maps the one that is there.
    pub fn open(place: &Path) -> Result<Arena> {
        let path = place.join("arena");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len((WORDS_BYTES + 2 * WAY_BYTES) as u64)?;
        Ok(Arena { map: MmapRaw::map_raw(&file)? })
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &AtomicU64 {
        assert!((index + 1) * 8 <= self.map.len());
        // SAFETY: the word lies inside the mapping, which is page-aligned and lives as long as `self`; both processes use
        // atomic accesses only.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU64>().add(index) }
    }

    /// The word that says how many messages were written into a way.
    #[inline(always)]
    pub fn tail(&self, way: usize) -> &AtomicU64 {
        self.word(ENDS + 64 * way)
    }

    /// The word that says how many were read from it.
    #[inline(always)]
    pub fn head(&self, way: usize) -> &AtomicU64 {
        self.word(ENDS + 64 * way + 32)
    }

    /// A word to sleep on.
    pub fn bell(&self, way: usize) -> &AtomicU32 {
        let word = self.word(BELLS + 32 * way);
        // SAFETY: half of a word of the mapping, which is only ever used as this half.
        unsafe { &*std::ptr::from_ref(word).cast::<AtomicU32>() }
    }

    /// `words` words of a way, from a byte offset.
    #[inline(always)]
    pub fn slot(&self, way: usize, offset: usize, words: usize) -> &[AtomicU64] {
        assert!(way < 2 && offset.is_multiple_of(8) && offset + words * 8 <= WAY_BYTES);
        let first = (WORDS_BYTES + way * WAY_BYTES + offset) / 8;
        // SAFETY: as in `word`, for `words` words.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>().add(first), words) }
    }

    /// Before a run.
    pub fn reset(&self) {
        for index in (0..WORDS_BYTES / 8).step_by(32) {
            self.word(index).store(0, Ordering::SeqCst);
        }
        self.word(SENT).store(u64::MAX, Ordering::SeqCst);
    }

    /// Tells the other process that the run is over.
    pub fn stop(&self) {
        self.word(STOP).store(1, Ordering::Release);
    }

    /// Whether the run is over.
    pub fn stopped(&self) -> bool {
        self.word(STOP).load(Ordering::Acquire) != 0
    }

    /// Tells how many messages were sent in all.
    pub fn tell_sent(&self, count: u64) {
        self.word(SENT).store(count, Ordering::Release);
    }

    /// How many these are, once it is known.
    pub fn sent(&self) -> Option<u64> {
        Some(self.word(SENT).load(Ordering::Acquire)).filter(|&count| count != u64::MAX)
    }

    /// Tells how often the other process has done so far what it does.
    pub fn tell_made(&self, count: u64) {
        self.word(MADE).store(count, Ordering::Release);
    }

    /// How often that was.
    pub fn made(&self) -> u64 {
        self.word(MADE).load(Ordering::Acquire)
    }

    /// The bare seqlock: its count, and behind it, on the same line and the next, its eight words.
    #[inline(always)]
    pub fn seqlock(&self) -> &[AtomicU64; 9] {
        assert!((SEQLOCK + 9) * 8 <= self.map.len());
        // SAFETY: as in `word`, for nine words.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU64>().add(SEQLOCK).cast() }
    }

    /// Tells that both ends have met.
    pub fn tell_met(&self) {
        self.word(MET).store(1, Ordering::Release);
    }

    /// Whether they have.
    pub fn met(&self) -> bool {
        self.word(MET).load(Ordering::Acquire) != 0
    }

    /// Tells that all of them were taken.
    pub fn tell_drained(&self) {
        self.word(DRAINED).store(1, Ordering::Release);
    }

    /// Whether they were.
    pub fn drained(&self) -> bool {
        self.word(DRAINED).load(Ordering::Acquire) != 0
    }

    /// The bare cache line, served `rounds` times from `from`.
    pub fn serve(&self, from: u64, rounds: u64) {
        let ball = self.word(BALL);
        for round in from..from + rounds {
            ball.store(2 * round + 1, Ordering::Release);
            while ball.load(Ordering::Acquire) != 2 * round + 2 {
                spin_loop();
            }
        }
    }

    /// The other side of [`Arena::serve`], until the run is over.
    pub fn answer(&self) {
        let ball = self.word(BALL);
        let mut round = 0;
        loop {
            let mut polls = 0u32;
            while ball.load(Ordering::Acquire) != 2 * round + 1 {
                spin_loop();
                polls += 1;
                if polls.is_multiple_of(4096) && self.stopped() {
                    return;
                }
            }
            ball.store(2 * round + 2, Ordering::Release);
            round += 1;
        }
    }
}
