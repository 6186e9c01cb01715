//! A lane's writer against a live reader.

use super::{Next, Reader, Segments, Writer, at_every_stop, check};
use crate::ring::lane::{self, Peek};
use loom::thread;

/// Four messages through a ring that has room for two, so that it is lapped: each is written over what the reader has left behind. The
/// payloads look like heads.
///
/// Would break: a head that is seen before its payload or before the empty head after it; a payload that is overwritten
/// while it is read.
#[test]
fn a_live_reader_gets_every_message_whole_and_in_order_over_laps() {
    check(3, || {
        let segments = Segments::new(1, 1, 64);
        segments.enter(0);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            let published = (1..=5).filter(|_| writer.publish(0, writer.version + 8)).count();
            assert!(published >= 2);
        });
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(&segments, 0, 0);
            let mut expected = 8;
            for _ in 0..5 {
                if let Next::Message { value, version } = reader.live() {
                    assert_eq!((value, version), (expected, expected - 7));
                    reader.release();
                    expected += 1;
                }
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// A writer that stops anywhere in its second message or its third, for which it moves the floor.
///
/// Would break: anything but whole messages before the stop.
#[test]
fn a_stopped_writer_leaves_whole_messages() {
    at_every_stop(2, |stop| {
        let segments = Segments::new(1, 1, 64);
        segments.enter(0);
        let (shared, stop) = (segments.clone(), stop.clone());
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.publish(0, 8);
            stop.run(|| [writer.publish(0, 9), writer.publish(0, 10)]);
        });
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(&segments, 0, 0);
            let mut expected = 8;
            for _ in 0..4 {
                if let Next::Message { value, .. } = reader.live() {
                    assert_eq!(value, expected);
                    reader.release();
                    expected += 1;
                }
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// Payloads aligned to more than a word: the head that shows the message is that of the padding before it.
///
/// Would break: padding seen before the message behind it.
#[test]
fn a_padded_message_is_shown_whole() {
    check(3, || {
        let segments = Segments::new(1, 1, 128);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let view = shared.lane(0);
            let mut lane = lane::Writer::new(128, 32);
            let writer = Writer::new(&shared, 0, &[0]);
            for version in 1..=2 {
                let claim = lane.claim(view, 8).unwrap();
                assert_eq!(claim.payload() % 32, 0);
                writer.fill(0, claim, 8 + version);
                lane.show(view, claim, version);
                lane.committed(view, version);
            }
        });
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(&segments, 0, 0);
            let mut expected = 9;
            for _ in 0..3 {
                if let Peek::Frame(frame) = reader.peek() {
                    assert_eq!(reader.take(frame), Next::Message { value: expected, version: expected - 8 });
                    expected += 1;
                }
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}
