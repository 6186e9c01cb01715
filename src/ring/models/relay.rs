//! A sleeper that leaves the sleeping to a relay: an owner that nobody tells is a deadlock, which loom reports.

use super::bell::{Room, ring_all};
use super::{Stop, at_every_stop, check, never};
use crate::ring::bell::{announce, bit, sleeper_fence};
use crate::ring::order::RELAXED;
use crate::ring::relay::Armed;
use crate::sync::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::rc::Rc;

/// What an owner shares with its relay, and the descriptor: readable while it has been told.
struct Desk {
    room: Rc<Room>,
    state: Mutex<(Armed, bool)>,
    told: Condvar,
    /// The relay is to end.
    ended: AtomicU64,
}

impl Desk {
    fn new(room: &Rc<Room>) -> Rc<Desk> {
        let (state, told) = (Mutex::default(), Condvar::new());
        Rc::new(Desk { room: room.clone(), state, told, ended: AtomicU64::new(0) })
    }

    /// The owner waits until the thing has come, as in `epoll`; then its relay ends.
    fn wait_for(&self, thing: usize, mask: u32) {
        while !self.room.has_come(thing) {
            *self.state.lock().unwrap() = (Armed::default(), false);
            let expected = announce(&self.room.bell, mask);
            sleeper_fence();
            if self.room.has_come(thing) {
                break;
            }
            let mut state = self.state.lock().unwrap();
            if !state.0.arm(&self.room.bell, expected) {
                continue;
            }
            while !state.1 {
                state = self.told.wait(state).unwrap();
            }
        }
        self.ended.store(1, RELAXED.get());
        self.room.wake();
    }

    /// The relay.
    fn serve(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            let (value, is_rung) = state.0.look(&self.room.bell);
            if is_rung {
                state.1 = true;
                self.told.notify_all();
            }
            drop(state);
            let queue = self.room.queue.lock().unwrap();
            if self.ended.load(RELAXED.get()) != 0 {
                return;
            }
            if self.room.bell.bell.load(RELAXED.get()) == value {
                drop(self.room.sleepers.wait(queue).unwrap());
            }
        }
    }
}

/// An owner with its relay, and ringers: the thing and the mask of each. The first may stop; then somebody rings for it.
fn story(ringers: &[(usize, u32)], stop: &Stop) {
    let room = Room::new();
    let desk = Desk::new(&room);
    let mut threads = Vec::new();
    let shared = desk.clone();
    threads.push(thread::spawn(move || shared.wait_for(0, bit(0))));
    threads.push(thread::spawn(move || desk.serve()));
    ring_all(&room, ringers, stop, threads);
}

/// Would break: an owner that arms after the ring, or a relay that sleeps on after it.
#[test]
fn an_owner_is_told() {
    check(3, || story(&[(0, bit(0))], &never()));
}

/// Somebody else is rung for on the same bell.
#[test]
fn an_owner_that_is_told_for_nothing_is_told_again() {
    check(2, || story(&[(0, bit(0)), (1, bit(0))], &never()));
}

/// A ringer that stops anywhere; whoever proves its death rings again.
#[test]
fn a_ringer_that_stops_leaves_the_owner_to_the_next() {
    at_every_stop(2, |stop| story(&[(0, bit(0))], stop));
}
