//! Counting a lane that its writer overwrites meanwhile.

use super::{Segments, Stop, Writer, at_every_stop, check, never};
use crate::ring::count::count;
use crate::ring::floor::Floor;
use crate::ring::lane::Reader;
use loom::thread;

/// What fits before the floor moves for the first time.
const FULL: u64 = 10;
const CAPACITY: usize = 256;

/// A message of one word takes 24 bytes, so a place tells its sequence number.
fn is_sound(place: Reader) -> bool {
    place.position == 24 * place.sequence
}

/// A writer goes on in a full lossy lane, from the first message or from the last of the first lap, while somebody counts it.
fn story(publisher: Stop, counter: Stop, before: u64, more: u64) {
    let segments = Segments::new(1, 1, CAPACITY);
    let mut writer = Writer::new(&segments, 0, &[0]);
    writer.lanes[0].2 = Floor::lossy(Segments::number(0));
    assert!((0..before).all(|n| writer.publish(0, n + 8)));
    let (version, lanes) = (writer.version, writer.lanes);
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        publisher.run(|| {
            let mut writer = Writer { segments: &shared, row: 0, version, settled: 0, lanes };
            assert!((before..before + more).all(|n| writer.publish(0, n + 8)), "a lossy lane has no room");
        });
    });
    let onlooker = thread::spawn(move || {
        counter.run(|| {
            // `None` says that the writer was faster.
            let Some(counted) = count(segments.lane(0), 64, u64::MAX, |_| true) else { return };
            assert_eq!(counted.damage, None);
            assert!(is_sound(counted.begin) && is_sound(counted.end), "{counted:?}");
            assert!(counted.end.sequence >= before && counted.end.sequence <= before + more, "{counted:?}");
            let kept = counted.end.position - counted.begin.position;
            assert!(counted.begin.position <= counted.end.position && kept <= CAPACITY as u64, "{counted:?}");
        });
    });
    writer.join().unwrap();
    onlooker.join().unwrap();
}

/// Would break: a count of what was overwritten while it was walked; a mark of another lap; a beginning that is not kept any more.
#[test]
fn a_count_is_of_what_was_there() {
    check(2, || story(never(), never(), FULL, 6));
    // The marks' places are used again from the second lap on.
    check(2, || story(never(), never(), 18, 6));
}

/// Would break: a count that a writer which stopped in a commit misleads.
#[test]
fn a_stopped_writer_is_counted() {
    at_every_stop(1, |stop| story(stop.clone(), never(), FULL, 3));
}
