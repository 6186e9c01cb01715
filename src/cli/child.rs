//! A command that is run in our name, while we hold something for it.

use super::exit::{Exit, Outcome};
use super::interrupt::Interrupt;
use crate::os::process::open_pidfd;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// The longest single wait, after which it is looked at whether we still hold it.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// Runs a command to its end; its status is ours. Ctrl-C and SIGTERM end it by a SIGTERM, and so does our own end. `check` says whether we hold
/// what it is to have.
pub(super) fn run(
    program: &OsStr,
    command: &mut Command,
    interrupt: &Interrupt,
    check: impl Fn() -> Outcome,
) -> Outcome {
    let can_not = |error: io::Error| {
        let status = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        Exit::Command(status, Some(format!("running `{}`: {error}", program.display())))
    };
    dies_with_us(command);
    let mut child = Kept(command.spawn().map_err(can_not)?);
    let pid = Pid::from_raw(child.0.id().cast_signed());
    let pidfd = open_pidfd(pid.as_raw()).map_err(Exit::io("watching the command"))?;
    let mut is_told = false;
    let ended = loop {
        if let Some(ended) = child.0.try_wait().map_err(Exit::io("waiting for the command"))? {
            break ended;
        }
        // It must not think that it has what it has not.
        check()?;
        if !is_told && interrupt.check().is_err() {
            // It may be at its end.
            let _ = kill(pid, Signal::SIGTERM);
            interrupt.wait();
            is_told = true;
        }
        interrupt.sleep(Some(pidfd.as_fd()), SLICE);
    };
    check()?;
    match status(ended) {
        0 => Ok(()),
        status => Err(Exit::Command(status, None)),
    }
}

/// The command ends with this process, with whose death ends what we hold.
fn dies_with_us(command: &mut Command) {
    let parent = getpid();
    let ask = move || {
        set_pdeathsig(Signal::SIGTERM)?;
        // Who is dead already sends nothing.
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// As shells have it.
fn status(ended: ExitStatus) -> u8 {
    let status = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    u8::try_from(status).unwrap_or(1)
}

/// A command that ends, whatever we end by.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        }
    }
}
