//! What a reader pays for its writers: its time for a message of 1, 2, 4 ... 64 of them, and of one among 63 that are idle.
//!
//! The writers are all in one other process. When asked, they publish 512 messages, one each in turn; once all of these lie in the rings, the
//! reader takes them, and only that is timed. So no time is spent waiting for a message, and what remains is the reader's own: finding
//! the lane that has something, and fetching the messages from the other core. All rings are of the same small size.

use super::Options;
use super::bare::Arena;
use super::bounce::{Court, Reference, rounds};
use super::peer::{Job, check, open_reader, publish, ready};
use super::report::{Figure, Spread, histogram, ratios, record};
use crate::client::{Bus, Lane, Writer};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::hint::spin_loop;
use std::time::Instant;

/// Bytes of a message.
const SIZE: usize = 48;
/// Messages asked for at a time; they fit into one ring.
const BURST: u64 = 512;
/// Bytes of a ring.
const CAPACITY: u64 = 64 << 10;
const WRITERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const MANY: usize = 64;
const ZONE: &str = "fan";
/// Notes: how many messages were asked for, and how many are there.
const ASKED: usize = 0;
const THERE: usize = 1;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    runs: usize,
    discarded: u32,
    placement: &'static str,
    writers: Vec<With>,
    messages: u64,
    steal: f64,
}

#[derive(Debug, Serialize)]
struct With {
    writers: usize,
    /// Of these, those that publish.
    busy: usize,
    /// ns of the reader for a message: means of 512.
    #[serde(flatten)]
    figure: Figure,
    /// Against one writer, run by run.
    ratio: Spread,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let cases: Vec<(usize, usize)> = WRITERS.map(|writers| (writers, writers)).into_iter().chain([(MANY, 1)]).collect();
    let mut messages = 0;
    let rounds = rounds(options, Reference::Line, |court| {
        let mut round = Vec::new();
        for &(writers, busy) in &cases {
            let (samples, count) = measure(court, writers, busy)?;
            round.push(samples);
            messages += count;
        }
        Ok(Some(round))
    })?;
    let found = rounds.by_case(cases.len());
    let with = found.iter().zip(&cases).map(|(runs, &(writers, busy))| With {
        writers,
        busy,
        figure: runs.figure(),
        ratio: ratios(&runs.p50, &found[0].p50),
    });
    let report = Report {
        benchmark: "fanin",
        size: SIZE,
        runs: rounds.kept.len(),
        discarded: rounds.discarded,
        placement: rounds.placement,
        writers: with.collect(),
        messages,
        steal: rounds.steal,
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    let Report { runs, discarded, placement, writers, steal, .. } = &report;
    println!("fan-in, {SIZE} bytes, the reader's time for a message, {runs} runs ({discarded} discarded), {placement}");
    for With { writers, busy, figure, ratio } in writers {
        println!("  {writers:>2} writers, {busy:>2} busy   {ratio} x one   {figure}");
    }
    println!("  {messages} messages, each checked, none lost; steal {:.1} %", steal * 100.0);
    Ok(())
}

/// The reader's time for a message, means of a burst; and how many messages.
fn measure(court: &mut Court<'_>, writers: usize, busy: usize) -> Result<(Histogram<u64>, u64)> {
    let Court { bus, arena, other, time } = court;
    arena.reset();
    let mut reader = open_reader(bus, ZONE)?;
    other.begin(if busy == writers { Job::PublishInTurn } else { Job::PublishAlone }, writers)?;
    // By row: what its next message says.
    let mut next = [0; MANY];
    let mut samples = histogram();
    let mut number = 0;
    let run = Instant::now();
    while run.elapsed() < *time {
        number += BURST;
        arena.note(ASKED, number);
        arena.wait_for_note(THERE, number, spin_loop)?;
        let begin = Instant::now();
        for _ in 0..BURST {
            let Some(message) = reader.try_recv()? else {
                return Err(Error::Corrupt("a message that was published was not found".to_owned()));
            };
            let Some(next) = next.get_mut(message.origin().writer as usize) else {
                return Err(Error::Corrupt(format!("a message of writer {}", message.origin().writer)));
            };
            // SAFETY: the writers are in this benchmark's other process, which leaves alone what is held.
            check(unsafe { message.bytes_in_place() }, *next)?;
            *next += 1;
        }
        record(&mut samples, begin.elapsed().as_nanos() as f64 / BURST as f64);
    }
    arena.stop();
    let sent = other.end()?;
    let each = next.iter().filter(|&&count| count == number / busy as u64).count();
    if sent != number || each != busy {
        return Err(Error::Corrupt(format!("{busy} writers sent {sent} messages in turn; of these came {next:?}")));
    }
    Ok((samples, number))
}

/// The other process: of so many writers the first `busy` publish in turn, whenever asked; how many messages.
pub(super) fn publish_bursts(writers: usize, busy: usize, bus: &Bus, arena: &Arena) -> Result<u64> {
    let open = || -> Result<(Writer, Lane<[u8]>)> {
        let mut writer = bus.zone(ZONE).writer("bench")?;
        let lane = writer.channel("c").capacity(CAPACITY).open()?;
        Ok((writer, lane))
    };
    let mut writers: Vec<(Writer, Lane<[u8]>)> = (0..writers).map(|_| open()).collect::<Result<_>>()?;
    ready();
    let mut number = 0;
    while arena.wait_for_note(ASKED, number + BURST, spin_loop)? {
        for in_turn in number / busy as u64..(number + BURST) / busy as u64 {
            for (writer, lane) in &mut writers[..busy] {
                publish(writer, *lane, SIZE, in_turn)?;
            }
        }
        number += BURST;
        arena.note(THERE, number);
    }
    Ok(number)
}
