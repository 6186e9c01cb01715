//! Batches: all or nothing, for live readers too.

use super::{Next, Reader, Segments, Writer, at_every_stop, check};
use loom::thread;

/// A batch of two messages that was rolled back, another of two, then a single message, in one lane.
///
/// Would break: one message of the batch and not, at once, the other; anything of what was rolled back.
#[test]
fn a_batch_of_one_lane_comes_whole() {
    check(3, || {
        let segments = Segments::new(1, 1, 128);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.push(0, 66, 2);
            writer.push(0, 67, 1);
            writer.roll_back();
            writer.push(0, 8, 1);
            writer.push(0, 9, 2);
            writer.commit();
            writer.publish(0, 10);
        });
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(&segments, 0, 0);
            for _ in 0..2 {
                if let Next::Message { value, version } = reader.live() {
                    assert_eq!((value, version), (8, 1));
                    assert_eq!(reader.live(), Next::Message { value: 9, version: 1 }, "a part of a batch");
                    let next = reader.live();
                    assert!([Next::Nothing, Next::Message { value: 10, version: 2 }].contains(&next), "{next:?}");
                    return;
                }
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// Takes what is there of a batch over two lanes, looking at `first` first; whether it was.
fn takes_the_batch(segments: &Segments, first: usize) -> bool {
    let (mut one, mut other) = (Reader::new(segments, first, 0), Reader::new(segments, 1 - first, 0));
    if one.live() == Next::Nothing {
        return false;
    }
    assert!(matches!(other.live(), Next::Message { version: 1, .. }), "a part of a batch");
    true
}

/// A batch over two lanes, one rolled back before it, and two live readers: one that looks at this lane first, one at the other.
///
/// Would break: one lane's message and not, at once, the other's.
#[test]
fn a_batch_of_two_lanes_comes_whole() {
    check(3, || {
        let segments = Segments::new(1, 2, 64);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0, 1]);
            writer.push(0, 66, 1);
            writer.push(1, 67, 1);
            writer.roll_back();
            writer.push(0, 8, 1);
            writer.push(1, 9, 1);
            writer.commit();
        });
        let readers = [0, 1].map(|first| {
            let segments = segments.clone();
            thread::spawn(move || takes_the_batch(&segments, first))
        });
        writer.join().unwrap();
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

/// The same, with a writer that stops anywhere in its batch.
#[test]
fn a_stopped_batch_of_two_lanes_does_not_show() {
    at_every_stop(2, |stop| {
        let segments = Segments::new(1, 2, 64);
        let (shared, stop) = (segments.clone(), stop.clone());
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0, 1]);
            stop.run(|| {
                writer.push(0, 8, 1);
                writer.push(1, 9, 1);
                writer.commit();
            });
        });
        let reader = thread::spawn(move || takes_the_batch(&segments, 0));
        writer.join().unwrap();
        reader.join().unwrap();
    });
}
