//! Sleeping and waking without a cost for those who do not sleep.
//!
//! **Promise.** Whoever sleeps for something is rung after it has come. Ringing when nobody sleeps is one plain load.
//!
//! ```text
//!   sleeper                                  ringer (after its commit, flip or cursor)
//!   1 expected = bell                        a fence (the light one)
//!   2 sleepers: set my bits, count a ticket  b look: nobody's bit? done
//!   3 fence (the heavy one)                  c bell + 1
//!   4 there already? do not sleep            d wake all that sleep on the bell
//!   5 futex wait while bell == expected      e clear the mask, if no ticket was drawn since b
//! ```
//!
//! **No wake-up is lost.** 2-3-4 and commit-a-b are Dekker's handshake: either the sleeper finds at 4 what it waits for, or the
//! ringer finds its bit at b. In the second case the sleeper's 1 came before the ringer's c (it is before 2, which b has read), so at 5
//! the bell differs or the wake finds it asleep. A sleeper never clears bits (two may share one). Clearing comes last, and only
//! if no ticket was drawn: a ringer that dies anywhere leaves the bits to the next, and a sleeper that came after b keeps its own.
//!
//! **The fences.** The pair has to be full, but the ringer's can cost nothing when the sleeper calls `membarrier`, which puts a
//! fence into every registered process. So `a` is a compiler fence if the ringing process is registered and the `FENCE` bit is
//! clear; a process that may not call membarrier sets that bit for good. A ringer that has not seen the bit yet could miss its sleeper: so it
//! is set when the process joins, and the broker is asked for a membarrier before it sleeps the first time; a broker that may not call it
//! either sets the bit on every bell that it makes. (What is left is a process that is forbidden the call after it has joined: its first
//! sleep may last to its bound.)

use super::order::{BELL_FENCE, RELAXED, SLEEPERS_SEE, SLEEPERS_SET};
use crate::layout::meeting::{Bell, Header};

/// Somebody who may sleep here can not call membarrier.
const FENCE: u64 = 1 << 32;
const MASK: u64 = 0xffff_ffff;
const TICKET: u64 = 1 << 33;

/// The bit of channel or lane number `n`.
#[inline(always)]
pub const fn bit(n: u64) -> u32 {
    1 << (n % 32)
}

/// What a ringer looks for: sleepers with any of these bits, and those that need a full fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// Of these bits.
    #[inline(always)]
    pub const fn of(bits: u32) -> Mask {
        Mask(FENCE | bits as u64)
    }

    /// Of the bits of both.
    #[inline(always)]
    pub const fn and(self, other: Mask) -> Mask {
        Mask(self.0 | other.0)
    }
}

/// Any sleeper.
pub const ALL: Mask = Mask::of(u32::MAX);

/// Which fence a ringer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// This process is registered with membarrier: sleepers fence for it.
    Light,
    /// A full fence, each time.
    Full,
}

impl Fence {
    #[inline(always)]
    fn run(self) {
        match self {
            Fence::Light => BELL_FENCE.light_fence(),
            Fence::Full => BELL_FENCE.fence(),
        }
    }
}

/// Steps a to e. `wake` wakes all that sleep on the bell; it is called only if somebody has a bit of `mask` set.
#[inline(always)]
pub fn ring(bell: &Bell, mask: Mask, fence: Fence, wake: impl FnOnce(&Bell)) -> bool {
    fence.run();
    let sleepers = bell.sleepers.load(SLEEPERS_SEE.get());
    if sleepers & mask.0 == 0 {
        return false;
    }
    ring_seen(bell, mask, fence, sleepers, wake)
}

#[cold]
fn ring_seen(bell: &Bell, mask: Mask, fence: Fence, mut sleepers: u64, wake: impl FnOnce(&Bell)) -> bool {
    if sleepers & FENCE != 0 && fence == Fence::Light {
        Fence::Full.run();
        sleepers = bell.sleepers.load(SLEEPERS_SEE.get());
    }
    if sleepers & mask.0 & MASK == 0 {
        return false;
    }
    // Relaxed: after the look at the sleepers (acquire), and before the clearing, since the wake between them is a system call.
    bell.bell.fetch_add(1, RELAXED.get());
    wake(bell);
    let cleared = sleepers & !MASK;
    let _ = bell.sleepers.compare_exchange(sleepers, cleared, RELAXED.get(), RELAXED.get());
    true
}

/// Steps 1 and 2; the caller goes on with its heavy fence ([`sleeper_fence`] or membarrier), looks once more, and then sleeps while the
/// bell is what this returns.
pub fn announce(bell: &Bell, mask: u32) -> u32 {
    // Relaxed: what the last ring was for shows at step 4 (the fences); the bit comes after this (release).
    let expected = bell.bell.load(RELAXED.get());
    let mut sleepers = bell.sleepers.load(RELAXED.get());
    loop {
        let with_me = (sleepers | u64::from(mask)).wrapping_add(TICKET);
        match bell.sleepers.compare_exchange(sleepers, with_me, SLEEPERS_SET.get(), RELAXED.get()) {
            Ok(_) => return expected,
            Err(now) => sleepers = now,
        }
    }
}

/// Step 3, for sleepers that can not call membarrier.
pub fn sleeper_fence() {
    super::order::SLEEPER_FENCE.fence();
}

/// The same for every bell of a meeting.
pub fn demand_fences_of_all(bells: &Header) {
    for bell in [&bells.live.0, &bells.synced.0, &bells.room.0, &bells.done.0] {
        demand_fences(bell);
    }
}

/// Whether they are asked for.
#[cfg(test)]
pub fn are_fences_demanded(bell: &Bell) -> bool {
    bell.sleepers.load(RELAXED.get()) & FENCE != 0
}

/// Asks ringers for full fences from now on: this sleeper can not call membarrier.
pub fn demand_fences(bell: &Bell) {
    bell.sleepers.fetch_or(FENCE, RELAXED.get());
}
