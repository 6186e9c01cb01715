//! What a benchmark found, as a table or as JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Median and quartiles of the runs' ratios or figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    pub(super) q1: f64,
    pub(super) median: f64,
    pub(super) q3: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(super) fn of(figures: &[f64]) -> Spread {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = sorted.len().saturating_sub(1);
            sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Spread { q1: at(0.25), median: at(0.5), q3: at(0.75) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} [{:.2} .. {:.2}]", self.median, self.q1, self.q3)
    }
}

/// Percentiles of a histogram, in nanoseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Histograms hold hundredths of a nanosecond: one sample is the mean of many round trips.
pub(super) const UNIT: f64 = 100.0;

impl Percentiles {
    pub(super) fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |share: f64| histogram.value_at_quantile(share) as f64 / UNIT;
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / UNIT }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Percentiles { p50, p90, p99, p999, max } = self;
        write!(f, "p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.0} ns")
    }
}

/// Of one figure in nanoseconds: the runs' medians, and the percentiles of all samples together.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) ns: Spread,
    pub(super) percentiles: Percentiles,
}

impl Figure {
    /// For people, in microseconds.
    pub(super) fn in_us(&self) -> String {
        let Spread { q1, median, q3 } = self.ns;
        let Percentiles { p50, p90, p99, p999, max } = self.percentiles;
        let [q1, median, q3, p50, p90, p99, p999, max] =
            [q1, median, q3, p50, p90, p99, p999, max].map(|ns| format!("{:.1}", ns / 1000.0));
        format!("{median} [{q1} .. {q3}] us   p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max} us")
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ns   {}", self.ns, self.percentiles)
    }
}

/// The runs of one figure.
pub(super) struct Runs {
    /// Each run's median, in nanoseconds.
    pub(super) p50: Vec<f64>,
    pub(super) all: Histogram<u64>,
}

impl Runs {
    pub(super) fn new() -> Runs {
        Runs { p50: Vec::new(), all: histogram() }
    }

    pub(super) fn add(&mut self, run: &Histogram<u64>) {
        self.p50.push(p50(run));
        let _ = self.all.add(run);
    }

    pub(super) fn figure(&self) -> Figure {
        Figure { ns: Spread::of(&self.p50), percentiles: Percentiles::of(&self.all) }
    }
}

/// A histogram's median, in nanoseconds.
pub(super) fn p50(samples: &Histogram<u64>) -> f64 {
    samples.value_at_quantile(0.5) as f64 / UNIT
}

/// Notes a sample of so many nanoseconds.
pub(super) fn record(samples: &mut Histogram<u64>, ns: f64) {
    samples.saturating_record((ns * UNIT) as u64);
}

/// A histogram of latencies from 0.01 ns to 10 s, three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000_000, 3).unwrap_or_else(|_| unreachable!("these bounds are allowed"))
}

/// The machine's time since some moment, and what its host gave of it to others.
pub(super) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// From now on.
    pub(super) fn begin() -> Steal {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
        Steal { stolen: fields.get(7).copied().unwrap_or(0), all: fields.iter().take(8).sum() }
    }

    /// The share that was given to others, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let now = Steal::begin();
        now.stolen.saturating_sub(self.stolen) as f64 / now.all.saturating_sub(self.all).max(1) as f64
    }
}

/// This against that, run by run.
pub(super) fn ratios(these: &[f64], those: &[f64]) -> Spread {
    Spread::of(&these.iter().zip(those).map(|(this, that)| this / that).collect::<Vec<f64>>())
}
