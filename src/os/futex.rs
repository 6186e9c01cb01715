//! Futexes in shared memory: sleep while a word has a value, wake who sleeps on it.
//!
//! Without the PRIVATE flag, so that processes meet on the page of the segment and not on their own addresses of it.

use crate::sync::AtomicU32;
use nix::errno::Errno;
use std::io;
use std::ptr;
use std::time::Duration;

/// Why a [`wait`] came back. Wakes may be spurious: look again at what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Somebody woke this word.
    Woken,
    /// The word did not have the expected value.
    Changed,
    /// The timeout passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps while `word` is `expected`, until woken, for at most `timeout`.
///
/// # Errors
/// The kernel refuses the call (a seccomp filter).
pub fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> io::Result<Wake> {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `word` and `timeout` live until the call returns; the kernel reads both and writes neither.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, ptr::from_ref(&timeout)) };
    match Errno::result(result) {
        Ok(_) => Ok(Wake::Woken),
        Err(Errno::EAGAIN) => Ok(Wake::Changed),
        Err(Errno::ETIMEDOUT) => Ok(Wake::TimedOut),
        Err(Errno::EINTR) => Ok(Wake::Interrupted),
        Err(errno) => Err(errno.into()),
    }
}

/// Wakes everybody who sleeps on `word`; how many these were.
///
/// # Errors
/// The kernel refuses the call (a seccomp filter).
pub fn wake_all(word: &AtomicU32) -> io::Result<u32> {
    // SAFETY: `word` lives until the call returns; the kernel uses its address only to find the sleepers.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    Ok(Errno::result(result)?.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::meeting;
    use crate::os::mapping::MeetingMap;
    use crate::os::memfd::Segment;
    use crate::os::testing::{join_child, spawn_child};
    use crate::sync::Ordering;
    use std::time::Instant;

    #[test]
    fn changed_and_timed_out() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, Duration::MAX).unwrap(), Wake::Changed);
        let start = Instant::now();
        assert_eq!(wait(&word, 1, Duration::from_millis(20)).unwrap(), Wake::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(wake_all(&word).unwrap(), 0, "nobody sleeps");
    }

    #[test]
    fn wakes_another_process() {
        let segment = Segment::create("test", meeting::segment_size(1)).unwrap();
        let map = MeetingMap::create(segment.fd(), 1, 1).unwrap();
        let child = spawn_child(|| {
            let map = MeetingMap::new(segment.fd(), 1).unwrap();
            let bell = &map.view().header.live.0.bell;
            wait(bell, 0, Duration::from_secs(10)).unwrap() == Wake::Woken && bell.load(Ordering::Acquire) == 0
        });
        let bell = &map.view().header.live.0.bell;
        let start = Instant::now();
        while wake_all(bell).unwrap() == 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "the child never slept");
            std::thread::yield_now();
        }
        assert_eq!(join_child(child), 0);
    }
}
