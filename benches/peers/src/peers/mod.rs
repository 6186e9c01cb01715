//! The peers, in the order of the tables.

mod futex;
mod pipe;
mod ring;
mod socket;
mod stream;
mod syncline;

#[cfg(feature = "aeron")]
mod aeron;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
#[cfg(feature = "zeromq")]
mod zeromq;

use crate::boards;
use crate::peer::{Entry, Work};

/// All that were built.
pub const ALL: &[Entry] = &[
    Entry::of::<ring::Ring>(),
    Entry::of::<futex::Futex>(),
    Entry::of::<syncline::Syncline>(),
    #[cfg(feature = "iceoryx2")]
    Entry::of::<iceoryx2::Iceoryx2>(),
    #[cfg(feature = "aeron")]
    Entry::of::<aeron::Aeron>(),
    #[cfg(feature = "zeromq")]
    Entry::of::<zeromq::ZeroMq>(),
    Entry::of::<socket::Socket>(),
    Entry::of::<pipe::Pipe>(),
];

/// Those among which who does such work is looked for.
pub fn of(work: Work) -> &'static [Entry] {
    if work == Work::Table { boards::ALL } else { ALL }
}

/// The one that all are compared with.
pub const OURS: &str = <syncline::Syncline as crate::peer::Peer>::NAME;

/// For the command line.
pub fn names() -> clap::builder::PossibleValuesParser {
    let mut names: Vec<&str> = ALL.iter().chain(boards::ALL).map(|entry| entry.name).collect();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    clap::builder::PossibleValuesParser::new(names)
}

/// What a kernel is called, for peers that are part of it.
fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

/// The probe for those that sleep.
pub fn futex() -> &'static Entry {
    const FUTEX: &Entry = &Entry::of::<futex::Futex>();
    FUTEX
}

/// The version of a crate that this was built with.
#[allow(dead_code, reason = "not without those features")]
pub fn locked(name: &str) -> &'static str {
    let packages = include_str!("../../Cargo.lock").split("[[package]]");
    let value = |package: &'static str, key: &str| -> Option<&'static str> {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"'))
    };
    let mut found = packages.filter(|package| value(package, "name") == Some(name));
    found.next().and_then(|package| value(package, "version")).unwrap_or("of unknown version")
}
