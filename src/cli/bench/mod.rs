//! `syncline bench`: how fast, against the bare limit of the same machine in the same run.
//!
//! Every figure is a ratio to a reference that does the least that could be done, between the same two pinned processes, right
//! before and right after: one cache line bounced to and fro for latency, a futex for readers that sleep, a fixed-slot ring for throughput, one word counted up for
//! edges. (Of many readers or writers: to one of them.) Every message is checked: its number, its first against its last word, each of its cache lines read.

mod bare;
mod bounce;
mod commit;
mod edge;
mod fanin;
mod fanout;
mod join;
mod latency;
mod lossy;
mod peer;
mod plot;
mod report;
mod table;
mod throughput;
mod wake;

use super::Place;
use super::exit::Outcome;
use crate::client::Bus;
use crate::error::{Error, Result};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// One-way latency of a live reader that spins, against one bare cache line; or of one that sleeps, against a bare futex wake.
    Latency(latency::Latency),
    /// Messages a second, one writer and one reader, against a bare fixed-slot ring; singly and in batches of 64.
    Throughput(Sizes),
    /// What one commit costs its writer: of a batch over 8 lanes, and with 1 and with 32 readers at rest.
    Commit(Options),
    /// A writer's time for a message with 1, 2, 4 ... 64 readers, which one other process polls in turn.
    Fanout(Options),
    /// A reader's time for a message of 1, 2, 4 ... 64 writers, which publish in turn in one other process; and of one busy writer among
    /// 63 that are idle.
    Fanin(Options),
    /// A writer's time for a message while a reader of its lossy channel reads, sleeps elsewhere with a message in its hands, is stopped, is
    /// killed.
    Lossy(Options),
    /// How long a writer with its lane and a reader take to open, and how soon a new pair has its first message.
    Join(Options),
    /// Edges: how soon a synced reader that spins has what one sealed, against one bare cache line; what one costs its caller; how
    /// many there can be in a second.
    Edge(edge::Edge),
    /// Items of a table: to read and to set one, against a bare seqlock; to read a hundred together; to change ten of a hundred and of a million.
    Table(Options),
    /// The other process of a benchmark.
    #[command(hide = true)]
    Peer(peer::Peer),
}

/// How to measure.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// One JSON object a result on standard output, and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// How many pairs of runs: the reference and Syncline, in turn.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) repeat: u32,
    /// Milliseconds of one run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(super) millis: u64,
    /// The two cores; 0 and 1 if not given, 0 twice where a reader sleeps.
    #[arg(long, num_args = 2, value_name = "CORE")]
    cores: Vec<usize>,
}

impl Options {
    /// The core of this process, 0, and of the other, 1.
    fn core(&self, which: usize) -> usize {
        self.cores.get(which).copied().unwrap_or(which)
    }

    /// The time of one run.
    fn time(&self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// The same, with both processes on one core if nothing was said.
    fn on_one_core(&self) -> Options {
        let cores = if self.cores.is_empty() { vec![0, 0] } else { self.cores.clone() };
        Options { cores, ..self.clone() }
    }
}

/// What to measure with, and how.
#[derive(Debug, Clone, Args)]
pub(super) struct Sizes {
    /// Bytes of a message; may be given several times. A multiple of 8.
    #[arg(long, value_name = "BYTES")]
    size: Vec<usize>,
    #[command(flatten)]
    options: Options,
}

impl Sizes {
    fn or(&self, default: &[usize]) -> Result<Vec<usize>> {
        let sizes = if self.size.is_empty() { default.to_vec() } else { self.size.clone() };
        match sizes.iter().find(|&&size| size == 0 || size % 8 != 0 || size > bare::LARGEST) {
            Some(size) => {
                Err(Error::Invalid(format!("--size {size}: expected a multiple of 8 from 8 to 67108864 bytes")))
            }
            None => Ok(sizes),
        }
    }
}

/// An embedded broker, and memory for the bare references.
struct Stage {
    bus: Bus,
    arena: PathBuf,
}

impl Stage {
    fn new() -> Result<Stage> {
        let bus = Bus::embedded()?;
        // In memory, beside the socket's name but not its directory: a file on a disk would be written back.
        let name = bus.socket().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arena = Path::new("/dev/shm").join(format!("syncline-bench-{name}"));
        Ok(Stage { bus, arena })
    }

    fn arena(&self) -> Result<bare::Arena> {
        bare::Arena::open(&self.arena)
    }

    fn other(&self, core: usize) -> Result<peer::Other> {
        // Made before the other process looks for it.
        self.arena()?;
        peer::Other::start(self.bus.socket(), &self.arena, core)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.arena);
    }
}

/// Runs a benchmark. Each brings a broker of its own; `place` is for the other process of one.
pub(super) fn run(bench: &Bench, place: &Place) -> Outcome {
    match bench {
        Bench::Latency(latency) => latency::run(latency)?,
        Bench::Throughput(sizes) => throughput::run(sizes)?,
        Bench::Commit(options) => commit::run(options)?,
        Bench::Fanout(options) => fanout::run(options)?,
        Bench::Fanin(options) => fanin::run(options)?,
        Bench::Lossy(options) => lossy::run(options)?,
        Bench::Join(options) => join::run(options)?,
        Bench::Edge(edge) => edge::run(edge)?,
        Bench::Table(options) => table::run(options)?,
        Bench::Peer(peer) => peer::run(peer, &place.connect()?)?,
    }
    Ok(())
}
