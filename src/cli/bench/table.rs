//! Items of a table: what it costs to read and to set one, alone and while the other process does the other, against a bare seqlock of as many bytes
//! in the same places; what a consistent read of a hundred costs; and whether a commit that changes ten costs the same in a table of a million as
//! in one of a hundred.

use super::bare::Arena;
use super::peer::{Job, Other, pin, ready};
use super::report::{Figure, Runs, Spread, Steal, histogram, ratios, record};
use super::{Options, Stage};
use crate::client::{Bus, Item, TableReader, Writer};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

const ZONE: &str = "state";
const TABLE: &str = "t";
/// Operations timed as one sample.
const TOGETHER: u64 = 256;
/// Items that are read together.
const SET: usize = 100;
/// Items changed in one commit.
const CHANGED: usize = 10;
/// Notes: nanoseconds from one operation of the other process to its next, 0 for none; how many it has made.
const PACE: usize = 0;
const MADE: usize = 1;
/// From one update to the next, where both sides have the same rate.
const EVEN_PACE: u64 = 1000;

/// An item of 64 bytes; all its words are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Value(pub(super) [u64; 8]);

impl crate::Described for Value {
    const NAME: &'static str = "bench.value";
}

impl Value {
    fn check(&self) -> Result<()> {
        let differs = self.0.iter().fold(0, |differs, word| differs | word ^ self.0[0]);
        if differs == 0 { Ok(()) } else { Err(Error::Corrupt(format!("a torn item: {:?}", self.0))) }
    }
}

/// One figure of the bare seqlock and of a table, run by run.
struct Pair {
    what: &'static str,
    bare: Runs,
    table: Runs,
    /// Operations a second that the other process made meanwhile.
    rates: [Vec<f64>; 2],
}

impl Pair {
    fn new(what: &'static str) -> Pair {
        Pair { what, bare: Runs::new(), table: Runs::new(), rates: [Vec::new(), Vec::new()] }
    }

    fn shown(&self) -> Shown {
        Shown {
            what: self.what,
            bare: self.bare.figure(),
            table: self.table.figure(),
            ratio: ratios(&self.table.p50, &self.bare.p50),
            other_per_second: [0, 1]
                .map(|n| if self.rates[n].is_empty() { 0.0 } else { Spread::of(&self.rates[n]).median }),
        }
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    what: &'static str,
    /// ns: means of 256.
    bare: Figure,
    table: Figure,
    ratio: Spread,
    /// What the other process did meanwhile, with the seqlock and with the table.
    other_per_second: [f64; 2],
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    runs: u32,
    pairs: Vec<Shown>,
    /// A hundred items as one commit has left them, under a writer that sets them one after the other at full speed: ns of one such read, and the share
    /// of tries in which the writer was faster.
    consistent: Figure,
    overtaken: f64,
    /// ns of a commit that changes the same ten items: of a hundred, and of a million.
    of_hundred: Figure,
    of_million: Figure,
    ratio: Spread,
    steal: f64,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    let arena = stage.arena()?;
    let mut other = stage.other(options.core(1))?;
    pin(options.core(0))?;
    let steal = Steal::begin();
    let mut court = Court { stage: &stage, arena: &arena, other: &mut other, time: options.time() };
    let mut pairs = [
        "read, nobody writes",
        "read, a writer at full speed",
        "read, a writer once a microsecond",
        "set, nobody reads",
        "set, a reader at full speed",
    ]
    .map(Pair::new);
    let (mut consistent, mut tries) = (Runs::new(), (0, 0));
    let mut commits = [Runs::new(), Runs::new()];
    for _ in 0..options.repeat {
        let [alone, busy, even, set, watched] = &mut pairs;
        court.reads(alone, None)?;
        court.reads(busy, Some(0))?;
        court.reads(even, Some(EVEN_PACE))?;
        court.sets(set, false)?;
        court.sets(watched, true)?;
        consistent.add(&court.consistent(&mut tries)?);
        commits[0].add(&ten_of(&stage.bus, 100, options.time())?);
        commits[1].add(&ten_of(&stage.bus, 1_000_000, options.time())?);
    }
    let [of_hundred, of_million] = &commits;
    let report = Report {
        benchmark: "table",
        size: size_of::<Value>(),
        runs: options.repeat,
        pairs: pairs.iter().map(Pair::shown).collect(),
        consistent: consistent.figure(),
        overtaken: tries.1 as f64 / tries.0 as f64,
        of_hundred: of_hundred.figure(),
        of_million: of_million.figure(),
        ratio: ratios(&of_million.p50, &of_hundred.p50),
        steal: steal.share(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    println!("table, items of {} bytes, {} runs; steal {:.1} %", report.size, report.runs, report.steal * 100.0);
    for Shown { what, bare, table, ratio, other_per_second: [bare_rate, table_rate] } in &report.pairs {
        println!("  {what:<34} {ratio} x the seqlock");
        let rate =
            |rate: f64| if rate == 0.0 { String::new() } else { format!("   the other: {:.2} million/s", rate / 1e6) };
        println!("    seqlock  {bare}{}", rate(*bare_rate));
        println!("    table    {table}{}", rate(*table_rate));
    }
    let Report { consistent, overtaken, of_hundred, of_million, ratio, .. } = &report;
    println!("  {SET} items together, a writer at full speed    {consistent}   overtaken {:.2} %", overtaken * 100.0);
    println!("  a commit of {CHANGED} of a hundred   {of_hundred}");
    println!("  a commit of {CHANGED} of a million   {of_million}   {ratio} x");
    Ok(())
}

/// Both processes, and where they meet.
struct Court<'a> {
    stage: &'a Stage,
    arena: &'a Arena,
    other: &'a mut Other,
    time: Duration,
}

impl Court<'_> {
    /// Reads, the other process writing at a pace or not at all.
    fn reads(&mut self, pair: &mut Pair, pace: Option<u64>) -> Result<()> {
        let (arena, time) = (self.arena, self.time);
        arena.reset();
        self.with(pace.map(|pace| (Job::UpdateBare, pace)), &mut pair.rates[0], |_| {
            let samples = sample(time, || {
                let value = arena.read_seqlock();
                black_box(&value);
                Value(value).check()
            });
            pair.bare.add(&samples?);
            Ok(())
        })?;
        arena.reset();
        let (mut kept, mut item) = (None, None);
        if pace.is_none() {
            // The table stays as long as its zone.
            kept = Some(open(&self.stage.bus)?);
        }
        self.with(pace.map(|pace| (Job::Update, pace)), &mut pair.rates[1], |bus| {
            let mut reader = bus.zone(ZONE).wait_table(TABLE, Duration::from_secs(10))?;
            let item = *item.insert(reader.item_at::<Value>(7)?);
            let samples = sample(time, || {
                loop {
                    match reader.get(item) {
                        Err(Error::Overtaken) => {}
                        value => break value?.check(),
                    }
                }
            });
            pair.table.add(&samples?);
            Ok(())
        })?;
        drop(kept);
        Ok(())
    }

    /// Sets, the other process reading or not.
    fn sets(&mut self, pair: &mut Pair, watched: bool) -> Result<()> {
        let (arena, time) = (self.arena, self.time);
        arena.reset();
        let mut number = 0;
        self.with(watched.then_some((Job::ReadBare, 0)), &mut pair.rates[0], |_| {
            let samples = sample(time, || {
                number += 1;
                arena.write_seqlock(number, [number; 8]);
                Ok(())
            });
            pair.bare.add(&samples?);
            Ok(())
        })?;
        arena.reset();
        let (mut writer, items) = open(&self.stage.bus)?;
        self.with(watched.then_some((Job::ReadItem, 0)), &mut pair.rates[1], |_| {
            let samples = sample(time, || {
                number += 1;
                writer.set(items[7], &Value([number; 8]))
            });
            pair.table.add(&samples?);
            Ok(())
        })
    }

    /// Reads a hundred items together, the other process setting them at full speed; tries, and how often the writer was faster.
    fn consistent(&mut self, tries: &mut (u64, u64)) -> Result<Histogram<u64>> {
        self.arena.reset();
        let time = self.time;
        let mut samples = histogram();
        self.with(Some((Job::UpdateMany, 0)), &mut Vec::new(), |bus| {
            let mut reader = bus.zone(ZONE).wait_table(TABLE, Duration::from_secs(10))?;
            let items = items(&reader)?;
            let run = Instant::now();
            while run.elapsed() < time {
                let begin = Instant::now();
                loop {
                    tries.0 += 1;
                    match together(&mut reader, &items) {
                        Err(Error::Overtaken) => tries.1 += 1,
                        found => break found?,
                    }
                    if run.elapsed() > 10 * time {
                        return Err(Error::Overtaken);
                    }
                }
                record(&mut samples, begin.elapsed().as_nanos() as f64);
            }
            Ok(())
        })?;
        Ok(samples)
    }

    /// Does `body` while the other process does its job, at a pace; adds the other's rate.
    fn with(
        &mut self,
        job: Option<(Job, u64)>,
        rates: &mut Vec<f64>,
        body: impl FnOnce(&Bus) -> Result<()>,
    ) -> Result<()> {
        let Some((job, pace)) = job else { return body(&self.stage.bus) };
        self.arena.note(PACE, pace);
        self.other.begin(job, size_of::<Value>())?;
        let (begin, before) = (Instant::now(), self.arena.noted(MADE));
        let done = body(&self.stage.bus);
        let made = self.arena.noted(MADE) - before;
        rates.push(made as f64 / begin.elapsed().as_secs_f64());
        self.arena.stop();
        self.other.end()?;
        done
    }
}

/// All of the table's items, each as it was at one commit.
fn together(reader: &mut TableReader, items: &[Item<Value>]) -> Result<()> {
    let view = reader.latest()?;
    for item in items {
        view.get(*item)?.check()?;
    }
    Ok(())
}

fn open(bus: &Bus) -> Result<(Writer, Vec<Item<Value>>)> {
    let mut writer = bus.zone(ZONE).writer("bench")?;
    let table = writer.table(TABLE).items::<Value>("", SET as u32).open()?;
    let items = (0..SET as u32).map(|n| writer.item_at(table, n)).collect::<Result<Vec<_>>>()?;
    Ok((writer, items))
}

fn items(reader: &TableReader) -> Result<Vec<Item<Value>>> {
    (0..reader.len()).map(|n| reader.item_at(n)).collect()
}

/// Does something again and again; its time, means of [`TOGETHER`].
fn sample(time: Duration, mut once: impl FnMut() -> Result<()>) -> Result<Histogram<u64>> {
    let mut samples = histogram();
    let run = Instant::now();
    while run.elapsed() < time {
        let begin = Instant::now();
        for _ in 0..TOGETHER {
            once()?;
        }
        record(&mut samples, begin.elapsed().as_nanos() as f64 / TOGETHER as f64);
    }
    Ok(samples)
}

/// Commits of the same ten items, warm, of a table of so many.
fn ten_of(bus: &Bus, count: u32, time: Duration) -> Result<Histogram<u64>> {
    let mut writer = bus.zone("size").writer("bench")?;
    let table = writer.table(TABLE).items::<Value>("", count).open()?;
    // As far from each other as they can be: no two on one page of memory.
    let apart = count / CHANGED as u32;
    let items = (0..CHANGED as u32).map(|n| writer.item_at::<Value>(table, n * apart)).collect::<Result<Vec<_>>>()?;
    let mut number = 0;
    let mut commit = || {
        number += 1;
        let mut batch = writer.batch()?;
        for item in &items {
            batch.set(*item, &Value([number; 8]))?;
        }
        batch.commit()
    };
    for _ in 0..1000 {
        commit()?;
    }
    let mut samples = histogram();
    let run = Instant::now();
    while run.elapsed() < time {
        let begin = Instant::now();
        for _ in 0..16 {
            commit()?;
        }
        record(&mut samples, begin.elapsed().as_nanos() as f64 / 16.0);
    }
    Ok(samples)
}

/// Does something at a pace until the run is over, and says how often.
fn at_pace(arena: &Arena, mut once: impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let pace = Duration::from_nanos(arena.noted(PACE));
    ready();
    let mut made = 0;
    let mut next = Instant::now();
    while !arena.stopped() {
        for _ in 0..if pace.is_zero() { 64 } else { 1 } {
            made += 1;
            once(made)?;
        }
        arena.note(MADE, made);
        next += pace;
        while !pace.is_zero() && Instant::now() < next {
            spin_loop();
        }
    }
    Ok(made)
}

/// The other process.
pub(super) fn work(job: Job, bus: &Bus, arena: &Arena) -> Result<u64> {
    match job {
        Job::UpdateBare => at_pace(arena, |number| {
            arena.write_seqlock(number, [number; 8]);
            Ok(())
        }),
        Job::ReadBare => at_pace(arena, |_| Value(arena.read_seqlock()).check()),
        Job::ReadItem => {
            let mut reader = bus.zone(ZONE).table(TABLE)?;
            let item = reader.item_at::<Value>(7)?;
            at_pace(arena, |_| match reader.get(item) {
                Err(Error::Overtaken) => Ok(()),
                value => value?.check(),
            })
        }
        _ => {
            let (mut writer, items) = open(bus)?;
            let item = |number: u64| match job {
                Job::UpdateMany => items[number as usize % items.len()],
                _ => items[7],
            };
            at_pace(arena, |number| writer.set(item(number), &Value([number; 8])))
        }
    }
}
