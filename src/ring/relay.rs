//! Passing a ring on: a sleeper that leaves the sleeping to another thread.
//!
//! Whoever waits in `poll` or `epoll` can not sleep on a bell. It *arms*, and a relay, which sleeps on many bells, tells it of the ring
//! in a way that `epoll` sees.
//!
//! **Promise.** Whoever has armed and found nothing is told once a ring for it has come.
//!
//! ```text
//!   owner                                          relay, again and again
//!   1 expected = bell, its bits, heavy fence       i   lock; value = bell; armed and value != expected? tell; unlock
//!   2 there already? do not arm                    ii  futex wait while bell == value
//!   3 lock; bell != expected? told; else armed = expected; unlock
//! ```
//!
//! **No ring is lost.** 1 and 2 are a sleeper's steps (see [`super::bell`]): a deed that 2 has not found is rung for, by a bell that goes
//! on from `expected`. If it has gone on by 3, the owner finds that. If not, look at the relay's last `i` before 3: it has read `expected`
//! or an earlier value, since the bell only counts up. Earlier: the bell had gone on from there before 3, so `ii` does not begin to sleep,
//! or the wake of that ring, or of any later one, ends it. `expected`: the ring to come does that. Either way the relay comes to another
//! `i`, after 3 and after the ring, and tells. (A ringer that dies between counting and waking leaves the sleep to the next ring, or to its
//! bound, as with any sleeper.)

use super::order::RELAXED;
use crate::layout::meeting::Bell;

/// What an owner and its relay share, under a lock of theirs: on which value of the bell the owner is to be told.
#[derive(Debug, Default)]
pub struct Armed(Option<u32>);

impl Armed {
    /// Step 3: false if the bell has been rung since it was `expected`.
    pub fn arm(&mut self, bell: &Bell, expected: u32) -> bool {
        let is_still = value(bell) == expected;
        self.0 = is_still.then_some(expected);
        is_still
    }

    /// Whether the owner is armed.
    pub fn is_armed(&self) -> bool {
        self.0.is_some()
    }

    /// The owner is told otherwise.
    pub fn disarm(&mut self) {
        self.0 = None;
    }

    /// Step i: what the relay may sleep on, and whether it is to tell the owner.
    pub fn look(&mut self, bell: &Bell) -> (u32, bool) {
        let value = value(bell);
        let is_rung = self.0.is_some_and(|expected| expected != value);
        if is_rung {
            self.0 = None;
        }
        (value, is_rung)
    }
}

fn value(bell: &Bell) -> u32 {
    // Relaxed: counts up, and what it was rung for is looked at behind the owner's fence.
    bell.bell.load(RELAXED.get())
}
