//! A round of two processes in lockstep: each publishes 8 bytes, gives its permit, spins for the era, and reads both messages. Against one
//! bare cache line, one way: whoever is last has the other's permit to take, and the other its edge.

use super::Options;
use crate::cli::bench::bare::Arena;
use crate::cli::bench::bounce::{Compared, Court, Reference, TRIPS, compare, sample};
use crate::cli::bench::peer::{Job, capacity, check, publish, ready};
use crate::client::{Bus, Lane, Reader, Writer};
use crate::error::{Error, Result};
use crate::layout::zone::Reason;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Bytes of a message.
const SIZE: usize = 8;
/// Long enough for a machine that stalls: no round is to pass by its deadline.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    #[serde(flatten)]
    compared: Compared,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let compared = compare(options, Reference::Line, rounds)?;
    if options.json {
        let report = Report { benchmark: "lockstep round", size: SIZE, compared };
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else {
        compared.print(&format!("lockstep round of two processes, {SIZE} bytes each"));
    }
    Ok(())
}

fn rounds(court: &mut Court<'_>) -> Result<(Histogram<u64>, u64)> {
    court.arena.reset();
    let mut side = Side::open(court.bus)?;
    court.other.begin(Job::Round, SIZE)?;
    let mut done = 0;
    let samples = sample(court.time, 1, |from| {
        for number in from..from + TRIPS {
            side.give(number)?;
            side.take(number, Duration::from_secs(10))?;
            done += 1;
        }
        Ok(())
    })?;
    court.arena.stop();
    let others = court.other.end()?;
    let generation = side.writer.generation()?;
    if others != done || generation < done {
        return Err(Error::Corrupt(format!("{done} rounds here, {others} there, {generation} eras")));
    }
    Ok((samples, done))
}

/// The other process: goes along until the run is over; how many rounds.
pub(in crate::cli::bench) fn go_along(bus: &Bus, arena: &Arena) -> Result<u64> {
    let mut side = Side::open(bus)?;
    ready();
    let mut number = 0;
    loop {
        side.give(number)?;
        loop {
            match side.take(number, Duration::from_millis(1)) {
                Ok(()) => break,
                // The other side has left in the middle of this round.
                Err(Error::Timeout) if arena.stopped() => return Ok(number),
                Err(Error::Timeout) => {}
                Err(error) => return Err(error),
            }
        }
        number += 1;
    }
}

/// One side: a writer and a synced reader of all.
struct Side {
    writer: Writer,
    lane: Lane<[u8]>,
    reader: Reader,
}

impl Side {
    fn open(bus: &Bus) -> Result<Side> {
        let zone = bus.zone("rounds").lockstep(DEADLINE);
        let mut writer = zone.writer("bench")?;
        let lane = writer.channel("c").capacity(capacity(SIZE)).open()?;
        let reader = zone.reader("bench").channel::<[u8]>("c").synced().open()?;
        Ok(Side { writer, lane, reader })
    }

    fn give(&mut self, number: u64) -> Result<()> {
        publish(&mut self.writer, self.lane, SIZE, number)?;
        self.writer.permit().map(drop)
    }

    /// Spins for the round's era, which has both messages.
    fn take(&mut self, number: u64, patience: Duration) -> Result<()> {
        let mut era = self.reader.spin_era(patience)?;
        let mut messages = 0;
        while let Some(message) = era.next()? {
            // SAFETY: the writers are this benchmark's processes, which leave alone what is held.
            check(unsafe { message.bytes_in_place() }, number)?;
            messages += u64::from(message.len() == SIZE);
        }
        if messages == 2 && !era.is_merged() {
            return Ok(());
        }
        let reason = era.edge().map_or("forgotten", |edge: crate::Edge| edge.reason.name());
        let expected = Reason::Permits.name();
        Err(Error::Corrupt(format!(
            "era {}: expected 2 messages of round {number}, by {expected}, found {messages}, by {reason}",
            era.number()
        )))
    }
}
