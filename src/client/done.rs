//! Waiting until every reader has done with an era.

use super::driver::Driver;
use super::link::Link;
use super::waiting::{self, Deadline};
use crate::error::{Error, Laggard, Result};
use crate::layout::meeting::{Entry, TAKES_NO_ERAS};
use crate::layout::zone::{ENTRY_EVICTED, NO_LANE};
use crate::ring::order;
use std::time::Duration;

/// Sleeps until each reader that takes eras has done with `era`.
pub(crate) fn wait(link: &Link, zone: u64, driver: &Driver, era: u64, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    loop {
        if behind(driver, era).next().is_none() {
            return Ok(());
        }
        if deadline.has_passed() {
            let laggards = name(link, zone, era, behind(driver, era));
            return if laggards.is_empty() { Ok(()) } else { Err(Error::Laggards { era, laggards }) };
        }
        let done = &driver.meeting.view().header.done.0;
        let expected = waiting::announce(done, u32::MAX);
        if behind(driver, era).next().is_some() {
            waiting::sleep(done, expected, deadline);
        }
    }
}

/// Process and last era of each entry whose reader has not done with `era`.
fn behind(driver: &Driver, era: u64) -> impl Iterator<Item = (u32, u64)> {
    let (zone, meeting) = (driver.zone.view(), driver.meeting.view());
    let entries = zone.entry_lane.iter().zip(meeting.entries);
    entries.filter_map(move |(lane, entry): (_, &Entry)| {
        let word = lane.load(order::ENTRY_SEE.get());
        let in_use = word != NO_LANE && word & ENTRY_EVICTED == 0;
        let taken = entry.taken.load(order::TAKEN_SEE.get());
        let is_behind = in_use && taken != TAKES_NO_ERAS && taken < era;
        is_behind.then(|| (entry.pid.load(order::RELAXED.get()) as u32, taken))
    })
}

/// The readers of these entries: by name, if the broker can be asked; else a process each.
fn name(link: &Link, zone: u64, era: u64, entries: impl Iterator<Item = (u32, u64)>) -> Vec<Laggard> {
    if let Ok(zones) = link.list() {
        let readers = zones.into_iter().filter(|info| info.zone == zone).flat_map(|info| info.readers);
        let laggard = |reader: crate::wire::ReaderInfo| {
            let taken = reader.taken.filter(|&taken| taken < era)?;
            Some(Laggard { name: reader.name, pid: reader.pid, taken })
        };
        return readers.filter_map(laggard).collect();
    }
    let mut laggards: Vec<Laggard> = Vec::new();
    for (pid, taken) in entries {
        match laggards.iter_mut().find(|known| known.pid == pid) {
            Some(known) => known.taken = known.taken.min(taken),
            None => laggards.push(Laggard { name: String::new(), pid, taken }),
        }
    }
    laggards
}
