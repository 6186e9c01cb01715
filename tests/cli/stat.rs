//! Counters.

use crate::harness::{Broker, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

/// Would break: counters that are not those of what was done; a table without them.
#[test]
fn counters_of_a_zone() {
    let broker = Broker::start();
    let mut writer = broker.spawn(&["pub", "numbers", "--zone", "z", "--edge", "2", "--wait-readers", "1"]);
    let (reader, tail) = broker.tail(&["sub", "numbers", "--zone", "z", "--name", "taker"]);
    writer.write(b"one\ntwo\nthree\nfour\nfive\n");
    tail.wait(5);
    let read = || broker.run(&["stat", "z", "--json"], b"").succeeded().json().remove(0);
    eventually("the last message is left behind", || read()["readers"][0]["messages"] == 5);
    let read = read();
    assert_eq!((&read["zone"], &read["eras"]), (&json!("z"), &json!(2)));
    let its = &read["writers"][0];
    assert_eq!((&its["writer"], &its["name"], &its["pid"]), (&json!(0), &json!("pub"), &json!(writer.child.id())));
    assert_eq!(
        (&its["commits"], &its["edges"], &its["full"], &its["evictions"]),
        (&json!(5), &json!(2), &json!(0), &json!(0))
    );
    let lane = &read["lanes"][0];
    assert_eq!((&lane["channel"], &lane["messages"], &lane["bytes"]), (&json!("numbers"), &json!(5), &json!(5 * 24)));
    assert_eq!(
        (&lane["retained_messages"], &lane["capacity"], &lane["readers"]),
        (&json!(5), &json!(1 << 20), &json!(1))
    );
    let its = &read["readers"][0];
    assert_eq!(
        (&its["name"], &its["pid"], &its["channel"]),
        (&json!("taker"), &json!(reader.child.id()), &json!("numbers"))
    );
    assert_eq!(
        (&its["bytes"], &its["behind"], &its["lost"], &its["synced"]),
        (&json!(120), &json!(0), &json!(0), &json!(false))
    );

    let all = broker.run(&["stat"], b"").succeeded();
    for said in
        ["zone z: era 2\n", "WRITER  NAME  PID", "LANE OF", "5 in 120 B of 1.0 MiB", "READER  PID", "taker", "live"]
    {
        assert!(all.text().contains(said), "{said}: {}", all.text());
    }
    assert!(!all.text().contains("RATE") && !all.text().contains("LOST"), "{}", all.text());
    broker.run(&["stat", "nowhere"], b"").failed(1, &["zone `nowhere`: expected it to exist"]);
    broker.run(&["stat", "z", "--follow=0"], b"").failed(2, &["more than 0 seconds"]);
    reader.signal(Signal::SIGINT);
    reader.wait().failed(130, &[]);
    writer.wait().succeeded();
    assert_eq!(broker.run(&["stat"], b"").succeeded().text(), "", "there is no zone any more");
}

/// Would break: a follower that ends with the broker, or tells no rates.
#[test]
fn counters_are_followed_without_the_broker() {
    let mut broker = Broker::start();
    let mut writer = broker.spawn(&["pub", "numbers", "--zone", "z"]);
    writer.write(b"one\n");
    eventually("the writer", || !broker.list().is_empty());
    let (one, json_tail) = broker.tail(&["stat", "z", "--follow=0.02", "--json"]);
    let (all, text_tail) = broker.tail(&["stat", "-f=0.02"]);
    json_tail.wait(2);
    text_tail.wait(6);
    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    writer.write(b"two\nthree\n");
    let counts =
        || json_tail.wait_json(1).iter().map(|read| read["lanes"][0]["messages"].as_u64().unwrap()).collect::<Vec<_>>();
    eventually("what came without the broker", || counts().last() == Some(&3));
    assert!(counts().is_sorted());
    eventually("the same for people", || {
        text_tail
            .lines()
            .iter()
            .any(|line| line.starts_with("  numbers") && line.contains(" 3 ") && line.contains("/s"))
    });
    for follower in [one, all] {
        follower.signal(Signal::SIGINT);
        follower.wait().failed(130, &[]);
    }
    writer.wait();
}
