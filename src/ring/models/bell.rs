//! The bell: a sleeper that nobody wakes is a deadlock, which loom reports.

use super::{Stop, at_every_stop, check, never};
use crate::layout::meeting::Bell;
use crate::ring::bell::{Fence, Mask, announce, bit, ring, sleeper_fence};
use crate::ring::order::RELAXED;
use crate::sync::AtomicU64;
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use std::rc::Rc;

/// A bell, what the sleepers wait for, and a futex as the kernel has it: waiting compares and queues under a lock.
pub(super) struct Room {
    pub(super) bell: Bell,
    things: [AtomicU64; 2],
    pub(super) queue: Mutex<()>,
    pub(super) sleepers: Condvar,
    /// Stands for a sleeper's look at the bell.
    look: UnsafeCell<()>,
}

impl Room {
    pub(super) fn new() -> Rc<Room> {
        let things = [AtomicU64::new(0), AtomicU64::new(0)];
        let (queue, sleepers, look) = (Mutex::new(()), Condvar::new(), UnsafeCell::new(()));
        Rc::new(Room { bell: Bell::zeroed(), things, queue, sleepers, look })
    }

    pub(super) fn has_come(&self, thing: usize) -> bool {
        self.things[thing].load(RELAXED.get()) != 0
    }

    /// Sleeps until the thing has come.
    fn sleep_for(&self, thing: usize, mask: u32) {
        while !self.has_come(thing) {
            let expected = announce(&self.bell, mask);
            sleeper_fence();
            if self.has_come(thing) {
                return;
            }
            let queue = self.queue.lock().unwrap();
            if self.bell.bell.load(RELAXED.get()) == expected {
                drop(self.sleepers.wait(queue).unwrap());
            }
        }
    }

    pub(super) fn wake(&self) {
        let queue = self.queue.lock().unwrap();
        self.sleepers.notify_all();
        drop(queue);
    }

    /// Does the thing, and rings.
    pub(super) fn bring(&self, thing: usize, mask: u32) {
        self.things[thing].store(1, RELAXED.get());
        ring(&self.bell, Mask::of(mask), Fence::Full, |_| self.wake());
    }
}

/// Has each ringer, a thing and a mask, bring its thing; the first may stop, then the broker rings for it. Until they and `others` are done.
pub(super) fn ring_all(room: &Rc<Room>, ringers: &[(usize, u32)], stop: &Stop, mut others: Vec<JoinHandle<()>>) {
    for (index, &(thing, mask)) in ringers.iter().enumerate() {
        let (room, stop) = (room.clone(), if index == 0 { stop.clone() } else { never() });
        others.push(thread::spawn(move || {
            if stop.run(|| room.bring(thing, mask)).is_none() {
                room.bring(thing, u32::MAX);
            }
        }));
    }
    for thread in others {
        thread.join().unwrap();
    }
}

/// `sleepers` and `ringers`: the thing and the mask of each.
fn story(sleepers: &[(usize, u32)], ringers: &[(usize, u32)], stop: &Stop) {
    let room = Room::new();
    let mut threads = Vec::new();
    for &(thing, mask) in sleepers {
        let room = room.clone();
        threads.push(thread::spawn(move || room.sleep_for(thing, mask)));
    }
    ring_all(&room, ringers, stop, threads);
}

/// Would break: a commit that does not see the sleeper, of a sleeper that does not see the commit.
#[test]
fn a_sleeper_is_woken() {
    check(4, || story(&[(0, bit(0))], &[(0, bit(0))], &never()));
}

/// Two sleepers share a bit; each ringer brings what one of them waits for.
///
/// Would break: a ringer that clears the bit of a sleeper which came after the ring.
#[test]
fn sleepers_that_share_a_bit_are_both_woken() {
    check(2, || story(&[(0, bit(0)), (1, bit(0))], &[(0, bit(0)), (1, bit(0))], &never()));
}

/// Two sleepers with a bit each, and one ringer for both.
#[test]
fn sleepers_with_a_bit_each_are_both_woken() {
    check(2, || {
        let room = Room::new();
        let sleepers = [0, 1].map(|thing| {
            let room = room.clone();
            thread::spawn(move || room.sleep_for(thing, bit(thing as u64)))
        });
        let ringer = thread::spawn(move || {
            room.bring(0, bit(0));
            room.bring(1, bit(1));
        });
        ringer.join().unwrap();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

/// A ringer that stops anywhere; whoever proves its death rings again, with every bit.
///
/// Would break: a bit that is cleared before its sleeper was rung for.
#[test]
fn a_ringer_that_stops_leaves_the_sleepers_to_the_next() {
    at_every_stop(2, |stop| story(&[(0, bit(0))], &[(0, bit(0)), (1, bit(0))], stop));
}

/// A sleeper that stops anywhere: the other one, with the same bit, is woken.
#[test]
fn a_sleeper_that_stops_takes_no_wake_from_others() {
    at_every_stop(2, |stop| {
        let room = Room::new();
        let stop = stop.clone();
        let shared = room.clone();
        let stopped = thread::spawn(move || {
            stop.run(|| {
                if !shared.has_come(0) {
                    announce(&shared.bell, bit(0));
                    sleeper_fence();
                    shared.has_come(0);
                }
            });
        });
        let shared = room.clone();
        let sleeper = thread::spawn(move || shared.sleep_for(0, bit(0)));
        let ringer = thread::spawn(move || room.bring(0, bit(0)));
        for thread in [stopped, sleeper, ringer] {
            thread.join().unwrap();
        }
    });
}

/// Whoever rings for a sleeper rings after that one's look at the bell: else the look could find the bell rung already, and the sleep
/// would last. loom performs loads in program order and can not show a look that is late; the plain cell stands for it.
#[test]
fn the_ring_comes_after_the_look() {
    check(3, || {
        let room = Room::new();
        let shared = room.clone();
        let sleeper = thread::spawn(move || {
            shared.look.with(|_| ());
            announce(&shared.bell, bit(0));
        });
        let ringer =
            thread::spawn(move || ring(&room.bell, Mask::of(bit(0)), Fence::Full, |_| room.look.with_mut(|_| ())));
        sleeper.join().unwrap();
        ringer.join().unwrap();
    });
}
