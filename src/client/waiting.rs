//! Waiting: a short spin, then sleep on a bell. Every sleep is bounded; waking early is normal.

use crate::layout::meeting::Bell;
use crate::os::clock::monotonic_us;
use crate::os::{futex, membarrier};
use crate::ring::bell::{self, Fence};
use crossbeam_utils::Backoff;
use std::time::{Duration, Instant};

/// The longest single sleep: what a lost ring (its ringer died, or had not yet seen who can not call membarrier) can cost.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// A point in time, or never.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// After `timeout`; one too long to be represented is never.
    pub(crate) fn after(timeout: Duration) -> Self {
        Deadline(Instant::now().checked_add(timeout))
    }

    /// Never.
    pub(crate) fn never() -> Self {
        Deadline(None)
    }

    /// This one, or a moment of the monotonic clock in microseconds, whichever comes first.
    pub(crate) fn or_at(self, time_us: Option<u64>) -> Self {
        let Some(time_us) = time_us else { return self };
        let in_us = time_us.saturating_sub(monotonic_us());
        let then = Instant::now() + Duration::from_micros(in_us);
        Deadline(Some(self.0.map_or(then, |deadline| deadline.min(then))))
    }

    pub(crate) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}

/// How this process rings.
pub(crate) fn ringer_fence() -> Fence {
    if membarrier::register() { Fence::Light } else { Fence::Full }
}

/// Wakes all that sleep on the bell.
pub(crate) fn wake(bell: &Bell) {
    // The word is mapped, so there is nothing to fail.
    let _ = futex::wake_all(&bell.bell);
}

/// Spins until `done` is there, for a moment.
pub(crate) fn spin<R, E>(mut done: impl FnMut() -> Result<Option<R>, E>) -> Result<Option<R>, E> {
    let backoff = Backoff::new();
    loop {
        if let Some(found) = done()? {
            return Ok(Some(found));
        }
        if backoff.is_completed() {
            return Ok(None);
        }
        backoff.snooze();
    }
}

/// Shows the bit, fences, and returns what the bell must still be when we sleep.
pub(crate) fn announce(bell: &Bell, mask: u32) -> u32 {
    let expected = bell::announce(bell, mask);
    if !membarrier::barrier() {
        bell::demand_fences(bell);
        bell::sleeper_fence();
    }
    expected
}

/// Sleeps until the bell is rung or the deadline passes, for a while at most.
pub(crate) fn sleep(bell: &Bell, expected: u32, deadline: Deadline) {
    let most = deadline.left().min(LONGEST_SLEEP);
    // Whatever ended it, the caller looks again.
    let _ = futex::wait(&bell.bell, expected, most);
}
