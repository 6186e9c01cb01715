//! A bare ring of fixed slots: no lengths, no types, no readers that come or go. What it costs is the machine's.

use crate::Result;
use crate::arena::Arena;
use crate::peer::{End, Peer, Plan, Work};
use std::sync::atomic::Ordering;

pub struct Ring {
    arena: Arena,
    words: usize,
    stride: usize,
    slots: u64,
    out: usize,
    /// Of the way out: written, and known to have been read.
    sent: u64,
    taken: u64,
    /// Of the way in: read, and known to have been written.
    read: u64,
    there: u64,
}

/// Bytes from slot to slot.
fn stride(plan: &Plan) -> usize {
    if plan.size <= 8 { 8 } else { plan.size.next_multiple_of(64) }
}

fn slots(plan: &Plan) -> u64 {
    (plan.room() / stride(plan)) as u64
}

impl Peer for Ring {
    const NAME: &'static str = "ring";
    const TITLE: &'static str = "bare ring";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput];
    type Host = ();

    fn version() -> String {
        "the least that could be done with shared memory: slots of one size, a tail, a head".to_owned()
    }

    fn room(plan: &Plan) -> String {
        format!("{} slots", slots(plan))
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<Ring> {
        Ok(Ring {
            arena: Arena::open(&plan.place)?,
            words: plan.size / 8,
            stride: stride(plan),
            slots: slots(plan),
            out: usize::from(end == End::First),
            sent: 0,
            taken: 0,
            read: 0,
            there: 0,
        })
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        if self.sent - self.taken == self.slots {
            self.taken = self.arena.head(self.out).load(Ordering::Acquire);
            if self.sent - self.taken == self.slots {
                return Ok(false);
            }
        }
        let offset = (self.sent % self.slots) as usize * self.stride;
        for word in self.arena.slot(self.out, offset, self.words) {
            word.store(number, Ordering::Relaxed);
        }
        self.sent += 1;
        self.arena.tail(self.out).store(self.sent, Ordering::Release);
        Ok(true)
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        let way = 1 - self.out;
        if self.read == self.there {
            self.there = self.arena.tail(way).load(Ordering::Acquire);
            if self.read == self.there {
                return Ok(0);
            }
        }
        let offset = (self.read % self.slots) as usize * self.stride;
        let mut differs = 0;
        for word in self.arena.slot(way, offset, self.words) {
            differs |= word.load(Ordering::Relaxed) ^ number;
        }
        if differs != 0 {
            return Err(format!("expected message {number}, found another").into());
        }
        self.read += 1;
        self.arena.head(way).store(self.read, Ordering::Release);
        Ok(1)
    }
}
