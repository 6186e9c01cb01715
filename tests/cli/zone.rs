//! Zones with a policy: made, shown, clicked, removed.

use crate::harness::{Broker, Running, eventually, syncline};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use syncline::Bus;

#[test]
fn a_zone_is_made_shown_and_removed() {
    let broker = Broker::start();
    let options = ["--click", "20", "--every-commits", "7", "--every-bytes", "64K", "--keep-eras", "100"];
    let more = ["--keep-bytes", "8K", "--writers", "3", "--eras", "256", "--subscriptions", "16"];
    let create = [&["zone", "create", "plant"][..], &options, &more].concat();
    assert_eq!(broker.run(&create, b"").succeeded().text(), "");
    let shown = broker.show("plant");
    let expected = json!({
        "pace": "free", "click": 20, "every_commits": 7, "every_bytes": 65536, "lockstep": null, "revocable": null,
        "keep_eras": 100, "keep_bytes": 8192, "writers": 3, "eras": 256, "subscriptions": 16,
    });
    assert_eq!(shown["options"], expected);
    assert_eq!((&shown["created"], &shown["halted"], &shown["last_edge"]), (&json!(true), &json!(false), &Value::Null));
    assert_eq!(broker.list(), [shown], "both tell the same");
    let phrase = "click 20 ms, every 7 commits, every 64.0 KiB, keeps 100 eras and 8.0 KiB a lane";
    let text = broker.run(&["zone", "show", "plant"], b"").succeeded();
    for said in [&format!("zone plant: era 0, {phrase}, "), "stays until it is removed; room for 3 writers, 16 subs"] {
        assert!(text.text().contains(said), "{said}: {}", text.text());
    }
    assert!(broker.run(&["ls"], b"").succeeded().text().contains(phrase));
    // The same again is no other zone; others are refused, by whomever they are asked for.
    broker.run(&create, b"").succeeded();
    broker.run(&["zone", "create", "plant", "--click", "30"], b"").failed(1, &["expected 20 ms", "found 30"]);
    broker.run(&["pub", "c", "--zone", "plant", "--click", "30"], b"").failed(1, &["expected 20 ms", "found 30"]);
    broker.run(&["pub", "c", "--zone", "plant", "--click", "20"], b"1\n").succeeded();
    assert_eq!(broker.show("plant")["last_edge"]["reason"], "exact", "it is there, and so is the past");
    broker.run(&["zone", "remove", "plant"], b"").succeeded();
    assert!(broker.list().is_empty());
}

#[test]
fn a_zone_that_is_removed_goes_with_the_last_who_is_in_it() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z"], b"").succeeded();
    let writer = broker.spawn(&["pub", "c", "--zone", "z"]);
    eventually("the writer", || broker.show("z")["writers"][0]["name"] == "pub");
    broker.run(&["zone", "remove", "z"], b"").succeeded();
    assert_eq!(broker.show("z")["created"], false);
    writer.wait().succeeded();
    eventually("all are gone", || broker.list().is_empty());
}

#[test]
fn policies_in_a_few_words() {
    let broker = Broker::start();
    for (name, options, phrase) in [
        ("a", &[][..], "exact"),
        ("b", &["--click", "20"], "click 20 ms"),
        ("c", &["--every-commits", "1"], "every 1 commit"),
        ("d", &["--every-bytes", "1M"], "every 1.0 MiB"),
        ("e", &["--lockstep", "100"], "lockstep, 100 ms deadline"),
        ("f", &["--revocable", "50", "--keep-eras", "9"], "revocable lockstep, 50 ms deadline, keeps 9 eras"),
    ] {
        broker.run(&[&["zone", "create", name][..], options].concat(), b"").succeeded();
        assert_eq!(broker.show(name)["policy"], phrase);
        let text = broker.run(&["ls"], b"").succeeded();
        assert!(text.text().contains(&format!("zone {name}: era 0, {phrase}, ")), "{}", text.text());
    }
}

#[test]
fn clicks_make_eras_also_without_the_broker() {
    let mut broker = Broker::start();
    broker.run(&["zone", "create", "z", "--click", "5"], b"").succeeded();
    let (_reader, tail) = broker.tail(&["sub", "c", "--zone", "z", "--synced", "--json"]);
    let mut writer = broker.spawn(&["pub", "c", "--zone", "z", "--wait-readers", "1", "--edge", "never"]);
    // Each line is seen only because of a click.
    for line in 1..=5 {
        writer.write(b"with a broker\n");
        tail.wait(line);
    }
    let eras = |messages: &[Value]| -> BTreeSet<u64> {
        assert!(messages.iter().all(|message| message["reason"] == "click"), "{messages:?}");
        messages.iter().map(|message| message["era"].as_u64().unwrap()).collect()
    };
    let before = tail.wait_json(5);
    assert_eq!(eras(&before).len(), 5);
    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    let mut after = BTreeSet::new();
    eventually("five eras without a broker", || {
        writer.write(b"without\n");
        after = eras(&tail.wait_json(5)[5..]);
        after.len() >= 5
    });
    assert!(after.first() > eras(&before).last(), "{before:?} {after:?}");
}

#[test]
fn a_zone_that_pub_makes_has_its_options() {
    let broker = Broker::start();
    let mut writer = broker.spawn(&["pub", "c", "--every-commits", "2", "--edge", "never"]);
    writer.write(b"1\n2\n3\n4\n5\n");
    eventually("five commits", || broker.list().iter().any(|zone| zone["writers"][0]["commits"] == 5));
    let zone = broker.show("c");
    assert_eq!(
        (&zone["era"], &zone["last_edge"]["reason"], &zone["created"]),
        (&2.into(), &"commits".into(), &json!(false))
    );
    writer.wait().succeeded();
}

#[test]
fn an_edge_with_a_tag_is_seen() {
    let broker = Broker::start();
    let (_synced, synced) = broker.tail(&["sub", "c", "--synced", "--json"]);
    let (_live, live) = broker.tail(&["sub", "c", "--json"]);
    let (_marked, marked) = broker.tail(&["sub", "c", "--markers", "--json"]);
    let (_text, text) = broker.tail(&["sub", "c", "--markers"]);
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "4", "--edge", "never"]);
    for (tag, number) in [(None, None), (Some("42"), Some(42)), (Some("0xfFfFfFfFfFfFfFfF"), Some(u64::MAX))] {
        let sealed = broker.show("c")["era"].as_u64().unwrap();
        let at = sealed as usize;
        writer.write(b"line\n");
        // It is committed, so it is in the era.
        let open = &live.wait_json(at + 1)[at];
        assert_eq!((&open["era"], &open["reason"], &open["tag"]), (&Value::Null, &Value::Null, &Value::Null));
        let mut arguments = vec!["zone", "edge", "c"];
        arguments.extend(tag.iter().flat_map(|tag| ["--tag", tag]));
        let printed = broker.run(&arguments, b"").succeeded();
        assert_eq!(printed.text(), format!("{}\n", sealed + 1));
        let message = &synced.wait_json(at + 1)[at];
        assert_eq!((&message["era"], &message["reason"]), (&json!(sealed + 1), &"exact".into()));
        assert_eq!((&message["tag"], &message["text"]), (&json!(number), &"line".into()));
        let both = &marked.wait_json(2 * at + 2)[2 * at..];
        assert_eq!(both[0]["text"], "line");
        let edge = &both[1]["edge"];
        assert_eq!((&both[1]["zone"], &edge["era"], &edge["tag"]), (&"c".into(), &json!(sealed + 1), &json!(number)));
        assert_eq!((&edge["reason"], &edge["straddlers"]), (&"exact".into(), &json!([])));
        assert_eq!(broker.show("c")["last_edge"]["tag"], json!(number));
    }
    let expected =
        ["line", "-- era 1: exact --", "line", "-- era 2: exact, tag 42 (0x2a) --", "line"].map(str::to_owned).to_vec();
    let last = format!("-- era 3: exact, tag {} (0xffffffffffffffff) --", u64::MAX);
    assert_eq!(text.wait(6), [expected, vec![last]].concat());
    assert!(broker.run(&["ls"], b"").succeeded().text().contains("last edge: exact, tag 18446744073709551615 (0x"));
}

#[test]
fn an_open_batch_and_its_straddler_are_named() {
    let broker = Broker::start();
    let bus = Bus::connect_to(&broker.socket()).unwrap();
    let mut writer = bus.zone("z").writer("slow").unwrap();
    let lane = writer.channel("c").open::<[u8]>().unwrap();
    let state = || {
        let text = broker.run(&["ls"], b"").succeeded().text().to_owned();
        let zone = broker.show("z");
        (text, zone["writers"][0]["open_batch"] == true, zone["writers"][0]["straddles"].clone())
    };
    let (text, open, straddles) = state();
    assert!(!open && straddles == 0 && !text.contains("STATE"), "{text}");
    let mut batch = writer.batch().unwrap();
    batch.push(lane, &b"half"[..]).unwrap();
    let (text, open, straddles) = state();
    assert!(open && straddles == 0 && text.contains("STATE") && text.contains("batch open"), "{text}");
    for edges in 1..=2 {
        broker.run(&["zone", "edge", "z"], b"").succeeded();
        let (text, open, straddles) = state();
        let said = if edges == 1 { "open over 1 edge " } else { "open over 2 edges " };
        assert!(open && straddles == edges && text.contains(said), "{text}");
        let zone = broker.show("z");
        assert_eq!(zone["last_edge"]["straddlers"], json!([{ "writer": 0, "name": "slow" }]));
        assert!(text.contains("last edge: exact, straddled by slow, "), "{text}");
    }
    batch.commit().unwrap();
    let (text, open, _) = state();
    assert!(!open && !text.contains("open over"), "{text}");
}

#[test]
fn a_hint_to_finish_reaches_a_writer() {
    let broker = Broker::start();
    let mut writer = Bus::connect_to(&broker.socket()).unwrap().zone("z").writer("w").unwrap();
    assert!(!writer.step().unwrap());
    broker.run(&["zone", "early", "z"], b"").succeeded();
    assert!(writer.step().unwrap());
    assert!(!writer.step().unwrap(), "once for each time");
}

#[test]
fn zones_that_are_not_there() {
    let broker = Broker::start();
    for arguments in [&["remove"][..], &["show"], &["show", "--json"], &["edge"], &["halt"], &["early"]] {
        let (command, options) = arguments.split_first().unwrap();
        let run = |name| broker.run(&[&["zone", *command, name][..], options].concat(), b"");
        run("nowhere").failed(1, &["zone `nowhere`: expected it to exist, found none"]);
        for name in ["", "a\x1b[31m", &"x".repeat(129)] {
            let done = run(name).failed(1, &["name"]);
            assert!(!done.err.contains('\x1b'), "a control character reached the terminal: {:?}", done.err);
        }
    }
    broker.run(&["zone", "create", "a\x1b[31m"], b"").failed(1, &["control characters"]);
    assert!(broker.list().is_empty(), "nothing was made by looking for it");
}

#[test]
fn options_that_do_not_go_together() {
    let broker = Broker::start();
    for (options, said) in [
        (&["--eras", "5"][..], "a power of two from 4 to 4096"),
        (&["--eras", "4", "--keep-eras", "3"], "at most 2 eras to keep"),
        (&["--keep-eras", "4095"], "at most 4094 eras to keep"),
        (&["--keep-bytes", "1G"], "bytes of history in a lane"),
    ] {
        broker.run(&[&["zone", "create", "z"][..], options].concat(), b"").failed(1, &[said]);
        broker.run(&[&["pub", "c", "--zone", "z"][..], options].concat(), b"").failed(1, &[said]);
    }
    assert!(broker.list().is_empty());
    broker.run(&["zone", "create", "step", "--lockstep", "100"], b"").succeeded();
    broker.run(&["zone", "edge", "step", "--tag", "1"], b"").failed(1, &["edges in lockstep carry none"]);
    broker.run(&["pub", "c", "--zone", "step", "--revocable", "100"], b"").failed(1, &["the pace Lockstep"]);
}

#[test]
fn wrong_usage_of_zones() {
    let too_many = ["4294967296", "18446744073709551616"];
    for options in [
        &["--click", "0"][..],
        &["--click", "20ms"],
        &["--click", too_many[0]],
        &["--every-commits", "0"],
        &["--every-commits", too_many[1]],
        &["--every-bytes", "0"],
        &["--every-bytes", "99999999999G"],
        &["--lockstep", "0"],
        &["--revocable", "-1"],
        &["--keep-eras", "0"],
        &["--keep-eras", too_many[0]],
        &["--keep-bytes", "1.5M"],
        &["--writers", "0"],
        &["--writers", "1025"],
        &["--eras", "2"],
        &["--eras", "8192"],
        &["--subscriptions", "0"],
        &["--subscriptions", "65537"],
        &["--click", "20", "--lockstep", "100"],
        &["--every-commits", "2", "--revocable", "100"],
        &["--every-bytes", "2K", "--lockstep", "100"],
        &["--lockstep", "100", "--revocable", "100"],
    ] {
        for command in [&["zone", "create", "z"][..], &["pub", "c"]] {
            let arguments = [command, options].concat();
            let done = Running::new(syncline().args(&arguments)).wait();
            assert_eq!(done.status, 2, "{arguments:?}: {}", done.err);
        }
    }
    for arguments in [
        &["zone"][..],
        &["zone", "create"],
        &["zone", "edge", "z", "--tag", "-1"],
        &["zone", "edge", "z", "--tag", "0x"],
        &["zone", "edge", "z", "--tag", too_many[1]],
        &["zone", "halt", "z", "--for", "0"],
        &["zone", "halt", "z", "--deadline", "0"],
        &["zone", "halt", "z", "--for", "1", "--", "true"],
        &["sub", "c", "--from-era", "0"],
        &["sub", "c", "--from-era", too_many[1]],
        &["sub", "c", "--from-era", "1", "--from", "oldest"],
        &["sub", "c", "--markers", "--synced"],
    ] {
        let done = Running::new(syncline().args(arguments)).wait();
        assert_eq!(done.status, 2, "{arguments:?}: {}", done.err);
    }
}
