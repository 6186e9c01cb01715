//! What one commit costs its writer, with nobody asleep: a batch over 8 lanes, and a single message with 1 and with 32 readers at
//! rest.

use super::report::{Figure, Runs, Spread, Steal, histogram, ratios, record};
use super::{Options, Stage, peer::pin};
use crate::client::{Bus, Reader, Writer};
use crate::error::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Instant;

const LANES: usize = 8;
const MESSAGES: u64 = 20_000;
const BATCHES: u64 = 5_000;

/// Publishes timed as one sample.
const TOGETHER: u64 = 100;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    runs: usize,
    /// To commit a batch over 8 lanes that is filled already.
    batch_of_8_lanes: Figure,
    /// To publish 48 bytes, with so many readers: means of 100.
    one_reader: Figure,
    readers_32: Figure,
    /// 32 readers against 1, run by run.
    ratio: Spread,
    steal: f64,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    pin(options.core(0))?;
    let steal = Steal::begin();
    let (mut batches, mut one, mut many) = (Runs::new(), Runs::new(), Runs::new());
    for _ in 0..options.repeat {
        batches.add(&batch_over_lanes(&stage.bus)?);
        one.add(&publish_to(&stage.bus, 1)?);
        many.add(&publish_to(&stage.bus, 32)?);
    }
    let report = Report {
        benchmark: "commit",
        runs: batches.p50.len(),
        batch_of_8_lanes: batches.figure(),
        one_reader: one.figure(),
        readers_32: many.figure(),
        ratio: ratios(&many.p50, &one.p50),
        steal: steal.share(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    let Report { runs, batch_of_8_lanes, one_reader, readers_32, ratio, steal, .. } = &report;
    println!("commit, {runs} runs; steal {:.1} %", steal * 100.0);
    println!("  a filled batch over {LANES} lanes     {batch_of_8_lanes}");
    println!("  48 bytes, 1 reader at rest      {one_reader}");
    println!("  48 bytes, 32 readers at rest    {readers_32}   {ratio} x");
    Ok(())
}

/// A commit, the batch being filled outside of the time; less what looking at the clock costs.
fn batch_over_lanes(bus: &Bus) -> Result<Histogram<u64>> {
    let mut writer = bus.zone("lanes").writer("bench")?;
    let names: Vec<String> = (0..LANES).map(|lane| format!("lane{lane}")).collect();
    let mut lanes = Vec::new();
    for name in &names {
        lanes.push(writer.channel(name).capacity(1 << 20).open::<[u8]>()?);
    }
    let clock = clock_ns();
    let mut samples = histogram();
    for number in 0..BATCHES {
        let mut batch = writer.batch()?;
        for lane in &lanes {
            batch.push(*lane, bytemuck::bytes_of(&[number; 6]))?;
        }
        let begin = Instant::now();
        batch.commit()?;
        record(&mut samples, begin.elapsed().as_nanos() as f64 - clock);
    }
    Ok(samples)
}

/// What looking at the clock costs.
fn clock_ns() -> f64 {
    let begin = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(Instant::now());
    }
    begin.elapsed().as_nanos() as f64 / 10_000.0
}

/// A publish of 48 bytes, with so many readers that do not read.
fn publish_to(bus: &Bus, readers: usize) -> Result<Histogram<u64>> {
    let zone = bus.zone("readers");
    let mut writer: Writer = zone.writer("bench")?;
    let lane = writer.channel("c").capacity(4 << 20).open::<[u8]>()?;
    let _at_rest: Vec<Reader> =
        (0..readers).map(|_| zone.reader("at rest").channel::<[u8]>("c").open()).collect::<Result<_>>()?;
    let mut samples = histogram();
    let mut last = Instant::now();
    for number in 0..MESSAGES {
        writer.publish(lane, bytemuck::bytes_of(&[number; 6]))?;
        if (number + 1).is_multiple_of(TOGETHER) {
            let now = Instant::now();
            record(&mut samples, (now - last).as_nanos() as f64 / TOGETHER as f64);
            last = now;
        }
    }
    Ok(samples)
}
