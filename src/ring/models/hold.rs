//! Readers that their writer does not wait for, pinned and copying, against a writer that laps them.

use super::{Segments, Stop, Writer, at_every_stop, check, never, ring_lane};
use crate::layout::lane::FRAME_HEADER;
use crate::layout::zone::{ENTRY_EVICTED, ENTRY_PINS};
use crate::ring::floor::{self, Floor};
use crate::ring::hold::{Hold, is_passed};
use crate::ring::lane::Peek;
use crate::ring::order::RELAXED;
use loom::thread;
use std::rc::Rc;

/// A ring in which one page can be pinned.
const CAPACITY: usize = 256;
/// What fits before the floor moves for the first time.
const FULL: u64 = 10;

/// A writer between two threads.
struct Parked {
    version: u64,
    lanes: Vec<(usize, ring_lane::Writer, Floor)>,
}

impl Parked {
    /// A writer that passes its readers, and has filled its ring.
    fn new(segments: &Segments, messages: u64) -> Parked {
        Parked::with(segments, Floor::lossy(Segments::number(0)), messages)
    }

    /// The same with this floor.
    fn with(segments: &Segments, floor: Floor, messages: u64) -> Parked {
        let mut writer = Writer::new(segments, 0, &[0]);
        writer.lanes[0].2 = floor;
        publish(&mut writer, 0..messages);
        Parked { version: writer.version, lanes: writer.lanes }
    }

    fn go_on(self, segments: &Segments) -> Writer<'_> {
        Writer { segments, row: 0, version: self.version, settled: 0, lanes: self.lanes }
    }
}

/// Message `n` has sequence number `n` and value `n + 8`. A lossy lane has always room.
fn publish(writer: &mut Writer<'_>, messages: std::ops::Range<u64>) {
    for n in messages {
        assert!(writer.publish(0, n + 8), "a lossy lane has no room");
    }
}

/// A reader of a lane whose writer passes it, or evicts it, as the client has it.
struct Passed<'a> {
    segments: &'a Segments,
    lossy: bool,
    hold: Hold,
    place: ring_lane::Reader,
    lost: u64,
    taken: u64,
}

impl<'a> Passed<'a> {
    fn new(segments: &'a Segments, lossy: bool, pins: bool) -> Self {
        let hold = Hold::new(CAPACITY as u64, pins);
        Passed { segments, lossy, hold, place: ring_lane::Reader::default(), lost: 0, taken: 0 }
    }

    /// The next message. What it holds of it, or has copied, is looked at afterwards.
    fn next(&mut self) -> Option<()> {
        let (lane, entry) = (self.segments.lane(0), &self.segments.entries[0]);
        for _ in 0..4 {
            let word = &self.segments.entry_lane[0];
            let evicted = || word.load(RELAXED.get()) & ENTRY_EVICTED != 0;
            let passed = || if self.lossy { is_passed(lane, self.place.position) } else { evicted() };
            if !self.hold.take(entry, self.place.position, passed) {
                if !self.lossy {
                    return None;
                }
                let start = self.hold.rejoin(lane, entry).expect("a sound lane")?;
                self.lost += start.reader.sequence - self.place.sequence;
                self.place = start.reader;
                continue;
            }
            let peeked = self.place.peek(lane, 64);
            let mut words = Vec::new();
            if let Peek::Frame(frame) = peeked {
                let positions = (frame.payload..frame.payload + u64::from(frame.len)).step_by(8);
                words.extend(positions.map(|position| lane.ring.word(position).load(RELAXED.get())));
            }
            if !self.hold.held(passed) {
                continue;
            }
            match peeked {
                Peek::Frame(frame) => {
                    assert_eq!(words, [super::payload(self.place.sequence + 8)], "another message, or a torn one");
                    if self.hold.pins() {
                        // In place: no write is beside this read.
                        (frame.payload - FRAME_HEADER..frame.next)
                            .step_by(8)
                            .for_each(|position| self.segments.shadow(0, position).with(|_| ()));
                    }
                    self.place.pass(&frame);
                    self.taken += 1;
                    return Some(());
                }
                Peek::Skip(position) => self.place.go_on_at(position),
                Peek::Empty => return None,
                Peek::Corrupt(what) => panic!("{what}"),
            }
        }
        None
    }
}

/// The writer has filled its ring; then it goes on while a reader takes some.
fn story(pins: bool, publisher: Stop, reader: Stop, more: u64, takes: u32) {
    let segments = Segments::new(1, 1, CAPACITY);
    let flags = if pins { ENTRY_PINS } else { 0 };
    floor::enter(segments.zone(), &segments.entries[0], 0, Segments::number(0) | flags, 0);
    let parked = Parked::new(&segments, FULL);
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        publisher.run(|| publish(&mut parked.go_on(&shared), FULL..FULL + more));
    });
    let shared = segments.clone();
    let reader = thread::spawn(move || {
        let mut lossy = Passed::new(&shared, true, pins);
        reader.run(|| (0..takes).all(|_| lossy.next().is_some()));
        assert_eq!(lossy.place.sequence, lossy.taken + lossy.lost, "messages unaccounted for");
    });
    writer.join().unwrap();
    reader.join().unwrap();
}

/// Would break: a message in place that is overwritten while it is held; a pin that its writer passes; a wrong count of what was lost.
#[test]
fn what_is_pinned_stays() {
    check(2, || story(true, never(), never(), 6, 2));
}

/// Would break: a copy of two messages that is handed out; a mark of another lap that is believed.
#[test]
fn what_is_copied_is_whole_or_lost() {
    check(2, || story(false, never(), never(), 6, 2));
}

/// Would break: a writer that a reader which stopped anywhere holds up, or whose pin does not keep what it had taken.
#[test]
fn a_stopped_reader_holds_nobody_up() {
    at_every_stop(1, |stop| story(true, never(), stop.clone(), 14, 1));
}

/// Would break: a reader that takes what a stopped writer has not finished.
#[test]
fn a_stopped_writer_leaves_whole_messages() {
    at_every_stop(1, |stop| story(true, stop.clone(), never(), 4, 2));
}

/// The reader holds its first message until the writer is through, twice round the ring; then the message is looked at again.
fn held_over_laps(more: u64) {
    let segments = Segments::new(1, 1, CAPACITY);
    floor::enter(segments.zone(), &segments.entries[0], 0, Segments::number(0) | ENTRY_PINS, 0);
    let parked = Parked::new(&segments, FULL);
    let reader = Rc::new(std::cell::RefCell::new(None));
    let (shared, kept) = (segments.clone(), reader.clone());
    let taker = thread::spawn(move || {
        let mut lossy = Passed::new(&shared, true, true);
        let taken = lossy.next();
        *kept.borrow_mut() = Some((taken, lossy.place, lossy.hold, lossy.lost));
    });
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        let mut writer = parked.go_on(&shared);
        publish(&mut writer, FULL..FULL + more);
        (writer.lanes[0].2.holes(), writer.lanes[0].1.sequence())
    });
    taker.join().unwrap();
    let (holes, published) = writer.join().unwrap();
    let (taken, place, hold, lost) = reader.borrow_mut().take().expect("the reader is through");
    let lane = segments.lane(0);
    if taken.is_some() {
        let word = lane.ring.word(place.position - 8).load(RELAXED.get());
        assert_eq!(word, super::payload(place.sequence + 7), "a message that was held is overwritten");
    }
    assert!(holes <= 1);
    // And what it goes on with is the rest, all of it counted.
    let mut lossy = Passed { segments: &segments, lossy: true, hold, place, lost, taken: u64::from(taken.is_some()) };
    while lossy.next().is_some() {}
    assert_eq!(lossy.taken + lossy.lost, published, "messages unaccounted for");
}

/// Would break: a hole that is forgotten after a lap; one in which the writer goes on; a reader that can not find its way behind it.
#[test]
fn a_hole_lasts_until_its_pin_moves() {
    check(1, || held_over_laps(24));
}

/// Would break: a page that is overwritten though its reader's last look is not over when its pin moves on.
#[test]
fn a_hole_is_filled_once_its_reader_has_gone_on() {
    check(3, || {
        let segments = Segments::new(1, 1, CAPACITY);
        floor::enter(segments.zone(), &segments.entries[0], 0, Segments::number(0) | ENTRY_PINS, 0);
        let parked = Parked::new(&segments, FULL);
        // The reader holds the first page, and has taken all but the last message in it; the writer has gone round that once.
        let mut lossy = Passed::new(&segments, true, true);
        assert!(lossy.next().is_some() && lossy.next().is_some());
        let Passed { hold, place, lost, taken, .. } = lossy;
        let mut writer = parked.go_on(&segments);
        publish(&mut writer, FULL..17);
        let parked = Parked { version: writer.version, lanes: writer.lanes };
        let shared = segments.clone();
        let reader = thread::spawn(move || {
            let mut lossy = Passed { segments: &shared, lossy: true, hold, place, lost, taken };
            let _ = lossy.next();
            let _ = lossy.next();
            assert_eq!(lossy.place.sequence, lossy.taken + lossy.lost, "messages unaccounted for");
        });
        let writer = thread::spawn(move || publish(&mut parked.go_on(&segments), 17..21));
        reader.join().unwrap();
        writer.join().unwrap();
    });
}

/// A reliable lane is full. Its writer evicts the reader, which takes some meanwhile and leaves them behind, and goes on.
fn eviction(pins: bool, evictor: Stop, reader: Stop, more: u64, takes: u32) {
    let segments = Segments::new(1, 1, CAPACITY);
    let flags = if pins { ENTRY_PINS } else { 0 };
    floor::enter(segments.zone(), &segments.entries[0], 0, Segments::number(0) | flags, 0);
    let parked = Parked::with(&segments, Floor::new(Segments::number(0)), FULL);
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        evictor.run(|| {
            let mut writer = parked.go_on(&shared);
            assert!(writer.lanes[0].2.evict(shared.zone(), 0), "nobody to evict");
            publish(&mut writer, FULL..FULL + more);
        });
    });
    let taker = thread::spawn(move || {
        let mut evicted = Passed::new(&segments, false, pins);
        reader.run(|| {
            (0..takes).all(|_| {
                let taken = evicted.next().is_some();
                floor::leave_behind(&segments.entries[0], evicted.place.position);
                taken
            })
        });
        assert_eq!((evicted.place.sequence, evicted.lost), (evicted.taken, 0), "a message out of turn");
    });
    writer.join().unwrap();
    taker.join().unwrap();
}

/// Would break: a message in place that is overwritten since its reader was evicted just when it pinned the page; a writer that an evicted
/// reader still holds up.
#[test]
fn what_an_evicted_reader_has_pinned_stays() {
    check(2, || eviction(true, never(), never(), 4, 4));
}

/// Would break: a copy that was overwritten meanwhile and is handed out, since the reader did not see that it was evicted.
#[test]
fn what_an_evicted_reader_has_copied_is_whole() {
    check(2, || eviction(false, never(), never(), 4, 2));
}

/// Would break: an evicted reader that stops anywhere, and holds its writer up.
#[test]
fn a_stopped_reader_is_evicted() {
    at_every_stop(1, |stop| eviction(true, never(), stop.clone(), 8, 4));
}

/// Would break: a reader that is handed what a writer which stopped in an eviction was about to overwrite.
#[test]
fn a_stopped_evictor_leaves_whole_messages() {
    at_every_stop(1, |stop| eviction(true, stop.clone(), never(), 4, 4));
}
