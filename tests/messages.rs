//! Messages of all kinds between writers and readers, live and synced, in one process and in several.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::*;
use syncline::{Bus, Code, Error, Start};

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    y: f64,
    tick: u64,
}

syncline::describe!(Pose as "test.pose" { x: f64, y: f64, tick: u64 });

/// An enum: not every bit pattern is one.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(u8)]
enum Mode {
    Idle = 1,
    Run = 2,
}

impl syncline::Described for Mode {
    const NAME: &'static str = "test.mode";
}

fn pose(tick: u64) -> Pose {
    Pose { x: tick as f64, y: -(tick as f64), tick }
}

#[test]
fn typed_messages_tell_where_they_come_from() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("robot");
    let mut reader = zone.reader("r").channel::<Pose>("pose").channel::<Mode>("mode").open().unwrap();
    let mut writer = zone.writer("w").unwrap();
    let poses = writer.channel("pose").open::<Pose>().unwrap();
    let modes = writer.channel("mode").open::<Mode>().unwrap();
    for tick in 0..3 {
        writer.publish(poses, &pose(tick)).unwrap();
    }
    writer.publish(modes, &Mode::Run).unwrap();

    let mut next_pose = 0;
    let mut mode = None;
    for _ in 0..4 {
        let message = reader.recv(LONG).unwrap();
        let origin = message.origin();
        assert_eq!((origin.writer, origin.writer_name, origin.pid), (writer.row(), "w", std::process::id()));
        assert_eq!(message.era(), None, "nothing is sealed yet");
        if origin.channel == "pose" {
            assert_eq!(message.copy::<Pose>().unwrap(), pose(next_pose));
            assert_eq!(message.sequence(), next_pose);
            next_pose += 1;
        } else {
            mode = Some(message.copy::<Mode>().unwrap());
        }
    }
    assert_eq!((next_pose, mode), (3, Some(Mode::Run)));
    assert!(reader.try_recv().unwrap().is_none());
    assert!(matches!(reader.recv(Duration::from_millis(1)), Err(Error::Timeout)));
    assert!(matches!(reader.spin_recv(Duration::from_millis(1)), Err(Error::Timeout)));
}

#[test]
fn slices_bytes_and_loans() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut reader = zone.reader("r").channel::<[f32]>("wave").channel::<[u8]>("log").open().unwrap();
    let mut writer = zone.writer("w").unwrap();
    let wave = writer.channel("wave").open::<[f32]>().unwrap();
    let log = writer.channel("log").max_len(100).open::<[u8]>().unwrap();

    let mut loan = writer.loan_slice(wave, 8).unwrap();
    loan.items_mut().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert!(loan.truncate(9).is_err());
    loan.truncate(3).unwrap();
    loan.publish().unwrap();
    drop(writer.loan_slice(wave, 100).unwrap());
    {
        let message = reader.recv(LONG).unwrap();
        assert_eq!(message.copy_slice::<f32>().unwrap(), [1.0, 2.0, 3.0]);
        assert!(matches!(message.copy::<f32>(), Err(Error::BadValue { .. })));
        // SAFETY: this test's own writer does not overwrite what is held.
        assert_eq!(unsafe { message.bytes_in_place() }.len(), 12);
    }
    assert!(reader.try_recv().unwrap().is_none(), "a dropped loan is nothing");

    for len in 0..=100usize {
        let line: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        writer.publish(log, &line[..]).unwrap();
        let message = reader.recv(LONG).unwrap();
        assert_eq!(message.to_vec().unwrap(), line);
        let mut buffer = vec![9; 7];
        message.copy_to(&mut buffer).unwrap();
        assert_eq!(buffer, line);
    }
    let error = writer.publish(log, &[0; 101][..]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { len: 101, limit: 100 }), "{error}");
    assert!(reader.try_recv().unwrap().is_none());
}

#[test]
fn values_that_are_none_of_the_type_are_refused() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let modes = writer.channel("mode").open::<Mode>().unwrap();
    let mut reader = zone.reader("r").channel::<Mode>("mode").start(Start::Oldest).open().unwrap();
    let mut loan = writer.loan(modes).unwrap();
    loan.bytes_mut()[0] = 77;
    loan.publish().unwrap();
    let mut loan = writer.loan(modes).unwrap();
    loan.write(Mode::Idle);
    loan.publish().unwrap();
    assert!(matches!(reader.recv(LONG).unwrap().copy::<Mode>(), Err(Error::BadValue { .. })));
    assert_eq!(reader.recv(LONG).unwrap().copy::<Mode>().unwrap(), Mode::Idle);
}

#[test]
fn batches_are_seen_whole_or_not_at_all() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let a = writer.channel("a").open::<u64>().unwrap();
    let b = writer.channel("b").open::<u64>().unwrap();
    let mut live = zone.reader("l").channel::<u64>("a").channel::<u64>("b").open().unwrap();
    let mut batch = writer.batch().unwrap();
    batch.push(a, &1).unwrap();
    batch.push(b, &2).unwrap();
    let mut loan = batch.loan(a).unwrap();
    loan.write(3);
    loan.publish().unwrap();
    assert!(live.try_recv().unwrap().is_none());
    batch.commit().unwrap();
    let mut values: Vec<u64> = (0..3).map(|_| live.recv(LONG).unwrap().copy().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3]);

    let mut batch = writer.batch().unwrap();
    batch.push(a, &4).unwrap();
    drop(batch);
    writer.batch().unwrap().commit().unwrap();
    writer.publish(a, &5).unwrap();
    let message = live.recv(LONG).unwrap();
    assert_eq!((message.copy::<u64>().unwrap(), message.sequence()), (5, 2), "what was rolled back has no number");
    drop(message);

    std::mem::forget(writer.batch().unwrap());
    let mut leaked = writer.batch().unwrap();
    leaked.push(b, &6).unwrap();
    std::mem::forget(leaked);
    assert_eq!(writer.publish(b, &7).unwrap_err().code(), Code::Invalid, "the leaked batch is still open");
    writer.batch().unwrap().roll_back();
    writer.publish(b, &8).unwrap();
    assert_eq!(live.recv(LONG).unwrap().copy::<u64>().unwrap(), 8);
}

#[test]
fn an_era_has_what_was_committed_before_its_edge() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut first = zone.writer("first").unwrap();
    let mut second = zone.writer("second").unwrap();
    let a = first.channel("a").open::<u64>().unwrap();
    let b = second.channel("b").open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("b").channel::<u64>("a").synced().open().unwrap();
    let mut live = zone.reader("l").channel::<u64>("a").open().unwrap();
    // A participant that commits nothing.
    let mut sealer = zone.writer("sealer").unwrap();

    first.publish(a, &1).unwrap();
    second.publish(b, &2).unwrap();
    assert!(reader.try_era().unwrap().is_none());
    let sealed = sealer.edge().unwrap();
    first.publish(a, &3).unwrap();
    {
        let mut era = reader.next_era(LONG).unwrap();
        assert_eq!((era.number(), era.is_merged()), (sealed, false));
        let mut given = Vec::new();
        while let Some(message) = era.next().unwrap() {
            assert_eq!(message.era(), Some(sealed));
            given.push((message.channel().to_owned(), message.copy::<u64>().unwrap()));
        }
        assert_eq!(given, [("a".to_owned(), 1), ("b".to_owned(), 2)], "in the order of the channels' making");
    }
    assert!(reader.try_era().unwrap().is_none());
    assert_eq!(live.recv(LONG).unwrap().era(), Some(sealed));
    assert_eq!(live.recv(LONG).unwrap().era(), None);
    let next = second.edge().unwrap();
    assert!(next > sealed);
    let message = reader.recv(LONG).unwrap();
    assert_eq!((message.era(), message.copy::<u64>().unwrap()), (Some(next), 3));
    drop(message);
    assert!(live.try_era().is_err(), "a live reader has no eras");
}

#[test]
fn eras_come_one_by_one_and_merged_when_the_ring_is_short() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z").eras(8);
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("c").synced().open().unwrap();
    let mut given = Vec::new();
    for value in 0..20u64 {
        writer.publish(lane, &value).unwrap();
        writer.edge().unwrap();
    }
    let mut merged = 0;
    while let Some(mut era) = reader.try_era().unwrap() {
        merged += usize::from(era.is_merged());
        while let Some(message) = era.next().unwrap() {
            given.push(message.copy::<u64>().unwrap());
        }
    }
    assert_eq!(given, (0..20).collect::<Vec<_>>());
    assert_eq!(merged, 1, "the first one handed out stands for all that were forgotten");
}

#[test]
fn oldest_and_latest() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    for value in 0..10u64 {
        writer.publish(lane, &value).unwrap();
        if value % 2 == 1 {
            writer.edge().unwrap();
        }
    }
    let mut latest = zone.reader("latest").channel::<u64>("c").open().unwrap();
    let mut oldest = zone.reader("oldest").channel::<u64>("c").start(Start::Oldest).open().unwrap();
    let mut synced = zone.reader("synced").channel::<u64>("c").synced().open().unwrap();
    let mut past = zone.reader("past").channel::<u64>("c").synced().start(Start::Oldest).open().unwrap();
    writer.publish(lane, &10).unwrap();
    writer.edge().unwrap();
    let take = |reader: &mut syncline::Reader| {
        let mut values = Vec::new();
        while let Some(message) = reader.try_recv().unwrap() {
            assert_eq!(message.sequence(), message.copy::<u64>().unwrap());
            values.push(message.sequence());
        }
        values
    };
    assert_eq!(take(&mut latest), [10]);
    assert_eq!(take(&mut oldest), (0..=10).collect::<Vec<_>>());
    assert_eq!(take(&mut synced), [10]);
    assert_eq!(take(&mut past), (0..=10).collect::<Vec<_>>());
}

#[test]
fn a_full_lane_says_so_and_loses_nothing() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").capacity(4096).open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("c").open().unwrap();
    let (mut sent, mut received) = (0u64, 0u64);
    for _ in 0..50 {
        loop {
            match writer.publish(lane, &sent) {
                Ok(()) => sent += 1,
                Err(Error::Full { behind }) => break assert!(behind > 2048, "{behind}"),
                Err(error) => panic!("{error}"),
            }
        }
        for _ in 0..100 {
            let Some(message) = reader.try_recv().unwrap() else { break };
            assert_eq!(message.copy::<u64>().unwrap(), received);
            drop(message);
            received += 1;
        }
    }
    while let Some(message) = reader.try_recv().unwrap() {
        assert_eq!(message.copy::<u64>().unwrap(), received);
        drop(message);
        received += 1;
    }
    assert_eq!(sent, received);
    assert!(sent > 4000, "{sent}");
    let mut batch = writer.batch().unwrap();
    let error = loop {
        if let Err(error) = batch.push(lane, &0) {
            break error;
        }
    };
    assert_eq!(error.code(), Code::TooLarge, "no reader can ever make room for this batch: {error}");
    drop(batch);
    drop(reader);
    for value in 0..10_000u64 {
        writer.publish(lane, &value).unwrap();
    }
}

#[test]
fn a_writer_waits_for_room_and_a_reader_sleeps() {
    const COUNT: u64 = 20_000;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut reader = zone.reader("r").channel::<u64>("c").open().unwrap();
    let writing = std::thread::spawn(move || {
        let mut writer = zone.writer("w").unwrap();
        writer.set_room_timeout(LONG);
        let lane = writer.channel("c").capacity(4096).open::<u64>().unwrap();
        for value in 0..COUNT {
            writer.publish(lane, &value).unwrap();
        }
    });
    for value in 0..COUNT {
        if value % 997 == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), value);
    }
    assert!(matches!(reader.recv(LONG), Err(Error::Closed(closed)) if !closed.died && closed.channel == "c"));
    writing.join().unwrap();
}

#[test]
fn alignment_holds_for_every_payload() {
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C, align(64))]
    struct Block([u64; 16]);
    impl syncline::Described for Block {
        const NAME: &'static str = "test.block";
    }
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").capacity(8192).open::<Block>().unwrap();
    let mut reader = zone.reader("r").channel::<Block>("c").open().unwrap();
    for round in 0..1000u64 {
        let mut loan = writer.loan(lane).unwrap();
        assert_eq!(loan.bytes_mut().as_ptr().addr() % 64, 0);
        loan.write(Block([round; 16]));
        loan.publish().unwrap();
        let message = reader.recv(LONG).unwrap();
        assert_eq!(message.copy::<Block>().unwrap().0, [round; 16]);
        // SAFETY: this test's own writer does not overwrite what is held.
        assert_eq!(unsafe { message.in_place::<Block>() }.unwrap().0[15], round);
        assert_eq!(message.sequence(), round);
    }
}

#[test]
fn a_lane_of_another_writer_is_refused() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut ours = zone.writer("ours").unwrap();
    let mut theirs = zone.writer("theirs").unwrap();
    let lane = theirs.channel("c").open::<u64>().unwrap();
    assert_eq!(ours.publish(lane, &1).unwrap_err().code(), Code::Invalid);
    theirs.publish(lane, &1).unwrap();
}

/// Mapping a zone of so many subscriptions takes a reader a while: time enough for lanes to come.
#[test]
fn a_lane_that_comes_while_a_reader_joins_is_not_missed() {
    let bus = Bus::embedded().unwrap();
    let other = Bus::connect_to(bus.socket()).unwrap();
    for round in 0..20 {
        let channel = format!("c{round}");
        let mut writer = other.zone("z").subscriptions(65_536).writer("w").unwrap();
        let opened = std::thread::scope(|scope| {
            let opener = scope.spawn(|| {
                other.zone("z").wait_readers(&channel, 1, LONG).unwrap();
                let lane = writer.channel(&channel).capacity(4096).open::<u64>().unwrap();
                writer.publish(lane, &round).unwrap();
            });
            let reader = bus.zone("z").reader("r").channel::<u64>(&channel).open().unwrap();
            opener.join().unwrap();
            reader
        });
        let mut reader = opened;
        assert_eq!(reader.recv(Duration::from_secs(10)).unwrap().copy::<u64>().unwrap(), round);
    }
}

#[test]
fn a_busy_lane_does_not_keep_a_live_reader_from_new_ones() {
    const COUNT: u64 = 1000;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut busy = zone.writer("busy").unwrap();
    let mut late = zone.writer("late").unwrap();
    let mut reader = zone.reader("r").channel::<u64>("c").open().unwrap();
    let lane = busy.channel("c").open::<u64>().unwrap();
    for value in 0..COUNT {
        busy.publish(lane, &value).unwrap();
    }
    assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), 0);
    let lane = late.channel("c").open::<u64>().unwrap();
    late.publish(lane, &COUNT).unwrap();
    let place = (1..=COUNT).position(|_| reader.recv(LONG).unwrap().copy::<u64>().unwrap() == COUNT);
    assert!(place.unwrap() < 100, "the late one came {place:?} messages later");
}
/// A reader has joined when `wait_readers` counts it; it may still be busy with opening then.
/// Of two channels that each have messages of `len` bytes lying ready: which one's a reader is handed, one after the other.
fn order_of_two_backlogs(len: usize) -> Vec<String> {
    const EACH: u64 = 40;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("two");
    let mut reader = zone.reader("r").channel::<[u8]>("a").channel::<[u8]>("b").open().unwrap();
    let mut writer = zone.writer("w").unwrap();
    let lanes = ["a", "b"].map(|channel| writer.channel(channel).open::<[u8]>().unwrap());
    for number in 0..EACH {
        for lane in lanes {
            writer.publish(lane, &vec![number as u8; len][..]).unwrap();
        }
    }
    let mut next = [0, 0];
    (0..2 * EACH)
        .map(|_| {
            let message = reader.try_recv().unwrap().unwrap();
            let next = &mut next[usize::from(message.channel() == "b")];
            assert_eq!(message.to_vec().unwrap(), vec![*next; len]);
            *next += 1;
            message.channel().to_owned()
        })
        .collect()
}

/// The longest run of one channel while both have messages.
fn longest_run(order: &[String]) -> usize {
    let both = order.len() / 2;
    order[..both].chunk_by(|one, next| one == next).map(<[String]>::len).max().unwrap()
}

#[test]
fn a_backlog_in_one_lane_does_not_hold_up_another() {
    assert!((2..=16).contains(&longest_run(&order_of_two_backlogs(8))), "short ones: some at a time");
    assert_eq!(longest_run(&order_of_two_backlogs(4096)), 1, "long ones in turn");
}

#[test]
fn what_is_published_once_a_reader_is_counted_reaches_it() {
    let bus = Bus::embedded().unwrap();
    for round in 0..200 {
        let zone = bus.zone(&format!("z{round}"));
        let mut writer = zone.writer("w").unwrap();
        let lane = writer.channel("c").open::<u64>().unwrap();
        writer.publish(lane, &0).unwrap();
        writer.edge().unwrap();
        std::thread::scope(|scope| {
            for synced in [false, true] {
                let zone = zone.clone();
                scope.spawn(move || {
                    let builder = zone.reader("r").channel::<u64>("c");
                    let mut reader = if synced { builder.synced() } else { builder }.open().unwrap();
                    let first = reader.recv(LONG).unwrap().copy::<u64>().unwrap();
                    assert_eq!(first, 1, "synced: {synced}, round {round}");
                });
            }
            zone.wait_readers("c", 2, LONG).unwrap();
            // More eras than the zone remembers: so many may pass before a reader looks.
            for number in 1..=100 {
                writer.publish(lane, &number).unwrap();
                writer.edge().unwrap();
            }
        });
    }
}

/// A writer that commits batches over eight channels, and seals an era after each, while `meanwhile` runs.
fn while_batches_flow(meanwhile: impl FnOnce(&Bus)) {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z").eras(4);
    let mut writer = zone.writer("w").unwrap();
    writer.set_room_timeout(LONG);
    let lanes: Vec<_> = (0..8).map(|lane| writer.channel(&format!("c{lane}")).open::<u64>().unwrap()).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0.. {
                let mut batch = writer.batch().unwrap();
                for lane in &lanes {
                    batch.push(*lane, &value).unwrap();
                }
                batch.commit().unwrap();
                writer.edge().unwrap();
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        // Also if it panics: the writer must not go on for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&bus)));
        is_over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_reader_begins_with_a_whole_batch() {
    let joins = times(200, 5000);
    while_batches_flow(|bus| {
        for join in 0..joins {
            let mut builder = bus.zone("z").reader("r");
            for lane in 0..8 {
                builder = builder.channel::<u64>(&format!("c{lane}"));
            }
            // In a zone that remembers four eras, a synced one finds where it began forgotten.
            let is_synced = join % 2 == 1;
            let mut reader = if is_synced { builder.synced() } else { builder }.open().unwrap();
            let mut first = std::collections::BTreeMap::new();
            while first.len() < 8 {
                let message = reader.recv(LONG).unwrap();
                let value = message.copy::<u64>().unwrap();
                first.entry(message.channel().to_owned()).or_insert(value);
            }
            let mut values = first.values();
            let least = values.next().unwrap();
            assert!(values.all(|value| value == least), "join {join}, synced: {is_synced}: begins with {first:?}");
        }
    });
}
