//! The common tick: multiples of a quarter of a second on the wall clock, so that processes agree on it without a word.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// A tick, numbered from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub(super) u64);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Tick {
    /// The last one that has passed.
    pub(super) fn now() -> Tick {
        Tick((now().as_millis() / TICK.as_millis()) as u64)
    }

    /// `count` ticks later.
    pub(super) fn plus(self, count: u64) -> Tick {
        Tick(self.0.saturating_add(count))
    }

    /// Sleeps until `after` this tick.
    pub(super) fn wait(self, after: Duration) {
        let until = Duration::from_millis(self.0.saturating_mul(TICK.as_millis() as u64)).saturating_add(after);
        loop {
            let left = until.saturating_sub(now());
            if left.is_zero() {
                return;
            }
            // In slices, since the clock may be set.
            std::thread::sleep(left.min(TICK));
        }
    }
}

impl fmt::Display for Tick {
    /// Time of day, UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.saturating_mul(TICK.as_millis() as u64) % 86_400_000;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        write!(f, "{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day() {
        assert_eq!(Tick(4 * (86_400 * 3 + 3600 * 13 + 60 * 7 + 9) + 1).to_string(), "13:07:09.250");
    }

    #[test]
    fn waiting_ends_after_the_tick() {
        let next = Tick::now().plus(1);
        next.wait(Duration::from_millis(5));
        assert!(Tick::now() >= next);
        Tick(0).wait(Duration::ZERO);
    }
}
