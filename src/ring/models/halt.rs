//! Halts: writers that come to rest, and those who bring them there.

use super::{Segments, at_every_stop, check};
use crate::layout::zone::Control;
use crate::ring::bell::Fence;
use crate::ring::halt;
use crate::ring::order::COMMIT;
use loom::thread;
use std::cell::Cell;
use std::rc::Rc;

/// When a halt ends by itself, in these models.
const EXPIRY: u64 = 10;

/// A zone of one writer. The shadow of its lane's first word stands for all that a commit writes.
fn segments() -> Rc<Segments> {
    Segments::new(1, 1, 64)
}

fn control(segments: &Segments) -> &Control {
    &segments.header.control.0
}

/// A commit, unless the zone is halted.
fn commits(segments: &Segments, version: u64) -> bool {
    let row = &segments.rows[0];
    halt::enter(row, Fence::Full);
    let is_free = halt::found(control(segments)).is_none();
    if is_free {
        segments.shadow(0, 0).with_mut(|_| ());
        row.version.store(version, COMMIT.get());
    }
    halt::leave(row);
    is_free
}

/// Halts the zone for a look at it; whether the halt held to the end.
fn halts(segments: &Segments) -> bool {
    let Ok(token) = halt::raise(control(segments), EXPIRY) else { return false };
    halt::halter_fence();
    let row = &segments.rows[0];
    if !halt::is_at_rest(row) {
        return halt::release(control(segments), token);
    }
    let before = segments.version(0);
    segments.shadow(0, 0).with(|_| ());
    let after = segments.version(0);
    let held = halt::release(control(segments), token);
    assert!(!held || before == after, "a commit under a halt");
    assert!(!halt::release(control(segments), token), "a halt that was over is ended");
    held
}

/// Would break: a writer found at rest that does not find the halt; one whose commit goes on after it was found at rest, or begins
/// before the halt is over.
#[test]
fn a_writer_at_rest_stays_there() {
    check(4, || {
        let segments = segments();
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            commits(&shared, 1);
            commits(&shared, 2);
        });
        let halter = thread::spawn(move || assert!(halts(&segments)));
        writer.join().unwrap();
        halter.join().unwrap();
    });
}

/// Two who halt, one after the other or not at all.
///
/// Would break: a halt that is ended by the end of another.
#[test]
fn nobody_ends_anothers_halt() {
    check(3, || {
        let segments = segments();
        let halters = [0, 1].map(|_| {
            let segments = segments.clone();
            thread::spawn(move || [halts(&segments), halts(&segments)].contains(&true))
        });
        let shared = segments.clone();
        let writer = thread::spawn(move || commits(&shared, 1));
        let halted = halters.map(|halter| halter.join().unwrap());
        writer.join().unwrap();
        assert!(halted.contains(&true));
        let after = thread::spawn(move || assert!(commits(&segments, 2), "a halt that is left"));
        after.join().unwrap();
    });
}

/// A halt that expires: somebody finds it so, and clears it.
///
/// Would break: a halt that is said to have held to the end, and did not.
#[test]
fn a_halt_that_expired_is_cleared() {
    check(4, || {
        let segments = segments();
        let shared = segments.clone();
        let halter = thread::spawn(move || {
            let token = halt::raise(control(&shared), EXPIRY).unwrap();
            halt::halter_fence();
            let at_rest = halt::is_at_rest(&shared.rows[0]);
            let [before, after] = [0, 0].map(|row| shared.version(row));
            let held = halt::release(control(&shared), token);
            assert!(!held || !at_rest || before == after, "a commit under a halt");
        });
        let shared = segments.clone();
        let other = thread::spawn(move || {
            let mut is_halted = halt::is_halted(control(&shared), EXPIRY - 1);
            is_halted &= halt::found(control(&shared)).is_some();
            assert!(!halt::is_halted(control(&shared), EXPIRY));
            is_halted
        });
        let writer = thread::spawn(move || commits(&segments, 1));
        halter.join().unwrap();
        other.join().unwrap();
        writer.join().unwrap();
    });
}

/// The owner of a halt moves its end on, and so does the broker, which looked at its clock before; somebody else finds that the first end
/// has passed.
///
/// Would break: a halt that ends before its owner was told it would; one that is cleared and then said to go on.
#[test]
fn a_halt_ends_when_it_was_moved_to() {
    check(4, || {
        let segments = segments();
        let token = halt::raise(control(&segments), EXPIRY).unwrap();
        let renewals = [EXPIRY + 10, EXPIRY + 5].map(|expiry| {
            let segments = segments.clone();
            thread::spawn(move || halt::renew(control(&segments), token, expiry))
        });
        let shared = segments.clone();
        let other = thread::spawn(move || halt::is_halted(control(&shared), EXPIRY));
        let renewed = renewals.map(|renewal| renewal.join().unwrap());
        let is_halted = other.join().unwrap();
        let after = thread::spawn(move || {
            assert_eq!(renewed, [is_halted; 2]);
            let found = halt::found(control(&segments)).map(halt::Halt::expiry_us);
            assert_eq!(found, is_halted.then_some(EXPIRY + 10));
            assert_eq!(halt::release(control(&segments), token), is_halted);
            assert!(!halt::renew(control(&segments), token, EXPIRY + 20), "a halt that is over goes on");
        });
        after.join().unwrap();
    });
}

/// A writer that stops anywhere, and one who halts.
///
/// Would break: a writer that was stopped in a commit, found at rest.
#[test]
fn a_writer_stopped_in_a_commit_is_not_at_rest() {
    at_every_stop(3, |stop| {
        let segments = segments();
        let committing = Rc::new(Cell::new(false));
        let (shared, flag, stop) = (segments.clone(), committing.clone(), stop.clone());
        let writer = thread::spawn(move || {
            stop.run(|| {
                let row = &shared.rows[0];
                halt::enter(row, Fence::Full);
                if halt::found(control(&shared)).is_none() {
                    flag.set(true);
                    row.version.store(1, COMMIT.get());
                    row.version.store(2, COMMIT.get());
                    flag.set(false);
                }
                halt::leave(row);
            });
        });
        let shared = segments.clone();
        let halter = thread::spawn(move || halts(&shared));
        writer.join().unwrap();
        assert!(halter.join().unwrap());
        let after = thread::spawn(move || {
            let token = halt::raise(control(&segments), EXPIRY).unwrap();
            halt::halter_fence();
            assert!(!(committing.get() && halt::is_at_rest(&segments.rows[0])), "at rest in the middle of a commit");
            assert!(halt::release(control(&segments), token));
        });
        after.join().unwrap();
    });
}
