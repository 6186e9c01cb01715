//! Counters, read by somebody who takes no part: exact, without the broker, and whatever a lane holds.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::broker::BrokerProcess;
use support::*;
use syncline::layout::lane::{MIN_CAPACITY, max_payload, segment_size};
use syncline::os::mapping::LaneMap;
use syncline::os::memfd::Segment;
use syncline::ring::count::count;
use syncline::ring::lane;
use syncline::ring::order::RELAXED;
use syncline::ring::view::Lane;
use syncline::{Bus, Error, LaneStats, Reader, ReaderStats, Stats, WriterStats, ZoneStats};

/// Bytes of a message of eight in a ring.
const FRAME: u64 = 24;

fn writer_of<'a>(read: &'a ZoneStats, name: &str) -> &'a WriterStats {
    read.writers.iter().find(|writer| writer.name == name).expect("a writer of this name")
}

fn lane_of<'a>(read: &'a ZoneStats, name: &str, channel: &str) -> &'a LaneStats {
    read.lanes.iter().find(|lane| lane.name == name && lane.channel == channel).expect("this lane")
}

fn reader_of<'a>(read: &'a ZoneStats, name: &str) -> &'a ReaderStats {
    read.readers.iter().find(|reader| reader.name == name).expect("a reader of this name")
}

fn take(reader: &mut Reader, count: u64) {
    for _ in 0..count {
        assert!(reader.try_recv().unwrap().is_some());
    }
    // The last is left behind by now.
}

/// Would break: a counter that counts something else than what it says, or two things as one, or nothing.
#[test]
fn a_scripted_run_is_counted_exactly() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let [mut first, mut second] = ["first", "second"].map(|name| zone.writer(name).unwrap());
    let a = first.channel("a").open::<u64>().unwrap();
    let b = first.channel("b").open::<[u8]>().unwrap();
    let mut stats = zone.stats().unwrap();
    let empty = stats.read().unwrap();
    assert_eq!((empty.zone.as_str(), empty.eras, empty.lanes.len(), empty.readers.len()), ("z", 0, 2, 0));
    assert_eq!((empty.lanes[0].messages, empty.lanes[0].bytes, empty.lanes[0].corrupt), (0, 0, false));

    // What comes after the first reading is found, too.
    let c = second.channel("a").open::<u64>().unwrap();
    let mut live = zone.reader("live").channel::<u64>("a").open().unwrap();
    let mut synced = zone.reader("synced").channel::<[u8]>("b").synced().open().unwrap();
    for value in 0..1000 {
        first.publish(a, &value).unwrap();
    }
    let mut batch = first.batch().unwrap();
    for len in [3, 8, 100] {
        batch.push(b, &vec![7; len][..]).unwrap();
    }
    batch.push(a, &1).unwrap();
    batch.commit().unwrap();
    let mut batch = first.batch().unwrap();
    batch.push(a, &2).unwrap();
    batch.roll_back();
    assert_eq!(first.edge().unwrap(), 1);
    second.publish(c, &1).unwrap();
    assert_eq!((second.edge().unwrap(), second.edge().unwrap(), bus.zone("z").edge(None).unwrap()), (2, 3, 4));
    take(&mut live, 1002);
    assert!(live.try_recv().unwrap().is_none());
    let mut era = synced.try_era().unwrap().unwrap();
    assert_eq!(era.number(), 1);
    assert!(era.next().unwrap().is_some());
    drop(era);
    let sleeps = |stats: &mut Stats| reader_of(&stats.read().unwrap(), "live").sleeps;
    assert_eq!(sleeps(&mut stats), 0);
    eventually("a reader that waits sleeps", || {
        let waited = live.recv(Duration::from_millis(5)).map(drop);
        assert!(matches!(waited, Err(Error::Timeout)));
        sleeps(&mut stats) > 0
    });

    let read = stats.read().unwrap();
    assert_eq!(read.eras, 4);
    let [one, other] = ["first", "second"].map(|name| writer_of(&read, name));
    assert_eq!((one.row, one.commits, one.edges, one.pid), (first.row(), 1001, 1, std::process::id()));
    assert_eq!((other.commits, other.edges, other.full, other.evictions), (1, 2, 0, 0));
    let lane = lane_of(&read, "first", "a");
    assert_eq!((lane.messages, lane.bytes, lane.readers), (1001, 1001 * FRAME, 1));
    assert_eq!((lane.retained_messages, lane.retained_bytes, lane.capacity), (1001, 1001 * FRAME, 1 << 20));
    assert_eq!((lane.writer, lane.lossy, lane.pins, lane.most_pins, lane.ended), (first.row(), false, 0, 0, false));
    let bytes = (16 + 8) + (16 + 8) + (16 + 104);
    assert_eq!((lane_of(&read, "first", "b").messages, lane_of(&read, "first", "b").bytes), (3, bytes));
    assert_eq!((lane_of(&read, "second", "a").messages, lane_of(&read, "second", "a").bytes), (1, FRAME));

    let lives: Vec<_> = read.readers.iter().filter(|reader| reader.name == "live").collect();
    assert_eq!(lives.len(), 2, "one for each lane");
    for reader in lives {
        let messages = if reader.writer == first.row() { 1001 } else { 1 };
        assert_eq!((reader.messages, reader.bytes, reader.behind), (messages, FRAME * messages, 0));
        assert_eq!(
            (reader.synced, reader.lost, reader.lags, reader.evicted, reader.pinned),
            (false, 0, 0, false, false)
        );
        assert_eq!((reader.channel.as_str(), reader.pid), ("a", std::process::id()));
        assert!(reader.sleeps > 0);
    }
    let reader = reader_of(&read, "synced");
    // The rest of the era was skipped, which takes it as well.
    assert_eq!((reader.messages, reader.bytes, reader.behind, reader.synced, reader.sleeps), (3, bytes, 0, true, 0));

    // Rows and entries that are used again begin anew.
    drop((first, live));
    let mut third = zone.writer("third").unwrap();
    let d = third.channel("a").open::<u64>().unwrap();
    third.publish(d, &1).unwrap();
    let _late = zone.reader("late").channel::<u64>("a").open().unwrap();
    let read = stats.read().unwrap();
    let third = writer_of(&read, "third");
    assert_eq!((third.row, third.commits, third.edges, third.wakes), (0, 1, 0, 0));
    assert_eq!(read.writers.len(), 2);
    assert!(read.readers.iter().all(|reader| reader.name != "live"));
    assert_eq!((reader_of(&read, "late").messages, reader_of(&read, "late").sleeps), (0, 0));
}

/// A writer that finds no room, one that evicts, and one that passes its readers.
///
/// Would break: losses, evictions or refusals that are not counted, or counted twice.
#[test]
fn losses_evictions_and_refusals_are_counted() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let full = writer.channel("full").capacity(4096).open::<u64>().unwrap();
    let evicts = writer.channel("evicts").capacity(4096).evict_after(Duration::from_millis(1)).open::<u64>().unwrap();
    let lossy = writer.channel("lossy").capacity(4096).lossy().open::<u64>().unwrap();
    let mut stats = zone.stats().unwrap();
    let slow = zone.reader("slow").channel::<u64>("full").open().unwrap();
    let mut published = 0;
    while writer.publish(full, &1).is_ok() {
        published += 1;
    }
    assert!(writer.publish(full, &1).is_err());
    let read = stats.read().unwrap();
    assert_eq!((writer_of(&read, "w").full, writer_of(&read, "w").commits), (2, published));
    let lane = lane_of(&read, "w", "full");
    assert_eq!((lane.messages, lane.retained_messages), (published, published));
    assert_eq!(reader_of(&read, "slow").behind, lane.bytes);
    assert_eq!(Some(lane.bytes), writer.held_up_by(full).unwrap().map(|by| by.behind));
    drop(slow);

    let mut idle = zone.reader("idle").channel::<u64>("evicts").open().unwrap();
    writer.set_room_timeout(LONG);
    (0..1000).for_each(|value| writer.publish(evicts, &value).unwrap());
    let read = stats.read().unwrap();
    assert_eq!(writer_of(&read, "w").evictions, 1);
    assert!(reader_of(&read, "idle").evicted);
    assert_eq!(lane_of(&read, "w", "evicts").messages, 1000);
    assert_eq!((lane_of(&read, "w", "evicts").evict_after_ms, lane_of(&read, "w", "evicts").most_pins), (1, 4));
    assert!(lane_of(&read, "w", "evicts").retained_messages < 200);
    assert!((0..1000).any(|_| matches!(idle.try_recv(), Err(Error::Evicted(_)))));

    let mut late = zone.reader("late").channel::<u64>("lossy").open().unwrap();
    let (mut taken, mut lost, mut lags) = (0, 0, 0);
    for value in 0..5000 {
        writer.publish(lossy, &value).unwrap();
        // More than what is left of the page that it holds.
        for _ in 0..if value % 500 == 499 { 15 } else { 0 } {
            match late.try_recv() {
                Ok(Some(_)) => taken += 1,
                Ok(None) => panic!("nothing, though there is something"),
                Err(Error::Lagged(lagged)) => (lost, lags) = (lost + lagged.count, lags + 1),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(lags > 2 && taken > 2, "{lags} {taken}");
    let read = stats.read().unwrap();
    let reader = reader_of(&read, "late");
    assert_eq!((reader.lost, reader.lags, reader.evicted), (lost, lags, false));
    assert_eq!((reader.messages, reader.bytes), (taken, FRAME * taken));
    assert!(reader.pinned);
    let lane = lane_of(&read, "w", "lossy");
    assert_eq!((lane.messages, lane.lossy, lane.readers, lane.pins, lane.most_pins), (5000, true, 1, 1, 4));
    // It has gone round what the reader holds.
    assert!(lane.bytes > 5000 * FRAME && lane.retained_bytes <= 4096, "{lane:?}");
    assert_eq!(writer_of(&read, "w").full, 2, "as before");
}

/// Would break: a reading that needs the broker, or that stops with it.
#[test]
fn counting_goes_on_when_the_broker_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut broker, bus) = BrokerProcess::start(&directory.path().join("broker.sock"));
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("a").capacity(4096).lossy().open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("a").open().unwrap();
    let mut stats = zone.stats().unwrap();
    writer.publish(lane, &0).unwrap();
    assert_eq!(stats.read().unwrap().lanes[0].messages, 1);
    // Nobody has read since these came.
    let _unknown = zone.reader("unknown").channel::<u64>("a").open().unwrap();
    broker.kill();
    (1..10_000).for_each(|value| writer.publish(lane, &value).unwrap());
    assert_eq!(writer.edge().unwrap(), 1);
    take(&mut reader, 1);
    let Err(Error::Lagged(lagged)) = (0..100).map(|_| reader.try_recv().map(drop)).find(Result::is_err).unwrap() else {
        panic!("nothing lost")
    };
    for _ in 0..2 {
        let read = stats.read().unwrap();
        assert_eq!((read.eras, writer_of(&read, "w").commits, writer_of(&read, "w").edges), (1, 10_000, 1));
        assert_eq!(lane_of(&read, "w", "a").messages, 10_000);
        assert_eq!(reader_of(&read, "r").lost, lagged.count);
        assert_eq!(read.readers.len(), 2);
    }
    drop(reader);
    assert!(matches!(zone.stats(), Err(Error::NoBroker { .. })));
}

/// Would break: a lane that is lost with its writer though the zone keeps it; one that stays though it is gone; a roll-back that is missed.
#[test]
fn lanes_end_and_are_rolled_back() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("past").keep_eras(4);
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("a").open::<u64>().unwrap();
    let mut stats = zone.stats().unwrap();
    writer.publish(lane, &1).unwrap();
    drop(writer);
    let read = stats.read().unwrap();
    assert_eq!((read.writers.len(), read.lanes.len()), (0, 1));
    assert_eq!((read.lanes[0].messages, read.lanes[0].ended, read.lanes[0].name.as_str()), (1, true, "w"));
    let mut next = zone.writer("next").unwrap();
    (0..6).for_each(|era| assert!(next.edge().unwrap() > era));
    eventually("the lane has passed", || stats.read().unwrap().lanes.is_empty());

    let zone = bus.zone("revocable").revocable(LONG);
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("a").capacity(4096).open::<u64>().unwrap();
    let mut stats = zone.stats().unwrap();
    let mut publish = |writer: &mut syncline::Writer, count: u64| {
        (0..count).for_each(|value| writer.publish(lane, &value).unwrap());
        let read = stats.read().unwrap();
        assert!(!read.lanes[0].corrupt);
        (read.lanes[0].messages, read.lanes[0].bytes)
    };
    assert_eq!(publish(&mut writer, 50), (50, 50 * FRAME));
    writer.roll_back_era().unwrap();
    assert_eq!(publish(&mut writer, 0), (0, 0));
    assert_eq!(publish(&mut writer, 3), (3, 3 * FRAME));
    writer.permit().unwrap();
    assert_eq!(publish(&mut writer, 1), (4, 4 * FRAME));
    let read = zone.stats().unwrap().read().unwrap();
    assert_eq!((read.eras, read.writers[0].edges), (1, 1), "the last permit makes the edge");

    let error = bus.zone("nowhere").stats().unwrap_err();
    assert_eq!(error.code(), syncline::Code::Unknown);
}

/// Says so however the test ends.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Would break: a count taken from what is being overwritten.
#[test]
fn a_lane_is_counted_while_its_writer_overwrites_it() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("a").capacity(4096).lossy().open::<[u8]>().unwrap();
    let mut stats = zone.stats().unwrap();
    let (published, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut readings, mut moved) = (0u64, 0u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(5);
            while !done.load(Ordering::Relaxed) {
                // A frame's head in the payload, for whoever takes one for another.
                let payload = [0x01, 0, 0, 0, 1, 0, 0, 0].repeat(1 + random.below(20) as usize);
                writer.publish(lane, &payload[..]).unwrap();
                published.fetch_add(1, Ordering::Release);
            }
        });
        let _at_the_end = Raise(&done);
        let mut last = 0;
        while readings < times(10_000, 1_000_000) {
            let before = published.load(Ordering::Acquire);
            let read = stats.read().unwrap();
            let after = published.load(Ordering::Acquire);
            let LaneStats { messages, retained_messages, retained_bytes, corrupt, .. } = read.lanes[0];
            // One more: published, and not said so yet. (One that it outran stays at what was before.)
            assert!(messages >= last && messages <= after + 1, "{last} {before} {messages} {after}");
            assert!(!corrupt && retained_bytes <= 4096 && retained_messages <= 4096 / 24, "{read:?}");
            moved += u64::from(messages > before && before != after);
            last = messages;
            readings += 1;
        }
    });
    println!("{readings} readings, in {moved} the lane went on meanwhile");
    assert!(moved > 0, "the writer never wrote during a reading");
    assert_eq!(stats.read().unwrap().lanes[0].messages, published.into_inner());
}

thread_local! {
    static LANE: LaneMap = {
        let segment = Segment::create("syncline:test:count", segment_size(MIN_CAPACITY)).unwrap();
        LaneMap::create(segment.fd(), MIN_CAPACITY, 1).unwrap()
    };
}

/// A lane that nobody has written in.
fn clear(lane: Lane<'_>) {
    lane.header.floor.0.store(0, RELAXED.get());
    for mark in &lane.header.marks {
        mark.position.store(0, RELAXED.get());
        mark.sequence.store(0, RELAXED.get());
    }
    for word in 0..MIN_CAPACITY / 8 {
        lane.ring.word(word * 8).store(0, RELAXED.get());
    }
}

/// A writer by hand, which waits for nobody, and notes where each of its commits ended.
struct ByHand<'a> {
    lane: Lane<'a>,
    ring: lane::Writer,
    version: u64,
    ends: BTreeMap<u64, u64>,
}

impl<'a> ByHand<'a> {
    fn new(lane: Lane<'a>) -> Self {
        ByHand { lane, ring: lane::Writer::new(MIN_CAPACITY, 8), version: 0, ends: BTreeMap::from([(0, 0)]) }
    }

    /// A message, as the first of a batch over several lanes is: whoever comes to it asks whether it is committed.
    fn publish(&mut self, len: u32) {
        let claim = loop {
            match self.ring.claim(self.lane, len) {
                Ok(claim) => break claim,
                Err(lane::NoRoom(wanted)) => {
                    let marks = self.lane.header.marks.iter().map(|mark| mark.position.load(RELAXED.get()));
                    let floor = marks.filter(|&mark| mark >= wanted).min().expect("a mark");
                    self.lane.header.floor.0.store(floor, RELAXED.get());
                    self.ring.set_limit(floor + MIN_CAPACITY);
                }
            }
        };
        // Heads of all lengths, for whoever takes the payload for something else.
        for word in 0..u64::from(len) / 8 {
            let like = (self.version + word) * 56 % 3500;
            self.lane.ring.word(claim.payload() + word * 8).store(1 << 32 | like, RELAXED.get());
        }
        self.version += 1;
        self.ring.push(self.lane, claim, self.version);
        self.ring.show_batch(self.lane, true);
        self.ring.committed(self.lane, self.version);
        self.ends.insert(self.ring.tail(), self.ring.sequence());
    }
}

/// A word that looks like one of a lane: a head, a position, a number.
fn likely() -> impl Strategy<Value = u64> {
    let head = |flags: u64| (0..6000u64).prop_map(move |len| flags << 32 | len);
    prop_oneof![Just(0), head(1), head(3), head(5), head(9), head(7), (0..3000u64).prop_map(|n| n * 8), any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Would break: a count that does not end, leaves the ring, or tells more than the ring holds.
    #[test]
    fn any_lane_is_counted(words in vec(likely(), 0..700), floor in likely(), end in likely(), version in 0..100u64) {
        LANE.with(|map| {
            let view = map.view();
            let mut words = words.into_iter();
            let mut next = || words.next().unwrap_or(0);
            view.header.floor.0.store(floor, RELAXED.get());
            for mark in &view.header.marks {
                mark.position.store(next(), RELAXED.get());
                mark.sequence.store(next(), RELAXED.get());
                mark.after.store(next(), RELAXED.get());
                mark.ends.store(next(), RELAXED.get());
            }
            for word in 0..MIN_CAPACITY / 8 {
                view.ring.word(word * 8).store(next(), RELAXED.get());
            }
            let most = max_payload(MIN_CAPACITY, 8, 0);
            let counted = count(view, most, end, |of| of <= version).expect("nobody moves the floor");
            let (begin, end) = (counted.begin.position, counted.end.position);
            let most = if counted.damage.is_some() { 2 * MIN_CAPACITY } else { MIN_CAPACITY };
            prop_assert!(begin <= end && end - begin <= most, "{:?}", counted);
            Ok(())
        })?;
    }
    /// A writer that goes on while its lane is counted, from nowhere to several laps.
    ///
    /// Would break: a count of which a part is older than another, or of what was overwritten meanwhile.
    #[test]
    fn a_lane_that_goes_on_is_counted_as_it_was_or_is(
        before in vec(0..120u32, 0..200), at in 0..20usize, meanwhile in vec(0..120u32, 0..300), again in any::<bool>(),
    ) {
        LANE.with(|map| {
            let view = map.view();
            clear(view);
            let mut writer = ByHand::new(view);
            before.iter().for_each(|len| writer.publish(*len));
            let first = writer.ring.sequence();
            let (writer, looks) = (RefCell::new(writer), Cell::new(0));
            let counted = count(view, max_payload(MIN_CAPACITY, 8, 0), u64::MAX, |of| {
                looks.set(looks.get() + 1);
                let mut writer = writer.borrow_mut();
                if looks.get() == at || (again && looks.get() > at) {
                    meanwhile.iter().for_each(|len| writer.publish(*len));
                }
                of <= writer.version
            });
            let writer = writer.into_inner();
            // If it goes on for ever, there is nothing to count.
            let Some(counted) = counted else {
                prop_assert!(again);
                return Ok(());
            };
            prop_assert_eq!(counted.damage, None);
            for place in [counted.begin, counted.end] {
                prop_assert_eq!(writer.ends.get(&place.position), Some(&place.sequence));
            }
            prop_assert!(counted.end.sequence >= first);
            prop_assert!(counted.end.position - counted.begin.position <= MIN_CAPACITY);
            Ok(())
        })?;
    }
}
