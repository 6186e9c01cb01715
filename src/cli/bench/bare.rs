//! The bare references: the least that two processes can do with shared memory. No lengths, no types, no readers that come or
//! go: what they cost is the machine's, what we cost more is ours.

use crate::error::{Error, Result};
use crate::os::futex;
use memmap2::MmapRaw;
use std::fs::File;
use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

/// Bytes of the ring's slots: the same as a lane's in these benchmarks.
pub(super) const RING_BYTES: usize = 256 << 10;
/// The largest message, in bytes.
pub(super) const LARGEST: usize = 64 << 20;
/// Bytes of the arena's words, each used one on lines of its own.
const WORDS_BYTES: usize = 4096;
const BALL: usize = 0;
const STOP: usize = 32;
const TAIL: usize = 64;
const HEAD: usize = 96;
const COUNT: usize = 128;
/// The first of the notes; the others follow, 32 words apart.
const NOTES: usize = 160;
const NOTE_COUNT: usize = 6;
/// How long the other process may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory that both processes of a benchmark have mapped.
pub(super) struct Arena {
    map: MmapRaw,
}

impl Arena {
    /// Makes the file that holds it, or maps the one that is there.
    pub(super) fn open(path: &Path) -> Result<Arena> {
        let open = || {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            // A ring of at least two slots of the largest message.
            file.set_len((WORDS_BYTES + 2 * LARGEST) as u64)?;
            MmapRaw::map_raw(&file)
        };
        Ok(Arena { map: open().map_err(Error::io(format!("mapping {}", path.display())))? })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!((index + 1) * 8 <= self.map.len());
        // SAFETY: the word lies inside the mapping, which is page-aligned and lives as long as `self`; both processes use
        // atomic accesses only.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU64>().add(index) }
    }

    /// Sets all words to zero, before a run.
    pub(super) fn reset(&self) {
        for word in [BALL, STOP, TAIL, HEAD, COUNT] {
            self.word(word).store(0, Ordering::SeqCst);
        }
        for index in 0..NOTE_COUNT {
            self.note(index, 0);
        }
    }

    /// Leaves a number for the other process; what there is for what is up to the benchmark.
    pub(super) fn note(&self, index: usize, number: u64) {
        self.word(NOTES + 32 * index.min(NOTE_COUNT - 1)).store(number, Ordering::Release);
    }

    /// What was left there last; 0 before.
    pub(super) fn noted(&self, index: usize) -> u64 {
        self.word(NOTES + 32 * index.min(NOTE_COUNT - 1)).load(Ordering::Acquire)
    }

    /// Waits until a note is at least `number`, a `pause` after each look; false: the run is over.
    pub(super) fn wait_for_note(&self, index: usize, number: u64, pause: fn()) -> Result<bool> {
        let begin = Instant::now();
        let mut polls = 0u32;
        while self.noted(index) < number {
            pause();
            polls += 1;
            if polls.is_multiple_of(1024) {
                if self.stopped() {
                    return Ok(false);
                }
                if begin.elapsed() > PATIENCE {
                    return Err(Error::Timeout);
                }
            }
        }
        Ok(true)
    }

    /// Tells the other process that the run is over.
    pub(super) fn stop(&self) {
        self.word(STOP).store(1, Ordering::Release);
    }

    /// Whether the run is over.
    pub(super) fn stopped(&self) -> bool {
        self.word(STOP).load(Ordering::Acquire) != 0
    }

    /// Serves: waits for the ball's next number and answers with the one after.
    pub(super) fn serve(&self, from: u64, rounds: u64) {
        let ball = self.word(BALL);
        for round in from..from + rounds {
            ball.store(2 * round + 1, Ordering::Release);
            while ball.load(Ordering::Acquire) != 2 * round + 2 {
                spin_loop();
            }
        }
    }

    /// The other side of [`Arena::serve`], until the run is over.
    pub(super) fn receive(&self) {
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

    fn sleepers_ball(&self) -> &AtomicU32 {
        assert!(BALL * 8 + 4 <= self.map.len());
        // SAFETY: as in `word`. In one run the ball is this word for both processes, in another that one.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU32>().add(2 * BALL) }
    }

    /// Sets the ball to `count` and wakes whoever sleeps for it.
    pub(super) fn pass(&self, count: u32) -> Result<()> {
        let ball = self.sleepers_ball();
        ball.store(count, Ordering::Release);
        futex::wake_all(ball).map(drop).map_err(Error::io("waking"))
    }

    /// Sleeps until the ball is `count`, at once if it is not.
    pub(super) fn sleep_for(&self, count: u32) -> Result<()> {
        let ball = self.sleepers_ball();
        let begin = Instant::now();
        loop {
            let found = ball.load(Ordering::Acquire);
            if found == count {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(Error::Timeout);
            }
            futex::wait(ball, found, PATIENCE).map_err(Error::io("sleeping"))?;
        }
    }

    /// The bare seqlock: its count, and behind it on the same two lines, its eight words.
    fn seqlock(&self) -> &[AtomicU64; 9] {
        assert!((COUNT + 9) * 8 <= self.map.len());
        // SAFETY: as in `word`, for nine words.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU64>().add(COUNT).cast() }
    }

    /// Writes it for the `number`-th time.
    #[inline(always)]
    pub(super) fn write_seqlock(&self, number: u64, value: [u64; 8]) {
        let [count, words @ ..] = self.seqlock();
        count.store(2 * number - 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in words.iter().zip(value) {
            word.store(value, Ordering::Relaxed);
        }
        count.store(2 * number, Ordering::Release);
    }

    /// Reads it, again and again until it was not written meanwhile.
    #[inline(always)]
    pub(super) fn read_seqlock(&self) -> [u64; 8] {
        let [count, words @ ..] = self.seqlock();
        loop {
            let before = count.load(Ordering::Acquire);
            let value = words.each_ref().map(|word| word.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before % 2 == 0 && count.load(Ordering::Relaxed) == before {
                return value;
            }
            spin_loop();
        }
    }

    /// Counts a word up, as whoever else does it lets us, until `done` says so after some; how often it was this process.
    pub(super) fn count_up(&self, mut done: impl FnMut() -> bool) -> u64 {
        let word = self.word(COUNT);
        let mut mine = 0;
        while !done() {
            for _ in 0..64 {
                let seen = word.load(Ordering::Acquire);
                mine += u64::from(word.compare_exchange(seen, seen + 1, Ordering::Release, Ordering::Relaxed).is_ok());
            }
        }
        mine
    }

    /// How far that word was counted up by all.
    pub(super) fn counted(&self) -> u64 {
        self.word(COUNT).load(Ordering::Acquire)
    }

    fn slot(&self, number: u64, shape: Shape) -> &[AtomicU64] {
        let first = (WORDS_BYTES + (number % shape.slots) as usize * shape.stride) / 8;
        assert!((first + shape.words) * 8 <= self.map.len());
        // SAFETY: as in `word`, for `words` words.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>().add(first), shape.words) }
    }

    /// Writes messages until the run is over; how many.
    pub(super) fn produce(&self, size: usize) -> u64 {
        let shape = Shape::of(size);
        let (tail, head) = (self.word(TAIL), self.word(HEAD));
        let (mut next, mut taken) = (0u64, 0u64);
        loop {
            while next - taken == shape.slots {
                taken = head.load(Ordering::Acquire);
                if next - taken == shape.slots {
                    if self.stopped() {
                        return next;
                    }
                    spin_loop();
                }
            }
            for word in self.slot(next, shape) {
                word.store(next, Ordering::Relaxed);
            }
            next += 1;
            tail.store(next, Ordering::Release);
        }
    }

    /// Reads messages, all words of each, until `done` says so after some thousand; how many.
    pub(super) fn consume(&self, size: usize, mut done: impl FnMut() -> bool) -> Result<u64> {
        let shape = Shape::of(size);
        let (tail, head) = (self.word(TAIL), self.word(HEAD));
        let (mut next, mut there) = (0u64, 0u64);
        loop {
            while next == there {
                there = tail.load(Ordering::Acquire);
                if next == there {
                    spin_loop();
                }
            }
            let mut differs = 0;
            for word in self.slot(next, shape) {
                differs |= word.load(Ordering::Relaxed) ^ next;
            }
            if differs != 0 {
                return Err(Error::Corrupt(format!("bare ring: message {next}")));
            }
            next += 1;
            head.store(next, Ordering::Release);
            if next.is_multiple_of(1024) && done() {
                return Ok(next);
            }
        }
    }
}

/// The slots of the bare ring for messages of one size.
#[derive(Clone, Copy)]
struct Shape {
    words: usize,
    stride: usize,
    slots: u64,
}

impl Shape {
    fn of(size: usize) -> Shape {
        let stride = if size <= 8 { 8 } else { size.next_multiple_of(64) };
        Shape { words: size / 8, stride, slots: (RING_BYTES / stride).max(2) as u64 }
    }
}
