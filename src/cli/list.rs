//! `syncline ls`: zones, channels, types, writers, readers and bytes.

use super::Place;
use super::exit::Outcome;
use super::output::Output;
use crate::wire::{ChannelInfo, LaneUse, ReaderInfo, TypeDesc, WriterInfo, ZoneInfo};
use serde::Serialize;

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
        for line in zone.lines() {
            output.line(format_args!("{line}"))?;
        }
    }
    output.flush()
}

#[derive(Serialize)]
struct Zone<'a> {
    zone: &'a str,
    /// The last sealed one.
    era: u64,
    /// Of all segments.
    bytes: u64,
    channels: Vec<Channel<'a>>,
    writers: Vec<Writer<'a>>,
    readers: Vec<Reader<'a>>,
}

#[derive(Serialize)]
struct Channel<'a> {
    channel: &'a str,
    /// `None` while nobody has declared one.
    r#type: Option<Type<'a>>,
    writers: usize,
    readers: u32,
    /// Of its writers' rings.
    bytes: u64,
}

#[derive(Serialize)]
struct Type<'a> {
    name: &'a str,
    size: u32,
    align: u32,
    variable: bool,
    fields: Vec<Field<'a>>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    offset: u32,
    count: u32,
    scalar: String,
}

#[derive(Serialize)]
struct Writer<'a> {
    /// Its row: the number that its messages carry.
    writer: u32,
    name: &'a str,
    pid: u32,
    uid: u32,
    commits: u64,
    channels: Vec<&'a str>,
    bytes: u64,
}

#[derive(Serialize)]
struct Reader<'a> {
    name: &'a str,
    pid: u32,
    uid: u32,
    synced: bool,
    channels: Vec<&'a str>,
}

impl<'a> Zone<'a> {
    fn new(info: &'a ZoneInfo) -> Self {
        Zone {
            zone: &info.name,
            era: info.generation,
            bytes: info.bytes,
            channels: info.channels.iter().map(|channel| Channel::new(info, channel)).collect(),
            writers: info.writers.iter().map(|writer| Writer::new(info, writer)).collect(),
            readers: info.readers.iter().map(|reader| Reader::new(info, reader)).collect(),
        }
    }

    /// The table.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("zone {}: era {}, {}", self.zone, self.era, size(self.bytes))];
        let channels = self.channels.iter().map(|channel| {
            let ty = channel.r#type.as_ref().map_or_else(|| "not declared".to_owned(), |ty| ty.text.clone());
            let counts = [channel.writers.to_string(), channel.readers.to_string(), size(channel.bytes)];
            [vec![channel.channel.to_owned(), ty], counts.to_vec()].concat()
        });
        table(&mut lines, &["CHANNEL", "TYPE", "WRITERS", "READERS", "BYTES"], channels);
        let writers = self.writers.iter().map(|writer| {
            let Writer { writer: row, name, pid, commits, bytes, .. } = writer;
            let channels = writer.channels.join(", ");
            vec![row.to_string(), name.to_string(), pid.to_string(), commits.to_string(), channels, size(*bytes)]
        });
        table(&mut lines, &["WRITER", "NAME", "PID", "COMMITS", "CHANNELS", "BYTES"], writers);
        let readers = self.readers.iter().map(|reader| {
            let mode = if reader.synced { "synced" } else { "live" };
            vec![reader.name.to_owned(), reader.pid.to_string(), mode.to_owned(), reader.channels.join(", ")]
        });
        table(&mut lines, &["READER", "PID", "MODE", "CHANNELS"], readers);
        lines
    }
}

impl<'a> Channel<'a> {
    fn new(zone: &ZoneInfo, info: &'a ChannelInfo) -> Self {
        let lanes = || zone.lanes.iter().filter(|lane| lane.channel == info.index);
        Channel {
            channel: &info.name,
            r#type: info.ty.as_ref().map(Type::new),
            writers: lanes().filter(|lane| !lane.ended).count(),
            readers: info.readers,
            bytes: lanes().map(|lane| lane.capacity).sum(),
        }
    }
}

impl<'a> Type<'a> {
    fn new(ty: &'a TypeDesc) -> Self {
        let fields = ty.fields.iter().map(|field| Field {
            name: &field.name,
            offset: field.offset,
            count: field.count,
            scalar: format!("{:?}", field.scalar).to_lowercase(),
        });
        Type {
            name: &ty.name,
            size: ty.size,
            align: ty.align,
            variable: ty.variable,
            fields: fields.collect(),
            text: ty.to_string(),
        }
    }
}

impl<'a> Writer<'a> {
    fn new(zone: &'a ZoneInfo, info: &'a WriterInfo) -> Self {
        let lanes: Vec<&LaneUse> = zone.lanes.iter().filter(|lane| lane.serial == info.serial).collect();
        Writer {
            writer: info.row,
            name: &info.name,
            pid: info.pid,
            uid: info.uid,
            commits: info.version,
            channels: names(zone, lanes.iter().map(|lane| lane.channel)),
            bytes: lanes.iter().map(|lane| lane.capacity).sum(),
        }
    }
}

impl<'a> Reader<'a> {
    fn new(zone: &'a ZoneInfo, info: &'a ReaderInfo) -> Self {
        Reader {
            name: &info.name,
            pid: info.pid,
            uid: info.uid,
            synced: info.synced,
            channels: names(zone, info.channels.iter().copied()),
        }
    }
}

/// The names of channels.
fn names(zone: &ZoneInfo, channels: impl Iterator<Item = u32>) -> Vec<&str> {
    channels.filter_map(|index| zone.channel(index)).map(|channel| channel.name.as_str()).collect()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1024.0 / 1024.0 / 1024.0),
    }
}

/// Columns as wide as they need to be; nothing if there are no rows.
fn table(lines: &mut Vec<String>, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let head = head.iter().map(|&title| title.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    if rows.len() == 1 {
        return;
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in &rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            line.push_str(&format!(" {cell:width$} "));
        }
        lines.push(line.trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut lines = Vec::new();
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["größer".to_owned(), "22".to_owned()]];
        table(&mut lines, &["NAME", "N"], rows.into_iter());
        assert_eq!(lines, ["  NAME    N", "  a       1", "  größer  22"]);
        table(&mut lines, &["NAME", "N"], std::iter::empty());
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(7), size(1536), size(3 << 20), size(5 << 30)], ["7 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]);
    }
}
