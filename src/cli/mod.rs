//! The `syncline` program: one file a subcommand.
//!
//! Arguments are parsed here, each command gets its own and a way to reach the broker, and whatever it answers becomes an
//! exit status and at most one line on standard error (`exit`).

mod arguments;
mod bench;
mod broker;
mod child;
mod demo;
mod edge;
mod exit;
mod frames;
mod input;
mod interrupt;
mod lines;
mod list;
mod listing;
mod lock;
mod output;
mod phrase;
mod publish;
mod render;
mod seal;
mod stat;
mod subscribe;
mod table;
mod tables;
mod watch;
mod zone;

use crate::client::Bus;
use clap::{Parser, Subcommand};
use exit::{Exit, Outcome};
use std::path::PathBuf;
use std::process::ExitCode;

/// Shared-memory messages between processes, with SYNC edges that make a whole era visible at once.
#[derive(Parser, Debug)]
#[command(name = "syncline", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Program {
    /// The broker's socket [default: $SYNCLINE_SOCKET, else $XDG_RUNTIME_DIR/syncline/broker.sock, else
    /// /tmp/syncline-$UID/broker.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done; 1 failure, told on standard error; 2 wrong usage; 3 a timeout passed; 4 the zone is halted; 5 that \
era is not to be had; 6 the open era was rolled back; 130 interrupted (Ctrl-C or SIGTERM). When whoever reads standard \
output has gone (`| head`), a command ends quietly with 0.

Logs go to standard error: RUST_LOG=debug, say, chooses how much (the broker's default is info, else warn).

Try:  syncline demo

or:   syncline broker &
      syncline sub greetings --count 1 &
      echo hello | syncline pub greetings --wait-readers 1";

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the broker: others find each other through it
    Broker,
    /// Publish each line of standard input as a message, or (`--frames`) whole eras
    #[command(after_help = publish::EXAMPLES)]
    Pub(publish::Arguments),
    /// Print the messages of channels, one a line, or (`--frames`) carry whole eras
    #[command(after_help = subscribe::EXAMPLES)]
    Sub(subscribe::Arguments),
    /// List zones with their policies, channels, types, writers and readers
    Ls(list::Arguments),
    /// Print counters of writers, lanes and readers, and with --follow how fast they go
    #[command(after_help = stat::EXAMPLES)]
    Stat(stat::Arguments),
    /// Make, show, halt or remove a zone, or run an edge in it
    #[command(subcommand)]
    Zone(zone::Zone),
    /// List, read, set and watch tables: state that one process sets and others have
    #[command(subcommand)]
    Table(tables::Table),
    /// Print who comes, leaves and dies, as it happens
    Watch(watch::Arguments),
    /// Run a command while it has a lock that processes share
    #[command(after_help = lock::EXAMPLES)]
    Lock(lock::Arguments),
    /// Show the main job on this host's own figures, or (`demo torn`) why edges are needed
    Demo(demo::Arguments),
    /// Measure latency, throughput, commits and edges, against the bare limits of this machine
    #[command(subcommand)]
    Bench(bench::Bench),
    /// A process of a demo
    #[command(hide = true)]
    DemoPart(demo::part::Arguments),
}

/// How commands reach the broker.
#[derive(Debug)]
struct Place {
    socket: Option<PathBuf>,
}

impl Place {
    fn connect(&self) -> Result<Bus, Exit> {
        Ok(match &self.socket {
            Some(path) => Bus::connect_to(path)?,
            None => Bus::connect()?,
        })
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(told) => {
            // Help and version end here too, with status 0. A closed output leaves nobody to tell.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    log_to_stderr(if matches!(program.command, Command::Broker) { "info" } else { "warn" });
    let place = Place { socket: program.socket };
    exit::status(run(program.command, &place))
}

fn run(command: Command, place: &Place) -> Outcome {
    match command {
        Command::Broker => broker::run(place.socket.clone()),
        Command::Pub(arguments) => publish::run(&arguments, place),
        Command::Sub(arguments) => subscribe::run(&arguments, place),
        Command::Ls(arguments) => list::run(&arguments, place),
        Command::Stat(arguments) => stat::run(&arguments, place),
        Command::Zone(command) => zone::run(&command, place),
        Command::Table(command) => tables::run(&command, place),
        Command::Watch(arguments) => watch::run(&arguments, place),
        Command::Lock(arguments) => lock::run(&arguments, place),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(bench) => bench::run(&bench, place),
        Command::DemoPart(arguments) => demo::part::run(&arguments, place),
    }
}

fn log_to_stderr(default: &str) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }
}
