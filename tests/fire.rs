//! Cross-channel atomicity under fire: four writer processes commit batches over four channels, while they and two more
//! processes run edges against each other. Two reader processes look whether every era is whole, and both must find the same.
//!
//! A value is one message. The numbers of a writer run, and a batch has the same ones in all channels: after each era, the last of
//! a writer must be the same everywhere, and the last of its batch.

mod support;

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Instant;
use support::pace::{ERAS, Met, Pace, numbers};
use support::stops::Stops;
use support::*;
use syncline::{Bus, Error, Zone};

const TEST: &str = "no_era_is_mixed_under_fire";
const WRITERS: usize = 4;
const CHANNELS: [&str; 4] = ["c0", "c1", "c2", "c3"];
/// Participants that commit nothing and run edges.
const SEALERS: usize = 2;
const READERS: usize = 2;
const ROWS: usize = WRITERS + SEALERS;
/// The most values of a batch in each channel.
const MOST: u64 = 4;
/// How far sealers go before the readers, in eras.
const LEADS: [u64; 3] = [4, 64, 512];

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Value {
    /// From 1; the same in all channels.
    number: u64,
    check: u64,
    row: u32,
    /// How many more of the batch follow in this channel.
    left: u32,
}

syncline::describe!(Value as "test.value" { number: u64, check: u64, row: u32, left: u32 });

impl Value {
    fn new(number: u64, row: u32, left: u32) -> Value {
        Value { number, check: number.rotate_left(32) ^ u64::from(row) ^ u64::from(left) << 8, row, left }
    }
}

fn zone(bus: &Bus) -> Zone {
    bus.zone("fire").eras(ERAS)
}

// ---- the processes ----

fn writer() {
    let [count] = numbers(&argument("COUNT"));
    let bus = Bus::connect().expect("connect");
    let mut writer = zone(&bus).writer("writer").expect("writer");
    let row = writer.row();
    let lanes = CHANNELS.map(|channel| writer.channel(channel).capacity(1 << 14).open::<Value>().expect("lane"));
    writer.set_room_timeout(LONG);
    say("ready", row);
    hear();
    let stops = Stops::begin();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(row) << 7);
    let mut number = 0;
    while number < count {
        let values = (1 + random.below(MOST)).min(count - number);
        let mut batch = writer.batch().expect("batch");
        for left in (0..values).rev() {
            number += 1;
            for lane in lanes {
                batch.push(lane, &Value::new(number, row, left as u32)).expect("push");
            }
        }
        batch.commit().expect("commit");
        if random.below(16) == 0 {
            writer.edge().expect("edge");
        }
    }
    let stops = stops.end();
    writer.edge().expect("edge");
    Met::say(&writer, stops);
}

fn sealer() {
    let pace = Pace::of_role();
    let bus = Bus::connect().expect("connect");
    let mut writer = zone(&bus).writer("sealer").expect("writer");
    say("ready", "");
    hear();
    let stops = Stops::begin();
    pace.run_edges(&mut writer, &LEADS);
    Met::say(&writer, stops.end());
}

fn reader() {
    let ([index, count], pace) = (["INDEX", "COUNT"].map(|name| numbers::<1>(&argument(name))[0]), Pace::of_role());
    let bus = Bus::connect().expect("connect");
    let builder = CHANNELS.iter().fold(zone(&bus).reader("reader"), |builder, name| builder.channel::<Value>(name));
    let mut reader = builder.synced().open().expect("reader");
    let mut hashes = BufWriter::new(File::create(argument("HASHES")).expect("create"));
    say("ready", "");
    let stops = Stops::begin();
    // By row and channel: the last value.
    let mut last = [[Value::new(0, 0, 0); CHANNELS.len()]; ROWS];
    let (mut values, mut filled, mut merged, mut closed, mut before) = (0u64, 0u64, 0u64, 0, 0);
    while closed < WRITERS * CHANNELS.len() {
        let mut era = match reader.next_era(LONG) {
            Ok(era) => era,
            Err(Error::Closed(lane)) => {
                assert!(!lane.died, "{lane}");
                closed += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let number = era.number();
        assert!(number > before && (number == before + 1) != era.is_merged(), "era {number} after {before}");
        let (is_merged, values_before) = (era.is_merged(), values);
        let mut hash = Hash(1);
        while let Some(message) = era.next().expect("message") {
            let value: Value = message.copy().expect("a value");
            let row = message.origin().writer;
            let channel = CHANNELS.iter().position(|&name| name == message.channel()).expect("a channel of ours");
            let last = &mut last[row as usize][channel];
            assert_eq!(value, Value::new(last.number + 1, row, value.left), "era {number}, channel {channel}");
            assert!(last.left == 0 || value.left == last.left - 1, "era {number}: {value:?} follows {last:?}");
            assert_eq!(message.sequence(), last.number, "era {number}: {value:?}");
            *last = value;
            for word in [channel as u64, u64::from(row), message.sequence(), value.number, value.check] {
                hash.add(word);
            }
            values += 1;
        }
        for (row, last) in last.iter().enumerate() {
            assert!(last.iter().all(|value| value == &last[0] && value.left == 0), "era {number}, row {row}: {last:?}");
        }
        before = number;
        merged += u64::from(is_merged);
        filled += u64::from(values > values_before);
        let hash = if is_merged { MERGED } else { hash.0.max(MERGED + 1) };
        hashes.write_all(&number.to_ne_bytes()).and_then(|()| hashes.write_all(&hash.to_ne_bytes())).expect("write");
        pace.has_read(index as usize, number);
    }
    stops.end();
    let complete = last.iter().filter(|last| last[0].number == count).count();
    assert_eq!(complete, WRITERS, "something is in no era: {last:?}");
    hashes.flush().expect("write");
    pace.is_done();
    say("read", format!("{values} {before} {filled} {merged}"));
}

/// The hash of an era that was merged with others.
const MERGED: u64 = 0;

struct Hash(u64);

impl Hash {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

// ---- the test ----

#[test]
fn no_era_is_mixed_under_fire() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some("sealer") => return sealer(),
        Some("reader") => return reader(),
        _ => {}
    }
    // So many values of each writer in each channel.
    let count = times(40_000, 6_250_000);
    let directory = tempfile::tempdir().expect("directory");
    let bus = Bus::embedded().expect("broker");
    let path = |name: &str| directory.path().join(name);
    let pace = Pace::new(&path("pace"), READERS);
    let hashes = |index: usize| path(&format!("hashes{index}"));
    let start = |role: &str, index: usize| {
        let arguments = [
            ("PACE", path("pace").display().to_string()),
            ("COUNT", count.to_string()),
            ("INDEX", index.to_string()),
            ("HASHES", hashes(index).display().to_string()),
        ];
        let mut process = Process::start(TEST, role, bus.socket(), &arguments);
        process.wait_for("ready");
        process
    };
    let mut readers: Vec<Process> = (0..READERS).map(|index| start("reader", index)).collect();
    let mut writers: Vec<Process> = (0..WRITERS).map(|index| start("writer", index)).collect();
    let mut sealers: Vec<Process> = (0..SEALERS).map(|index| start("sealer", index)).collect();
    let began = Instant::now();
    for process in writers.iter_mut().chain(&mut sealers) {
        process.send("go");
    }
    pace.wait_for_readers(readers.iter_mut().chain(&mut writers).chain(&mut sealers));
    let read: Vec<[u64; 4]> = readers.iter_mut().map(|process| numbers(&process.wait_for("read"))).collect();
    let took = began.elapsed();
    let mut met = Met::default();
    for process in &mut writers {
        met.add(process);
    }
    pace.stop();
    for process in &mut sealers {
        met.add(process);
    }
    for process in writers.into_iter().chain(sealers).chain(readers) {
        process.finish();
    }
    let eras = read.iter().map(|[_, eras, ..]| *eras).max().unwrap_or(0);
    let compared = compare(&hashes(0), &hashes(1));
    let values: u64 = read.iter().map(|[values, ..]| values).sum();
    println!(
        "\n{values} values read, {eras} eras in {took:.1?}: {} for each millisecond",
        u128::from(eras) / took.as_millis()
    );
    for (index, [values, eras, filled, merged]) in read.iter().enumerate() {
        println!("reader {index}: {values} values, {eras} eras, {filled} of them with values, {merged} merged");
        assert_eq!(*values, count * (WRITERS * CHANNELS.len()) as u64);
        assert!(*filled > 500, "hardly an era had a value");
    }
    println!("{compared} eras were read unmerged by both, and their hashes are equal");
    met.assert_raced();
    assert!(compared > eras / 10 * 9, "too few eras could be compared");
}

/// Compares the hashes of two readers, era by era; how many eras both have.
fn compare(left: &Path, right: &Path) -> u64 {
    let [mut left, mut right] = [left, right].map(|path| BufReader::new(File::open(path).expect("open")));
    let (mut a, mut b) = (next(&mut left), next(&mut right));
    let mut compared = 0;
    while let (Some((era, hash)), Some((other_era, other_hash))) = (a, b) {
        if era == other_era && hash != MERGED && other_hash != MERGED {
            assert_eq!(hash, other_hash, "two readers were given different eras {era}");
            compared += 1;
        }
        if era <= other_era {
            a = next(&mut left);
        }
        if other_era <= era {
            b = next(&mut right);
        }
    }
    compared
}

/// The next era and its hash.
fn next(file: &mut impl Read) -> Option<(u64, u64)> {
    let mut words = [0; 16];
    match file.read_exact(&mut words) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        Err(error) => panic!("{error}"),
    }
    let [era, hash] = [0, 8].map(|at| u64::from_ne_bytes(words[at..at + 8].try_into().expect("eight bytes")));
    Some((era, hash))
}
