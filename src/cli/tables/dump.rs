//! `syncline table dump`: all of a table.

use super::Named;
use super::era::{Era, read};
use super::show::{Form, Printer};
use crate::cli::Place;
use crate::cli::exit::Outcome;

/// Arguments of `table dump`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    of: Named,
    /// As of a sealed era, as for `table get` [default: as it is now]
    #[arg(long, value_name = "N|current|previous")]
    era: Option<Era>,
    /// Also items that were never set, which hold zeros
    #[arg(long)]
    all: bool,
    /// One JSON object an item, as of `table get`
    #[arg(long)]
    json: bool,
}

/// Runs `table dump`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let Named { zone, table } = &arguments.of;
    let mut reader = place.connect()?.zone(zone).table(table)?;
    let indices = 0..reader.len();
    let read = read(&mut reader, arguments.era, indices, arguments.all)?;
    let mut printer = Printer::new(zone, if arguments.json { Form::Json } else { Form::Labelled })?;
    for (index, bytes) in &read.items {
        printer.print(&reader, (read.era, false), *index, bytes)?;
    }
    printer.output.flush()
}
