//! `syncline zone show`: all that is known of one zone.

use super::Name;
use crate::cli::Place;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::list;
use crate::cli::listing::{Lane, Zone};
use crate::cli::output::Output;
use crate::cli::phrase::count;
use crate::cli::table::{size, table};
use crate::wire::check_name;

/// Arguments of `zone show`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    zone: Name,
    /// One JSON object, the same as `ls --json` has of the zone
    #[arg(long)]
    json: bool,
}

/// Runs `zone show`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let name = &arguments.zone.name;
    check_name("zone", name).map_err(Exit::Failed)?;
    let zones = place.connect()?.list()?;
    let info = zones.iter().find(|info| info.name == *name).ok_or_else(|| {
        Exit::Failed(format!("zone `{name}`: expected it to exist, found none; `syncline ls` lists those that do"))
    })?;
    let zone = Zone::new(info);
    let mut output = Output::open()?;
    if arguments.json {
        output.json(&zone)?;
        return output.flush();
    }
    for line in lines(&zone) {
        output.line(format_args!("{line}"))?;
    }
    output.flush()
}

fn lines(zone: &Zone<'_>) -> Vec<String> {
    let mut lines = list::head(zone);
    let stays = if zone.created { "stays until it is removed" } else { "goes with the last who is in it" };
    let (options, used) = (&zone.options, zone.subscriptions);
    let (writers, eras) = (count(options.writers.into(), "writer"), count(options.eras.into(), "era"));
    let subscriptions = count(options.subscriptions.into(), "subscription");
    lines.push(format!("  {stays}; room for {writers}, {subscriptions} ({used} in use); remembers {eras}"));
    list::channels(&mut lines, &zone.channels);
    list::writers(&mut lines, zone, &zone.writers);
    lanes(&mut lines, &zone.lanes);
    list::readers(&mut lines, &zone.readers);
    lines
}

fn lanes(lines: &mut Vec<String>, lanes: &[Lane<'_>]) {
    let row = |lane: &Lane<'_>| {
        let Lane { channel, writer, name, readers, pins, max_len, bytes, state } = lane;
        let name = name.unwrap_or("(gone)").to_owned();
        let (writer, readers) = (writer.to_string(), readers.to_string());
        let pins = if *pins == 0 { String::new() } else { pins.to_string() };
        vec![(*channel).to_owned(), writer, name, readers, pins, size(*max_len), size(*bytes), (*state).to_owned()]
    };
    table(
        lines,
        &["LANE OF", "WRITER", "NAME", "READERS", "IN PLACE", "LONGEST", "BYTES", "STATE"],
        lanes.iter().map(row),
    );
}
