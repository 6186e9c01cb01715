//! Waiting for what there is not yet: spinning or asleep.

use super::Reader;
use super::pollable::Pollable;
use crate::client::lanes::LaneIn;
use crate::client::waiting::{self, Deadline, LONGEST_SLEEP, Sleeps, Wait};
use crate::error::{Error, Result};
use crate::layout::meeting::Bell;
use crate::os::futex::{Expected, Wake};
use crate::ring::order;
use std::time::Duration;

/// How a reader waits, and how that went.
pub(super) struct Waits {
    pub(super) wait: Wait,
    pub(super) longest: Duration,
    pub(super) sleeps: Sleeps,
    /// What `epoll` sees of this reader, if it is to see something.
    pub(super) pollable: Option<Pollable>,
}

impl Waits {
    pub(super) fn new(wait: Wait) -> Self {
        Waits { wait, longest: LONGEST_SLEEP, sleeps: Sleeps::default(), pollable: None }
    }
}

/// What was announced on a reader's bells, the live one and the one of edges: the bits, and what each bell must still be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) mask: u32,
    pub(super) live: Option<u32>,
    pub(super) synced: Option<u32>,
}

impl Reader {
    /// How [`Reader::recv`], [`Reader::next_era`] and [`Reader::next_live`] wait from now on.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let mut reader = bus.zone("plant").reader("log").channel::<f64>("level").open()?;
    /// reader.set_wait(syncline::Wait::SpinThenBlock(Duration::from_micros(50)));
    /// assert!(matches!(reader.recv(Duration::from_millis(1)), Err(syncline::Error::Timeout)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_wait(&mut self, wait: Wait) {
        self.waits.wait = wait;
    }

    /// How this reader's waits went so far: whether sleeping was needed, and what ended it. Of a [pollable](Reader::pollable) reader, also what
    /// was waited for there.
    pub fn sleeps(&self) -> Sleeps {
        let relayed = self.waits.pollable.as_ref().map(Pollable::sleeps).unwrap_or_default();
        let own = self.waits.sleeps;
        Sleeps {
            spared: own.spared + relayed.spared,
            overtaken: own.overtaken + relayed.overtaken,
            rung: own.rung + relayed.rung,
            unrung: own.unrung + relayed.unrung,
            missed: own.missed + relayed.missed,
        }
    }

    /// For tests of wake-ups: the longest single sleep, 100 ms if this is not called. With a long one, a ring that is lost shows.
    #[doc(hidden)]
    pub fn set_longest_sleep(&mut self, longest: Duration) {
        self.waits.longest = longest;
        if let Some(pollable) = &self.waits.pollable {
            pollable.set_longest_sleep(longest);
        }
    }

    pub(crate) fn spin_for<R>(
        &mut self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<R> {
        let mut deadline = None;
        loop {
            // The clock is looked at rarely: it costs as much as many polls.
            for _ in 0..256 {
                if let Some(found) = poll(self)? {
                    return Ok(found);
                }
                std::hint::spin_loop();
            }
            if self.is_time_up(&mut deadline, timeout)? {
                return self.arm_at_last(poll);
            }
        }
    }

    /// What a reader that spins looks at now and then.
    fn is_time_up(&mut self, deadline: &mut Option<Deadline>, timeout: Duration) -> Result<bool> {
        self.check_news()?;
        if let Some(driver) = self.reactions.known_driver() {
            driver.mind(self.proposer());
        }
        Ok(deadline.get_or_insert_with(|| Deadline::after(timeout)).has_passed())
    }

    /// Spins before it sleeps; `None`: nothing has come.
    fn spin_before<R>(
        &mut self,
        timeout: Duration,
        poll: &mut impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        let mut deadline = None;
        loop {
            for _ in 0..256 {
                let found = poll(self)?;
                if found.is_some() {
                    return Ok(found);
                }
                std::hint::spin_loop();
            }
            if self.is_time_up(&mut deadline, timeout)? {
                return Ok(None);
            }
        }
    }

    /// Who is on record for an edge that a reader runs by its process's driver: nobody's row.
    pub(super) fn proposer(&self) -> u32 {
        self.zone.view().geometry.writers + 1
    }

    pub(crate) fn wait_for<R>(
        &mut self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<R> {
        let deadline = Deadline::after(timeout);
        let found = match self.waits.wait {
            Wait::Brief => waiting::spin(|| poll(self))?,
            Wait::Block => poll(self)?,
            Wait::Spin => return self.spin_for(timeout, poll),
            Wait::SpinThenBlock(spin) => self.spin_before(spin.min(timeout), &mut poll)?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        loop {
            // Before the deadline: however short that is, news are told.
            self.check_news()?;
            if deadline.has_passed() {
                return self.arm_at_last(poll);
            }
            let announced = self.announce();
            if let Some(found) = poll(self)? {
                self.waits.sleeps.spared += 1;
                return Ok(found);
            }
            self.check_news()?;
            if announced.live.is_some() && self.sleep_mask() != announced.mask {
                // That look has found new lanes, whose messages are rung for with other bits.
                continue;
            }
            let driver = self.reactions.known_driver();
            let due = driver.as_ref().and_then(|driver| driver.due_us());
            let woken = self.sleep(announced, deadline.or_at(due));
            if let Some(driver) = driver {
                driver.mind(self.proposer());
            }
            if let Some(found) = poll(self)? {
                if woken == Wake::TimedOut && !waiting::is_rung_at_last(|| self.is_rung_since(announced)) {
                    self.waits.sleeps.missed += 1;
                }
                return Ok(found);
            }
        }
    }

    /// There is nothing in time; who waits in `epoll` after this is told of what comes.
    #[cold]
    fn arm_at_last<R>(&mut self, poll: impl FnMut(&mut Self) -> Result<Option<R>>) -> Result<R> {
        self.arm(poll)?.ok_or(Error::Timeout)
    }

    /// Shows that this reader is going to sleep.
    pub(super) fn announce(&self) -> Announced {
        let (live, synced) = (&self.bells.live.0, &self.bells.synced.0);
        let mask = self.sleep_mask();
        if self.synced {
            let [synced] = waiting::announce_all([(synced, u32::MAX)]);
            return Announced { mask, live: None, synced: Some(synced) };
        }
        if !self.marked {
            let [live] = waiting::announce_all([(live, mask)]);
            return Announced { mask, live: Some(live), synced: None };
        }
        // Both messages and edges are waited for.
        let [live, synced] = waiting::announce_all([(live, mask), (synced, u32::MAX)]);
        Announced { mask, live: Some(live), synced: Some(synced) }
    }

    fn sleep(&mut self, announced: Announced, deadline: Deadline) -> Wake {
        let (live, synced) = (&self.bells.live.0.bell, &self.bells.synced.0.bell);
        let most = deadline.left().min(self.waits.longest);
        let woken = match (announced.live, announced.synced) {
            (Some(value), None) => waiting::sleep_on_any(&[Expected { word: live, value }], most),
            (None, Some(value)) => waiting::sleep_on_any(&[Expected { word: synced, value }], most),
            (Some(first), Some(second)) => {
                let words = [Expected { word: live, value: first }, Expected { word: synced, value: second }];
                waiting::sleep_on_any(&words, most)
            }
            (None, None) => Wake::Changed,
        };
        self.lanes.iter().for_each(LaneIn::count_sleep);
        let sleeps = &mut self.waits.sleeps;
        match woken {
            Wake::Woken => sleeps.rung += 1,
            Wake::Changed => sleeps.overtaken += 1,
            Wake::TimedOut | Wake::Interrupted => sleeps.unrung += 1,
        }
        woken
    }

    fn is_rung_since(&self, announced: Announced) -> bool {
        let has_gone_on = |bell: &Bell, expected: Option<u32>| {
            expected.is_some_and(|expected| bell.bell.load(order::RELAXED.get()) != expected)
        };
        has_gone_on(&self.bells.live.0, announced.live) || has_gone_on(&self.bells.synced.0, announced.synced)
    }

    /// Sleeps for these bits, which its writers ring with, too, in place of those of its channels.
    pub(crate) fn set_sleep_bits(&mut self, bits: u32) {
        self.sleep_bits = bits;
    }

    /// The bits to sleep on: with no lane yet, any.
    pub(super) fn sleep_mask(&self) -> u32 {
        match (self.sleep_bits, self.mask) {
            (0, 0) => u32::MAX,
            (0, mask) => mask,
            (bits, _) => bits,
        }
    }
}
