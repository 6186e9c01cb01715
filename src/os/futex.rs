//! Futexes in shared memory: sleep while a word has a value, wake who sleeps on it.
//!
//! Without the PRIVATE flag, so that processes meet on the page of the segment and not on their own addresses of it.

use crate::sync::AtomicU32;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
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
    wake(result)
}

/// What the kernel said.
fn wake(result: libc::c_long) -> io::Result<Wake> {
    match Errno::result(result) {
        Ok(_) => Ok(Wake::Woken),
        Err(Errno::EAGAIN) => Ok(Wake::Changed),
        Err(Errno::ETIMEDOUT) => Ok(Wake::TimedOut),
        Err(Errno::EINTR) => Ok(Wake::Interrupted),
        Err(errno) => Err(errno.into()),
    }
}

/// The most words of one [`wait_any`].
pub const MOST_WORDS: usize = 128;

/// A word, and what it must still be for a sleep on it.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The word.
    pub word: &'a AtomicU32,
    /// Its value when it was last looked at.
    pub value: u32,
}

/// Whether the kernel can sleep on several words at once (`futex_waitv`, Linux 5.16), and lets this process. Asks the kernel.
pub fn can_wait_for_any() -> bool {
    // SAFETY: no words: the kernel looks at nothing, and says that there are none (EINVAL), unless it does not know or refuses the call.
    let result = unsafe {
        libc::syscall(libc::SYS_futex_waitv, ptr::null::<libc::c_void>(), 0, 0, ptr::null::<libc::c_void>(), 0)
    };
    result == -1 && Errno::last() == Errno::EINVAL
}

/// Sleeps while each word is what is expected of it, until one is woken, for at most `timeout`. See [`can_wait_for_any`].
///
/// # Errors
/// More than [`MOST_WORDS`], or none; the kernel does not have the call, or refuses it.
pub fn wait_any(words: &[Expected<'_>], timeout: Duration) -> io::Result<Wake> {
    /// `struct futex_waitv`.
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        zero: u32,
    }
    /// `FUTEX2_SIZE_U32`, and not private.
    const FLAGS: u32 = 2;
    if words.is_empty() || words.len() > MOST_WORDS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let waiter = |expected: &Expected<'_>| Waiter {
        value: expected.value.into(),
        address: expected.word.as_ptr() as u64,
        flags: FLAGS,
        zero: 0,
    };
    let waiters: Vec<Waiter> = words.iter().map(waiter).collect();
    let deadline = deadline_after(timeout);
    // SAFETY: the words, `waiters` and `deadline` live until the call returns; the kernel reads them and writes none.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            waiters.len() as libc::c_uint,
            0 as libc::c_uint,
            deadline.as_ref().map_or(ptr::null(), ptr::from_ref),
            libc::CLOCK_MONOTONIC,
        )
    };
    wake(result)
}

/// A point of the monotonic clock; `None`: too far away to be one.
fn deadline_after(timeout: Duration) -> Option<libc::timespec> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let then = Duration::from(now).checked_add(timeout)?;
    Some(libc::timespec { tv_sec: then.as_secs().try_into().ok()?, tv_nsec: then.subsec_nanos().into() })
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
    fn any_of_several() {
        assert!(can_wait_for_any(), "these tests need Linux 5.16");
        let words: Vec<AtomicU32> = (0..MOST_WORDS as u32).map(AtomicU32::new).collect();
        let expected = |count: usize| -> Vec<Expected<'_>> {
            words.iter().zip(0..).map(|(word, value)| Expected { word, value }).take(count).collect()
        };
        let start = Instant::now();
        assert_eq!(wait_any(&expected(MOST_WORDS), Duration::from_millis(20)).unwrap(), Wake::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
        words[77].store(0, Ordering::Relaxed);
        assert_eq!(wait_any(&expected(MOST_WORDS), Duration::MAX).unwrap(), Wake::Changed);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait_any(&expected(77), Duration::MAX).unwrap());
            while wake_all(&words[76]).unwrap() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(sleeper.join().unwrap(), Wake::Woken);
        });
        assert!(wait_any(&[], Duration::ZERO).is_err());
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
