//! What edges cost, in parts, each with its own lines of the result: a file a part.

pub(super) mod cost;
pub(super) mod latency;
pub(super) mod lockstep;
pub(super) mod rate;

use super::Options;
use crate::error::Result;
use clap::{Args, ValueEnum};

/// What of edges to measure, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Edge {
    /// Which parts; all of them if none is given.
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
    #[command(flatten)]
    options: Options,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One way from a message and its edge to a synced reader that spins: with 1, 2 and 4 writers in the zone
    Latency,
    /// What an edge adds to a commit when nobody else is there: 1 and 64 writers, 1 to 256 channels
    Cost,
    /// Edges a second: of one participant alone, and of two processes that compete
    Rate,
    /// A round of two processes in lockstep: each publishes, gives its permit, and reads what both published
    Lockstep,
}

/// Runs the parts asked for.
pub(super) fn run(edge: &Edge) -> Result<()> {
    let parts = if edge.parts.is_empty() { Part::value_variants() } else { &edge.parts };
    for part in parts {
        match part {
            Part::Latency => latency::run(&edge.options)?,
            Part::Cost => cost::run(&edge.options)?,
            Part::Rate => rate::run(&edge.options)?,
            Part::Lockstep => lockstep::run(&edge.options)?,
        }
    }
    Ok(())
}
