//! Messages a second from one process to another, nothing lost, against a bare fixed-slot ring of the same size.

use super::bare::Arena;
use super::peer::{Job, Other, check, open_reader, pin};
use super::report::Spread;
use super::{Options, Sizes, Stage};
use crate::client::Bus;
use crate::error::{Error, Result};
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    runs: usize,
    /// Million messages a second.
    bare: Spread,
    single: Spread,
    batches_of_64: Spread,
    /// Run by run, against the mean of the bare runs before and after.
    single_ratio: Spread,
    batches_ratio: Spread,
    /// Batches against single, run by run.
    batches_to_single: Spread,
    messages: u64,
}

/// Runs it for all sizes.
pub(super) fn run(sizes: &Sizes) -> Result<()> {
    let options = &sizes.options;
    for size in sizes.or(&[8, 48, 1024])? {
        let report = measure(options, size)?;
        if options.json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            continue;
        }
        let Report { runs, bare, single, batches_of_64, single_ratio, batches_ratio, batches_to_single, .. } = &report;
        println!("throughput, {size} bytes, million messages a second, {runs} runs");
        println!("  bare ring      {bare}");
        println!("  singly         {single}   {single_ratio} x bare");
        println!("  batches of 64  {batches_of_64}   {batches_ratio} x bare, {batches_to_single} x singly");
        println!("  {} messages, each checked, none lost", report.messages);
    }
    Ok(())
}

fn measure(options: &Options, size: usize) -> Result<Report> {
    let stage = Stage::new()?;
    let mut other = stage.other(options.core(1))?;
    let arena = stage.arena()?;
    pin(options.core(0))?;
    let time = options.time();
    let (mut bare_runs, mut single_runs, mut batch_runs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut single_ratio, mut batch_ratio, mut batch_to_single) = (Vec::new(), Vec::new(), Vec::new());
    let mut messages = 0;
    for _ in 0..options.repeat {
        let before = bare(&mut other, &arena, size, time)?;
        let (single, sent) = ours(&mut other, &arena, &stage.bus, Job::Produce, size, time)?;
        let (batch, sent_in_batches) = ours(&mut other, &arena, &stage.bus, Job::ProduceBatches, size, time)?;
        let after = bare(&mut other, &arena, size, time)?;
        messages += sent + sent_in_batches;
        let bare = (before + after) / 2.0;
        bare_runs.push(bare);
        single_runs.push(single);
        batch_runs.push(batch);
        single_ratio.push(single / bare);
        batch_ratio.push(batch / bare);
        batch_to_single.push(batch / single);
    }
    Ok(Report {
        benchmark: "throughput",
        size,
        runs: bare_runs.len(),
        bare: Spread::of(&bare_runs),
        single: Spread::of(&single_runs),
        batches_of_64: Spread::of(&batch_runs),
        single_ratio: Spread::of(&single_ratio),
        batches_ratio: Spread::of(&batch_ratio),
        batches_to_single: Spread::of(&batch_to_single),
        messages,
    })
}

fn millions(count: u64, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn bare(other: &mut Other, arena: &Arena, size: usize, time: Duration) -> Result<f64> {
    arena.reset();
    other.begin(Job::ProduceBare, size)?;
    let begin = Instant::now();
    let count = arena.consume(size, || begin.elapsed() >= time)?;
    let rate = millions(count, begin);
    arena.stop();
    other.end()?;
    Ok(rate)
}

fn ours(other: &mut Other, arena: &Arena, bus: &Bus, job: Job, size: usize, time: Duration) -> Result<(f64, u64)> {
    arena.reset();
    let mut reader = open_reader(bus, "flow")?;
    other.begin(job, size)?;
    let begin = Instant::now();
    let mut number = 0;
    let mut take = || -> Result<bool> {
        let Some(message) = reader.try_recv()? else { return Ok(false) };
        // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
        check(unsafe { message.bytes_in_place() }, number)?;
        number += 1;
        Ok(true)
    };
    let mut polls = 0u32;
    loop {
        if !take()? {
            std::hint::spin_loop();
        }
        polls += 1;
        if polls.is_multiple_of(1024) && begin.elapsed() >= time {
            break;
        }
    }
    let elapsed = begin;
    arena.stop();
    // What the writer had sent before it heard of the end.
    loop {
        match take() {
            Ok(_) => {}
            Err(Error::Closed(_)) => break,
            Err(error) => return Err(error),
        }
    }
    let rate = millions(number, elapsed);
    let sent = other.end()?;
    if sent != number {
        return Err(Error::Corrupt(format!("{sent} messages were sent, {number} received")));
    }
    Ok((rate, number))
}
