//! What a writer pays for its readers: its time for a message with 1, 2, 4 ... 64 of them.
//!
//! The readers are all in one other process, which polls them in turn, a message each. The writer publishes 256 messages in one go, as many as
//! a page of its ring holds, and only that is timed; the readers take them meanwhile, and have taken them all before the next 256. So
//! no time is spent waiting for room, and what remains is the writer's own: its commits, taking the lines back that the readers poll,
//! and once in each go the look at every reader's cursor, which moves the floor on by a page.

use super::Options;
use super::bare::Arena;
use super::bounce::{Court, Reference, rounds};
use super::peer::{Job, check, open_reader, open_writer, publish, ready};
use super::report::{Figure, Spread, histogram, ratios, record};
use crate::client::{Bus, Reader};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::hint::spin_loop;
use std::time::Instant;

/// Bytes of a message.
const SIZE: usize = 48;
/// Messages in one go: a page of the ring.
const BURST: u64 = 256;
const READERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const ZONE: &str = "fan";
/// A note: how many messages each reader has taken.
const TAKEN: usize = 0;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    runs: usize,
    discarded: u32,
    placement: &'static str,
    readers: Vec<With>,
    /// Published, and taken by all readers together.
    messages: u64,
    taken: u64,
    steal: f64,
}

#[derive(Debug, Serialize)]
struct With {
    readers: usize,
    /// ns of the writer for a message: means of 256.
    #[serde(flatten)]
    figure: Figure,
    /// Against one reader, run by run.
    ratio: Spread,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let (mut messages, mut taken) = (0, 0);
    let rounds = rounds(options, Reference::Line, |court| {
        let mut round = Vec::new();
        for readers in READERS {
            let (samples, sent) = measure(court, readers)?;
            round.push(samples);
            messages += sent;
            taken += sent * readers as u64;
        }
        Ok(Some(round))
    })?;
    let found = rounds.by_case(READERS.len());
    let with = found.iter().zip(READERS).map(|(runs, readers)| With {
        readers,
        figure: runs.figure(),
        ratio: ratios(&runs.p50, &found[0].p50),
    });
    let report = Report {
        benchmark: "fanout",
        size: SIZE,
        runs: rounds.kept.len(),
        discarded: rounds.discarded,
        placement: rounds.placement,
        readers: with.collect(),
        messages,
        taken,
        steal: rounds.steal,
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    let Report { runs, discarded, placement, readers, steal, .. } = &report;
    println!(
        "fan-out, {SIZE} bytes, the writer's time for a message, {runs} runs ({discarded} discarded), {placement}"
    );
    for With { readers, figure, ratio } in readers {
        println!("  {readers:>2} readers   {ratio} x one   {figure}");
    }
    println!("  {messages} messages, {taken} taken, each checked; steal {:.1} %", steal * 100.0);
    Ok(())
}

/// The writer's time for a message, means of a burst; and how many messages.
fn measure(court: &mut Court<'_>, readers: usize) -> Result<(Histogram<u64>, u64)> {
    let Court { bus, arena, other, time } = court;
    arena.reset();
    let (mut writer, lane) = open_writer(bus, ZONE, SIZE)?;
    other.begin(Job::Drain, readers)?;
    let mut samples = histogram();
    let mut number = 0;
    let run = Instant::now();
    while run.elapsed() < *time {
        let begin = Instant::now();
        for number in number..number + BURST {
            publish(&mut writer, lane, SIZE, number)?;
        }
        record(&mut samples, begin.elapsed().as_nanos() as f64 / BURST as f64);
        number += BURST;
        arena.wait_for_note(TAKEN, number, spin_loop)?;
    }
    arena.stop();
    let taken = other.end()?;
    if taken != number * readers as u64 {
        return Err(Error::Corrupt(format!("{number} messages to {readers} readers: {taken} were taken")));
    }
    Ok((samples, number))
}

/// The other process: polls so many readers in turn until the run is over; how many messages they have taken together.
pub(super) fn drain(readers: usize, bus: &Bus, arena: &Arena) -> Result<u64> {
    let mut readers: Vec<Reader> = (0..readers).map(|_| open_reader(bus, ZONE)).collect::<Result<_>>()?;
    ready();
    let mut number = 0;
    loop {
        let mut missing = readers.len();
        // Each takes message `number`; none goes further before all have.
        for (index, reader) in readers.iter_mut().enumerate() {
            let mut polls = 0u32;
            loop {
                if let Some(message) = reader.try_recv()? {
                    // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
                    check(unsafe { message.bytes_in_place() }, number)?;
                    missing -= 1;
                    break;
                }
                spin_loop();
                polls += 1;
                if index == 0 && polls.is_multiple_of(1024) && arena.stopped() {
                    return Ok(number * readers.len() as u64);
                }
            }
        }
        if missing == 0 {
            number += 1;
            arena.note(TAKEN, number);
        }
    }
}
