//! `syncline table watch`: changes of items, with the new values, as they come.

use super::Named;
use super::era::{Values, values};
use super::item::{self, Items};
use super::show::{Form, Printer};
use crate::cli::Place;
use crate::cli::arguments::{milliseconds, seconds};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::client::{Changes, TableReader, TableWatch, Zone};
use crate::error::{Error, Result};
use std::time::{Duration, Instant};

/// The longest single wait, after which signals and standard output are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// Arguments of `table watch`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    of: Named,
    /// Which items [default: all]
    #[arg(value_name = "ITEM", long_help = item::HELP)]
    items: Vec<Items>,
    /// At edges, what the era has changed, with the values that it has left
    #[arg(long)]
    synced: bool,
    /// Once in so many milliseconds at most: of the changes between, each item once
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    every: Option<Duration>,
    /// End after so many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to wait for the table, if it is not there; after that the exit status is 3 [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,
    /// One JSON object a change, as of `table get`
    #[arg(long)]
    json: bool,
    /// This reader's name
    #[arg(long, default_value = "table")]
    name: String,
}

/// Runs `table watch`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let zone = place.connect()?.zone(&arguments.of.zone);
    let mut printer = Printer::new(&arguments.of.zone, if arguments.json { Form::Json } else { Form::Labelled })?;
    let table = wait_for(&zone, arguments, &printer, &interrupt)?;
    let mut watch = open(&table, arguments)?;
    drop(table);
    let mut left = arguments.count;
    while left != Some(0) {
        interrupt.check()?;
        let changes = match watch.next(SLICE) {
            Ok(changes) => changes,
            Err(Error::Timeout) => {
                printer.output.check()?;
                continue;
            }
            // Nothing is lost.
            Err(Error::Overtaken | Error::Early) => continue,
            Err(error) => return Err(error.into()),
        };
        let changed = read(&mut watch, &changes, &interrupt)?;
        for (index, bytes) in &changed.items {
            if left == Some(0) {
                break;
            }
            printer.print(watch.table(), (changed.era, true), *index, bytes)?;
            left = left.map(|left| left - 1);
        }
        printer.output.flush()?;
    }
    Ok(())
}

/// The table, once it is there.
fn wait_for(zone: &Zone, arguments: &Arguments, printer: &Printer, interrupt: &Interrupt) -> Outcome<TableReader> {
    let deadline = arguments.wait.and_then(|wait| Instant::now().checked_add(wait));
    loop {
        interrupt.check()?;
        printer.output.check()?;
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        match zone.wait_table(&arguments.of.table, left.min(SLICE)) {
            Err(Error::Timeout) if left <= SLICE && deadline.is_some() => {
                let Named { zone, table } = &arguments.of;
                return Err(Exit::TimedOut(format!(
                    "table `{table}` of zone `{zone}`: not there in time; start its writer first"
                )));
            }
            Err(Error::Timeout) => {}
            other => return Ok(other?),
        }
    }
}

fn open(table: &TableReader, arguments: &Arguments) -> Result<TableWatch> {
    let finder = table.finder();
    let mut watch = table.watch(&arguments.name);
    for items in &arguments.items {
        watch = watch.range(items.resolve(&finder)?);
    }
    if arguments.synced {
        watch = watch.synced();
    }
    if let Some(every) = arguments.every {
        watch = watch.every(every);
    }
    watch.open()
}

/// The values of what has changed, which belong together if their writer lets us look for so long.
fn read(watch: &mut TableWatch, changes: &Changes, interrupt: &Interrupt) -> Outcome<Values> {
    let table = watch.table();
    let items = changes.items.iter().map(|&index| table.any_item(index)).collect::<Result<Vec<_>>>()?;
    let Some(mut era) = changes.era else {
        return match table.read(|view| values(view, &items, true)) {
            Err(Error::Overtaken) => one_by_one(table, &items, interrupt),
            other => Ok(other?),
        };
    };
    loop {
        match table.at(era).and_then(|view| values(&view, &items, true)) {
            Err(Error::Overtaken) => interrupt.check()?,
            // More was sealed meanwhile: the next era's changes are told as well, then.
            Err(Error::Gone { generation, .. }) if generation > era => {
                interrupt.check()?;
                era = generation;
            }
            other => return Ok(other?),
        }
    }
}

fn one_by_one(table: &mut TableReader, items: &[crate::client::Item<[u8]>], interrupt: &Interrupt) -> Outcome<Values> {
    let mut values = Vec::new();
    for &item in items {
        let bytes = loop {
            match table.get_bytes(item) {
                Err(Error::Overtaken) => interrupt.check()?,
                other => break other?,
            }
        };
        values.push((item.index(), bytes));
    }
    Ok(Values { era: None, items: values })
}
