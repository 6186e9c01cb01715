//! Having done with an era: whoever finds that a reader has may do away with what the reader read.

use super::{Segments, check};
use crate::ring::order::{TAKEN_SEE, TAKEN_SET};
use loom::thread;

/// Would break: a reader that says so before its last look, or one who finds it said and comes before that look.
#[test]
fn what_a_reader_has_done_with_is_not_looked_at_any_more() {
    check(2, || {
        let segments = Segments::new(1, 1, 64);
        let shared = segments.clone();
        let reader = thread::spawn(move || {
            shared.shadow(0, 0).with(|_| ());
            shared.entries[0].taken.store(1, TAKEN_SET.get());
        });
        let waiter = thread::spawn(move || {
            if segments.entries[0].taken.load(TAKEN_SEE.get()) == 1 {
                segments.shadow(0, 0).with_mut(|_| ());
            }
        });
        reader.join().unwrap();
        waiter.join().unwrap();
    });
}
