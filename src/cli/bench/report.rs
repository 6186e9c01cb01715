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

/// A histogram of latencies from 0.01 ns to 10 s, three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000_000, 3).unwrap_or_else(|_| unreachable!("these bounds are allowed"))
}

/// Share of the machine's time that the host gave to others since boot, in ticks; and all ticks.
pub(super) fn steal() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    (fields.get(7).copied().unwrap_or(0), fields.iter().take(8).sum())
}
