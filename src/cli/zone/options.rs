//! What a zone is made with.

use crate::cli::arguments::{bytes, milliseconds};
use crate::client::Zone;
use crate::layout::zone::{MAX_ENTRIES, MAX_ERAS, MAX_WRITERS, MIN_ERAS};
use clap::value_parser;
use std::time::Duration;

/// Options of whoever makes a zone. One that is there already must have been made with the same; what is not said, it may have.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Zone options (a zone that is there already must agree)")]
pub(in crate::cli) struct Options {
    /// An edge every MS milliseconds, run by the broker, or by the writers when it is gone
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with_all = ["lockstep", "revocable"])]
    click: Option<Duration>,
    /// An edge after N commits of one writer
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), conflicts_with_all = ["lockstep", "revocable"])]
    every_commits: Option<u64>,
    /// An edge after so many bytes published by one writer
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with_all = ["lockstep", "revocable"])]
    every_bytes: Option<u64>,
    /// Edges pass when every writer has given its permit, or MS milliseconds after the first has
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with = "revocable")]
    lockstep: Option<Duration>,
    /// The same, and the open era can be rolled back. Such a zone has no live readers
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    revocable: Option<Duration>,
    /// Sealed eras that stay to be had after their writers have gone [default: none]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    keep_eras: Option<u32>,
    /// Bytes of history that each lane holds at least
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    keep_bytes: Option<u64>,
    /// The most writers at a time [default: 64]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MAX_WRITERS)))]
    writers: Option<u32>,
    /// Eras that the zone remembers, a power of two [default: 64, or as many as are kept]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(i64::from(MIN_ERAS)..=i64::from(MAX_ERAS)))]
    eras: Option<u32>,
    /// The most subscriptions (reader x lane) at a time [default: 1024]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MAX_ENTRIES)))]
    subscriptions: Option<u32>,
}

impl Options {
    /// The zone with these options.
    pub(in crate::cli) fn of(&self, zone: Zone) -> Zone {
        let zone = with(zone, self.click, Zone::click);
        let zone = with(zone, self.every_commits, Zone::every_commits);
        let zone = with(zone, self.every_bytes, Zone::every_bytes);
        let zone = with(zone, self.lockstep, Zone::lockstep);
        let zone = with(zone, self.revocable, Zone::revocable);
        let zone = with(zone, self.keep_eras, Zone::keep_eras);
        let zone = with(zone, self.keep_bytes, Zone::keep_bytes);
        let zone = with(zone, self.writers, Zone::writers);
        let zone = with(zone, self.eras, Zone::eras);
        with(zone, self.subscriptions, Zone::subscriptions)
    }
}

fn with<T>(zone: Zone, value: Option<T>, set: impl FnOnce(Zone, T) -> Zone) -> Zone {
    match value {
        Some(value) => set(zone, value),
        None => zone,
    }
}
