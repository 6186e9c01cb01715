//! Waiting for what there is not yet: spinning or asleep.

use super::Reader;
use crate::client::waiting::{self, Deadline};
use crate::error::{Error, Result};
use std::time::Duration;

impl Reader {
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
            self.check_news()?;
            if let Some(driver) = self.reactions.known_driver() {
                driver.mind(self.proposer());
            }
            if deadline.get_or_insert_with(|| Deadline::after(timeout)).has_passed() {
                return Err(Error::Timeout);
            }
        }
    }

    /// Who is on record for an edge that a reader runs by its process's driver: nobody's row.
    fn proposer(&self) -> u32 {
        self.zone.view().geometry.writers + 1
    }

    pub(crate) fn wait_for<R>(
        &mut self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<R> {
        let deadline = Deadline::after(timeout);
        if let Some(found) = waiting::spin(|| poll(self))? {
            return Ok(found);
        }
        loop {
            // Before the deadline: however short that is, news are told.
            self.check_news()?;
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
            let bells = &self.bells;
            let (bell, mask) =
                if self.synced { (&bells.synced.0, u32::MAX) } else { (&bells.live.0, self.sleep_mask()) };
            let expected = waiting::announce(bell, mask);
            if let Some(found) = poll(self)? {
                return Ok(found);
            }
            self.check_news()?;
            let driver = self.reactions.known_driver();
            let due = driver.as_ref().and_then(|driver| driver.due_us());
            let bells = &self.bells;
            let bell = if self.synced { &bells.synced.0 } else { &bells.live.0 };
            waiting::sleep(bell, expected, deadline.or_at(due));
            if let Some(driver) = driver {
                driver.mind(self.proposer());
            }
            if let Some(found) = poll(self)? {
                return Ok(found);
            }
        }
    }

    /// The bits to sleep on: with no lane yet, any.
    fn sleep_mask(&self) -> u32 {
        if self.mask == 0 { u32::MAX } else { self.mask }
    }
}
