//! Waiting for the first of several: readers, whatever their zones and brokers, and other descriptors.

use super::reader::Reader;
use super::waiting::{Deadline, Wait, spin};
use crate::error::{Error, Result};
use crate::os::fork::Epoch;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The most keys of one [`WaitSet::wait`]; the others come with the next.
const MOST_READY: usize = 64;
/// The longest single wait in the kernel, which counts in milliseconds and not for ever: looked at again after that.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Waits for the first of any number of readers (of several zones, of several brokers) and other descriptors.
///
/// Each has a key of the caller's. It is *level-triggered*: a reader that has something left is ready, until a try says that there is nothing;
/// see [`Reader::pollable`], which is what this is built on.
///
/// # Examples
/// ```
/// # fn main() -> syncline::Result<()> {
/// # use std::time::Duration;
/// let bus = syncline::Bus::embedded()?;
/// let mut levels = bus.zone("plant").reader("log").channel::<f64>("level").open()?;
/// let mut alarms = bus.zone("safety").reader("log").channel::<u32>("alarm").open()?;
/// let mut set = syncline::WaitSet::new()?;
/// set.add_reader(1, &mut levels)?;
/// set.add_reader(2, &mut alarms)?;
///
/// let mut writer = bus.zone("safety").writer("guard")?;
/// let alarm = writer.channel("alarm").open::<u32>()?;
/// writer.publish(alarm, &7)?;
/// let mut heard = None;
/// while heard.is_none() {
///     for key in set.wait(Duration::from_secs(1))? {
///         match key {
///             1 => while levels.try_recv()?.is_some() {},
///             _ => while let Some(message) = alarms.try_recv()? {
///                 heard = Some(message.copy::<u32>()?);
///             },
///         }
///     }
/// }
/// assert_eq!(heard, Some(7));
/// # Ok(())
/// # }
/// ```
pub struct WaitSet {
    epoll: Epoll,
    epoch: Epoch,
    wait: Wait,
    events: Vec<EpollEvent>,
}

impl WaitSet {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptor can be made.
    pub fn new() -> Result<WaitSet> {
        let epoch = Epoch::current().map_err(Error::io("making the page that tells a fork"))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("making an epoll descriptor"))?;
        Ok(WaitSet { epoll, epoch, wait: Wait::default(), events: vec![EpollEvent::empty(); MOST_READY] })
    }

    /// How [`WaitSet::wait`] waits from now on. Spinning here asks the kernel again and again, which is slower than a reader's own spinning.
    pub fn set_wait(&mut self, wait: Wait) {
        self.wait = wait;
    }

    /// Waits for a reader, too, from now on, until it is dropped or [removed](WaitSet::remove). It may be in several sets, and in one of them
    /// once.
    ///
    /// # Errors
    /// As [`Reader::pollable`]; it is in this set already.
    pub fn add_reader(&mut self, key: u64, reader: &mut Reader) -> Result<()> {
        self.add(key, reader.pollable()?)
    }

    /// Waits for another descriptor to be readable or to hang up, too, from now on, until it is closed (with all its duplicates) or
    /// [removed](WaitSet::remove).
    ///
    /// # Errors
    /// It can not be waited for, as a regular file, or is in this set already; [`Error::Forked`].
    pub fn add(&mut self, key: u64, descriptor: impl AsFd) -> Result<()> {
        self.check_fork()?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, key);
        self.epoll.add(descriptor, event).map_err(failed("adding a descriptor to a wait set"))
    }

    /// Waits for a reader no longer.
    ///
    /// # Errors
    /// As [`WaitSet::remove`].
    pub fn remove_reader(&mut self, reader: &mut Reader) -> Result<()> {
        self.remove(reader.pollable()?)
    }

    /// Waits for a descriptor no longer.
    ///
    /// # Errors
    /// It is not in this set; [`Error::Forked`].
    pub fn remove(&mut self, descriptor: impl AsFd) -> Result<()> {
        self.check_fork()?;
        self.epoll.delete(descriptor).map_err(failed("removing a descriptor from a wait set"))
    }

    /// Waits until one or more are ready: their keys, up to 64 of them. Who is left out comes with a later call: readiness is looked for in
    /// turn.
    ///
    /// A reader may be ready for nothing; a try tells.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Forked`].
    pub fn wait(&mut self, timeout: Duration) -> Result<impl Iterator<Item = u64> + use<'_>> {
        self.wait_for_up_to(MOST_READY, timeout)
    }

    /// The same, and at most so many keys.
    pub(crate) fn wait_for_up_to(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<impl Iterator<Item = u64> + use<'_>> {
        self.check_fork()?;
        self.events.resize(most.clamp(1, MOST_READY), EpollEvent::empty());
        let count = self.wait_for_some(timeout)?;
        Ok(self.events[..count].iter().map(EpollEvent::data))
    }

    fn wait_for_some(&mut self, timeout: Duration) -> Result<usize> {
        let deadline = Deadline::after(timeout);
        let found = match self.wait {
            Wait::Brief => spin(|| self.look(Duration::ZERO))?,
            Wait::Block => None,
            Wait::Spin => self.spin_until(deadline)?,
            Wait::SpinThenBlock(most) => self.spin_until(Deadline::after(most.min(timeout)))?,
        };
        if let Some(count) = found {
            return Ok(count);
        }
        loop {
            let left = deadline.left();
            if let Some(count) = self.look(left.min(LONGEST_WAIT))? {
                return Ok(count);
            }
            if left.is_zero() {
                return Err(Error::Timeout);
            }
        }
    }

    fn spin_until(&mut self, deadline: Deadline) -> Result<Option<usize>> {
        loop {
            let found = self.look(Duration::ZERO)?;
            if found.is_some() || deadline.has_passed() {
                return Ok(found);
            }
        }
    }

    /// How many are ready within that time, if any is.
    fn look(&mut self, most: Duration) -> Result<Option<usize>> {
        // Rounded up: rounded down, the last millisecond would be spun away.
        let most_ms = i32::try_from(most.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let timeout = EpollTimeout::try_from(most_ms).unwrap_or(EpollTimeout::ZERO);
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            // A signal handler ran: the caller looks again, if there is time left.
            Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(failed("waiting in a wait set")(errno)),
        }
    }

    fn check_fork(&self) -> Result<()> {
        if self.epoch.is_current() { Ok(()) } else { Err(Error::Forked) }
    }
}

fn failed(doing: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::io(doing)(errno.into())
}

/// It is readable itself while one of what is in it is ready: for `epoll` in `epoll`.
impl AsFd for WaitSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl std::fmt::Debug for WaitSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitSet").field("wait", &self.wait).finish_non_exhaustive()
    }
}
