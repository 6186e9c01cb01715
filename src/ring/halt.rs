//! Halt: bringing every writer of a zone to rest between two messages, and letting it go again.
//!
//! **Promise.** Once a row is found at rest under a halt, its version does not move until the halt is over.
//!
//! ```text
//!   writer, at every commit              whoever halts
//!   1 busy = 1                           a halt = expiry and token
//!   2 a fence (the light one)            b a fence (the heavy one)
//!   3 halted? busy = 0, wait             c until busy is 0: at rest
//!   4 commit
//!   5 busy = 0
//! ```
//!
//! It is Dekker's handshake: either the writer finds the halt at 3, or whoever halts finds it busy at c and waits for 5. A writer that stops
//! between 1 and 5 is named, not waited for. As with bells, the writer's fence costs nothing where the other side calls `membarrier`.
//!
//! **Nobody is halted for good.** The word carries the time at which it ends by itself; its owner, and the broker while the owner lives,
//! move that on. Whoever finds it passed may clear it. A token tells halts apart, so that nobody clears another's.

use super::bell::Fence;
use super::order::{BUSY_CLEAR, BUSY_SEE, HALT_CLEAR, HALT_FENCE, HALT_SEE, HALTER_FENCE, RELAXED};
use crate::layout::zone::{Control, Row};

const TOKEN_BITS: u32 = 16;
const TOKEN: u64 = (1 << TOKEN_BITS) - 1;

/// The `halt` word: until when, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt(u64);

impl Halt {
    /// When it ends by itself, in microseconds of the monotonic clock.
    pub fn expiry_us(self) -> u64 {
        self.0 >> TOKEN_BITS
    }
}

/// A row says that a commit begins: steps 1 and 2. [`found`] comes next.
#[inline(always)]
pub fn enter(row: &Row, fence: Fence) {
    // Relaxed: ordered by the fence.
    row.busy.store(1, RELAXED.get());
    match fence {
        Fence::Light => HALT_FENCE.light_fence(),
        Fence::Full => HALT_FENCE.fence(),
    }
}

/// A row's commit is over: step 5.
#[inline(always)]
pub fn leave(row: &Row) {
    row.busy.store(0, BUSY_CLEAR.get());
}

/// The halt of a zone: step 3.
#[inline(always)]
pub fn found(control: &Control) -> Option<Halt> {
    let word = control.halt.load(HALT_SEE.get());
    (word != 0).then_some(Halt(word))
}

/// Whether a zone is halted at the time `now_us`; a halt that has expired is cleared.
pub fn is_halted(control: &Control, now_us: u64) -> bool {
    let Some(Halt(word)) = found(control) else { return false };
    if word >> TOKEN_BITS > now_us {
        return true;
    }
    // Lost: somebody has cleared it, or moved it on. Relaxed: nobody has looked at anything under it.
    match control.halt.compare_exchange(word, 0, HALT_CLEAR.get(), RELAXED.get()) {
        Ok(_) => false,
        Err(now) => now >> TOKEN_BITS > now_us,
    }
}

/// Halts a zone until `expiry_us`, unless it is halted: step a. The token is what ends it.
pub fn raise(control: &Control, expiry_us: u64) -> Result<u64, Halt> {
    // Relaxed: a number of its own; 0 would be no token.
    let token = (control.halts.fetch_add(1, RELAXED.get()) + 1) & TOKEN;
    // Relaxed: ordered by the fence that follows.
    match control.halt.compare_exchange(0, expiry_us << TOKEN_BITS | token, RELAXED.get(), RELAXED.get()) {
        Ok(_) => Ok(token),
        Err(other) => Err(Halt(other)),
    }
}

/// Step b, where there is no membarrier.
pub fn halter_fence() {
    HALTER_FENCE.fence();
}

/// Whether a row is at rest: step c.
pub fn is_at_rest(row: &Row) -> bool {
    row.busy.load(BUSY_SEE.get()) == 0
}

/// Moves the end of a halt on, if it is still this one; false: it is over. Never moves it back: its owner and the broker do this at once.
pub fn renew(control: &Control, token: u64, expiry_us: u64) -> bool {
    change(control, token, |word| word.max(expiry_us << TOKEN_BITS | token))
}

/// Ends a halt, if it is still this one.
pub fn release(control: &Control, token: u64) -> bool {
    change(control, token, |_| 0)
}

fn change(control: &Control, token: u64, to: impl Fn(u64) -> u64) -> bool {
    // Twice: its owner and the broker may move the same one on at once.
    for _ in 0..16 {
        let word = control.halt.load(RELAXED.get());
        if word == 0 || word & TOKEN != token {
            return false;
        }
        if control.halt.compare_exchange(word, to(word), HALT_CLEAR.get(), RELAXED.get()).is_ok() {
            return true;
        }
    }
    false
}
