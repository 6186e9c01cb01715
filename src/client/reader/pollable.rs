//! A descriptor for `poll` and `epoll` that says when there is something to take.

use super::Reader;
use crate::client::link::Link;
use crate::client::relay::{Group, Ward};
use crate::client::waiting::Sleeps;
use crate::error::{Error, Result};
use crate::os::fork::Epoch;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// How often a reader that is rung while it arms looks again, before it leaves that to its caller.
const ARM_TRIES: u32 = 8;

/// What `epoll` sees of a reader.
pub(super) struct Pollable {
    link: Arc<Link>,
    group: Arc<Group>,
    ward: Arc<Ward>,
    epoch: Epoch,
    /// The bits that it armed with.
    mask: u32,
}

impl Pollable {
    pub(super) fn sleeps(&self) -> Sleeps {
        self.ward.sleeps()
    }

    pub(super) fn set_longest_sleep(&self, longest: Duration) {
        self.ward.set_longest_sleep(longest);
    }
}

impl Drop for Pollable {
    fn drop(&mut self) {
        // A forked child has neither the thread nor, for certain, the locks.
        if self.epoch.is_current() {
            self.link.relay().leave(&self.group, &self.ward);
            // A forked child may hold it open, and so in the epoll that it was in.
            self.ward.lower();
        }
    }
}

impl Reader {
    /// A descriptor that is readable while there may be something to take: for `poll`, `epoll` and what is built on them. It belongs to the
    /// reader, and is close-on-exec and non-blocking. Do not read or write it: it is cleared by trying, like this:
    ///
    /// 1. Wait until it is readable. It is at first.
    /// 2. Take what there is with [`try_recv`](Reader::try_recv), [`try_era`](Reader::try_era) or [`try_live`](Reader::try_live), as much as
    ///    you like. It stays readable until one of them says that there is nothing (`Ok(None)`), or a call that waits says
    ///    [`Error::Timeout`]: then it is cleared, and *armed*: what comes makes it readable again.
    ///
    /// It may be readable for nothing, as when a message came on another channel of the zone. Besides messages and eras, what waiting calls
    /// tell ([`Error::Closed`], [`Error::Early`], [`Error::RolledBack`]) makes it readable, and a try tells it.
    ///
    /// From the first call on, trying and finding nothing costs some system calls (a try that finds something costs none), and a thread of
    /// this process sleeps on behalf of its readers: one for up to 127 of a connection. It begins with the first and ends with the last of
    /// them. No broker is needed for any of this.
    ///
    /// # Errors
    /// No thread can be started, or no descriptor made; [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// use nix::poll::{PollFd, PollFlags, poll};
    /// let bus = syncline::Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// let level = writer.channel("level").open::<f64>()?;
    /// let mut reader = bus.zone("plant").reader("log").channel::<f64>("level").open()?;
    ///
    /// reader.pollable()?;
    /// assert!(reader.try_recv()?.is_none());
    /// let is_readable = |reader: &mut syncline::Reader, timeout: u8| -> syncline::Result<bool> {
    ///     Ok(poll(&mut [PollFd::new(reader.pollable()?, PollFlags::POLLIN)], timeout) == Ok(1))
    /// };
    /// assert!(!is_readable(&mut reader, 0)?);
    /// writer.publish(level, &1.0)?;
    /// assert!(is_readable(&mut reader, 250)?);
    /// assert_eq!(reader.try_recv()?.unwrap().copy::<f64>()?, 1.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pollable(&mut self) -> Result<BorrowedFd<'_>> {
        self.check_fork()?;
        let made = match self.waits.pollable.take() {
            Some(made) => made,
            None => self.make_pollable()?,
        };
        Ok(self.waits.pollable.insert(made).ward.fd())
    }

    fn make_pollable(&self) -> Result<Pollable> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| Error::io("making an event descriptor")(errno.into()))?;
        let parts = (self.meeting.bells(), self.zone.clone(), self.reactions.clone());
        let ward = Arc::new(Ward::new(parts, (!self.synced, self.synced || self.marked), event));
        ward.set_longest_sleep(self.waits.longest);
        let group = self.link.relay().serve(&ward)?;
        Ok(Pollable { link: self.link.clone(), group, ward, epoch: self.epoch, mask: 0 })
    }

    /// Whether somebody waits for a descriptor.
    #[inline(always)]
    pub(super) fn has_pollable(&self) -> bool {
        self.waits.pollable.is_some()
    }

    /// What is there now. If nothing is, whoever waits for the descriptor is told of what comes.
    #[inline(always)]
    pub(crate) fn try_next<R>(&mut self, mut poll: impl FnMut(&mut Self) -> Result<Option<R>>) -> Result<Option<R>> {
        match poll(self) {
            Ok(None) if self.waits.pollable.is_some() => self.arm(poll),
            // As it is: taken apart and put together again, it would go through memory once more.
            found => found,
        }
    }

    /// Looks once more, having shown that it will wait, and clears the descriptor if there is nothing.
    #[cold]
    pub(super) fn arm<R>(&mut self, mut poll: impl FnMut(&mut Self) -> Result<Option<R>>) -> Result<Option<R>> {
        let mask = self.sleep_mask();
        let Some(pollable) = &self.waits.pollable else { return Ok(None) };
        if pollable.mask == mask && pollable.ward.is_armed() {
            return Ok(None);
        }
        let ward = pollable.ward.clone();
        for _ in 0..ARM_TRIES {
            ward.lower();
            ward.see(self.lanes.iter().map(|lane| lane.row()));
            let announced = self.announce();
            let looked =
                poll(self).and_then(|found| if found.is_none() { self.check_news().map(|()| None) } else { Ok(found) });
            if !matches!(looked, Ok(None)) {
                // There may be more.
                ward.raise();
                ward.note_spared();
                return looked;
            }
            if self.sleep_mask() != announced.mask {
                // That look has found new lanes, whose messages are rung for with other bits.
                continue;
            }
            let Some(is_news) = ward.arm(announced.live, announced.synced) else { continue };
            if let Some(pollable) = &mut self.waits.pollable {
                pollable.mask = announced.mask;
                if is_news {
                    pollable.group.kick(None);
                }
            }
            return Ok(None);
        }
        // Rung again and again, for others perhaps: the caller may try again.
        ward.raise();
        Ok(None)
    }

    /// There is something to take without anybody having rung for it.
    pub(super) fn alert(&self) {
        if let Some(pollable) = &self.waits.pollable {
            pollable.ward.raise();
        }
    }
}
