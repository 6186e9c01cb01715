//! `syncline zone`: making, showing and steering zones.

mod halt;
mod options;
mod show;

pub(super) use options::Options;

use super::Place;
use super::arguments::number;
use super::exit::{Exit, Outcome};

/// The commands of `zone`.
#[derive(clap::Subcommand, Debug)]
pub(super) enum Zone {
    /// Make a zone that stays when nobody is in it, until `zone remove` or the broker's end
    #[command(after_help = "Example:  syncline zone create plant --click 20 --keep-eras 100")]
    Create(Create),
    /// Let a zone go, with all that it keeps, as soon as nobody is in it
    #[command(after_help = "Example:  syncline zone remove plant")]
    Remove(Name),
    /// Show a zone's policy, last edge, writers, lanes and readers
    #[command(after_help = "Example:  syncline zone show plant --json | jq .last_edge")]
    Show(show::Arguments),
    /// Run an exact edge and print the era that it seals. In lockstep: an edge that waits for no more permits
    #[command(after_help = "Example:  syncline zone edge plant --tag 0xc0ffee")]
    Edge(Edge),
    /// Bring all writers of a zone to rest and hold it, until a time has passed, a command has ended, or Ctrl-C
    #[command(after_help = halt::EXAMPLE)]
    Halt(halt::Arguments),
    /// Ask everybody in a zone to finish what they are at and commit now
    #[command(after_help = "Example:  syncline zone early plant")]
    Early(Name),
}

#[derive(clap::Args, Debug)]
pub(super) struct Name {
    /// The zone
    name: String,
}

#[derive(clap::Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    zone: Name,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args, Debug)]
pub(super) struct Edge {
    #[command(flatten)]
    zone: Name,
    /// A tag that every reader finds with the era: a number, decimal or 0x...
    #[arg(long, value_name = "N", value_parser = number)]
    tag: Option<u64>,
}

/// Runs `zone`.
pub(super) fn run(command: &Zone, place: &Place) -> Outcome {
    let zone = |name: &Name| Ok::<_, Exit>(place.connect()?.zone(&name.name));
    match command {
        Zone::Create(create) => create.options.of(zone(&create.zone)?).create()?,
        Zone::Remove(name) => zone(name)?.remove()?,
        Zone::Show(arguments) => show::run(arguments, place)?,
        Zone::Edge(edge) => {
            let era = zone(&edge.zone)?.edge(edge.tag)?;
            let mut output = super::output::Output::open()?;
            output.line(format_args!("{era}"))?;
            output.flush()?;
        }
        Zone::Halt(arguments) => halt::run(arguments, place)?,
        Zone::Early(name) => zone(name)?.request_early()?,
    }
    Ok(())
}
