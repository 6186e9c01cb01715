//! Waiting: spinning, sleeping, and the one before the other; for the first of several; and what a ring costs.

mod support;

use nix::libc;
use nix::sys::eventfd::EventFd;
use std::time::Duration;
use support::*;
use syncline::{Bus, Error, Reader, Sleeps, Wait, WaitSet};

const EVERY: [Wait; 4] = [Wait::Brief, Wait::Spin, Wait::SpinThenBlock(Duration::from_micros(20)), Wait::Block];

fn asleep(sleeps: Sleeps) -> u64 {
    sleeps.rung + sleeps.overtaken + sleeps.unrung
}

#[test]
fn every_strategy_finds_what_comes() {
    const COUNT: u64 = 300;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    for wait in EVERY {
        let mut writer = zone.writer("w").unwrap();
        let lane = writer.channel("c").open::<u64>().unwrap();
        let mut live = zone.reader("live").channel::<u64>("c").wait(wait).open().unwrap();
        let mut synced = zone.reader("synced").channel::<u64>("c").synced().open().unwrap();
        synced.set_wait(wait);
        let publisher = std::thread::spawn(move || {
            let mut random = Random(0xfeed);
            for value in 0..COUNT {
                std::thread::sleep(Duration::from_micros(random.below(200)));
                writer.publish(lane, &value).unwrap();
                writer.edge().unwrap();
            }
            writer
        });
        let mut sealed = 0;
        for value in 0..COUNT {
            assert_eq!(live.recv(LONG).unwrap().copy::<u64>().unwrap(), value);
            if sealed == value {
                // More than one, if this process did not get to run for so many eras that the zone has forgotten their cuts.
                let mut era = synced.next_era(LONG).unwrap();
                while let Some(message) = era.next().unwrap() {
                    assert_eq!(message.copy::<u64>().unwrap(), sealed);
                    sealed += 1;
                }
            }
        }
        assert!(matches!(live.recv(Duration::from_millis(1)), Err(Error::Timeout)));
        assert!(matches!(synced.next_era(Duration::from_millis(1)), Err(Error::Timeout)));
        assert!(matches!(live.recv(Duration::ZERO), Err(Error::Timeout)));
        let (live, synced) = (live.sleeps(), synced.sleeps());
        println!("{wait:?}: {live:?}");
        assert_eq!((live.missed, synced.missed), (0, 0));
        match wait {
            Wait::Spin => assert_eq!((asleep(live), asleep(synced)), (0, 0), "it never sleeps"),
            // At the end, at least.
            _ => assert!(asleep(live) > 0 && asleep(synced) > 0),
        }
        drop(publisher.join().unwrap());
    }
}

#[test]
fn a_writer_waits_for_room_by_every_strategy() {
    const COUNT: u64 = 3000;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    for wait in EVERY {
        let mut writer = zone.writer("w").unwrap();
        let lane = writer.channel("c").capacity(4096).open::<u64>().unwrap();
        let mut reader = zone.reader("r").channel::<u64>("c").open().unwrap();
        writer.set_room_wait(wait);
        writer.set_room_timeout(Duration::from_millis(1));
        let held = loop {
            match writer.publish(lane, &0) {
                Ok(()) => {}
                Err(Error::Full { behind }) => break behind,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(held > 0, "{wait:?}: the deadline passes");
        writer.set_room_timeout(LONG);
        let publisher = std::thread::spawn(move || {
            (1..=COUNT).for_each(|value| writer.publish(lane, &value).unwrap());
            writer
        });
        let mut last = 0;
        while last < COUNT {
            last = reader.recv(LONG).unwrap().copy::<u64>().unwrap();
        }
        drop(publisher.join().unwrap());
    }
}

fn take_all(reader: &mut Reader) -> Vec<u64> {
    std::iter::from_fn(|| reader.try_recv().unwrap().map(|message| message.copy().unwrap())).collect()
}

#[test]
fn the_first_of_several_is_found() {
    let buses = [Bus::embedded().unwrap(), Bus::embedded().unwrap()];
    for wait in EVERY {
        let mut set = WaitSet::new().unwrap();
        set.set_wait(wait);
        let mut readers = Vec::new();
        let mut writers = Vec::new();
        for (index, bus) in buses.iter().enumerate() {
            for zone in ["a", "b"] {
                let mut reader = bus.zone(zone).reader("r").channel::<u64>("c").open().unwrap();
                set.add_reader(readers.len() as u64, &mut reader).unwrap();
                let mut writer = bus.zone(zone).writer(&format!("w{index}")).unwrap();
                let lane = writer.channel("c").open::<u64>().unwrap();
                readers.push(reader);
                writers.push((writer, lane));
            }
        }
        let event = EventFd::from_value(0).unwrap();
        set.add(99, &event).unwrap();
        let now = Duration::ZERO;
        let keys = |set: &mut WaitSet, timeout| -> Vec<u64> {
            match set.wait(timeout) {
                Ok(keys) => keys.collect(),
                Err(Error::Timeout) => Vec::new(),
                Err(error) => panic!("{error}"),
            }
        };
        while !keys(&mut set, Duration::from_millis(20)).is_empty() {
            readers.iter_mut().for_each(|reader| assert!(take_all(reader).is_empty()));
        }
        assert!(matches!(set.wait(Duration::from_millis(2)).map(Iterator::count), Err(Error::Timeout)));
        let publisher = std::thread::spawn(move || {
            let mut random = Random(0xbeef);
            for value in 0..400 {
                let (writer, lane) = &mut writers[random.below(4) as usize];
                writer.publish(*lane, &value).unwrap();
                std::thread::sleep(Duration::from_micros(random.below(100)));
            }
            writers
        });
        let mut received = 0;
        while received < 400 {
            let ready = keys(&mut set, LONG);
            assert!(!ready.is_empty(), "{wait:?}: a wake was lost after {received}");
            ready.iter().for_each(|key| received += take_all(&mut readers[*key as usize]).len());
        }
        let writers = publisher.join().unwrap();
        readers.iter_mut().for_each(|reader| assert!(take_all(reader).is_empty()));
        // Another descriptor, for as long as it is readable.
        event.write(1).unwrap();
        let settled = |set: &mut WaitSet, key: u64| {
            for _ in 0..2 {
                assert!(keys(set, LONG).contains(&key));
            }
        };
        settled(&mut set, 99);
        event.read().unwrap();
        set.remove(&event).unwrap();
        assert!(set.remove(&event).is_err());
        assert!(set.add_reader(0, &mut readers[0]).is_err(), "it is there already");
        set.remove_reader(&mut readers[0]).unwrap();
        event.write(1).unwrap();
        eventually("all is taken", || {
            readers.iter_mut().for_each(|reader| assert!(take_all(reader).is_empty()));
            keys(&mut set, now).is_empty()
        });
        drop(writers);
    }
}

/// What the sleeping reader says and hears.
fn sleeper() {
    let bus = Bus::connect().unwrap();
    let mut reader = bus.zone("z").reader("r").channel::<u64>("c").wait(Wait::Block).open().unwrap();
    say("joined", "");
    let mut next = 0;
    loop {
        let value = reader.recv(LONG).unwrap().copy::<u64>().unwrap();
        assert_eq!(value, next);
        next += 1;
        if value + 1 == 20 * 100 {
            break say("received", next);
        }
    }
}

fn is_asleep(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let futex = format!("{} ", libc::SYS_futex);
    let bell = format!("0x{:x} ", libc::FUTEX_WAIT);
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("syscall")).ok()).any(|call| {
        call.starts_with(&futex) && call.split(' ').nth(2).is_some_and(|operation| bell.trim() == operation)
    })
}

/// The publisher, whose system calls are looked at.
fn publisher(reader: u32) {
    let bus = Bus::connect().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    say("joined", "");
    hear();
    seccomp::count_wakes();
    let mut value = 0;
    for round in 1..=20 {
        eventually("the reader sleeps", || is_asleep(reader));
        stop(reader);
        for _ in 0..100 {
            writer.publish(lane, &value).unwrap();
            value += 1;
        }
        assert_eq!(seccomp::wakes(), round, "one wake for a hundred messages: it has been rung already");
        signal(reader, nix::sys::signal::Signal::SIGCONT);
    }
    say("rung", seccomp::wakes());
    hear();
    // Nobody sleeps any more. From here on any other system call is the end of this process.
    seccomp::allow_only(&[libc::SYS_write, libc::SYS_exit_group]);
    for value in 0..10_000_u64 {
        writer.publish(lane, &value).unwrap();
        writer.edge().unwrap();
    }
    say("published", "");
    // SAFETY: ends the process; the handlers of an ordinary end make calls of their own.
    unsafe { libc::_exit(0) }
}

#[test]
fn a_ring_is_one_system_call_and_silence_none() {
    match role().as_deref() {
        Some("sleeper") => return sleeper(),
        Some(_) => return publisher(argument("READER").parse().unwrap()),
        None => {}
    }
    let bus = Bus::embedded().unwrap();
    let test = "a_ring_is_one_system_call_and_silence_none";
    let mut sleeper = Process::start(test, "sleeper", bus.socket(), &[]);
    sleeper.wait_for("joined");
    let arguments = [("READER", sleeper.pid().to_string())];
    let mut publisher = Process::start(test, "publisher", bus.socket(), &arguments);
    publisher.wait_for("joined");
    publisher.send("go");
    assert_eq!(publisher.wait_for("rung"), "20");
    assert_eq!(sleeper.wait_for("received"), "2000");
    sleeper.finish();
    eventually("the reader has left", || bus.list().unwrap()[0].readers.is_empty());
    // One that is there and does not sleep.
    let mut reader = bus.zone("z").reader("awake").channel::<u64>("c").open().unwrap();
    publisher.send("go");
    let mut next = 0;
    while next < 10_000 {
        if let Some(message) = reader.try_recv().unwrap() {
            assert_eq!(message.copy::<u64>().unwrap(), next);
            next += 1;
        }
    }
    publisher.wait_for("published");
    assert!(publisher.child.wait().unwrap().success(), "a writer made a system call while nobody slept");
}
