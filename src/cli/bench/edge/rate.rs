//! Edges a second, of one participant alone and of two processes that compete, against one bare word that is counted up by
//! compare-and-swap: what an edge does once.

use super::Options;
use crate::cli::bench::Stage;
use crate::cli::bench::bare::Arena;
use crate::cli::bench::peer::{Job, Other, pin, ready};
use crate::cli::bench::report::{Spread, ratios};
use crate::client::{Bus, Writer};
use crate::error::{Error, Result};
use serde::Serialize;
use std::time::{Duration, Instant};

const ZONE: &str = "rate";
/// Edges between two looks at the clock.
const LOOK_AFTER: u64 = 64;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    runs: usize,
    /// Millions a second: of the word's counts and of edges, both processes together, and of the eras that these sealed.
    bare_alone: Spread,
    bare_competing: Spread,
    alone: Spread,
    competing: Spread,
    competing_eras: Spread,
    /// Run by run, against the bare word.
    alone_ratio: Spread,
    competing_ratio: Spread,
    /// Edges of two against one, run by run.
    competing_to_alone: Spread,
    /// The slower process's share of the edges.
    slower_share: Spread,
    edges: u64,
    /// Of the competing edges: cuts and flips that the other had made first, edges that went again, and that gave up.
    cuts_helped: u64,
    flips_lost: u64,
    retries: u64,
    overtaken: u64,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    let mut other = stage.other(options.core(1))?;
    let arena = stage.arena()?;
    pin(options.core(0))?;
    let time = options.time();
    let (mut bare_alone, mut bare_competing) = (Vec::new(), Vec::new());
    let (mut alone, mut competing, mut eras, mut slower) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut all = Sealed::default();
    let mut edges = 0;
    for _ in 0..options.repeat {
        bare_alone.push(count(None, &arena, time)?);
        let (by_one, rate) = seal(None, &arena, &stage.bus, time)?;
        alone.push(rate.edges);
        bare_competing.push(count(Some(&mut other), &arena, time)?);
        let (by_two, rate) = seal(Some(&mut other), &arena, &stage.bus, time)?;
        competing.push(rate.edges);
        eras.push(rate.eras);
        slower.push(rate.slower_share);
        edges += by_one.edges + by_two.edges;
        all.add(&by_two);
    }
    let report = Report {
        benchmark: "edge rate",
        runs: alone.len(),
        bare_alone: Spread::of(&bare_alone),
        bare_competing: Spread::of(&bare_competing),
        alone: Spread::of(&alone),
        competing: Spread::of(&competing),
        competing_eras: Spread::of(&eras),
        alone_ratio: ratios(&alone, &bare_alone),
        competing_ratio: ratios(&competing, &bare_competing),
        competing_to_alone: ratios(&competing, &alone),
        slower_share: Spread::of(&slower),
        edges,
        cuts_helped: all.cuts_helped,
        flips_lost: all.flips_lost,
        retries: all.retries,
        overtaken: all.overtaken,
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    report.print();
    Ok(())
}

impl Report {
    fn print(&self) {
        let Report { bare_alone, bare_competing, alone, competing, competing_eras, .. } = self;
        println!("edge rate, millions a second, {} runs", self.runs);
        println!("  one word, one process      {bare_alone}");
        println!("  edges, one participant     {alone}   {} x the word", self.alone_ratio);
        println!("  one word, two processes    {bare_competing}");
        print!("  edges, two processes       {competing}   {} x the word, ", self.competing_ratio);
        println!("{} x one participant; the slower's share {}", self.competing_to_alone, self.slower_share);
        println!("  eras that these sealed     {competing_eras}");
        let Report { edges, cuts_helped, flips_lost, retries, overtaken, .. } = self;
        print!(
            "  {edges} edges, all accounted for; competing: {cuts_helped} cuts and {flips_lost} flips of the other's, "
        );
        println!("{retries} went again, {overtaken} gave up");
    }
}

/// What participants have done in a run.
#[derive(Debug, Default)]
struct Sealed {
    /// Exact edges.
    edges: u64,
    overtaken: u64,
    passes: u64,
    cuts_helped: u64,
    flips_lost: u64,
    retries: u64,
}

impl Sealed {
    /// Runs edges until `done` says so.
    fn by(writer: &mut Writer, mut done: impl FnMut() -> bool) -> Result<Sealed> {
        let before = writer.races();
        let (mut edges, mut overtaken, mut last) = (0, 0, 0);
        while !done() {
            for _ in 0..LOOK_AFTER {
                match writer.edge() {
                    Ok(era) if era > last => (edges, last) = (edges + 1, era),
                    Ok(era) => return Err(Error::Corrupt(format!("an edge sealed era {era} after era {last}"))),
                    Err(Error::Timeout) => overtaken += 1,
                    Err(error) => return Err(error),
                }
            }
        }
        let races = writer.races();
        Ok(Sealed {
            edges,
            overtaken,
            passes: races.passes - before.passes,
            cuts_helped: races.cuts_helped - before.cuts_helped,
            flips_lost: races.flips_lost - before.flips_lost,
            retries: races.retries - before.retries,
        })
    }

    fn to_counts(&self) -> [u64; 6] {
        let Sealed { edges, overtaken, passes, cuts_helped, flips_lost, retries } = *self;
        [edges, overtaken, passes, cuts_helped, flips_lost, retries]
    }

    fn from_counts(counts: &[u64]) -> Result<Sealed> {
        let &[edges, overtaken, passes, cuts_helped, flips_lost, retries] = counts else {
            return Err(Error::Invalid(format!("the other process: expected 6 counts, found {counts:?}")));
        };
        Ok(Sealed { edges, overtaken, passes, cuts_helped, flips_lost, retries })
    }

    fn add(&mut self, other: &Sealed) {
        self.edges += other.edges;
        self.overtaken += other.overtaken;
        self.passes += other.passes;
        self.cuts_helped += other.cuts_helped;
        self.flips_lost += other.flips_lost;
        self.retries += other.retries;
    }
}

/// Of one run, in millions a second.
struct Rate {
    edges: f64,
    eras: f64,
    slower_share: f64,
}

/// Edges of this process, and of the other if there is one, for a time.
fn seal(mut other: Option<&mut Other>, arena: &Arena, bus: &Bus, time: Duration) -> Result<(Sealed, Rate)> {
    arena.reset();
    let mut writer = bus.zone(ZONE).writer("bench")?;
    if let Some(other) = &mut other {
        other.begin(Job::Seal, 0)?;
    }
    let begin = Instant::now();
    let mut all = Sealed::by(&mut writer, || begin.elapsed() >= time)?;
    arena.stop();
    let theirs = other.map(|other| Sealed::from_counts(&other.end_with_counts()?)).transpose()?;
    let elapsed = begin.elapsed();
    let (mut most, mut least) = (all.edges, all.edges);
    if let Some(theirs) = &theirs {
        all.add(theirs);
        (most, least) = (most.max(theirs.edges), least.min(theirs.edges));
    }
    // Every edge of one participant is another era's, and every era was flipped once.
    let eras = writer.generation()?;
    let sealed_by_all = all.passes - all.flips_lost;
    if eras < most || eras > sealed_by_all || (theirs.is_none() && eras != all.edges) {
        return Err(Error::Corrupt(format!(
            "expected {most} to {sealed_by_all} eras, found {eras}: {all:?}, {theirs:?}"
        )));
    }
    let millions = |count: u64| count as f64 / elapsed.as_secs_f64() / 1e6;
    let slower_share = least as f64 / all.edges.max(1) as f64;
    let rate = Rate { edges: millions(all.edges), eras: millions(eras), slower_share };
    Ok((all, rate))
}

/// The other process: edges until the run is over.
pub(in crate::cli::bench) fn compete(bus: &Bus, arena: &Arena) -> Result<Vec<u64>> {
    let mut writer = bus.zone(ZONE).writer("bench")?;
    ready();
    let sealed = Sealed::by(&mut writer, || arena.stopped())?;
    Ok(sealed.to_counts().to_vec())
}

/// The same with the bare word.
fn count(mut other: Option<&mut Other>, arena: &Arena, time: Duration) -> Result<f64> {
    arena.reset();
    if let Some(other) = &mut other {
        other.begin(Job::CountBare, 0)?;
    }
    let begin = Instant::now();
    let ours = arena.count_up(|| begin.elapsed() >= time);
    arena.stop();
    let theirs = other.map(Other::end).transpose()?.unwrap_or(0);
    let elapsed = begin.elapsed();
    if arena.counted() != ours + theirs {
        return Err(Error::Corrupt(format!("bare word: {ours} and {theirs} counts, found {}", arena.counted())));
    }
    Ok((ours + theirs) as f64 / elapsed.as_secs_f64() / 1e6)
}
