//! `syncline table ls`: tables, and what one is declared to have.

use super::item::written;
use crate::cli::Place;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::listing::Type;
use crate::cli::output::Output;
use crate::cli::table::{size, table};
use crate::client::Bus;
use crate::wire::{Group, TableInfo, check_name};
use serde::Serialize;

/// Arguments of `table ls`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// The zone [default: all]
    zone: Option<String>,
    /// A table of it: with its items, those that were declared together in one line
    table: Option<String>,
    /// One JSON object a table; with a table named, it has `groups`
    #[arg(long)]
    json: bool,
}

/// Runs `table ls`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let bus = place.connect()?;
    let mut tables = find(&bus, arguments.zone.as_deref())?;
    let mut groups = None;
    if let (Some(zone), Some(name)) = (&arguments.zone, &arguments.table) {
        tables.retain(|info| info.name == *name);
        // Only now: it is not counted as a reader.
        groups = Some(bus.zone(zone).table(name)?.groups().to_vec());
    }
    let mut output = Output::open()?;
    if arguments.json {
        tables.iter().try_for_each(|info| output.json(&Listed::new(info, groups.as_deref())))?;
        return output.flush();
    }
    let mut lines = Vec::new();
    table(
        &mut lines,
        &["ZONE", "TABLE", "ITEMS", "BYTES", "WRITER", "PID", "FENCE", "READERS"],
        tables.iter().map(row),
    );
    if let Some(groups) = &groups {
        lines.push(String::new());
        table(&mut lines, &["ITEMS", "NAME", "TYPE", "LONGEST", "FIELDS"], groups.iter().map(group_row));
    }
    for line in lines {
        output.line(format_args!("{line}"))?;
    }
    output.flush()
}

/// The tables of a zone, which has to be there, or of all.
fn find(bus: &Bus, zone: Option<&str>) -> Outcome<Vec<TableInfo>> {
    if let Some(zone) = zone {
        check_name("zone", zone).map_err(Exit::Failed)?;
    }
    let mut tables = bus.zone(zone.unwrap_or_default()).tables()?;
    if let Some(zone) = zone
        && tables.is_empty()
        && !bus.list()?.iter().any(|info| info.name == zone)
    {
        return Err(Exit::Failed(format!(
            "zone `{zone}`: expected it to exist, found none; `syncline ls` lists those that do"
        )));
    }
    tables.sort_by(|a, b| (&a.zone, &a.name).cmp(&(&b.zone, &b.name)));
    Ok(tables)
}

fn row(info: &TableInfo) -> Vec<String> {
    let TableInfo { zone, name, items, bytes, writer, pid, fence, readers } = info;
    let pid = if *pid == 0 { String::new() } else { pid.to_string() };
    let (items, fence, readers) = (items.to_string(), fence.to_string(), readers.to_string());
    vec![zone.clone(), name.clone(), items, size(*bytes), writer.clone(), pid, fence, readers]
}

fn group_row(group: &Group) -> Vec<String> {
    let Group { name, first, ty, max_len, run } = group;
    let indices = if run.count == 1 { first.to_string() } else { format!("{first}..{}", first + run.count) };
    let name = if name.is_empty() { String::new() } else { written(name) };
    let field = |field: &crate::wire::Field| {
        let scalar = format!("{:?}", field.scalar).to_lowercase();
        let count = if field.count == 1 { String::new() } else { format!("[{}]", field.count) };
        format!("{}: {scalar}{count}", field.name)
    };
    let fields: Vec<String> = ty.fields.iter().map(field).collect();
    vec![indices, name, ty.to_string(), size((*max_len).into()), fields.join(", ")]
}

#[derive(Serialize)]
struct Listed<'a> {
    zone: &'a str,
    table: &'a str,
    items: u32,
    bytes: u64,
    /// `None`: nobody owns it.
    writer: Option<&'a str>,
    pid: Option<u32>,
    fence: u64,
    readers: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Items<'a>>>,
}

/// Items that were declared together.
#[derive(Serialize)]
struct Items<'a> {
    /// The index of the first.
    first: u32,
    count: u32,
    name: Option<&'a str>,
    /// The longest value, in bytes.
    max_len: u32,
    r#type: Type<'a>,
}

impl<'a> Listed<'a> {
    fn new(info: &'a TableInfo, groups: Option<&'a [Group]>) -> Self {
        let items = |group: &'a Group| Items {
            first: group.first,
            count: group.run.count,
            name: Some(group.name.as_str()).filter(|name| !name.is_empty()),
            max_len: group.max_len,
            r#type: Type::new(&group.ty),
        };
        Listed {
            zone: &info.zone,
            table: &info.name,
            items: info.items,
            bytes: info.bytes,
            writer: Some(info.writer.as_str()).filter(|_| info.pid != 0),
            pid: Some(info.pid).filter(|&pid| pid != 0),
            fence: info.fence,
            readers: info.readers,
            groups: groups.map(|groups| groups.iter().map(items).collect()),
        }
    }
}
