//! The clock that edges are dated by.

use nix::time::{ClockId, clock_gettime};

/// Microseconds of the monotonic clock, which all processes of this host share; since some point before boot.
#[inline]
pub fn monotonic_us() -> u64 {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1_000)
}

/// The same, as the core takes it.
#[inline]
pub fn now() -> Option<u64> {
    Some(monotonic_us())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let before = monotonic_us();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic_us() >= before + 2_000);
    }
}
