//! What every peer implements: one end of a link between two processes, on which whole messages go both ways.

use crate::Result;
use crate::arena::Arena;
use crate::boards::Case;
use crate::child::Turn;
use crate::measure::{self, Found, Run};
use clap::ValueEnum;
use std::path::PathBuf;

/// Kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// A message to and fro between two cores; who waits, polls.
    Latency,
    /// One writer, one reader, on two cores; nothing lost.
    Throughput,
    /// A message to and fro between two processes on one core; who waits, sleeps.
    Wake,
    /// A value that one sets and the other gets, on two cores: tables, and what others have of the kind.
    Table,
}

/// The two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The one that measures and opens first.
    First,
    /// The one that answers, or writes.
    Second,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub work: Work,
    /// Of a table: who does what.
    pub case: Option<&'static Case>,
    /// Bytes of a message.
    pub size: usize,
    /// A directory in memory for what needs a path.
    pub place: PathBuf,
    /// Of the run, to tell names of one from those of another.
    pub number: u64,
}

impl Plan {
    /// Bytes between a writer and its reader, where bytes are what counts: 128 KiB or two messages for latency, else 256 KiB or three.
    pub fn room(&self) -> usize {
        match self.work {
            Work::Throughput => (256 << 10).max(3 * self.size),
            Work::Latency | Work::Wake | Work::Table => (128 << 10).max(2 * self.size),
        }
    }

    /// Messages between them, where messages are what counts: those that fit, small ones taken for a cache line each.
    #[cfg_attr(
        not(any(feature = "iceoryx2", feature = "zeromq")),
        allow(dead_code, reason = "only peers of these features need it")
    )]
    pub fn slots(&self) -> usize {
        self.room() / self.size.max(64)
    }
}

/// One end of a link. Message `number` is its number in every word.
pub trait Peer: Sized {
    /// What the command line calls it.
    const NAME: &'static str;
    /// What the tables call it.
    const TITLE: &'static str;
    /// What it can do.
    const WORKS: &'static [Work];
    /// Whether threads of its own need this core: then whoever waits does not spin but yields.
    const YIELDS: bool = false;
    /// What must run beside the two ends; the first process has it while a run lasts.
    type Host;

    /// The version that is measured, with what is said about it.
    fn version() -> String;

    /// In a few words, what is between writer and reader.
    fn room(plan: &Plan) -> String;

    /// Starts what must run beside.
    fn host(plan: &Plan) -> Result<Self::Host>;

    /// Opens an end: first the first.
    fn open(plan: &Plan, end: End) -> Result<Self>;

    /// When both are open: first the second.
    fn meet(&mut self, end: End) -> Result<()> {
        let _ = end;
        Ok(())
    }

    /// Sends a message, if there is room now.
    fn try_send(&mut self, number: u64) -> Result<bool>;

    /// Takes what there is now, checks it, and says how many messages: `number` and those after it.
    fn try_receive(&mut self, number: u64) -> Result<u64>;

    /// The same; sleeps for a moment if there is nothing.
    fn receive(&mut self, number: u64) -> Result<u64> {
        self.try_receive(number)
    }
}

/// How the second process tells the first that it has begun.
pub type Ready<'r> = &'r mut dyn FnMut() -> Result<()>;

/// A peer as a value.
pub struct Entry {
    pub name: &'static str,
    pub title: &'static str,
    pub works: &'static [Work],
    /// Of a table: why it can not get several values as they were at one moment.
    pub singly: Option<&'static str>,
    pub version: fn() -> String,
    pub room: fn(&Plan) -> String,
    /// What the first process does.
    pub lead: fn(&Plan, &Arena, &Run, &mut Turn<'_>) -> Result<Found>,
    /// What the second does; how many messages.
    pub follow: fn(&Plan, &Arena, Ready<'_>) -> Result<u64>,
}

impl Entry {
    pub const fn of<P: Peer>() -> Entry {
        Entry {
            name: P::NAME,
            title: P::TITLE,
            works: P::WORKS,
            singly: None,
            version: P::version,
            room: P::room,
            lead: measure::lead::<P>,
            follow: measure::follow::<P>,
        }
    }
}

/// Fills a message.
#[inline(always)]
pub fn fill(bytes: &mut [u8], number: u64) {
    let (words, _) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = number.to_le_bytes();
    }
}

/// Whether a message is that one: its length, and every word of it.
#[inline(always)]
pub fn check(bytes: &[u8], size: usize, number: u64) -> Result<()> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut differs = 0;
    for word in words {
        differs |= u64::from_le_bytes(*word) ^ number;
    }
    if differs == 0 && bytes.len() == size && rest.is_empty() { Ok(()) } else { Err(wrong(bytes, size, number)) }
}

#[cold]
fn wrong(bytes: &[u8], size: usize, number: u64) -> crate::Failure {
    let first = bytes.first_chunk::<8>().map(|word| u64::from_le_bytes(*word));
    let last = bytes.last_chunk::<8>().map(|word| u64::from_le_bytes(*word));
    let length = bytes.len();
    format!("expected message {number} of {size} bytes, found one of {length} with {first:?} first and {last:?} last")
        .into()
}
