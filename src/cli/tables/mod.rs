//! `syncline table`: listing, reading, setting and watching tables.

mod create;
mod dump;
mod era;
mod get;
mod item;
mod list;
mod set;
mod show;
mod value;
mod watch;

use super::Place;
use super::exit::Outcome;

/// The commands of `table`.
#[derive(clap::Subcommand, Debug)]
pub(super) enum Table {
    /// List tables with their writers and readers or, with a table named, what it is declared to have
    #[command(after_help = "Example:  syncline table ls plant state")]
    Ls(list::Arguments),
    /// Print the values of items, which belong together: as one commit or one era has left them
    #[command(after_help = get::EXAMPLES)]
    Get(get::Arguments),
    /// Set items, all in one commit, and give the table up again
    #[command(after_help = set::EXAMPLES)]
    Set(set::Arguments),
    /// Print items whenever they change, with their new values
    #[command(after_help = "Example:  syncline table watch plant state level 'valve[0..4]' --json")]
    Watch(watch::Arguments),
    /// Print all items that were ever set
    #[command(after_help = "Example:  syncline table dump plant state --era previous --json")]
    Dump(dump::Arguments),
}

/// Which table.
#[derive(clap::Args, Debug)]
pub(super) struct Named {
    /// The zone
    zone: String,
    /// The table
    table: String,
}

/// Runs `table`.
pub(super) fn run(command: &Table, place: &Place) -> Outcome {
    match command {
        Table::Ls(arguments) => list::run(arguments, place),
        Table::Get(arguments) => get::run(arguments, place),
        Table::Set(arguments) => set::run(arguments, place),
        Table::Watch(arguments) => watch::run(arguments, place),
        Table::Dump(arguments) => dump::run(arguments, place),
    }
}
