//! Channels whose writers wait for nobody, or not for ever.

use crate::harness::{Broker, Done, Running, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::process::ChildStdout;

const LINES: u64 = 60_000;
/// Longer than what a pipe and the buffers before it hold.
const PADDING: &str = "................................";

fn input() -> String {
    (0..LINES).map(|number| format!("{number} {PADDING}\n")).collect()
}

/// A reader whose output nobody reads yet.
fn stuck(broker: &Broker, arguments: &[&str]) -> (Running, BufReader<ChildStdout>) {
    Running::with_output(&mut broker.command(&[&["sub", "c", "--zone", "z"][..], arguments].concat()))
}

/// All that it has to say, now that somebody reads it.
fn rest(running: Running, mut output: BufReader<ChildStdout>) -> Done {
    let mut out = Vec::new();
    output.read_to_end(&mut out).unwrap();
    Done { out, ..running.wait() }
}

/// The numbers before `what` in each line that has it.
fn told(err: &str, what: &str) -> Vec<Vec<u64>> {
    let lines = err.lines().filter(|line| line.contains(what));
    let numbers = |line: &str| line.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    lines.map(|line| numbers(&line[..line.find(what).unwrap()])).collect()
}

/// Would break: a line lost and not told, told and not lost, or an end because of it.
#[test]
fn what_a_live_reader_has_lost_is_told_exactly() {
    let broker = Broker::start();
    let (reader, output) = stuck(&broker, &["--until-closed"]);
    let publish = ["pub", "c", "--zone", "z", "--wait-readers", "1", "--lossy", "--capacity", "4K"];
    broker.run(&publish, input().as_bytes()).succeeded();
    let done = rest(reader, output).succeeded();
    let lost: u64 = told(&done.err, " messages of writer 0").iter().map(|numbers| numbers[0]).sum();
    assert!(lost > LINES / 10, "{lost} lost only");
    let mut last = None;
    for line in done.text().lines() {
        let (number, padding) = line.split_once(' ').unwrap();
        let number = number.parse::<u64>().unwrap();
        assert!(padding == PADDING && last.is_none_or(|last| last < number), "{line}");
        last = Some(number);
    }
    assert_eq!(done.text().lines().count() as u64 + lost, LINES, "{}", done.err);
}

/// Would break: an era that is lost and not told, or handed out in part.
#[test]
fn the_eras_that_a_synced_reader_has_lost_are_told_exactly() {
    let broker = Broker::start();
    let (reader, output) = stuck(&broker, &["--until-closed", "--synced", "--json"]);
    let publish = ["pub", "c", "--zone", "z", "--wait-readers", "1", "--lossy", "--capacity", "4K", "--edge", "10"];
    broker.run(&publish, input().as_bytes()).succeeded();
    let done = rest(reader, output).succeeded();
    let mut lines: BTreeMap<u64, u64> = BTreeMap::new();
    for message in done.json() {
        let era = message["era"].as_u64().unwrap();
        assert_eq!(message["sequence"].as_u64().unwrap() / 10 + 1, era);
        *lines.entry(era).or_default() += 1;
    }
    assert!(lines.values().all(|lines| *lines == 10), "an era in part");
    let lost = told(&done.err, " are lost");
    assert!(!lost.is_empty());
    for eras in lost {
        let [first, last] = eras[..] else { panic!("{}", done.err) };
        for era in first..=last {
            assert_eq!(lines.insert(era, 0), None, "era {era} is printed, or lost twice");
        }
    }
    assert!(lines.into_keys().take(LINES as usize / 10).eq(1..=LINES / 10), "{}", done.err);
}

/// Would break: an evicted reader that goes on as if nothing was, or says nothing; `ls` without it.
#[test]
fn an_evicted_reader_ends_and_says_why() {
    let broker = Broker::start();
    let (reader, output) = stuck(&broker, &["--name", "stuck"]);
    let publish = ["pub", "c", "--zone", "z", "--wait-readers", "1", "--evict-after", "20", "--capacity", "4K"];
    let mut writer = broker.spawn(&publish);
    writer.write(input().as_bytes());
    eventually("the reader is evicted", || broker.show("z")["readers"][0]["evicted"] == 1);
    let shown = broker.show("z");
    assert_eq!(
        (&shown["channels"][0]["delivery"], &shown["channels"][0]["evict_after"]),
        (&json!("reliable"), &json!(20))
    );
    assert_eq!(shown["lanes"][0]["pins"], 4);
    for command in [&["ls"][..], &["zone", "show", "z"]] {
        let text = broker.run(command, b"").succeeded();
        for said in ["DELIVERY", "reliable, evicts after 20 ms", "EVICTED FROM", "1 lane"] {
            assert!(text.text().contains(said), "{said}: {}", text.text());
        }
    }
    let done = rest(reader, output).failed(1, &["evicted by writer 0 (`pub`) of channel `c`"]);
    assert!(done.text().starts_with("0 ."));
    writer.wait().succeeded();
}

/// Would break: a writer without room that waits though it was told how long, or keeps to itself for whom.
#[test]
fn a_writer_without_room_names_who_holds_it_up() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "c", "--zone", "z", "--name", "sleepy"]);
    eventually("the reader", || broker.list().iter().any(|zone| zone["readers"][0]["name"] == "sleepy"));
    reader.signal(Signal::SIGSTOP);
    let publish = ["pub", "c", "--zone", "z", "--capacity", "4K", "--room-timeout", "0.1"];
    let pid = format!("(process {})", reader.pid());
    let done = broker.run(&publish, input().as_bytes());
    done.failed(3, &["no room in channel `c` in time", "live reader `sleepy`", &pid, " behind"]);
    reader.signal(Signal::SIGCONT);
}

/// Would break: a delivery that is not shown, or a second writer that changes it.
#[test]
fn a_channel_keeps_what_its_first_writer_decided() {
    let broker = Broker::start();
    let mut first = broker.spawn(&["pub", "c", "--zone", "z", "--lossy"]);
    first.write(b"1\n");
    eventually("the channel", || broker.list().iter().any(|zone| zone["channels"][0]["delivery"] == "lossy"));
    assert_eq!(broker.show("z")["channels"][0]["evict_after"], Value::Null);
    assert!(broker.run(&["ls"], b"").succeeded().text().contains("lossy"));
    let publish = ["pub", "c", "--zone", "z"];
    let error = ["expected it lossy", "found reliable with eviction after 5 ms"];
    broker.run(&[&publish[..], &["--evict-after", "5"]].concat(), b"2\n").failed(1, &error);
    broker.run(&publish, b"3\n").succeeded();
    broker.run(&[&publish[..], &["--lossy", "--evict-after", "5"]].concat(), b"").failed(2, &["--evict-after"]);
    first.wait().succeeded();
}

/// Would break: a stream of frames with half an era in it, or that ends because of lost ones.
#[test]
fn frames_leave_lost_eras_out_whole() {
    let broker = Broker::start();
    let (reader, output) = stuck(&broker, &["--frames", "--until-closed"]);
    let publish = ["pub", "c", "--zone", "z", "--wait-readers", "1", "--lossy", "--capacity", "4K", "--edge", "10"];
    broker.run(&publish, input().as_bytes()).succeeded();
    let done = rest(reader, output).succeeded();
    let lost: u64 = told(&done.err, " are lost").iter().map(|eras| eras[1] - eras[0] + 1).sum();
    assert!(lost > 0);
    let reader = broker.spawn(&["sub", "c", "--zone", "copy", "--until-closed"]);
    broker.run(&["pub", "--frames", "--zone", "copy", "--wait-readers", "1"], &done.out).succeeded();
    assert_eq!(reader.wait().succeeded().text().lines().count() as u64, LINES - 10 * lost);
}
