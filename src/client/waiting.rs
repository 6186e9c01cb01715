//! Waiting: spin, or sleep on a bell, or first the one and then the other. Every sleep is bounded; waking early is normal.

use super::link::Link;
use crate::error::{Error, Result};
use crate::layout::meeting::Bell;
use crate::os::clock::monotonic_us;
use crate::os::futex::{Expected, Wake};
use crate::os::mapping::MeetingMap;
use crate::os::{futex, membarrier};
use crate::ring::bell::{self, Fence};
use crate::wire::Ask;
use crossbeam_utils::Backoff;
use std::time::{Duration, Instant};

/// The longest single sleep: what a lost ring (its ringer died before it rang, and there was no broker to ring for it) can cost.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// The longest sleep for two bells at once where the kernel can only sleep on one.
const SHORT_SLEEP: Duration = Duration::from_millis(1);

/// How often a look for a ring that is late is repeated, a millisecond each. It decides a number of [`Sleeps`], and nothing else.
const RING_TRIES: u32 = 5;

/// How to wait for what is not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Wait {
    /// Look a moment longer, giving the core away in between, then sleep. The moment is some microseconds.
    #[default]
    Brief,
    /// Look again and again, and never sleep: nothing is quicker, and it takes a core.
    Spin,
    /// Look again and again for so long, then sleep.
    SpinThenBlock(Duration),
    /// Look once, then sleep.
    Block,
}

/// How a reader's waits went, since it was opened; see [`Reader::sleeps`](crate::Reader::sleeps).
///
/// A sleep is bounded, for the sake of rings that nobody is left to ring: a participant that is killed between its commit and its ring while
/// there is no broker. Else whatever a sleeper waits for rings for it, and [`missed`](Sleeps::missed) stays 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sleeps {
    /// Announced, and then found what it waited for: no sleep was needed.
    pub spared: u64,
    /// The bell was rung between the announcement and the sleep, which did not begin then.
    pub overtaken: u64,
    /// Slept, and was woken by a ring.
    pub rung: u64,
    /// Slept until the deadline or the bound of one sleep, or a signal handler ran.
    pub unrung: u64,
    /// Of those, found something that nobody had rung for by then.
    pub missed: u64,
}

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

/// The part of a wait before it sleeps.
pub(crate) struct Spinner {
    backoff: Backoff,
    wait: Wait,
    until: Deadline,
}

impl Spinner {
    pub(crate) fn new(wait: Wait) -> Self {
        let until = match wait {
            Wait::SpinThenBlock(time) => Deadline::after(time),
            _ => Deadline::never(),
        };
        Spinner { backoff: Backoff::new(), wait, until }
    }

    /// Spins for a moment, and then the caller looks again; false: it is time to sleep.
    pub(crate) fn spin(&mut self) -> bool {
        match self.wait {
            Wait::Brief if self.backoff.is_completed() => return false,
            Wait::Brief => self.backoff.snooze(),
            Wait::SpinThenBlock(_) if self.until.has_passed() => return false,
            Wait::Spin | Wait::SpinThenBlock(_) => std::hint::spin_loop(),
            Wait::Block => return false,
        }
        true
    }
}

/// How this process rings, from now on in this zone. If it can not call membarrier, whoever rings here is asked for full fences, before the
/// first sleep: the broker puts a fence into every process that may not have seen that yet.
///
/// # Errors
/// The broker has gone. (One that can not call membarrier either asked for full fences when it made the zone.)
pub(crate) fn attach(meeting: &MeetingMap, link: &Link) -> Result<Fence> {
    let fence = if membarrier::register() { Fence::Light } else { Fence::Full };
    if !membarrier::barrier() {
        bell::demand_fences_of_all(meeting.view().header);
        match link.call(Ask::Barrier) {
            Ok(_) | Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(fence)
}

/// Wakes all that sleep on the bell.
pub(crate) fn wake(bell: &Bell) {
    // The word is mapped, so there is nothing to fail.
    let _ = futex::wake_all(&bell.bell);
}

/// Spins until `done` is there, for a moment.
pub(crate) fn spin<R, E>(mut done: impl FnMut() -> Result<Option<R>, E>) -> Result<Option<R>, E> {
    let mut spinner = Spinner::new(Wait::Brief);
    loop {
        if let Some(found) = done()? {
            return Ok(Some(found));
        }
        if !spinner.spin() {
            return Ok(None);
        }
    }
}

/// Shows the bits on one bell or two, fences, and returns what each bell must still be when we sleep.
pub(crate) fn announce_all<const N: usize>(bells: [(&Bell, u32); N]) -> [u32; N] {
    let expected = bells.map(|(bell, mask)| bell::announce(bell, mask));
    if !membarrier::barrier() {
        // Demanded when this process joined, unless the kernel let it call membarrier then.
        bells.iter().for_each(|(bell, _)| bell::demand_fences(bell));
        bell::sleeper_fence();
    }
    expected
}

/// Shows the bit, fences, and returns what the bell must still be when we sleep.
pub(crate) fn announce(bell: &Bell, mask: u32) -> u32 {
    let [expected] = announce_all([(bell, mask)]);
    expected
}

/// Sleeps until the bell is rung or the deadline passes, for a while at most.
pub(crate) fn sleep(bell: &Bell, expected: u32, deadline: Deadline) {
    sleep_on_any(&[Expected { word: &bell.bell, value: expected }], deadline.left().min(LONGEST_SLEEP));
}

/// Sleeps until one of the words is woken or is not as expected, or for `most`. Whatever ended it, the caller looks again.
pub(crate) fn sleep_on_any(words: &[Expected<'_>], most: Duration) -> Wake {
    let Some(first) = words.first() else { return Wake::Changed };
    if words.len() > 1 {
        if let Ok(woken) = futex::wait_any(words, most) {
            return woken;
        }
        // Before Linux 5.16, or not allowed: on the first, and not for long.
        let most = most.min(SHORT_SLEEP);
        return futex::wait(first.word, first.value, most).unwrap_or(Wake::Interrupted);
    }
    futex::wait(first.word, first.value, most).unwrap_or(Wake::Interrupted)
}

/// A sleep ran to its end, and then there was something: whether it is rung for. It may have come just now, and its ring is about to.
#[cold]
pub(crate) fn is_rung_at_last(is_rung: impl Fn() -> bool) -> bool {
    (0..RING_TRIES).any(|_| {
        is_rung() || {
            std::thread::sleep(Duration::from_millis(1));
            false
        }
    })
}
