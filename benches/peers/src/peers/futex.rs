//! A bare futex: a word that is counted up and slept on. What it costs is the kernel's.

use crate::Result;
use crate::arena::Arena;
use crate::peer::{End, Peer, Plan, Work};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Futex {
    arena: Arena,
    out: usize,
}

/// Sleeps while the word is `expected`, for 50 ms at most.
fn sleep(word: &AtomicU32, expected: u32) {
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    // SAFETY: the word is mapped, the timeout lives through the call; waking early is normal.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout) };
}

fn wake(word: &AtomicU32) {
    // SAFETY: the word is mapped.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

impl Peer for Futex {
    const NAME: &'static str = "futex";
    const TITLE: &'static str = "bare futex";
    const WORKS: &'static [Work] = &[Work::Wake];
    type Host = ();

    fn version() -> String {
        format!("a word, `FUTEX_WAKE` and `FUTEX_WAIT`: {}", super::kernel())
    }

    fn room(_: &Plan) -> String {
        "one word".to_owned()
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<Futex> {
        Ok(Futex { arena: Arena::open(&plan.place)?, out: usize::from(end == End::First) })
    }

    fn try_send(&mut self, number: u64) -> Result<bool> {
        let bell = self.arena.bell(self.out);
        bell.store(number as u32 + 1, Ordering::Release);
        wake(bell);
        Ok(true)
    }

    fn try_receive(&mut self, number: u64) -> Result<u64> {
        let found = self.arena.bell(1 - self.out).load(Ordering::Acquire);
        match found.wrapping_sub(number as u32) {
            0 => Ok(0),
            1 => Ok(1),
            _ => Err(format!("expected {number}, found {found}").into()),
        }
    }

    fn receive(&mut self, number: u64) -> Result<u64> {
        if self.try_receive(number)? == 0 {
            sleep(self.arena.bell(1 - self.out), number as u32);
        }
        self.try_receive(number)
    }
}
