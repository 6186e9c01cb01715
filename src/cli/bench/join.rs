//! How long it takes to come: to open a writer with its lane and a reader, and until a new pair has its first message.
//!
//! The reader is in the other process. It is opened first, spins, and is handed the new writer's lane meanwhile. Each pair has a channel with
//! nobody else in it; its zone is there already, or is made for it. The broker is a thread of this process, wherever the kernel has it run; whoever waits for the other process gives its core away meanwhile.

use super::bare::Arena;
use super::peer::{Job, Other, check, now_ns, open_reader, open_writer, pin, publish, ready};
use super::report::{Figure, Runs, Steal, histogram, record};
use super::{Options, Stage};
use crate::client::Bus;
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// Bytes of a message.
const SIZE: usize = 48;
const ZONE: &str = "join";
const PATIENCE: Duration = Duration::from_secs(10);
/// Notes: the pair that is to come, how long its reader took to open, that it is open, when it had its message, that it had it, and that it
/// has gone.
const BEGIN: usize = 0;
const OPENED_IN: usize = 1;
const OPEN: usize = 2;
const GOT_AT: usize = 3;
const GOT: usize = 4;
const GONE: usize = 5;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    /// `there`, or `new` for each pair.
    zone: &'static str,
    runs: usize,
    /// To open a writer and its lane.
    writer: Figure,
    /// To open a reader.
    reader: Figure,
    /// From just before the first publish to the message in the reader's hands.
    first_message: Figure,
    /// Both openings and that.
    pair: Figure,
    pairs: u64,
    steal: f64,
}

/// What was found of pairs.
struct Found<T> {
    writer: T,
    reader: T,
    first_message: T,
    pair: T,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    for zone in ["there", "new"] {
        let report = measure(options, zone)?;
        if options.json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            continue;
        }
        let Report { runs, writer, reader, first_message, pair, pairs, steal, .. } = &report;
        let zone = if zone == "new" { "a zone that is made for it" } else { "a zone that is there" };
        println!("join, {zone}, {runs} runs");
        println!("  a writer and its lane        {}", writer.in_us());
        println!("  a reader                     {}", reader.in_us());
        println!("  publish to first message     {}", first_message.in_us());
        println!("  a new pair, all of this      {}", pair.in_us());
        println!("  {pairs} pairs, each with its message; steal {:.1} %", steal * 100.0);
    }
    Ok(())
}

fn measure(options: &Options, zone: &'static str) -> Result<Report> {
    let stage = Stage::new()?;
    let mut other = stage.other(options.core(1))?;
    let arena = stage.arena()?;
    pin(options.core(0))?;
    if zone == "there" {
        stage.bus.zone(ZONE).create()?;
    }
    let steal = Steal::begin();
    let new = Runs::new;
    let mut all = Found { writer: new(), reader: new(), first_message: new(), pair: new() };
    let mut pairs = 0;
    for _ in 0..options.repeat {
        let (found, count) = join_for(&stage.bus, &arena, &mut other, options.time())?;
        all.writer.add(&found.writer);
        all.reader.add(&found.reader);
        all.first_message.add(&found.first_message);
        all.pair.add(&found.pair);
        pairs += count;
    }
    Ok(Report {
        benchmark: "join",
        zone,
        runs: all.pair.p50.len(),
        writer: all.writer.figure(),
        reader: all.reader.figure(),
        first_message: all.first_message.figure(),
        pair: all.pair.figure(),
        pairs,
        steal: steal.share(),
    })
}

/// Pairs that come and go, for a time; and how many.
fn join_for(bus: &Bus, arena: &Arena, other: &mut Other, time: Duration) -> Result<(Found<Histogram<u64>>, u64)> {
    arena.reset();
    other.begin(Job::Await, SIZE)?;
    let new = histogram;
    let mut found = Found { writer: new(), reader: new(), first_message: new(), pair: new() };
    let mut pairs = 0;
    let run = Instant::now();
    while run.elapsed() < time {
        pairs += 1;
        arena.note(BEGIN, pairs);
        arena.wait_for_note(OPEN, pairs, yield_now)?;
        let begin = now_ns();
        let (mut writer, lane) = open_writer(bus, ZONE, SIZE)?;
        let open = now_ns();
        publish(&mut writer, lane, SIZE, pairs)?;
        arena.wait_for_note(GOT, pairs, yield_now)?;
        let (reader_opened_in, got) = (arena.noted(OPENED_IN), arena.noted(GOT_AT));
        drop(writer);
        arena.wait_for_note(GONE, pairs, yield_now)?;
        record(&mut found.writer, (open - begin) as f64);
        record(&mut found.reader, reader_opened_in as f64);
        record(&mut found.first_message, got.saturating_sub(open) as f64);
        record(&mut found.pair, (reader_opened_in + got.saturating_sub(begin)) as f64);
    }
    arena.stop();
    let received = other.end()?;
    if received != pairs {
        return Err(Error::Corrupt(format!("{pairs} pairs, {received} messages")));
    }
    Ok((found, pairs))
}

/// The other process: a reader for each pair, until the run is over; how many messages.
pub(super) fn await_writers(bus: &Bus, arena: &Arena) -> Result<u64> {
    ready();
    let mut pairs = 0;
    while arena.wait_for_note(BEGIN, pairs + 1, yield_now)? {
        pairs += 1;
        let begin = now_ns();
        let mut reader = open_reader(bus, ZONE)?;
        arena.note(OPENED_IN, now_ns() - begin);
        arena.note(OPEN, pairs);
        let message = reader.spin_recv(PATIENCE)?;
        let got = now_ns();
        if message.sequence() != 0 {
            return Err(Error::Corrupt(format!("expected a lane's first message, found its {}th", message.sequence())));
        }
        // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
        check(unsafe { message.bytes_in_place() }, pairs)?;
        drop(message);
        arena.note(GOT_AT, got);
        arena.note(GOT, pairs);
        drop(reader);
        arena.note(GONE, pairs);
    }
    Ok(pairs)
}
