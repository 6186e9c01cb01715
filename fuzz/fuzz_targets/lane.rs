//! A lane whose writer is hostile: any floor, marks and ring. Reading, counting and recovery stay inside the mapping and end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use syncline::layout::lane::{MIN_CAPACITY, max_payload, segment_size};
use syncline::layout::zone::{Geometry, Row};
use syncline::os::mapping::{Access, LaneMap, ZoneMap};
use syncline::os::memfd::Segment;
use syncline::ring::count::count;
use syncline::ring::lane::{Peek, Reader, starts};
use syncline::ring::order::RELAXED;
use syncline::ring::recovery;

const GEOMETRY: Geometry = Geometry { writers: 1, eras: 4, entries: 1, pace: syncline::Pace::Free };

struct Target {
    lane: LaneMap,
    zone: ZoneMap,
}

impl Target {
    fn new() -> Target {
        let segment = Segment::create("fuzz:lane", segment_size(MIN_CAPACITY)).expect("segment");
        let lane = LaneMap::create(segment.fd(), MIN_CAPACITY, 1).expect("lane");
        let segment = Segment::create("fuzz:zone", GEOMETRY.segment_size()).expect("segment");
        ZoneMap::create(segment.fd(), GEOMETRY, 1).expect("zone");
        let zone = ZoneMap::new(segment.fd(), GEOMETRY, Access::ReadWrite).expect("zone");
        Target { lane, zone }
    }

    fn row(&self) -> &Row {
        &self.zone.view().rows[0]
    }
}

thread_local! { static TARGET: RefCell<Target> = RefCell::new(Target::new()); }

fuzz_target!(|bytes: &[u8]| {
    TARGET.with_borrow_mut(|target| {
        // The first words are header words; the rest is the ring, from a position that wraps.
        let (words, _) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next().unwrap_or(0);
        let row_version = next() & ((1 << 47) - 1);
        target.row().version.store(row_version, RELAXED.get());
        let from = next();
        let view = target.lane.view();
        view.header.floor.0.store(next(), RELAXED.get());
        for mark in &view.header.marks[..4] {
            mark.position.store(next(), RELAXED.get());
            mark.sequence.store(next(), RELAXED.get());
            mark.after.store(next(), RELAXED.get());
        }
        for word in 0..MIN_CAPACITY / 8 {
            view.ring.word(word * 8).store(next(), RELAXED.get());
        }
        let most = max_payload(MIN_CAPACITY, 8, 0);
        let mut buffer = Vec::new();
        let begin = (from >> 2) / 8 * 8;
        for start in starts(view, begin) {
            assert!(start.reader.position >= begin && start.reader.position - begin <= MIN_CAPACITY);
        }
        let mut reader = Reader { position: begin, sequence: 0 };
        for _ in 0..=MIN_CAPACITY / 8 {
            let Peek::Frame(frame) = reader.peek(view, most) else { break };
            assert!(u64::from(frame.len) <= most && frame.next > reader.position);
            buffer.resize(frame.len as usize, 0);
            target.lane.copy_payload(frame.payload, &mut buffer);
            reader.pass(&frame);
        }
        let counted = count(view, most, from, |version| version <= row_version).expect("nobody moves the floor");
        let kept = counted.end.position - counted.begin.position;
        assert!(kept <= MIN_CAPACITY || counted.damage.is_some() && kept <= 2 * MIN_CAPACITY);
        let finished = recovery::finish(target.row(), &[(view, most)], u64::MAX);
        assert_eq!(finished.ends.len(), 1);
        assert!(target.row().version.load(RELAXED.get()) <= row_version + 1);
    });
});
