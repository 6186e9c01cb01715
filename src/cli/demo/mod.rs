//! `syncline demo`: the main job on this host's own figures ([`host`]), and why it needs edges ([`torn`]).
//!
//! The process that was started runs an embedded broker and starts the others as processes of their own ([`part`]).

mod crew;
mod host;
pub(super) mod part;
mod sample;
mod tick;
mod torn;

use super::arguments::seconds;
use super::exit::Outcome;
use std::time::Duration;

/// Arguments of `demo`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    host: Options,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(clap::Subcommand, Debug)]
enum Other {
    /// Move money between two accounts while a live and a synced reader add them up, and count how often each sees some vanish
    Torn(TornOptions),
}

/// Arguments of the demo on this host's figures.
#[derive(clap::Args, Debug)]
struct Options {
    /// How long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    seconds: Duration,
    /// One JSON object an era, and a last one with the summary
    #[arg(long)]
    json: bool,
}

/// Arguments of `demo torn`.
#[derive(clap::Args, Debug)]
struct TornOptions {
    /// How long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    seconds: Duration,
    /// Only one line of JSON: {"live":{"reads":..,"torn":..},"synced":{"reads":..,"torn":..}}
    #[arg(long)]
    json: bool,
}

/// Runs `demo`.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.other {
        None => host::run(&arguments.host),
        Some(Other::Torn(options)) => torn::run(options),
    }
}
