//! `syncline table set`: becomes a table's owner, sets items in one commit, and gives the table up.

use super::Named;
use super::create::Create;
use super::item::{self, Items, assignment};
use super::value::{self, Patch, parse};
use crate::cli::Place;
use crate::cli::arguments::seconds;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::cli::seal::{pause, seal};
use crate::client::{Bus, Finder, HaltMode, Table, TableReader, Writer, Zone};
use crate::error::{Code, Error};
use crate::wire::{Group, Schema, TableItem};
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The longest single wait, after which signals are looked at.
const SLICE: Duration = Duration::from_millis(100);

pub(super) const EXAMPLES: &str = "\
Examples:
  syncline table set plant state level=0.75 'valve[3]=1' 'pose={\"x\":1.5}' --edge
  syncline table set plant state level=0 --create level:f64 --create valve:u32:8 --create note:bytes:200

A table goes with its zone, which goes with the last who is in it: `syncline zone create` makes one that stays.";

/// Arguments of `table set`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    of: Named,
    /// What is set, all at once; several items of one assignment each to its value
    #[arg(value_name = "ITEM=VALUE", required_unless_present = "create", long_help = HELP.as_str())]
    items: Vec<String>,
    /// Make the table, if it is not there, with this item, or so many of one name; one that is there must have the same. TYPE is u8 to u64, i8 to
    /// i64, f32, f64, bool or bytes:LEN (any up to LEN)
    #[arg(long, value_name = "NAME:TYPE[:COUNT]")]
    create: Vec<Create>,
    /// How long to wait while others own the table; after that the exit status is 3, and who owns it is named
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    wait: Duration,
    /// Run an edge then
    #[arg(long)]
    edge: bool,
    /// This writer's name
    #[arg(long, default_value = "table")]
    name: String,
}

static HELP: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{}\n\n{}", item::HELP, value::HELP));

/// Runs `table set`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let bus = place.connect()?;
    let zone = bus.zone(&arguments.of.zone);
    let created: Vec<TableItem> = arguments.create.iter().map(|Create(item)| item.clone()).collect();
    // Kept to the end: what the table is declared to have stays so meanwhile.
    let reader = find(&zone, &arguments.of, !created.is_empty())?;
    let sets = match &reader {
        Some(reader) => all(&reader.finder(), &arguments.items, &interrupt)?,
        None => {
            let mut schema = Schema::new(crate::layout::table::MAX_VERSIONS);
            created.iter().cloned().try_for_each(|item| schema.push(item)).map_err(Exit::Failed)?;
            let finder = Finder { schema: &schema, name: &arguments.of.table, tag: 0, table: 0 };
            all(&finder, &arguments.items, &interrupt)?
        }
    };
    let (mut writer, table) = own(&zone, arguments, created, &interrupt)?;
    // While the zone is halted, signals are looked at.
    writer.on_halt(HaltMode::Refuse);
    while !sets.is_empty() {
        match set(&mut writer, table, &sets) {
            Ok(()) => break,
            Err(Error::Halted | Error::Overtaken) => pause(&interrupt)?,
            Err(error) => return Err(error.into()),
        }
    }
    if arguments.edge {
        seal(&mut writer, None, &interrupt)?;
    }
    writer.close_table(table)?;
    drop(reader);
    warn(&bus, &zone)
}

/// The table, if it is there.
fn find(zone: &Zone, of: &Named, may_be_made: bool) -> Outcome<Option<TableReader>> {
    match zone.table(&of.table) {
        Ok(reader) => Ok(Some(reader)),
        Err(error) if error.code() != Code::Unknown => Err(error.into()),
        Err(_) if may_be_made => Ok(None),
        Err(_) => Err(Exit::Failed(format!(
            "table `{}` of zone `{}`: expected it to exist, found none; make it with --create NAME:TYPE",
            of.table, of.zone
        ))),
    }
}

/// Items, and what they are set to.
struct Set {
    indices: Range<u32>,
    /// Of an element of their type.
    size: usize,
    patch: Patch,
}

/// All that is to be set, if all of it can be.
fn all(finder: &Finder<'_>, items: &[String], interrupt: &Interrupt) -> Outcome<Vec<Set>> {
    let mut sets = Vec::new();
    for text in items {
        let (items, value): (Items, &str) = assignment(text).map_err(Exit::Failed)?;
        let indices = items.resolve(finder)?;
        let end = indices.end;
        let mut next = indices.start;
        // A range may have items of several types.
        while next < end {
            let group: &Group = finder.at(next)?.1;
            let indices = next..end.min(group.first + group.run.count);
            let named = |why| format!("item `{}` of table `{}`: {why}", item::label(group, next), finder.name);
            let patch = parse(group, value, interrupt).map_err(|exit| match exit {
                Exit::Failed(why) => Exit::Failed(named(why)),
                exit => exit,
            })?;
            next = indices.end;
            sets.push(Set { indices, size: group.ty.size as usize, patch });
        }
    }
    Ok(sets)
}

/// Becomes the owner. Whoever waits for that keeps its place among those who do, and finds out about a signal.
fn own(zone: &Zone, arguments: &Arguments, created: Vec<TableItem>, interrupt: &Interrupt) -> Outcome<(Writer, Table)> {
    let mut writer = zone.writer(&arguments.name)?;
    let (sender, opened) = channel();
    let (name, wait) = (arguments.of.table.clone(), arguments.wait);
    let thread = std::thread::Builder::new().spawn(move || {
        let deadline = Instant::now().checked_add(wait);
        let left = || deadline.map_or(wait, |deadline| deadline.saturating_duration_since(Instant::now()));
        let table = loop {
            let builder = writer.table(&name).wait(left());
            let builder = created.iter().fold(builder, |builder, item| match &item.ty {
                Some(ty) => builder.described(&item.name, item.count, item.max_len, ty.clone()),
                None => builder,
            });
            match builder.open() {
                Err(error) if is_owned(&error) && !left().is_zero() => std::thread::sleep(SLICE.min(left()) / 10),
                other => break other,
            }
        };
        // Nobody may be there any more.
        let _ = sender.send(table.map(|table| (writer, table)));
    });
    thread.map_err(Exit::io("starting a thread that waits for the table"))?;
    let opened = loop {
        interrupt.check()?;
        match opened.recv_timeout(SLICE) {
            Ok(opened) => break opened,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Exit::Failed("the thread that waits for the table has ended".to_owned()));
            }
        }
    };
    opened.map_err(
        |error| if is_owned(&error) { owner(zone, arguments).unwrap_or_else(|| error.into()) } else { error.into() },
    )
}

fn is_owned(error: &Error) -> bool {
    matches!(error.code(), Code::Timeout | Code::Invalid)
}

/// Others own the table: who.
fn owner(zone: &Zone, arguments: &Arguments) -> Option<Exit> {
    let table = &arguments.of.table;
    let info = zone.tables().ok()?.into_iter().find(|info| info.name == *table && info.pid != 0)?;
    let (zone, wait) = (zone.name(), arguments.wait.as_secs_f64());
    Some(Exit::TimedOut(format!(
        "table `{table}` of zone `{zone}`: writer `{}` (process {}) owns it, and did not give it up within {wait} s; end it, or raise --wait",
        info.writer, info.pid
    )))
}

/// Sets everything in one commit.
fn set(writer: &mut Writer, table: Table, sets: &[Set]) -> Result<(), Error> {
    let mut items = Vec::new();
    for set in sets {
        for index in set.indices.clone() {
            items.push((writer.any_item(table, index)?, set));
        }
    }
    let mut batch = writer.batch()?;
    for (item, set) in items {
        // With what was set before in this batch.
        let now = if matches!(set.patch, Patch::Fields(_)) { batch.get_bytes(item)? } else { Vec::new() };
        batch.set_raw(item, &set.patch.apply(set.size, now))?;
    }
    batch.commit()
}

/// Says that the table goes with this process, if it does.
fn warn(bus: &Bus, zone: &Zone) -> Outcome {
    let name = zone.name();
    let is_left = bus
        .list()?
        .iter()
        .any(|info| info.name == name && (info.created || info.writers.len() > 1 || !info.readers.is_empty()));
    if !is_left && zone.tables()?.iter().all(|table| table.readers == 0) {
        tracing::warn!(
            "nobody else is in zone `{name}`: it goes now, and the table with it; `syncline zone create {name}` makes one that stays"
        );
    }
    Ok(())
}
