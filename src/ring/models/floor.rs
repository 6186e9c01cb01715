//! The floor, moved by a writer, against readers that join and go.

use super::{Next, NoRoom, Reader, Segments, Stop, Writer, at_every_stop, check, never, ring_lane};
use crate::ring::floor;
use loom::thread;
use std::rc::Rc;

/// Joins a reader to the lane; then everything from its cursor on has to be there.
fn joins(segments: &Segments, stop: &Stop) {
    let (lane, entry) = (segments.lane(0), &segments.entries[0]);
    let joined = stop.run(|| floor::join(lane, segments.zone(), entry, 0, Segments::number(0)));
    let Some(Ok(cursor)) = joined else { return };
    // The first message has sequence number 0, value 8 and version 1; the others count on.
    let mut marks = ring_lane::starts(lane, cursor);
    let start = marks.next().expect("a mark at the floor");
    assert_eq!(start.reader.position, cursor);
    for mark in [Some(start), marks.last()].into_iter().flatten() {
        let sequence = mark.reader.sequence;
        assert_eq!((mark.reader.position, mark.after), (sequence * 24, sequence), "a mark of two halves");
    }
    let mut reader = Reader { place: start.reader, ..Reader::new(segments, 0, 0) };
    if let Next::Message { value, version } = reader.live() {
        assert_eq!((value, version), (start.reader.sequence + 8, start.reader.sequence + 1));
        reader.release();
        if let Next::Message { value, .. } = reader.live() {
            assert_eq!(value, start.reader.sequence + 9);
        }
    }
}

/// Publishes through a ring that has room for two.
fn publishes(segments: &Segments, messages: u64) {
    let mut writer = Writer::new(segments, 0, &[0]);
    let _ = (0..messages).all(|n| writer.publish(0, n + 8));
}

fn story(publisher: Stop, joiner: Stop) {
    let segments = Segments::new(1, 1, 64);
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        publisher.run(|| publishes(&shared, 4));
    });
    let reader = thread::spawn(move || joins(&segments, &joiner));
    writer.join().unwrap();
    reader.join().unwrap();
}

/// Would break: a reader that has joined and whose messages are overwritten; one that finds no mark at the floor, or one with the
/// sequence number of another message.
#[test]
fn what_a_joined_reader_has_before_it_is_not_overwritten() {
    check(3, || story(never(), never()));
}

/// The same, with a writer that stops anywhere, also between moving its floor and taking it back.
#[test]
fn a_reader_joins_a_lane_whose_writer_stopped() {
    at_every_stop(2, |stop| story(stop.clone(), never()));
}

/// A joined reader that has taken what there was, and goes back to the floor, twice: from there on all is there.
fn goes_back(segments: &Segments) {
    let (lane, entry) = (segments.lane(0), &segments.entries[0]);
    let mut reader = Reader::new(segments, 0, 0);
    for _ in 0..2 {
        if let Next::Message { .. } = reader.live() {
            reader.release();
        }
        let cursor = floor::join_again(lane, entry).expect("a floor");
        let start = ring_lane::starts(lane, cursor).next().expect("a mark at the floor");
        let sequence = start.reader.sequence;
        assert_eq!((start.reader.position, start.after), (cursor, sequence), "a mark of two halves");
        reader.place = start.reader;
        if let Next::Message { value, version } = reader.live() {
            assert_eq!((value, version), (sequence + 8, sequence + 1));
            reader.release();
        }
    }
}

/// A reader that goes back to the floor while the writer moves that.
fn going_back(publisher: &Stop) {
    let segments = Segments::new(1, 1, 64);
    segments.enter(0);
    let mut writer = Writer::new(&segments, 0, &[0]);
    assert!(writer.publish(0, 8) && writer.publish(0, 9));
    let Writer { version, settled, lanes, .. } = writer;
    let (shared, publisher) = (segments.clone(), publisher.clone());
    let writer = thread::spawn(move || {
        let mut writer = Writer { segments: &shared, row: 0, version, settled, lanes };
        publisher.run(|| {
            let _ = (2..4).all(|n| writer.publish(0, n + 8));
        });
    });
    let reader = thread::spawn(move || goes_back(&segments));
    writer.join().unwrap();
    reader.join().unwrap();
}

/// Would break: a message after the floor that is overwritten while the reader comes to it.
#[test]
fn what_a_reader_goes_back_to_is_not_overwritten() {
    check(3, || going_back(&never()));
}

/// The same, with a writer that stops anywhere, also between moving its floor and taking it back.
#[test]
fn a_reader_goes_back_in_a_lane_whose_writer_stopped() {
    at_every_stop(2, going_back);
}

/// A second reader, entered at the beginning, keeps what it has while the first joins, stops anywhere on the way, and is cleared away
/// by the broker.
#[test]
fn a_reader_that_stops_while_it_joins_takes_nothing_from_others() {
    at_every_stop(2, |stop| {
        let segments = Segments::new(1, 1, 64);
        let stop = stop.clone();
        // Entry 0 joins and dies; entry 1 is there from the beginning.
        let segments = with_another_entry(segments);
        let shared = segments.clone();
        let writer = thread::spawn(move || publishes(&shared, 3));
        let shared = segments.clone();
        let joiner = thread::spawn(move || {
            joins(&shared, &stop);
            floor::leave(shared.zone(), 0);
        });
        let reader = thread::spawn(move || {
            let mut reader = Reader::new(&segments, 0, 0);
            if let Next::Message { value, .. } = reader.live() {
                assert_eq!(value, 8);
                floor::leave_behind(&segments.entries[1], reader.place.position);
            }
        });
        writer.join().unwrap();
        joiner.join().unwrap();
        reader.join().unwrap();
    });
}

/// A writer that waits for room looks again once it has shown that it sleeps. What that look gave it has to be there at the next one,
/// or the floor runs up to the tail without the writer ever getting its room.
#[test]
fn room_that_was_found_is_found_again() {
    check(1, || {
        let segments = Segments::new(1, 1, 64);
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&segments, 0, &[0]);
            assert!(writer.publish(0, 8) && writer.publish(0, 9));
            let view = segments.lane(0);
            let (_, lane, floor) = &mut writer.lanes[0];
            let Err(NoRoom(wanted)) = lane.claim(view, 8) else { panic!("room for a third") };
            let mut advance = || floor.advance(view, segments.zone(), segments.meeting(), lane.tail(), wanted);
            assert_eq!([advance(), advance(), advance()], [Ok(24); 3]);
        });
        writer.join().unwrap();
    });
}

fn with_another_entry(segments: Rc<Segments>) -> Rc<Segments> {
    let mut segments = Rc::into_inner(segments).unwrap();
    segments.entry_lane.push(crate::layout::word());
    segments.entries.push(crate::layout::meeting::Entry::open());
    floor::enter(segments.zone(), &segments.entries[1], 1, Segments::number(0), 0);
    Rc::new(segments)
}
