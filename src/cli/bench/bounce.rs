//! Something bounced between two processes, against one bare cache line that is: half a round trip, with probes before and after.

use super::bare::Arena;
use super::peer::{Job, Other};
use super::report::{Percentiles, Spread, UNIT, histogram, steal};
use super::{Options, Stage, peer};
use crate::client::Bus;
use crate::error::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Round trips timed as one sample: the clock costs as much as a third of one.
pub(super) const TRIPS: u64 = 100;
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
}

impl Compared {
    /// For people, after what it is of.
    pub(super) fn print(&self, what: &str) {
        let Compared { bare_ns, ns, ratio, runs, discarded, placement, .. } = self;
        println!("{what}: {ratio} x the bare line, p50 of {runs} runs ({discarded} discarded), {placement}");
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

/// Runs `bounce` as often as asked, each time between two probes; it returns its samples and how many messages were answered.
pub(super) fn compare(
    options: &Options,
    mut bounce: impl FnMut(&mut Court<'_>) -> Result<(Histogram<u64>, u64)>,
) -> Result<Compared> {
    let stage = Stage::new()?;
    let mut other = stage.other(options.cores[1])?;
    let arena = stage.arena()?;
    peer::pin(options.cores[0])?;
    let time = Duration::from_millis(options.millis);
    let steal_before = steal();
    let (mut all, mut all_bare) = (histogram(), histogram());
    let (mut bare_ns, mut ours_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut discarded, mut messages) = (0, 0);
    while ratios.len() < options.repeat as usize && discarded < 10 * options.repeat {
        let before = bare(&mut other, &arena, time / 4)?;
        let (ours, count) = bounce(&mut Court { bus: &stage.bus, arena: &arena, other: &mut other, time })?;
        let after = bare(&mut other, &arena, time / 4)?;
        messages += count;
        let p50 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64 / UNIT;
        let (low, high) = (p50(&before).min(p50(&after)), p50(&before).max(p50(&after)));
        if high > low * 1.15 {
            discarded += 1;
            continue;
        }
        bare_ns.push((low + high) / 2.0);
        ours_ns.push(p50(&ours));
        ratios.push(p50(&ours) / ((low + high) / 2.0));
        let _ = all.add(&ours);
        let _ = all_bare.add(&before);
    }
    let steal_after = steal();
    Ok(Compared {
        runs: ratios.len(),
        discarded,
        placement: placement(Spread::of(&bare_ns).median),
        bare_ns: Spread::of(&bare_ns),
        ns: Spread::of(&ours_ns),
        ratio: Spread::of(&ratios),
        percentiles: Percentiles::of(&all),
        bare_percentiles: Percentiles::of(&all_bare),
        messages,
        steal: (steal_after.0 - steal_before.0) as f64 / (steal_after.1 - steal_before.1).max(1) as f64,
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
        samples.saturating_record((one_way * UNIT) as u64);
        last = now;
    }
    Ok(samples)
}

fn bare(other: &mut Other, arena: &Arena, time: Duration) -> Result<Histogram<u64>> {
    arena.reset();
    other.begin(Job::BounceBare, 8)?;
    let samples = sample(time, 2, |from| {
        arena.serve(from, TRIPS);
        Ok(())
    })?;
    arena.stop();
    other.end()?;
    Ok(samples)
}
