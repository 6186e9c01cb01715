//! Descriptors for `epoll`: readable when there is something to take, whatever becomes of the broker.

mod support;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::time::Duration;
use support::broker::BrokerProcess;
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
    assert!(spared > 0, "never came between the look and the arming");
    assert_eq!((sum(|s| s.missed), sum(|s| s.unrung)), (0, 0));
    drop(readers);
    assert_eq!(relays(), 0, "the threads end with their last reader");
    process.send("go");
    process.finish();
}
