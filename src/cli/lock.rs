//! `syncline lock`: a command that runs while it has a lock.

use super::Place;
use super::arguments::seconds;
use super::child;
use super::exit::{Exit, Outcome};
use super::interrupt::Interrupt;
use crate::client::{Lock, LockGuard};
use crate::error::{Code, Error};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::Command;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Who waits gets the lock in the order of asking. Exit status: the command's; 126 or 127 if it can not be run; 3 if the lock was not to be had. \
The command finds the number of its grant in $SYNCLINE_FENCE: it grows from grant to grant, so that what the lock guards can refuse \
whoever comes with a smaller one than it has seen. If the last holder died with the lock, that is said on standard error.

The lock is given back when the command has ended, or with the death of this process, which sends the command a SIGTERM.

Examples:  syncline lock plant valve -- ./turn-valve
           syncline lock plant nightly --try -- ./backup";

/// Arguments of `lock`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The zone; it need not exist
    zone: String,
    /// The lock
    name: String,
    /// Do not wait: end with status 3 if somebody has it
    #[arg(long = "try", conflicts_with = "timeout")]
    only_try: bool,
    /// Wait for S seconds at most, and end with status 3 then [default: for ever]
    #[arg(long, value_name = "S", value_parser = seconds)]
    timeout: Option<Duration>,
    /// The command to run. Ctrl-C and SIGTERM end it by a SIGTERM
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `lock`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let Some((program, rest)) = arguments.command.split_first() else { return Ok(()) };
    let lock = place.connect()?.zone(&arguments.zone).lock(&arguments.name);
    // Until we have it, a signal just ends us.
    let guard = acquire(&lock, arguments)?;
    let interrupt = Interrupt::catch()?;
    if guard.predecessor_died() {
        let Arguments { zone, name, .. } = arguments;
        // Standard output is the command's.
        let told = format_args!("syncline: whoever had the lock `{name}` of zone `{zone}` last died with it\n");
        let _ = io::stderr().write_fmt(told);
    }
    let mut command = Command::new(program);
    command.args(rest).env("SYNCLINE_FENCE", guard.fence().to_string());
    child::run(program, &mut command, &interrupt, || check(&guard))
}

fn acquire(lock: &Lock, arguments: &Arguments) -> Outcome<LockGuard> {
    let Arguments { zone, name, timeout, .. } = arguments;
    let acquired = match (arguments.only_try, timeout) {
        (true, _) => lock.try_acquire()?,
        (false, timeout) => match lock.acquire(timeout.unwrap_or(Duration::MAX)) {
            Err(error) if error.code() == Code::Timeout => None,
            acquired => Some(acquired?),
        },
    };
    acquired.ok_or_else(|| Exit::TimedOut(format!("lock `{name}` of zone `{zone}`: somebody else has it")))
}

fn check(guard: &LockGuard) -> Outcome {
    match guard.check() {
        Ok(()) => Ok(()),
        Err(Error::NoBroker { .. }) => Err(Exit::Failed("the lock is lost: the broker has gone".to_owned())),
        Err(error) => Err(error.into()),
    }
}
