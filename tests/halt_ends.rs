//! Whom a halt holds, and when it ends: with its guard, with its owner, or by itself.

#![cfg(feature = "cli")]

mod support;

use std::time::Duration;
use support::broker::BrokerProcess;
use support::*;
use syncline::{Bus, Error, HaltMode};

/// For a halt that nobody may miss, on a machine that has too much to do.
const PATIENT: Duration = Duration::from_secs(20);

/// Halts the zone, and holds it.
fn halter() {
    let bus = Bus::connect().unwrap();
    let halt = bus.zone("z").halt(PATIENT).unwrap();
    say("halted", halt.late().len());
    hear();
}

/// Would break: an owner that dies, and nobody goes on; a halt that ends while its owner holds it.
#[test]
fn a_halt_ends_with_its_owner() {
    if role().is_some() {
        return halter();
    }
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    writer.on_halt(HaltMode::Refuse);
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut owner = Process::start("a_halt_ends_with_its_owner", "halter", bus.socket(), &[]);
    assert_eq!(owner.wait_for("halted"), "0");
    // A stopped owner holds it, too: the broker sees to that.
    owner.stop();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(matches!(writer.publish(lane, &1), Err(Error::Halted)), "a halt that its owner holds has ended");
    owner.kill();
    eventually("the halt ends", || writer.publish(lane, &2).is_ok());
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
