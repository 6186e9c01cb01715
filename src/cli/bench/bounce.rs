//! Something bounced between two processes, against the least that can be: half a round trip, with probes before and after.

use super::bare::Arena;
use super::peer::{Job, Other};
use super::report::{Figure, Percentiles, Runs, Spread, Steal, histogram, p50, ratios, record};
use super::{Options, Stage, peer, wake};
use crate::client::Bus;
use crate::error::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Round trips timed as one sample: the clock costs as much as a third of one.
pub(super) const TRIPS: u64 = 100;
/// What the bounced thing is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// One bare cache line, both processes spinning.
    Line,
    /// One bare futex word, whoever waits for it asleep.
    Futex,
}

impl Reference {
    /// As the one that is compared with.
    fn name(self) -> &'static str {
        match self {
            Reference::Line => "the bare line",
            Reference::Futex => "a bare futex wake",
        }
    }

    /// Where the two processes were while it took so long.
    fn placement(self, options: &Options, bare_ns: f64) -> &'static str {
        match self {
            Reference::Line => placement(bare_ns),
            Reference::Futex if options.core(0) == options.core(1) => "both processes on one core",
            Reference::Futex => "two cores",
        }
    }
}

/// Where two virtual cores are, by the bare figure in ns: the host moves them, and the same code differs fourfold between these.
fn placement(bare_ns: f64) -> &'static str {
    match bare_ns {
        ..52.0 => "two threads of one core",
        52.0..=130.0 => "two cores that share a cache",
        _ => "two cores that share no cache, or a busy machine",
    }
}

/// The runs of one thing that was bounced.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// Runs kept, and runs whose probes before and after did not agree.
    runs: usize,
    discarded: u32,
    #[serde(skip)]
    reference: Reference,
    placement: &'static str,
    /// Medians of the runs' p50, in ns.
    bare_ns: Spread,
    ns: Spread,
    /// Of p50, run by run.
    ratio: Spread,
    percentiles: Percentiles,
    bare_percentiles: Percentiles,
    messages: u64,
    /// Share of the machine's time that the host took, while this ran.
    steal: f64,
    /// All samples, for a plot.
    #[serde(skip)]
    pub(super) samples: Histogram<u64>,
    #[serde(skip)]
    pub(super) bare_samples: Histogram<u64>,
}

impl Compared {
    /// For people, after what it is of.
    pub(super) fn print(&self, what: &str) {
        let Compared { bare_ns, ns, ratio, runs, discarded, placement, .. } = self;
        println!(
            "{what}: {ratio} x {}, p50 of {runs} runs ({discarded} discarded), {placement}",
            self.reference.name()
        );
        println!("  syncline {ns} ns   {}", self.percentiles);
        println!("  bare     {bare_ns} ns   {}", self.bare_percentiles);
        println!("  {} messages, each checked; steal {:.1} %", self.messages, self.steal * 100.0);
    }
}

/// What two processes bounce with, on this side.
pub(super) struct Court<'c> {
    pub(super) bus: &'c Bus,
    pub(super) arena: &'c Arena,
    pub(super) other: &'c mut Other,
    /// How long one run is.
    pub(super) time: Duration,
}

/// What came of rounds that each ran between two probes.
pub(super) struct Rounds<T> {
    /// Of each round kept: what it returned, and the probes' p50 in ns.
    pub(super) kept: Vec<(T, f64)>,
    /// Rounds whose probes before and after did not agree: the host had moved the cores, or somebody else ran.
    pub(super) discarded: u32,
    pub(super) placement: &'static str,
    /// Of the probes before.
    bare_samples: Histogram<u64>,
    pub(super) steal: f64,
}

impl Rounds<Vec<Histogram<u64>>> {
    /// The runs of each of so many cases, of which a round has one each.
    pub(super) fn by_case(&self, cases: usize) -> Vec<Runs> {
        let mut found: Vec<Runs> = (0..cases).map(|_| Runs::new()).collect();
        for (round, _) in &self.kept {
            found.iter_mut().zip(round).for_each(|(runs, samples)| runs.add(samples));
        }
        found
    }
}

/// Runs `round` as often as asked, each time between two probes; once it returns nothing, the round is discarded.
pub(super) fn rounds<T>(
    options: &Options,
    reference: Reference,
    mut round: impl FnMut(&mut Court<'_>) -> Result<Option<T>>,
) -> Result<Rounds<T>> {
    let stage = Stage::new()?;
    let mut other = stage.other(options.core(1))?;
    let arena = stage.arena()?;
    peer::pin(options.core(0))?;
    let mut court = Court { bus: &stage.bus, arena: &arena, other: &mut other, time: options.time() };
    let steal = Steal::begin();
    let (mut kept, mut discarded, mut bare_samples) = (Vec::new(), 0, histogram());
    while kept.len() < options.repeat as usize && discarded < 10 * options.repeat {
        let before = bare(&mut court, reference)?;
        let found = round(&mut court)?;
        let after = bare(&mut court, reference)?;
        let (low, high) = (p50(&before).min(p50(&after)), p50(&before).max(p50(&after)));
        match found {
            Some(found) if low > 0.0 && high <= low * 1.15 => {
                kept.push((found, (low + high) / 2.0));
                let _ = bare_samples.add(&before);
            }
            _ => discarded += 1,
        }
    }
    let bare_ns: Vec<f64> = kept.iter().map(|(_, bare_ns)| *bare_ns).collect();
    let placement = reference.placement(options, Spread::of(&bare_ns).median);
    Ok(Rounds { kept, discarded, placement, bare_samples, steal: steal.share() })
}

/// Runs `bounce` in such rounds; it returns its samples and how many messages were answered.
pub(super) fn compare(
    options: &Options,
    reference: Reference,
    mut bounce: impl FnMut(&mut Court<'_>) -> Result<(Histogram<u64>, u64)>,
) -> Result<Compared> {
    let mut messages = 0;
    let rounds = rounds(options, reference, |court| {
        let (samples, count) = bounce(court)?;
        messages += count;
        Ok(Some(samples).filter(|samples| !samples.is_empty()))
    })?;
    let mut runs = Runs::new();
    let mut bare_ns = Vec::new();
    for (samples, bare) in &rounds.kept {
        runs.add(samples);
        bare_ns.push(*bare);
    }
    let Figure { ns, percentiles } = runs.figure();
    Ok(Compared {
        runs: rounds.kept.len(),
        discarded: rounds.discarded,
        reference,
        placement: rounds.placement,
        bare_ns: Spread::of(&bare_ns),
        ns,
        ratio: ratios(&runs.p50, &bare_ns),
        percentiles,
        bare_percentiles: Percentiles::of(&rounds.bare_samples),
        messages,
        steal: rounds.steal,
        samples: runs.all,
        bare_samples: rounds.bare_samples,
    })
}

/// Times hundreds of trips until the time is up; one of the `ways` of each.
pub(super) fn sample(time: Duration, ways: u64, mut trips: impl FnMut(u64) -> Result<()>) -> Result<Histogram<u64>> {
    let mut samples = histogram();
    let begin = Instant::now();
    let mut last = begin;
    let mut number = 0;
    while last - begin < time {
        trips(number)?;
        number += TRIPS;
        let now = Instant::now();
        let one_way = (now - last).as_nanos() as f64 / (ways * TRIPS) as f64;
        record(&mut samples, one_way);
        last = now;
    }
    Ok(samples)
}

/// A probe: the reference, for a quarter of a run's time.
fn bare(court: &mut Court<'_>, reference: Reference) -> Result<Histogram<u64>> {
    let time = court.time / 4;
    if reference == Reference::Futex {
        return wake::bare(court, time);
    }
    court.arena.reset();
    court.other.begin(Job::BounceBare, 8)?;
    let samples = sample(time, 2, |from| {
        court.arena.serve(from, TRIPS);
        Ok(())
    })?;
    court.arena.stop();
    court.other.end()?;
    Ok(samples)
}
