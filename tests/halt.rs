//! Halts under load: processes that publish as fast as they can are brought to rest between two messages, and let go again.

#![cfg(feature = "cli")]

mod support;

use std::time::Duration;
use support::broker::BrokerProcess;
use support::*;
use syncline::{Bus, Error, Halt, HaltMode, Writer};

const CHANNELS: usize = 8;
const WRITERS: usize = 3;
/// For a halt that nobody may miss, on a machine that has too much to do.
const PATIENT: Duration = Duration::from_secs(20);

/// Publishes for ever: singly, in batches over all channels (the longer commit), and, as the first, with edges among them.
fn writer() {
    let bus = Bus::connect().unwrap();
    let mut writer = bus.zone("z").writer("busy").unwrap();
    let lanes: Vec<_> = (0..CHANNELS)
        .map(|channel| writer.channel(&format!("c{channel}")).capacity(65_536).open::<u64>().unwrap())
        .collect();
    say("row", writer.row());
    for number in 0.. {
        if number % 4 == 0 {
            publish(&mut writer, lanes[0], number);
        } else {
            let mut batch = writer.batch().unwrap();
            for lane in &lanes {
                batch.push(*lane, &number).unwrap();
            }
            batch.commit().unwrap();
        }
        if writer.row() == 0 && number % 64 == 0 {
            writer.edge().unwrap();
        }
    }
}

fn publish(writer: &mut Writer, lane: syncline::Lane<u64>, number: u64) {
    writer.publish(lane, &number).unwrap();
}

/// Halts the zone, and holds it.
fn halter() {
    let bus = Bus::connect().unwrap();
    let halt = bus.zone("z").halt(PATIENT).unwrap();
    say("halted", halt.late().len());
    hear();
}

/// Commits so far, by row.
fn versions(bus: &Bus) -> Vec<u64> {
    bus.list().unwrap()[0].writers.iter().map(|writer| writer.version).collect()
}

/// Waits until every writer has committed something.
fn until_all_go_on(bus: &Bus) {
    let before = versions(bus);
    eventually("every writer goes on", || versions(bus).iter().zip(&before).all(|(now, before)| now > before));
}

/// While a halt is held, no row moves that it does not name.
fn check_rest(halt: &Halt) {
    assert!(halt.holds());
    let late: Vec<usize> = halt.late().iter().map(|late| late.row as usize).collect();
    let first = halt.versions();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_micros(300));
        for (row, (now, first)) in halt.versions().iter().zip(&first).enumerate() {
            assert!(late.contains(&row) || now == first, "row {row} has moved from {first} to {now}");
        }
    }
}

/// Would break: a commit that is not seen, or does not see the halt (the fences); a writer that is waited for, or named, wrongly.
#[test]
fn all_come_to_rest_and_go_on() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some(_) => return halter(),
        None => {}
    }
    let halts = times(100, 1_000);
    let bus = Bus::embedded().unwrap();
    let mut random = Random(0x5eed_0001 | u64::from(std::process::id()) << 32);
    println!("\nseed {:#x}", random.0);
    let test = "all_come_to_rest_and_go_on";
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut process = Process::start(test, "writer", bus.socket(), &[]);
            let row: u32 = process.wait_for("row").parse().unwrap();
            (process, row)
        })
        .collect();
    let zone = bus.zone("z");
    let (mut stopped, mut named) = (0, 0);
    for number in 0..halts {
        std::thread::sleep(Duration::from_micros(random.below(500)));
        let victim = (number % 2 == 1).then(|| random.below(WRITERS as u64) as usize);
        if let Some(victim) = victim {
            let process = &writers[victim].0;
            process.stop();
            stopped += 1;
        }
        // One that is stopped in the middle of a commit is not waited for any longer; the others have got a core by then.
        let deadline = if victim.is_some() { Duration::from_millis(500) } else { PATIENT };
        let halt = zone.halt(deadline).unwrap();
        for late in halt.late() {
            let expected = victim.map(|victim| writers[victim].1);
            assert_eq!(Some(late.row), expected, "a writer is named that was not stopped");
            assert_eq!((late.pid, late.name.as_str()), (writers[victim.unwrap()].0.child.id(), "busy"));
            named += 1;
        }
        check_rest(&halt);
        drop(halt);
        if let Some(victim) = victim {
            writers[victim].0.resume();
        }
        if number % 10 == 0 {
            until_all_go_on(&bus);
        }
    }
    until_all_go_on(&bus);
    println!("{halts} halts, {stopped} with a writer stopped, {named} of these in the middle of a commit");
    assert!(named > 0, "no writer was stopped in the middle of a commit");

    // Its owner dies: all go on. (Here the broker sees to that.)
    let mut owner = Process::start(test, "halter", bus.socket(), &[]);
    assert_eq!(owner.wait_for("halted"), "0");
    let held = versions(&bus);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(versions(&bus), held, "a halt that its owner holds has ended");
    owner.kill();
    until_all_go_on(&bus);
    for (process, _) in &mut writers {
        process.kill();
    }
}

/// Would break: a halt for good when nobody is left to end it; one that ends though its owner lives, when the broker does not.
#[test]
fn a_halt_ends_by_itself_when_owner_and_broker_are_dead() {
    if role().is_some() {
        return halter();
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let (broker, bus) = BrokerProcess::start(&socket);
    let mut writer = bus.zone("z").writer("w").unwrap();
    writer.on_halt(HaltMode::Refuse);
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut owner = Process::start("a_halt_ends_by_itself_when_owner_and_broker_are_dead", "halter", &socket, &[]);
    owner.wait_for("halted");
    drop(broker);
    // Longer than the halt lasts by itself.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(matches!(writer.publish(lane, &1), Err(Error::Halted)), "a halt that its owner holds has ended");
    owner.kill();
    eventually("the halt ends", || writer.publish(lane, &2).is_ok());
}

#[test]
fn what_a_halt_holds_and_whom() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let [mut refuses, mut waits] = ["refuses", "waits"].map(|name| zone.writer(name).unwrap());
    refuses.on_halt(HaltMode::Refuse);
    let [one, other] = [&mut refuses, &mut waits].map(|writer| writer.channel("c").open::<u64>().unwrap());
    let mut live = zone.reader("live").channel::<u64>("c").open().unwrap();
    let mut synced = zone.reader("synced").channel::<u64>("c").synced().open().unwrap();
    refuses.publish(one, &1).unwrap();
    refuses.edge().unwrap();

    let halt = zone.halt(PATIENT).unwrap();
    assert!(halt.late().is_empty());
    assert!(matches!(refuses.publish(one, &2), Err(Error::Halted)));
    assert!(matches!(refuses.edge(), Err(Error::Halted)));
    assert!(matches!(refuses.step(), Err(Error::Halted)));
    assert!(zone.edge(None).is_err(), "the broker's edge");
    let mut batch = refuses.batch().unwrap();
    batch.push(one, &3).unwrap();
    assert!(matches!(batch.commit(), Err(Error::Halted)));
    assert!(live.try_recv().unwrap().is_none() && synced.try_era().unwrap().is_none());
    assert!(matches!(live.recv(Duration::from_millis(20)), Err(Error::Timeout)));
    // One after the other.
    assert!(matches!(zone.halt(Duration::from_millis(20)), Err(Error::Halted)));
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| waits.publish(other, &4));
        let halting = scope.spawn(|| zone.halt(PATIENT).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!publishing.is_finished() && !halting.is_finished());
        halt.release();
        publishing.join().unwrap().unwrap();
        halting.join().unwrap().unwrap();
    });
    let mut found = Vec::new();
    while let Some(message) = live.try_recv().unwrap() {
        found.push(message.copy::<u64>().unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, [1, 4], "what was refused was not published");
    assert_eq!(synced.try_era().unwrap().unwrap().number(), 1);
    refuses.publish(one, &5).unwrap();
    assert_eq!(refuses.edge().unwrap(), 2);
}
