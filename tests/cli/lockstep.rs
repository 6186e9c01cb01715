//! Zones in lockstep: permits, and eras that are rolled back.

use crate::harness::{Broker, eventually};
use nix::sys::signal::Signal;
use syncline::Bus;

#[test]
fn an_edge_passes_with_the_last_permit() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z", "--lockstep", "60000"], b"").succeeded();
    let (_reader, tail) = broker.tail(&["sub", "c", "--zone", "z", "--synced", "--json"]);
    let [mut one, mut two] = ["one", "two"].map(|name| {
        broker.spawn(&["pub", "c", "--zone", "z", "--wait-readers", "1", "--edge", "each", "--name", name])
    });
    eventually("both writers", || broker.show("z")["writers"].as_array().unwrap().len() == 2);
    let permits = |name: &str| {
        let zone = broker.show("z");
        let writer = zone["writers"].as_array().unwrap().iter().find(|writer| writer["name"] == name).cloned();
        writer.unwrap()["permits"] == true
    };
    for round in 1..=3 {
        one.write(b"of one\n");
        eventually("the permit of one", || permits("one"));
        assert!(!permits("two"));
        let zone = broker.show("z");
        assert_eq!((&zone["era"], tail.lines().len()), (&(round - 1).into(), 2 * (round - 1)));
        assert!(broker.run(&["ls"], b"").succeeded().text().contains("has given its permit"));
        two.write(b"of two\n");
        for message in &tail.wait_json(2 * round)[2 * (round - 1)..] {
            assert_eq!((&message["era"], &message["reason"]), (&round.into(), &"permits".into()));
        }
    }
    // Who leaves is not waited for.
    one.wait().succeeded();
    two.write(b"alone\n");
    assert_eq!(tail.wait_json(7)[6]["text"], "alone");
    two.wait().succeeded();
}

#[test]
fn one_that_is_waited_for_is_late_and_signals_end_the_wait() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z", "--lockstep", "60000"], b"").succeeded();
    let mut writer = broker.spawn(&["pub", "c", "--zone", "z", "--edge", "each"]);
    let mut late = Bus::connect_to(&broker.socket()).unwrap().zone("z").writer("idle").unwrap();
    eventually("the writer", || broker.show("z")["writers"].as_array().unwrap().len() == 2);
    writer.write(b"1\n");
    eventually("its permit", || broker.show("z")["writers"].as_array().unwrap().iter().any(|of| of["permits"] == true));
    assert_eq!(broker.run(&["zone", "edge", "z"], b"").succeeded().text(), "1\n");
    let zone = broker.show("z");
    assert_eq!(
        (&zone["last_edge"]["reason"], &zone["last_edge"]["straddlers"][0]["name"]),
        (&"deadline".into(), &"idle".into())
    );
    let text = broker.run(&["ls"], b"").succeeded();
    assert!(text.text().contains("last edge: deadline, without idle, "), "{}", text.text());
    assert!(text.text().contains("late at 1 edge"), "{}", text.text());
    assert_eq!(late.permit().unwrap(), 2);
    writer.write(b"2\n");
    eventually("the second edge", || broker.show("z")["era"] == 2);
    writer.write(b"3\n");
    eventually("the third permit", || {
        broker.show("z")["writers"].as_array().unwrap().iter().any(|of| of["permits"] == true)
    });
    writer.signal(Signal::SIGINT);
    writer.wait().failed(130, &[]);
}

#[test]
fn a_reader_goes_on_over_a_roll_back_and_a_writer_is_told() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z", "--revocable", "60000"], b"").succeeded();
    broker.run(&["sub", "c", "--zone", "z"], b"").failed(1, &["live"]);
    let (_reader, tail) = broker.tail(&["sub", "c", "--zone", "z", "--synced"]);
    let bus = Bus::connect_to(&broker.socket()).unwrap();
    let mut writer = bus.zone("z").writer("sure").unwrap();
    let lane = writer.channel("c").open::<[u8]>().unwrap();
    bus.zone("z").wait_readers("c", 1, std::time::Duration::from_secs(20)).unwrap();
    for round in ["1", "2"] {
        writer.publish(lane, &b"wrong"[..]).unwrap();
        writer.roll_back_era().unwrap();
        writer.publish(lane, round.as_bytes()).unwrap();
        writer.permit().unwrap();
        tail.wait(round.parse().unwrap());
    }
    assert_eq!(tail.lines(), ["1", "2"]);
    let mut other = broker.spawn(&["pub", "c", "--zone", "z", "--edge", "never"]);
    other.write(b"3\n");
    eventually("its commit", || broker.show("z")["writers"][1]["commits"] == 1);
    writer.roll_back_era().unwrap();
    other.write(b"4\n");
    other.wait().failed(6, &["the open era was rolled back"]);
}
