//! Stops of a thread at any instruction, as a busy machine makes them, but thousands of times a second.

use super::Random;
use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// From one stop to the next.
const INTERVAL: Duration = Duration::from_micros(200);
/// The longest stop.
const LONGEST: Duration = Duration::from_micros(100);

static COUNT: AtomicU64 = AtomicU64::new(0);
static RANDOM: AtomicU64 = AtomicU64::new(1);

/// The thread that made this is stopped again and again, until it is dropped.
pub struct Stops {
    _timer: Timer,
}

impl Stops {
    pub fn begin() -> Stops {
        RANDOM.store(u64::from(std::process::id()) << 20 | 1, Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(stop), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does what a handler may do: atomics and a system call; it leaves `errno` as it was.
        unsafe { sigaction(Signal::SIGALRM, &action) }.expect("sigaction");
        let thread_id = nix::unistd::gettid().as_raw();
        let notify = SigevNotify::SigevThreadId { signal: Signal::SIGALRM, thread_id, si_value: 0 };
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(notify)).expect("timer");
        timer.set(Expiration::Interval(INTERVAL.into()), TimerSetTimeFlags::empty()).expect("set the timer");
        Stops { _timer: timer }
    }

    /// No more of them; how many there were.
    pub fn end(self) -> u64 {
        drop(self);
        COUNT.load(Ordering::Relaxed)
    }
}

extern "C" fn stop(_signal: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    let mut random = Random(RANDOM.load(Ordering::Relaxed));
    let time = libc::timespec { tv_sec: 0, tv_nsec: random.below(LONGEST.as_nanos() as u64) as libc::c_long };
    RANDOM.store(random.0, Ordering::Relaxed);
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: the time is a valid one, and the rest of it is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
    nix::errno::Errno::set_raw(errno);
}
