//! `syncline zone halt`: a zone that stands still while something is done.

use super::Name;
use crate::cli::Place;
use crate::cli::arguments::milliseconds;
use crate::cli::child::{self, SLICE};
use crate::cli::exit::{Exit, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::Output;
use crate::client::{Halt, Unrested};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const EXAMPLE: &str = "\
Writers wait at their next message, edges and readers too; the zone goes on when this process ends, however it ends. Exit \
status: the command's; 126 or 127 if it can not be run.

Example:  syncline zone halt plant -- cp -r /var/lib/plant /backup";

/// Arguments of `zone halt`.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    zone: Name,
    /// Release the zone after MS milliseconds [default: on Ctrl-C]
    #[arg(long = "for", value_name = "MS", value_parser = milliseconds, conflicts_with = "command")]
    time: Option<Duration>,
    /// How long to wait for writers to come to rest (those that do not are named), and for the end of somebody else's halt (exit
    /// status 4 after that)
    #[arg(long, value_name = "MS", value_parser = milliseconds, default_value = "10")]
    deadline: Duration,
    /// A command to run while the zone is halted. Ctrl-C and SIGTERM end it by a SIGTERM
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `zone halt`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let halt = place.connect()?.zone(&arguments.zone.name).halt(arguments.deadline)?;
    match arguments.command.split_first() {
        Some((program, rest)) => {
            // Standard output is the command's.
            if !halt.late().is_empty() {
                let _ = writeln!(io::stderr(), "syncline: {}", told(halt.late()));
            }
            child::run(program, Command::new(program).args(rest), &interrupt, || check(&halt))
        }
        None => {
            let mut output = Output::open()?;
            output.line(format_args!("{}", told(halt.late())))?;
            output.flush()?;
            hold(&halt, arguments.time, &interrupt)
        }
    }
}

/// Who was late.
fn told(late: &[Unrested]) -> String {
    if late.is_empty() {
        return "halted: every writer is at rest".to_owned();
    }
    let name = |Unrested { row, pid, name }: &Unrested| {
        let name = if name.is_empty() { String::new() } else { format!("`{name}`, ") };
        format!("writer {row} ({name}process {pid})")
    };
    let names: Vec<_> = late.iter().map(name).collect();
    format!("halted, but in the middle of a commit and late: {}", names.join(", "))
}

/// Holds the zone until the time is up, or a signal.
fn hold(halt: &Halt, time: Option<Duration>, interrupt: &Interrupt) -> Outcome {
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        check(halt)?;
        match (interrupt.check(), time) {
            (Ok(()), _) => {}
            // Nothing else was to end it.
            (Err(_), None) => return Ok(()),
            (interrupted, Some(_)) => return interrupted,
        }
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        interrupt.sleep(None, left.min(SLICE));
    }
}

fn check(halt: &Halt) -> Outcome {
    if halt.holds() {
        return Ok(());
    }
    let told =
        "the halt is lost: this process stood still for longer than a second while no broker held it; the zone goes on";
    Err(Exit::Failed(told.to_owned()))
}
