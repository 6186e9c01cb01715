//! How a command ends: an exit status, and what is said on standard error.

use crate::error::{Code, Error};
use std::io;
use std::process::ExitCode;

/// What a command answers.
pub(super) type Outcome<T = ()> = Result<T, Exit>;

/// Every way to end other than done.
#[derive(Debug)]
pub(super) enum Exit {
    /// Something went wrong.
    Failed(String),
    /// A timeout passed.
    TimedOut(String),
    /// The zone is halted.
    Halted(String),
    /// The era that was asked for is not to be had.
    Gone(String),
    /// The open era was rolled back.
    RolledBack(String),
    /// A command that was run in our name ended with this status, or could not be run, and why.
    Command(u8, Option<String>),
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// Whoever read standard output has gone.
    OutputClosed,
}

impl Exit {
    /// A failure of the operating system, with what was being done.
    pub(super) fn io(doing: &str) -> impl FnOnce(io::Error) -> Exit {
        move |source| Exit::Failed(format!("{doing}: {source}"))
    }

    /// A failure to write standard output.
    pub(super) fn output(source: io::Error) -> Exit {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Exit::OutputClosed,
            _ => Exit::io("writing standard output")(source),
        }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Exit {
        let text = error.to_string();
        match error.code() {
            Code::Timeout | Code::Laggards => Exit::TimedOut(text),
            Code::Halted => Exit::Halted(text),
            Code::Gone => Exit::Gone(text),
            Code::RolledBack => Exit::RolledBack(text),
            _ => Exit::Failed(text),
        }
    }
}

/// Says what there is to say, and turns it into the exit status.
pub(super) fn status(outcome: Outcome) -> ExitCode {
    let (status, text) = match outcome {
        Ok(()) | Err(Exit::OutputClosed) => return ExitCode::SUCCESS,
        Err(Exit::Failed(text)) => (1, text),
        Err(Exit::TimedOut(text)) => (3, text),
        Err(Exit::Halted(text)) => (4, text),
        Err(Exit::Gone(text)) => (5, text),
        Err(Exit::RolledBack(text)) => (6, text),
        Err(Exit::Command(status, Some(text))) => (status, text),
        Err(Exit::Command(status, None)) => return ExitCode::from(status),
        Err(Exit::Interrupted) => return ExitCode::from(130),
    };
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("syncline: {text}\n"));
    ExitCode::from(status)
}
