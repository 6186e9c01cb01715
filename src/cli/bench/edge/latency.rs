//! One way from a message and its exact edge to a synced reader in another process: half a round trip of two that answer each other,
//! against one bare cache line going to and fro.
//!
//! Each side publishes 8 bytes and runs an edge; the other spins for the era, reads all of it, and answers the same way. With a zone
//! for each direction an edge has one row to cut. With one zone for both it has two, and each side is handed its own eras too (which
//! hold nothing for it): that falls into the time in which the other side answers. Further writers only have their rows and lanes.

use super::Options;
use crate::cli::bench::bare::Arena;
use crate::cli::bench::bounce::{Compared, Court, Reference, TRIPS, compare, sample};
use crate::cli::bench::peer::{Job, capacity, check, publish, ready};
use crate::client::{Bus, Lane, Reader, Writer};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Bytes of a message.
const SIZE: usize = 8;

/// Which zones the two directions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli::bench) enum Zones {
    /// One for each.
    Apart,
    /// One for both.
    Together,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    zones: Zones,
    /// Writers of a zone, those that never publish included.
    writers: usize,
    #[serde(flatten)]
    compared: Compared,
}

/// Runs it for one, two and four writers in a zone.
pub(super) fn run(options: &Options) -> Result<()> {
    for (zones, writers) in [(Zones::Apart, 1), (Zones::Together, 2), (Zones::Apart, 4), (Zones::Together, 4)] {
        let compared = compare(options, Reference::Line, |court| bounce(court, zones, writers))?;
        if options.json {
            let report = Report { benchmark: "edge latency", size: SIZE, zones, writers, compared };
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            continue;
        }
        let which = match zones {
            Zones::Apart => "a zone for each direction",
            Zones::Together => "one zone for both directions",
        };
        compared.print(&format!("edge latency, {SIZE} bytes, {which}, writers in it: {writers}"));
    }
    Ok(())
}

fn bounce(court: &mut Court<'_>, zones: Zones, writers: usize) -> Result<(Histogram<u64>, u64)> {
    court.arena.reset();
    let mut side = Side::open(court.bus, zones, "ping", "pong")?;
    let _idle = idle(court.bus, zones, writers)?;
    court.other.begin(if zones == Zones::Apart { Job::AnswerApart } else { Job::AnswerTogether }, SIZE)?;
    let mut sent = 0;
    let samples = sample(court.time, 2, |from| {
        for number in from..from + TRIPS {
            side.send(number)?;
            side.take(number, Duration::from_secs(10))?;
            sent += 1;
        }
        Ok(())
    })?;
    court.arena.stop();
    let answered = court.other.end()?;
    if answered != sent {
        return Err(Error::Corrupt(format!("{sent} messages were sent, {answered} answered")));
    }
    side.check_eras(sent)?;
    Ok((samples, sent))
}

/// The other process: answers until the run is over; how often.
pub(in crate::cli::bench) fn answer(zones: Zones, bus: &Bus, arena: &Arena) -> Result<u64> {
    let mut side = Side::open(bus, zones, "pong", "ping")?;
    ready();
    let mut number = 0;
    loop {
        match side.take(number, Duration::from_millis(1)) {
            Ok(()) => {
                side.send(number)?;
                number += 1;
            }
            Err(Error::Timeout) if arena.stopped() => break,
            Err(Error::Timeout) => {}
            Err(error) => return Err(error),
        }
    }
    side.check_eras(number)?;
    Ok(number)
}

/// The writers that only are there: they have a lane in each channel that is read in their zone.
fn idle(bus: &Bus, zones: Zones, writers: usize) -> Result<Vec<Writer>> {
    let zones: &[(&str, &[&str])] = match zones {
        Zones::Apart => &[("ping", &["ping"]), ("pong", &["pong"])],
        Zones::Together => &[("both", &["ping", "pong"])],
    };
    let mut idle = Vec::new();
    for (zone, channels) in zones {
        // A zone has a busy writer for each channel.
        for _ in channels.len()..writers {
            let mut writer = bus.zone(zone).writer("idle")?;
            for channel in *channels {
                writer.channel(channel).capacity(capacity(SIZE)).open::<[u8]>()?;
            }
            idle.push(writer);
        }
    }
    Ok(idle)
}

/// One side: a writer of one channel, a synced reader of the other.
struct Side {
    zones: Zones,
    writer: Writer,
    lane: Lane<[u8]>,
    reader: Reader,
}

impl Side {
    fn open(bus: &Bus, zones: Zones, to: &str, from: &str) -> Result<Side> {
        let zone = |channel| bus.zone(if zones == Zones::Apart { channel } else { "both" });
        let reader = zone(from).reader("bench").channel::<[u8]>(from).synced().open()?;
        let mut writer = zone(to).writer("bench")?;
        let lane = writer.channel(to).capacity(capacity(SIZE)).open()?;
        Ok(Side { zones, writer, lane, reader })
    }

    fn send(&mut self, number: u64) -> Result<()> {
        publish(&mut self.writer, self.lane, SIZE, number)?;
        self.writer.edge()?;
        Ok(())
    }

    /// Spins for the next era that holds something, which is message `number` alone.
    fn take(&mut self, number: u64, patience: Duration) -> Result<()> {
        loop {
            let mut era = self.reader.spin_era(patience)?;
            let mut messages = 0;
            while let Some(message) = era.next()? {
                // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
                check(unsafe { message.bytes_in_place() }, number)?;
                messages += u64::from(message.len() == SIZE);
            }
            match messages {
                0 => {}
                1 if !era.is_merged() => return Ok(()),
                _ => {
                    let found = format!("expected message {number} alone in era {}, found {messages}", era.number());
                    return Err(Error::Corrupt(found));
                }
            }
        }
    }

    /// Every edge of the run has sealed one era.
    fn check_eras(&self, messages: u64) -> Result<()> {
        let expected = if self.zones == Zones::Apart { messages } else { 2 * messages };
        let generation = self.writer.generation()?;
        if generation == expected {
            return Ok(());
        }
        Err(Error::Corrupt(format!("expected {expected} eras, found {generation}")))
    }
}
