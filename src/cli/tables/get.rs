//! `syncline table get`: values of items.

use super::Named;
use super::era::{Era, read};
use super::item::{self, Items};
use super::show::{Form, Printer};
use crate::cli::Place;
use crate::cli::exit::Outcome;
use crate::error::Result;

pub(super) const EXAMPLES: &str = "\
Examples:
  syncline table get plant state level
  syncline table get plant state 'valve[0..4]' pose --era current --json
  syncline table get plant state image --raw > image.bin";

/// Arguments of `table get`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    of: Named,
    /// Which items, in this order [default: all]
    #[arg(value_name = "ITEM", long_help = item::HELP)]
    items: Vec<Items>,
    /// As of a sealed era: the last (`current`), the one before (`previous`), or one of the two by number (exit status 5 if it is not to be
    /// had) [default: as it is now]
    #[arg(long, value_name = "N|current|previous")]
    era: Option<Era>,
    /// Write the values' bytes, and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// One JSON object an item: zone, table, era, item (as it is named here), index, name, n (which of that name), len, and `value` (or `fields`,
    /// `text` or `hex`)
    #[arg(long)]
    json: bool,
}

/// Runs `table get`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let Named { zone, table } = &arguments.of;
    let mut reader = place.connect()?.zone(zone).table(table)?;
    let mut indices = Vec::new();
    if arguments.items.is_empty() {
        indices.push(0..reader.len());
    } else {
        let finder = reader.finder();
        indices = arguments.items.iter().map(|items| items.resolve(&finder)).collect::<Result<_>>()?;
    }
    let read = read(&mut reader, arguments.era, indices.into_iter().flatten(), true)?;
    let form = match (arguments.raw, arguments.json, read.items.len()) {
        (true, ..) => Form::Raw,
        (_, true, _) => Form::Json,
        (_, _, 1) => Form::Alone,
        _ => Form::Labelled,
    };
    let mut printer = Printer::new(zone, form)?;
    for (index, bytes) in &read.items {
        printer.print(&reader, (read.era, false), *index, bytes)?;
    }
    printer.output.flush()
}
