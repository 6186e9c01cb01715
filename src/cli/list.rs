//! `syncline ls`: zones, channels, types, writers, readers and bytes.

use super::Place;
use super::exit::Outcome;
use super::listing::{Channel, Reader, Writer, Zone};
use super::output::Output;
use super::phrase;
use super::table::{size, table};
use crate::os::clock::monotonic_us;

/// Arguments of `ls`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// One JSON object a zone
    #[arg(long)]
    json: bool,
}

/// Runs `ls`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let zones = place.connect()?.list()?;
    let mut output = Output::open()?;
    for (number, info) in zones.iter().enumerate() {
        let zone = Zone::new(info);
        if arguments.json {
            output.json(&zone)?;
            continue;
        }
        if number > 0 {
            output.write(b"\n")?;
        }
        for line in lines(&zone) {
            output.line(format_args!("{line}"))?;
        }
    }
    output.flush()
}

/// The table of a zone.
fn lines(zone: &Zone<'_>) -> Vec<String> {
    let mut lines = head(zone);
    channels(&mut lines, &zone.channels);
    writers(&mut lines, zone, &zone.writers);
    readers(&mut lines, &zone.readers);
    lines
}

/// What there is to say of the zone as a whole.
pub(super) fn head(zone: &Zone<'_>) -> Vec<String> {
    let halted = if zone.halted { ", halted" } else { "" };
    let mut lines =
        vec![format!("zone {}: era {}{halted}, {}, {}", zone.zone, zone.era, zone.policy, size(zone.bytes))];
    if let Some(edge) = &zone.last_edge {
        lines.push(format!("  last edge: {}", edge.text(monotonic_us())));
    }
    lines
}

pub(super) fn channels(lines: &mut Vec<String>, channels: &[Channel<'_>]) {
    let row = |channel: &Channel<'_>| {
        let ty = channel.r#type.as_ref().map_or_else(|| "not declared".to_owned(), |ty| ty.text.clone());
        let kept = if channel.kept == 0 { String::new() } else { phrase::count(channel.kept as u64, "lane") };
        let delivery = phrase::delivery(channel.delivery, channel.evict_after);
        let counts = [delivery, channel.writers.to_string(), channel.readers.to_string(), kept, size(channel.bytes)];
        [vec![channel.channel.to_owned(), ty], counts.to_vec()].concat()
    };
    table(lines, &["CHANNEL", "TYPE", "DELIVERY", "WRITERS", "READERS", "KEPT", "BYTES"], channels.iter().map(row));
}

pub(super) fn writers(lines: &mut Vec<String>, zone: &Zone<'_>, writers: &[Writer<'_>]) {
    let row = |writer: &Writer<'_>| {
        let Writer { writer: row, name, pid, commits, bytes, open_batch, straddles, permits, .. } = writer;
        let (row, channels) = (row.to_string(), writer.channels.join(", "));
        let state = phrase::writer(zone.pace, *open_batch, *straddles, *permits);
        vec![row, name.to_string(), pid.to_string(), commits.to_string(), state, channels, size(*bytes)]
    };
    table(lines, &["WRITER", "NAME", "PID", "COMMITS", "STATE", "CHANNELS", "BYTES"], writers.iter().map(row));
}

pub(super) fn readers(lines: &mut Vec<String>, readers: &[Reader<'_>]) {
    let row = |reader: &Reader<'_>| {
        let mode = if reader.synced { "synced" } else { "live" };
        let taken = reader.taken.map_or_else(String::new, |era| format!("era {era}"));
        let evicted = if reader.evicted == 0 { String::new() } else { phrase::count(reader.evicted.into(), "lane") };
        let channels = reader.channels.join(", ");
        vec![reader.name.to_owned(), reader.pid.to_string(), mode.to_owned(), taken, evicted, channels]
    };
    table(lines, &["READER", "PID", "MODE", "DONE WITH", "EVICTED FROM", "CHANNELS"], readers.iter().map(row));
}
