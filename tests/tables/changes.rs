//! Changes told: a writer process sets items at random; watches in several processes, live and synced, of ranges and of all, asleep or in `poll`, with
//! and without a least time between two, must be told of every change. Now and then one of the processes is stopped (SIGSTOP) while more is
//! changed than the lane holds that says so.
//!
//! A value is the number of the commit that has set it. Of each item that a watch names, it reads the value and notes it where the writer can see it.
//! Every so often the writer waits until all watches have noted all values: had one missed a change, it would wait for ever.

use super::support::pace::numbers;
use super::support::*;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use syncline::{Bus, Changes, Error, Item, TableReader, TableWatch};

const TEST: &str = "changes::every_change_is_told";
const ITEMS: u32 = 200;
/// Processes, and watches of each.
const PROCESSES: usize = 3;
const WATCHES: usize = 6;
/// So many changes pass any watch: its lane holds 64 KiB.
const LAP: u64 = 5000;

/// What a watch is: its items, whether it is synced, and the least time between two notifications.
fn kind(watch: usize) -> (Range<u32>, bool, Duration) {
    let range = match watch % WATCHES {
        0 | 1 => 0..ITEMS,
        2 => 17..18,
        3 => 40..90,
        4 => 100..103,
        _ => 150..200,
    };
    (range, watch % 2 == 1, Duration::from_micros([0, 0, 500, 3000][watch / WATCHES + watch % 2]))
}

/// For each watch and item: the value noted, and how often it was named.
struct Notes {
    map: memmap2::MmapRaw,
}

impl Notes {
    fn new(path: &Path) -> Notes {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.expect("shared file");
        file.set_len((PROCESSES * WATCHES) as u64 * u64::from(ITEMS) * 16).expect("size");
        Notes { map: memmap2::MmapRaw::map_raw(&file).expect("map") }
    }

    fn at(&self, watch: usize, item: u32, word: usize) -> &AtomicU64 {
        assert!(watch < PROCESSES * WATCHES && item < ITEMS && word < 2);
        // SAFETY: inside the mapping, which is page-aligned and lives as long as `self`; all access is atomic.
        unsafe { &*self.map.as_mut_ptr().cast::<AtomicU64>().add((watch * ITEMS as usize + item as usize) * 2 + word) }
    }

    fn value(&self, watch: usize, item: u32) -> &AtomicU64 {
        self.at(watch, item, 0)
    }

    fn named(&self, watch: usize, item: u32) -> &AtomicU64 {
        self.at(watch, item, 1)
    }
}

// ---- the watches ----

struct Noting {
    index: usize,
    synced: bool,
    items: Vec<Item<u64>>,
}

impl Noting {
    fn open(bus: &Bus, index: usize) -> (TableWatch, Noting) {
        let table = bus.zone("z").wait_table("t", LONG).expect("table");
        let (range, synced, every) = kind(index);
        let builder = table.watch("watch").range(range).every(every);
        let mut watch = if synced { builder.synced() } else { builder }.open().expect("watch");
        let table = watch.table();
        let items = (0..ITEMS).map(|n| table.item_at::<u64>(n).expect("item")).collect();
        (watch, Noting { index, synced, items })
    }

    /// Notes the values of what has changed.
    fn note(&self, table: &mut TableReader, changes: &Changes, notes: &Notes) {
        assert!(!changes.items.is_empty() && changes.items.windows(2).all(|pair| pair[0] < pair[1]), "{changes:?}");
        assert_eq!(changes.era.is_some(), self.synced);
        for &index in &changes.items {
            assert!(kind(self.index).0.contains(&index), "item {index} is not watched");
            let item = self.items[index as usize];
            let value = loop {
                let read = match self.synced {
                    true => table.current().and_then(|view| view.get(item)),
                    false => table.get(item),
                };
                match read {
                    Ok(value) => break value,
                    Err(Error::Gone { .. } | Error::Overtaken) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            notes.named(self.index, index).fetch_add(1, Ordering::Relaxed);
            notes.value(self.index, index).fetch_max(value, Ordering::Release);
        }
    }
}

/// A process with watches that sleep, each in a thread of its own; ends with the test.
fn sleeper(process: usize) {
    let bus = Bus::connect().expect("connect");
    let watches: Vec<_> = (0..WATCHES).map(|n| Noting::open(&bus, process * WATCHES + n)).collect();
    let notes = Notes::new(argument("NOTES").as_ref());
    say("ready", "");
    std::thread::scope(|scope| {
        for (mut watch, noting) in watches {
            let notes = &notes;
            scope.spawn(move || {
                loop {
                    // So long that it makes up for nothing.
                    match watch.next(10 * LONG) {
                        Ok(changes) => noting.note(watch.table(), &changes, notes),
                        Err(Error::Overtaken) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}

/// A process that waits for all of its watches in `poll`.
fn poller(process: usize) {
    let bus = Bus::connect().expect("connect");
    let mut watches: Vec<_> = (0..WATCHES).map(|n| Noting::open(&bus, process * WATCHES + n)).collect();
    let notes = Notes::new(argument("NOTES").as_ref());
    let fds: Vec<_> = watches
        .iter_mut()
        .map(|(watch, _)| watch.pollable().expect("descriptor").try_clone_to_owned().expect("a copy"))
        .collect();
    say("ready", "");
    loop {
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        nix::poll::poll(&mut polled, PollTimeout::NONE).expect("poll");
        for (n, (watch, noting)) in watches.iter_mut().enumerate() {
            if polled[n].any() != Some(true) {
                continue;
            }
            // Until there is nothing: that clears the descriptor.
            loop {
                match watch.try_next() {
                    Ok(Some(changes)) => noting.note(watch.table(), &changes, &notes),
                    Ok(None) => break,
                    Err(Error::Overtaken) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

// ---- the writer ----

fn writer() {
    let [count] = numbers(&argument("COUNT"));
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("z").writer("w").expect("writer");
    let table = writer.table("t").items::<u64>("n", ITEMS).open().expect("table");
    let items: Vec<_> = (0..ITEMS).map(|n| writer.item_at::<u64>(table, n).expect("item")).collect();
    let notes = Notes::new(argument("NOTES").as_ref());
    say("ready", "");
    hear();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut values, mut changes) = (vec![0u64; ITEMS as usize], vec![0u64; ITEMS as usize]);
    let mut named = vec![vec![0u64; ITEMS as usize]; PROCESSES * WATCHES];
    let (mut number, mut waits, mut laps, mut told, mut spurious) = (0u64, 0u64, 0u64, 0u64, 0u64);
    let step = (count / 25).max(LAP);
    let mut until_lap = step;
    while number < count {
        // While one is stopped, more than it can take.
        let is_lap = number >= until_lap;
        let most = match random.below(4) {
            _ if is_lap => {
                laps += 1;
                until_lap = number + LAP + step;
                say("tell", "stop");
                hear();
                LAP
            }
            0 => 1,
            1 => 1 + random.below(10),
            _ => 1 + random.below(300),
        };
        let end = (number + most).min(count.max(number + u64::from(is_lap) * LAP));
        let begin = number;
        while number < end {
            number += 1;
            let mut set = Vec::new();
            // What is told in the end says nothing of what was changed in the beginning.
            let among = if is_lap && number > begin + LAP / 100 { 5 } else { u64::from(ITEMS) };
            match random.below(4) {
                0 => {
                    let mut batch = writer.batch().expect("batch");
                    let first = random.below(among) as u32;
                    let step = 1 + random.below(3) as u32;
                    for index in (first..among as u32).step_by(step as usize).take(1 + random.below(12) as usize) {
                        batch.set(items[index as usize], &number).expect("set");
                        set.push(index);
                    }
                    if random.below(8) == 0 {
                        batch.roll_back();
                        set.clear();
                    } else {
                        batch.commit().expect("commit");
                    }
                }
                _ => {
                    let index = random.below(among) as u32;
                    writer.set(items[index as usize], &number).expect("set");
                    set.push(index);
                }
            }
            for index in set {
                values[index as usize] = number;
                changes[index as usize] += 1;
            }
            if random.below(50) == 0 {
                writer.edge().expect("edge");
            }
            // So that some of them fall asleep between.
            if !is_lap && random.below(64) == 0 {
                std::thread::sleep(Duration::from_micros(random.below(200)));
            }
        }
        writer.edge().expect("edge");
        if is_lap {
            say("tell", "resume");
            hear();
        }
        waits += 1;
        for (watch, named) in named.iter_mut().enumerate() {
            for index in kind(watch).0 {
                let at = index as usize;
                eventually(&format!("watch {watch} is told that item {index} was set to {}", values[at]), || {
                    (0..1000).any(|_| {
                        std::thread::yield_now();
                        notes.value(watch, index).load(Ordering::Acquire) == values[at]
                    })
                });
                let now = notes.named(watch, index).load(Ordering::Relaxed);
                let more = now - std::mem::replace(&mut named[at], now);
                told += more;
                spurious += more.saturating_sub(changes[at]);
            }
        }
        changes.fill(0);
        if waits % 100 == 0 {
            say("tell", "on");
        }
    }
    say("tell", format!("{number} {waits} {laps} {told} {spurious}"));
    hear();
}

/// Would break: a change that some watch is not told of; an item named that has not changed.
#[test]
fn every_change_is_told() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some("watches") => {
            let [process] = numbers(&argument("PROCESS"));
            return if process == 0 { poller(0) } else { sleeper(process as usize) };
        }
        _ => {}
    }
    let count = times(20_000, 1_000_000);
    let directory = tempfile::tempdir().expect("directory");
    let notes = directory.path().join("notes");
    let bus = Bus::embedded().expect("broker");
    let start = |role: &str, process: usize| {
        let notes = notes.display().to_string();
        let arguments = [("NOTES", notes), ("PROCESS", process.to_string()), ("COUNT", count.to_string())];
        let mut process = Process::start(TEST, role, bus.socket(), &arguments);
        process.wait_for("ready");
        process
    };
    let mut writer = start("writer", 0);
    let watches: Vec<_> = (0..PROCESSES).map(|process| start("watches", process)).collect();
    writer.send("go");
    let mut random = Random(7);
    let mut stopped = 0;
    let said = loop {
        let said = writer.wait_for("tell");
        match &said[..] {
            "stop" => {
                stopped = random.below(PROCESSES as u64) as usize;
                watches[stopped].stop();
                writer.send("go");
            }
            "resume" => {
                watches[stopped].resume();
                writer.send("go");
            }
            "on" => {}
            _ => break said,
        }
    };
    let [number, waits, laps, told, spurious] = numbers(&said);
    println!(
        "\n{number} commits; {waits} times all watches were told all; {laps} times one process was passed; {told} items told, {spurious} of them \
         without a change"
    );
    assert!(told > number && laps > 1 && waits > 20, "hardly anything was told");
    assert!(spurious * 100 < told, "too much is told for nothing");
    writer.send("leave");
    writer.finish();
}
