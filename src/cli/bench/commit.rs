//! What one commit costs its writer, with nobody asleep: a batch over 8 lanes, and a single message with 1 and with 32 readers at
//! rest.

use super::report::Spread;
use super::{Options, Stage, peer::pin};
use crate::client::{Bus, Reader, Writer};
use crate::error::Result;
use serde::Serialize;
use std::time::Instant;

const LANES: usize = 8;
const MESSAGES: u64 = 20_000;
const BATCHES: u64 = 5_000;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    runs: usize,
    /// ns to commit a batch over 8 lanes that is filled already.
    batch_of_8_lanes_ns: Spread,
    /// ns to publish 48 bytes, with so many readers.
    one_reader_ns: Spread,
    readers_32_ns: Spread,
    /// 32 readers against 1, run by run.
    ratio: Spread,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    pin(options.cores[0])?;
    let (mut batches, mut one, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.repeat {
        batches.push(batch_over_lanes(&stage.bus)?);
        let (with_one, with_many) = (publish_to(&stage.bus, 1)?, publish_to(&stage.bus, 32)?);
        one.push(with_one);
        many.push(with_many);
        ratios.push(with_many / with_one);
    }
    let report = Report {
        benchmark: "commit",
        runs: batches.len(),
        batch_of_8_lanes_ns: Spread::of(&batches),
        one_reader_ns: Spread::of(&one),
        readers_32_ns: Spread::of(&many),
        ratio: Spread::of(&ratios),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    let Report { runs, batch_of_8_lanes_ns, one_reader_ns, readers_32_ns, ratio, .. } = &report;
    println!("commit, ns, {runs} runs");
    println!("  a filled batch over {LANES} lanes         {batch_of_8_lanes_ns}");
    println!("  48 bytes, 1 reader at rest         {one_reader_ns}");
    println!("  48 bytes, 32 readers at rest       {readers_32_ns}   {ratio} x");
    Ok(())
}

/// ns of a commit, the batch being filled outside of the time.
fn batch_over_lanes(bus: &Bus) -> Result<f64> {
    let mut writer = bus.zone("lanes").writer("bench")?;
    let names: Vec<String> = (0..LANES).map(|lane| format!("lane{lane}")).collect();
    let mut lanes = Vec::new();
    for name in &names {
        lanes.push(writer.channel(name).capacity(1 << 20).open::<[u8]>()?);
    }
    let clock = clock_ns();
    let mut total = 0.0;
    for number in 0..BATCHES {
        let mut batch = writer.batch()?;
        for lane in &lanes {
            batch.push(*lane, bytemuck::bytes_of(&[number; 6]))?;
        }
        let begin = Instant::now();
        batch.commit()?;
        total += begin.elapsed().as_nanos() as f64 - clock;
    }
    Ok(total / BATCHES as f64)
}

/// What looking at the clock costs.
fn clock_ns() -> f64 {
    let begin = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(Instant::now());
    }
    begin.elapsed().as_nanos() as f64 / 10_000.0
}

/// ns of a publish of 48 bytes, with so many readers that do not read.
fn publish_to(bus: &Bus, readers: usize) -> Result<f64> {
    let zone = bus.zone("readers");
    let mut writer: Writer = zone.writer("bench")?;
    let lane = writer.channel("c").capacity(4 << 20).open::<[u8]>()?;
    let _at_rest: Vec<Reader> =
        (0..readers).map(|_| zone.reader("at rest").channel::<[u8]>("c").open()).collect::<Result<_>>()?;
    let begin = Instant::now();
    for number in 0..MESSAGES {
        writer.publish(lane, bytemuck::bytes_of(&[number; 6]))?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / MESSAGES as f64)
}
