//! Descriptors for `epoll`: readable when there is something to take, whatever becomes of the broker.

mod support;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::time::Duration;
use support::broker::BrokerProcess;
use support::talker::talk;
use support::*;
use syncline::{Bus, Error, Live, Reader};

const READERS: u64 = 200;

fn epoll(readers: &mut [Reader]) -> Epoll {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    for (reader, key) in readers.iter_mut().zip(0..) {
        epoll.add(reader.pollable().unwrap(), EpollEvent::new(EpollFlags::EPOLLIN, key)).unwrap();
    }
    epoll
}

/// The keys of the descriptors that are readable, once one is.
fn ready(epoll: &Epoll, timeout: Duration) -> Vec<usize> {
    let mut events = [EpollEvent::empty(); 64];
    let count = epoll.wait(&mut events, EpollTimeout::try_from(timeout).unwrap()).unwrap();
    events[..count].iter().map(|event| event.data() as usize).collect()
}

fn is_readable(reader: &mut Reader, timeout: Duration) -> bool {
    !ready(&epoll(std::slice::from_mut(reader)), timeout).is_empty()
}

/// Threads of this process that sleep for readers.
fn relays() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "syncline-relay\n"))
        .count()
}

/// Publishes a number in random zones at random moments.
fn publisher(zones: u64, count: u64) {
    let bus = Bus::connect().unwrap();
    let mut random = Random(argument("SEED").parse().unwrap());
    let mut writers: Vec<_> = (0..zones)
        .map(|zone| {
            let mut writer = bus.zone(&format!("z{zone}")).writer("w").unwrap();
            writer.set_room_timeout(LONG);
            let lane = writer.channel("c").capacity(65536).open::<u64>().unwrap();
            (writer, lane)
        })
        .collect();
    say("ready", "");
    hear();
    for value in 0..count {
        let (writer, lane) = &mut writers[random.below(zones) as usize];
        writer.publish(*lane, &value).unwrap();
        match random.below(4) {
            0 => (0..random.below(20_000)).for_each(|_| std::hint::spin_loop()),
            1 => std::thread::yield_now(),
            2 if random.below(64) == 0 => std::thread::sleep(Duration::from_micros(random.below(500))),
            _ => {}
        }
    }
    say("said", count);
    hear();
}

#[test]
fn two_hundred_readers_miss_nothing() {
    let count = times(20_000, 2_000_000);
    if role().is_some() {
        return publisher(READERS, count);
    }
    let bus = Bus::embedded().unwrap();
    let open = |zone| {
        let mut reader = bus.zone(&format!("z{zone}")).reader("r").channel::<u64>("c").open().unwrap();
        // A ring that is lost is not made up for.
        reader.set_longest_sleep(2 * LONG);
        reader
    };
    let mut readers: Vec<Reader> = (0..READERS).map(open).collect();
    let epoll = epoll(&mut readers);
    eventually("there are two threads, for up to 127 readers each", || relays() == 2);
    let seed = 0x5eed + u64::from(std::process::id());
    let mut process =
        Process::start("two_hundred_readers_miss_nothing", "publisher", bus.socket(), &[("SEED", seed.to_string())]);
    process.wait_for("ready");
    process.send("go");

    let (mut received, mut waits) = (0, 0);
    let mut last = vec![None; readers.len()];
    while received < count {
        let ready = ready(&epoll, LONG);
        assert!(!ready.is_empty(), "a wake was lost: seed {seed}, {received} of {count} received");
        waits += 1;
        for key in ready {
            // Not always all that there is: what is left keeps the descriptor readable.
            for _ in 0..3 {
                let Some(message) = readers[key].try_recv().unwrap() else { break };
                let value = message.copy::<u64>().unwrap();
                assert!(last[key] < Some(value));
                last[key] = Some(value);
                received += 1;
            }
        }
    }
    let sleeps: Vec<_> = readers.iter().map(Reader::sleeps).collect();
    let sum = |of: fn(&syncline::Sleeps) -> u64| sleeps.iter().map(of).sum::<u64>();
    let (rung, spared, overtaken) = (sum(|s| s.rung), sum(|s| s.spared), sum(|s| s.overtaken));
    println!(
        "{received} messages in {waits} waits; {rung} rings passed on, {spared} messages found while arming, {overtaken} rings then"
    );
    assert!(rung > count / 100, "hardly ever waited: {rung}");
    // Seldom, with one of two hundred: the quick form does not count on it.
    assert!(spared >= times(0, 1), "never came between the look and the arming");
    assert_eq!((sum(|s| s.missed), sum(|s| s.unrung)), (0, 0));
    drop(readers);
    assert_eq!(relays(), 0, "the threads end with their last reader");
    process.send("go");
    process.finish();
}

const COUNT: u64 = 20_000;
const ERA: u64 = 100;

/// Takes all there is of one reader: messages, and edges. The last number.
fn take_all(reader: &mut Reader, has_markers: bool, next: &mut u64, edges: &mut u64) {
    loop {
        let value = if has_markers {
            match reader.try_live().unwrap() {
                Some(Live::Message(message)) => message.copy::<u64>().unwrap(),
                Some(Live::Edge(edge)) => {
                    *edges += 1;
                    assert_eq!(edge.era, *edges);
                    continue;
                }
                None => return,
            }
        } else {
            let Some(message) = reader.try_recv().unwrap() else { return };
            message.copy::<u64>().unwrap()
        };
        assert_eq!(value, *next);
        *next += 1;
    }
}

#[test]
fn epoll_goes_on_without_the_broker() {
    if role().is_some() {
        return talk(COUNT, ERA);
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let (mut broker, bus) = BrokerProcess::start(&socket);
    let open = || bus.zone("z").reader("r").channel::<u64>("c");
    let readers = [open().open(), open().synced().open(), open().markers().open()];
    let mut readers: Vec<Reader> = readers.into_iter().map(Result::unwrap).collect();
    readers.iter_mut().for_each(|reader| reader.set_longest_sleep(2 * LONG));
    let epoll = epoll(&mut readers);
    let mut process = Process::start("epoll_goes_on_without_the_broker", "talker", &socket, &[]);
    let (mut next, mut edges) = ([0; 3], 0);
    let mut waits_without = 0;
    let mut is_killed = false;
    while next != [COUNT; 3] || edges < COUNT / 100 {
        let ready = ready(&epoll, LONG);
        assert!(!ready.is_empty(), "a wake was lost at {next:?} and edge {edges}");
        for key in ready {
            take_all(&mut readers[key], key == 2, &mut next[key], &mut edges);
        }
        if next[0] > COUNT / 4 && !is_killed {
            broker.kill();
            is_killed = true;
        }
        waits_without += u64::from(is_killed);
    }
    println!("{waits_without} waits without a broker");
    assert!(waits_without > 100, "{waits_without}");
    let sleeps: Vec<_> = readers.iter().map(Reader::sleeps).collect();
    assert!(sleeps.iter().all(|sleeps| sleeps.missed == 0 && sleeps.rung > 0), "{sleeps:?}");
    // A reader goes, and its thread does not wait for the broker.
    drop((epoll, readers));
    assert_eq!(relays(), 0);
    process.send("go");
    process.finish();
}

#[test]
fn readable_until_a_try_finds_nothing() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("c").open().unwrap();
    let now = Duration::ZERO;
    assert!(is_readable(&mut reader, now), "nobody has looked yet");
    assert!(reader.try_recv().unwrap().is_none());
    assert!(!is_readable(&mut reader, now));
    writer.publish(lane, &1).unwrap();
    writer.publish(lane, &2).unwrap();
    assert!(is_readable(&mut reader, LONG));
    assert_eq!(reader.try_recv().unwrap().unwrap().copy::<u64>().unwrap(), 1);
    assert!(is_readable(&mut reader, now), "one is left");
    assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), 2);
    // A wait that finds nothing in time clears it, too, spinning or not.
    assert!(matches!(reader.recv(now), Err(Error::Timeout)));
    assert!(!is_readable(&mut reader, now));
    writer.publish(lane, &3).unwrap();
    assert!(is_readable(&mut reader, LONG));
    assert_eq!(reader.spin_recv(now).unwrap().copy::<u64>().unwrap(), 3);
    assert!(matches!(reader.spin_recv(now), Err(Error::Timeout)));
    assert!(!is_readable(&mut reader, now));
    // Nobody has to look for what is rung once more.
    writer.publish(lane, &4).unwrap();
    assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), 4);
    assert!(is_readable(&mut reader, LONG), "for nothing, since it had been armed");
    assert!(reader.try_recv().unwrap().is_none());
    assert!(!is_readable(&mut reader, now));
    drop(writer);
    assert!(is_readable(&mut reader, LONG));
    eventually("the end of a lane is told", || matches!(reader.try_recv(), Err(Error::Closed(_))));
    assert!(is_readable(&mut reader, now), "there may be more");
    assert!(reader.try_recv().unwrap().is_none());
    // A lane that comes: its messages are rung for with another bit.
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    assert!(is_readable(&mut reader, LONG));
    eventually("the reader has the lane", || reader.try_recv().unwrap().is_none() && reader.lanes() == 1);
    writer.publish(lane, &5).unwrap();
    assert!(is_readable(&mut reader, LONG));
}

#[test]
fn readable_when_there_is_news() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("c").synced().early().open().unwrap();
    let now = Duration::ZERO;
    for value in [1, 2] {
        writer.publish(lane, &value).unwrap();
        writer.edge().unwrap();
    }
    assert!(is_readable(&mut reader, now));
    for number in [1, 2] {
        assert_eq!(reader.try_era().unwrap().unwrap().number(), number);
    }
    assert!(reader.try_era().unwrap().is_none());
    assert!(!is_readable(&mut reader, now));
    writer.publish(lane, &3).unwrap();
    assert!(!is_readable(&mut reader, now), "not before the edge");
    writer.edge().unwrap();
    assert!(is_readable(&mut reader, LONG));
    assert_eq!(reader.try_era().unwrap().unwrap().number(), 3);
    assert!(reader.try_era().unwrap().is_none());
    // Nobody rings for those who go back.
    reader.rewind(2).unwrap();
    assert!(is_readable(&mut reader, now));
    assert_eq!(reader.try_era().unwrap().unwrap().number(), 2);
    assert_eq!(reader.try_era().unwrap().unwrap().number(), 3);
    assert!(reader.try_era().unwrap().is_none());
    writer.request_early().unwrap();
    assert!(is_readable(&mut reader, LONG));
    assert!(matches!(reader.try_era(), Err(Error::Early)));
    assert!(reader.try_era().unwrap().is_none());
    // Under a halt there is nothing; its end is told.
    writer.publish(lane, &4).unwrap();
    writer.edge().unwrap();
    let halt = zone.halt(LONG).unwrap();
    assert!(reader.try_era().unwrap().is_none());
    assert!(!is_readable(&mut reader, now));
    halt.release();
    assert!(is_readable(&mut reader, LONG));
    assert_eq!(reader.try_era().unwrap().unwrap().number(), 4);
}

#[test]
fn edges_wake_readers_with_markers() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut reader = zone.reader("r").channel::<u64>("c").markers().open().unwrap();
    reader.set_longest_sleep(2 * LONG);
    reader.set_wait(syncline::Wait::Block);
    let sealer = std::thread::spawn(move || {
        let mut writer = zone.writer("w").unwrap();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_micros(300));
            writer.edge().unwrap();
        }
        writer
    });
    for era in 1..=100 {
        let given = reader.next_live(LONG);
        assert!(matches!(&given, Ok(Live::Edge(edge)) if edge.era == era), "expected edge {era}, found {given:?}");
    }
    drop(sealer.join().unwrap());
    let sleeps = reader.sleeps();
    assert!(sleeps.rung > 10 && sleeps.missed == 0 && sleeps.unrung == 0, "{sleeps:?}");
}
