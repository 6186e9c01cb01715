//! A descriptor that is silent for a while.

use crate::error::{Error, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A descriptor that is silent for a while.
pub(super) struct Timed {
    pub(super) epoll: Epoll,
    pub(super) timer: TimerFd,
    /// Whether the timer runs, and the reader's descriptor is not looked at.
    pub(super) silent: bool,
}

impl Timed {
    pub(super) fn new(reader: BorrowedFd<'_>) -> Result<Timed> {
        let failed = |errno: nix::errno::Errno| Error::io("making a descriptor for a table's changes")(errno.into());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(failed)?;
        epoll.add(reader, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, 1)).map_err(failed)?;
        Ok(Timed { epoll, timer, silent: false })
    }

    pub(super) fn set(&mut self, reader: BorrowedFd<'_>, wait: Option<Duration>) -> Result<()> {
        let failed = |errno: nix::errno::Errno| Error::io("setting the time of a table's changes")(errno.into());
        if self.silent != wait.is_some() {
            let interest = if wait.is_some() { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
            self.epoll.modify(reader, &mut EpollEvent::new(interest, 0)).map_err(failed)?;
            self.silent = wait.is_some();
        }
        match wait {
            Some(wait) => {
                let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
                self.timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty()).map_err(failed)
            }
            None => self.timer.unset().map_err(failed),
        }
    }
}
