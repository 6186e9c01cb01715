//! For tests whose processes run edges: how far these may be ahead of the readers, and what the races came to.

use super::{Process, Random, SharedWord, argument, say};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use syncline::{Races, Writer};

/// How many eras the zones of these tests hold: readers get none merged, which could not be compared.
pub const ERAS: u32 = 4096;
/// The longest time for which edges are run with one lead, in microseconds.
const LONGEST_WHILE: u64 = 10_000;
/// Words: whether to stop, a count, how many readers there are, how many are done, and how far each is.
const STOP: usize = 0;
const COUNT: usize = 1;
const READERS: usize = 2;
const DONE: usize = 3;
const FIRST: usize = 4;

/// What the processes of a test tell each other without a message.
pub struct Pace {
    words: SharedWord,
}

impl Pace {
    /// For `readers` readers.
    pub fn new(path: &Path, readers: usize) -> Pace {
        let words = SharedWord::new(path);
        words.at(READERS).store(readers as u64, Ordering::Release);
        Pace { words }
    }

    /// In a role: the one that the test has made.
    pub fn of_role() -> Pace {
        Pace { words: SharedWord::new(argument("PACE").as_ref()) }
    }

    /// No more edges.
    pub fn stop(&self) {
        self.words.at(STOP).store(1, Ordering::Release);
    }

    fn is_stopped(&self) -> bool {
        self.words.at(STOP).load(Ordering::Acquire) != 0
    }

    /// A reader has read an era.
    pub fn has_read(&self, reader: usize, era: u64) {
        self.words.at(FIRST + reader).store(era, Ordering::Release);
    }

    /// Counts one more.
    pub fn count_one(&self) {
        self.words.at(COUNT).fetch_add(1, Ordering::AcqRel);
    }

    /// A reader has come to its end.
    pub fn is_done(&self) {
        self.words.at(DONE).fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until all readers have come to their ends, or a process fails.
    pub fn wait_for_readers<'p>(&self, processes: impl Iterator<Item = &'p mut Process>) {
        let mut processes: Vec<_> = processes.collect();
        while self.words.at(DONE).load(Ordering::Acquire) < self.words.at(READERS).load(Ordering::Acquire) {
            for process in &mut processes {
                let ended = process.child.try_wait().expect("wait");
                assert!(ended.is_none_or(|status| status.success()), "a process failed");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many were counted.
    pub fn counted(&self) -> u64 {
        self.words.at(COUNT).load(Ordering::Acquire)
    }

    /// Runs edges as fast as it can until told to stop, for a while each with another lead over the slowest reader: from a small one, so
    /// that readers take an era the moment it is sealed, to one so large that an edge is hardly ever held up.
    pub fn run_edges(&self, writer: &mut Writer, leads: &[u64]) {
        let mut random = Random(u64::from(std::process::id()) << 20 | 1);
        while !self.is_stopped() {
            let lead = leads[random.below(leads.len() as u64) as usize];
            let end = Instant::now() + Duration::from_micros(random.below(LONGEST_WHILE));
            let is_over = || Instant::now() >= end || self.is_stopped();
            while !is_over() {
                for _ in 0..32 {
                    if self.is_ahead_by_less(lead, writer) {
                        writer.edge().expect("edge");
                    }
                }
                // Not just by one era: edges are to come in runs.
                while !self.is_ahead_by_less(lead.div_ceil(2), writer) && !is_over() {
                    std::thread::sleep(Duration::from_micros(20));
                }
            }
        }
    }

    fn is_ahead_by_less(&self, eras: u64, writer: &Writer) -> bool {
        let readers = self.words.at(READERS).load(Ordering::Acquire) as usize;
        let read = |reader| self.words.at(FIRST + reader).load(Ordering::Acquire);
        let generation = writer.generation().expect("generation");
        (0..readers).map(read).min().is_none_or(|slowest| generation < slowest + eras)
    }
}

/// What the edges of a process met, and how often it was stopped.
#[derive(Debug, Default)]
pub struct Met {
    pub races: Races,
    pub stops: u64,
}

impl Met {
    /// In a role, at its end: tells the test.
    pub fn say(writer: &Writer, stops: u64) {
        let Races { passes, cuts_helped, flips, flips_lost, retries } = writer.races();
        say("met", format!("{passes} {cuts_helped} {flips} {flips_lost} {retries} {stops}"));
    }

    /// Adds what a process tells.
    pub fn add(&mut self, process: &mut Process) {
        let [passes, cuts_helped, flips, flips_lost, retries, stops] = numbers(&process.wait_for("met"));
        self.races.passes += passes;
        self.races.cuts_helped += cuts_helped;
        self.races.flips += flips;
        self.races.flips_lost += flips_lost;
        self.races.retries += retries;
        self.stops += stops;
    }

    /// Prints it, and fails if there was no race.
    pub fn assert_raced(&self) {
        println!("{:?}; {} stops at any instruction", self.races, self.stops);
        assert!(self.races.cuts_helped > 0, "no edge met another's cuts");
        assert!(self.races.flips_lost > 0, "no edge lost a flip");
    }
}

/// The numbers of a line.
pub fn numbers<const N: usize>(line: &str) -> [u64; N] {
    let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
    numbers.try_into().expect("as many numbers as were told")
}
