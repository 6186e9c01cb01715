//! What can be asked for.

use crate::peer::{Entry, Work};
use crate::{Result, boards, peers};
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;

/// Syncline and its peers, doing the same work on the same two cores.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Only this one; may be given several times. Ratios need `syncline`.
    #[arg(long, value_name = "NAME", value_parser = peers::names())]
    peer: Vec<String>,
    /// Only this kind of work; may be given several times.
    #[arg(long, value_enum, value_name = "WORK")]
    work: Vec<Work>,
    /// Bytes of a message; may be given several times. A multiple of 8.
    #[arg(long, value_name = "BYTES", default_values_t = [8, 64, 1024, 16 << 10, 1 << 20])]
    size: Vec<usize>,
    /// Bytes of a message whose reader sleeps; may be given several times.
    #[arg(long, value_name = "BYTES", default_values_t = [8])]
    wake_size: Vec<usize>,
    /// How many rounds; in each all peers run, one after the other.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Milliseconds of one run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    millis: u64,
    /// Two rounds of 20 milliseconds, whatever the probes say: shows that everything works, and no more.
    #[arg(long)]
    pub quick: bool,
    /// Keeps runs of a machine that is busy with something else too.
    #[arg(long)]
    pub busy: bool,
    /// The two cores; the first is also the one that both processes share when they sleep.
    #[arg(long, default_values_t = [0, 1], num_args = 2, value_name = "CORE")]
    pub cores: Vec<usize>,
    /// Writes docs/peers.md too.
    #[arg(long)]
    pub write: bool,
    /// The other process: where it finds what it works on.
    #[arg(long, hide = true)]
    pub child: Option<PathBuf>,
}

impl Arguments {
    /// Rounds to be run.
    pub fn repeat(&self) -> u32 {
        if self.quick { 2 } else { self.repeat }
    }

    /// The time of one run.
    pub fn time(&self) -> Duration {
        Duration::from_millis(if self.quick { 20 } else { self.millis })
    }

    /// Kinds of work, each with its sizes.
    pub fn works(&self) -> Result<Vec<(Work, Vec<usize>)>> {
        if let Some(size) =
            self.size.iter().chain(&self.wake_size).find(|&&size| size == 0 || size % 8 != 0 || size > 1 << 20)
        {
            return Err(format!("--size {size}: expected a multiple of 8 from 8 to 1048576").into());
        }
        let all = [
            (Work::Latency, &self.size),
            (Work::Throughput, &self.size),
            (Work::Wake, &self.wake_size),
            (Work::Table, &vec![boards::SIZE]),
        ];
        let wanted = all.into_iter().filter(|(work, _)| self.work.is_empty() || self.work.contains(work));
        Ok(wanted.map(|(work, sizes)| (work, sizes.clone())).collect())
    }

    /// The peers that do such work.
    pub fn peers(&self, work: Work) -> Vec<&'static Entry> {
        let wanted = |entry: &&Entry| self.peer.is_empty() || self.peer.iter().any(|name| name == entry.name);
        peers::of(work).iter().filter(wanted).filter(|entry| entry.works.contains(&work)).collect()
    }
}
