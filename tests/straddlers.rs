//! Straddlers: batches that are open while edges pass. Nobody waits for them, each is whole in one later era, and it is on record whose
//! they were.

mod support;

use std::time::Duration;
use support::*;
use syncline::{Bus, Edge, Error, Lane, Start, Writer, WriterInfo};

const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// One message: of whom, and what.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Value {
    who: u64,
    what: u64,
}

syncline::describe!(Value as "test.value" { who: u64, what: u64 });

const BATCHER: u64 = 1;
const OTHER: u64 = 2;

/// For each line, an era's number: says what is in that era, and whose batches straddled its edge.
fn reader() {
    let bus = Bus::connect().expect("connect");
    let builder = CHANNELS.iter().fold(bus.zone("z").reader("reader"), |builder, name| builder.channel::<Value>(name));
    let mut reader = builder.synced().open().expect("reader");
    say("ready", "");
    let mut wanted = hear();
    while let Some(number) = &wanted {
        let mut era = match reader.next_era(LONG) {
            Ok(era) => era,
            // Of a writer that has died.
            Err(Error::Closed(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(&era.number().to_string(), number);
        let edge = era.edge().expect("on record");
        let mut found = Vec::new();
        while let Some(message) = era.next().expect("message") {
            found.push((message.channel().to_owned(), message.copy::<Value>().expect("a value")));
        }
        say("era", format!("{:?} {found:?}", edge.straddlers));
        wanted = hear();
    }
}

fn open(bus: &Bus, name: &str) -> (Writer, [Lane<Value>; CHANNELS.len()]) {
    let mut writer = bus.zone("z").writer(name).expect("writer");
    let lanes = CHANNELS.map(|channel| writer.channel(channel).open::<Value>().expect("lane"));
    (writer, lanes)
}

/// Opens a batch over all channels, and never commits it.
fn straddler() {
    let bus = Bus::connect().expect("connect");
    let (mut writer, lanes) = open(&bus, "dies");
    let row = writer.row();
    let mut batch = writer.batch().expect("batch");
    for lane in lanes {
        batch.push(lane, &Value { who: 9, what: 9 }).expect("push");
    }
    say("straddles", row);
    hear();
}

/// What the zone's listing says of a row.
fn listed(bus: &Bus, row: u32) -> WriterInfo {
    let zones = bus.list().unwrap();
    zones[0].writers.iter().find(|writer| writer.row == row).expect("a writer in that row").clone()
}

fn straddlers(edge: Option<Edge>) -> Vec<u32> {
    edge.expect("on record").straddlers
}

/// Seals eras with a message of the other writer in each, and looks what a reader in another process finds.
struct Scene {
    bus: Bus,
    other: Writer,
    lane: Lane<Value>,
    reader: Process,
    sealed: u64,
}

impl Scene {
    fn new(test: &str) -> Scene {
        let bus = Bus::embedded().unwrap();
        let (other, [lane, ..]) = open(&bus, "other");
        let mut reader = Process::start(test, "reader", bus.socket(), &[]);
        reader.wait_for("ready");
        Scene { bus, other, lane, reader, sealed: 0 }
    }

    /// The next era: it has the other writer's message and `batch`, and was straddled by `rows`.
    fn seal(&mut self, rows: &[u32], batch: &[(&str, Value)]) {
        let era = self.sealed + 1;
        self.other.publish(self.lane, &Value { who: OTHER, what: era }).unwrap();
        // By the same process, or by the broker.
        let sealed = if era.is_multiple_of(2) { self.other.edge() } else { self.bus.zone("z").edge(None) };
        assert_eq!(sealed.unwrap(), era);
        self.sealed = era;
        assert_eq!(straddlers(self.other.edge_info(era).unwrap()), rows, "era {era}");
        let last = self.bus.list().unwrap()[0].last_edge.clone().expect("an edge");
        assert_eq!((last.era, &last.straddlers[..]), (era, rows));
        let mut expected = vec![("a".to_owned(), Value { who: OTHER, what: era })];
        expected.extend(batch.iter().map(|(channel, value)| ((*channel).to_owned(), *value)));
        // By channel, then by row: the batcher comes after the other.
        expected.sort_by_key(|(channel, value)| (channel.clone(), value.who != OTHER));
        self.reader.send(&era.to_string());
        assert_eq!(self.reader.wait_for("era"), format!("{rows:?} {expected:?}"), "era {era}");
    }
}

/// Would break: a batch that is split over eras, or in the era that it was begun in; an edge that waits for it or does not name it.
#[test]
fn a_batch_is_whole_in_the_era_after_its_commit() {
    const TEST: &str = "a_batch_is_whole_in_the_era_after_its_commit";
    if role().is_some() {
        return reader();
    }
    let mut scene = Scene::new(TEST);
    let (mut batcher, lanes) = open(&scene.bus, "batcher");
    let row = batcher.row();
    let live = CHANNELS.iter().fold(scene.bus.zone("z").reader("live"), |builder, name| builder.channel::<Value>(name));
    let mut live = live.start(Start::Latest).open().unwrap();
    let mut batches = 0;
    let rounds = times(6, 60);
    // How many edges pass: in some rounds more than the zone remembers.
    for edges in [1, 2, 7, 100].into_iter().cycle().take(rounds as usize) {
        let mut batch = batcher.batch().unwrap();
        scene.seal(&[], &[]);
        let info = listed(&scene.bus, row);
        assert!(!info.open_batch && info.straddles == 0, "nothing is in it yet");
        let mut expected = Vec::new();
        let add = |batch: &mut syncline::Batch<'_>, expected: &mut Vec<_>, index: usize| {
            let value = Value { who: BATCHER, what: expected.len() as u64 };
            batch.push(lanes[index], &value).unwrap();
            expected.push((CHANNELS[index], value));
        };
        add(&mut batch, &mut expected, 0);
        for edge in 1..=edges {
            scene.seal(&[row], &[]);
            let info = listed(&scene.bus, row);
            assert!(info.open_batch);
            // The zone remembers the cuts of 63 eras.
            assert_eq!(info.straddles, edge.min(63), "after {edge} edges");
            add(&mut batch, &mut expected, edge as usize % CHANNELS.len());
            // Live readers have what the other published, and nothing of the batch.
            while let Some(message) = live.try_recv().unwrap() {
                assert_eq!(message.copy::<Value>().unwrap().who, OTHER);
            }
        }
        let version = listed(&scene.bus, row).version;
        assert_eq!(version, batches);
        batches += 1;
        batch.commit().unwrap();
        let info = listed(&scene.bus, row);
        assert_eq!((info.open_batch, info.version), (false, batches));
        let mut given = Vec::new();
        while let Some(message) = live.try_recv().unwrap() {
            given.push(message.copy::<Value>().unwrap().what);
        }
        given.sort_unstable();
        assert!(given.iter().copied().eq(0..expected.len() as u64), "live: {given:?}");
        scene.seal(&[], &expected);
        assert_eq!(listed(&scene.bus, row).straddles, 0);
        // What was on record stays so.
        for before in scene.sealed - u64::from(edges.min(10))..scene.sealed {
            assert_eq!(straddlers(batcher.edge_info(before).unwrap()), [row], "era {before}");
        }
        while live.try_recv().unwrap().is_some() {}
    }
    println!("\n{batches} batches over up to 100 edges, {} eras", scene.sealed);
}

/// Would break: a batch that is rolled back, or whose process dies, and that is seen in a part or goes on straddling.
#[test]
fn a_batch_that_is_rolled_back_is_never_seen() {
    const TEST: &str = "a_batch_that_is_rolled_back_is_never_seen";
    match role().as_deref() {
        Some("straddler") => return straddler(),
        Some(_) => return reader(),
        None => {}
    }
    let mut scene = Scene::new(TEST);
    let (mut batcher, lanes) = open(&scene.bus, "batcher");
    let row = batcher.row();
    let live = CHANNELS.iter().fold(scene.bus.zone("z").reader("live"), |builder, name| builder.channel::<Value>(name));
    let mut live = live.open().unwrap();
    let mut next = 0;
    for round in 0..times(10, 100) {
        let mut batch = batcher.batch().unwrap();
        for index in 0..3 + round {
            batch.push(lanes[index as usize % lanes.len()], &Value { who: BATCHER, what: u64::MAX }).unwrap();
            scene.seal(&[row], &[]);
        }
        match round % 3 {
            0 => batch.roll_back(),
            1 => drop(batch),
            // Leaked; the next one rolls it back.
            _ => {
                std::mem::forget(batch);
                drop(batcher.batch().unwrap());
            }
        }
        assert!(!listed(&scene.bus, row).open_batch);
        scene.seal(&[], &[]);
        // The same place in the lanes is used again.
        let seen = Value { who: BATCHER, what: round };
        batcher.publish(lanes[1], &seen).unwrap();
        scene.seal(&[], &[("b", seen)]);

        let mut process = Process::start(TEST, "straddler", scene.bus.socket(), &[]);
        let dying: u32 = process.wait_for("straddles").parse().unwrap();
        scene.seal(&[dying], &[]);
        scene.seal(&[dying], &[]);
        assert_eq!(listed(&scene.bus, dying).straddles, 2);
        process.kill();
        eventually("the broker has freed the row", || {
            scene.bus.list().unwrap()[0].writers.iter().all(|writer| writer.row != dying)
        });
        scene.seal(&[], &[]);
        let (heir, _) = open(&scene.bus, "heir");
        assert_eq!(heir.row(), dying, "the same row");
        scene.seal(&[], &[]);
        drop(heir);
        // The lanes may come in any order.
        let mut heard = false;
        while next < scene.sealed || !heard {
            match live.recv(LONG) {
                Ok(message) => match message.copy::<Value>().unwrap() {
                    Value { who: OTHER, what: era } => next = era,
                    value => {
                        assert_eq!((value, heard), (seen, false));
                        heard = true;
                    }
                },
                Err(Error::Closed(closed)) => assert_eq!(closed.died, closed.name == "dies", "{closed}"),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(matches!(live.recv(Duration::from_millis(5)), Err(Error::Timeout | Error::Closed(_))));
}
