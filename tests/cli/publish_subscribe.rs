//! Lines from `pub` to `sub`.

use crate::harness::{Broker, Guard, Running, eventually, wait};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::BufRead;
use std::process::Stdio;

/// Lines of random bytes and lengths, a tenth of them empty.
fn random_lines(count: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut text = Vec::with_capacity(count * 40);
    for _ in 0..count {
        let len = if next() % 10 == 0 { 0 } else { next() % 64 };
        for _ in 0..len {
            let byte = (next() >> 32) as u8;
            text.push(if byte == b'\n' { 0 } else { byte });
        }
        text.push(b'\n');
    }
    text
}

/// Sends a file through both, in separate processes.
fn round_trip(lines: usize, publish: &[&str], subscribe: &[&str]) {
    let broker = Broker::start();
    let text = random_lines(lines);
    let (from, to) = (broker.directory.path().join("from"), broker.directory.path().join("to"));
    std::fs::write(&from, &text).unwrap();
    let count = lines.to_string();
    let reader = broker
        .command(&[&["sub", "file", "--count", &count][..], subscribe].concat())
        .stdout(File::create(&to).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let writer = broker
        .command(&[&["pub", "file", "--wait-readers", "1"][..], publish].concat())
        .stdin(File::open(&from).unwrap())
        .spawn()
        .unwrap();
    let (mut writer, mut reader) = (Guard(writer), Guard(reader));
    assert_eq!((wait(&mut writer.0), wait(&mut reader.0)), (0, 0));
    // Not `assert_eq!`: nobody wants to see the difference.
    assert!(std::fs::read(&to).unwrap() == text, "what came out is not what went in");
}

#[test]
fn a_file_of_a_million_lines_live() {
    let lines = std::env::var("SYNCLINE_TEST_LINES").ok().and_then(|lines| lines.parse().ok());
    round_trip(lines.unwrap_or(1_000_000), &[], &[]);
}

#[test]
fn a_file_synced() {
    round_trip(100_000, &["--edge", "100"], &["--synced"]);
}

#[test]
fn an_era_that_outgrows_the_channel_is_sealed_early() {
    round_trip(20_000, &["--edge", "end", "--capacity", "4K"], &["--synced"]);
}

#[test]
fn any_bytes_and_a_last_line_without_newline() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "bytes", "--count", "5"]);
    broker.run(&["pub", "bytes", "--wait-readers", "1"], b"a\0b\n\n\xff\xfe\r\n  \nlast").succeeded();
    assert_eq!(reader.wait().succeeded().out, b"a\0b\n\n\xff\xfe\r\n  \nlast\n");
}

#[test]
fn two_writers_each_in_order() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "both", "--count", "4000", "--json"]);
    let line = |name, number| format!("{name} {number}\n");
    let input = |name| (0..2000).map(|number| line(name, number)).collect::<String>();
    let writers = ["one", "two"].map(|name| {
        let mut writer = broker.spawn(&["pub", "both", "--wait-readers", "1", "--name", name]);
        writer.feed(input(name).as_bytes());
        (name, writer)
    });
    let messages = reader.wait().succeeded().json();
    for (name, writer) in writers {
        writer.wait().succeeded();
        let its: Vec<_> = messages.iter().filter(|message| message["writer_name"] == name).collect();
        assert_eq!(its.len(), 2000);
        for (number, message) in its.iter().enumerate() {
            assert_eq!(message["sequence"], number);
            assert_eq!(message["text"], line(name, number).trim_end());
        }
    }
}

/// The eras that a synced reader finds 10 lines in, counted from the first.
fn eras(edge: &str) -> Vec<u64> {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "lines", "--zone", "z", "--synced", "--json", "--until-closed"]);
    let input: String = (0..10).map(|number| format!("{number}\n")).collect();
    broker.run(&["pub", "lines", "--zone", "z", "--wait-readers", "1", "--edge", edge], input.as_bytes()).succeeded();
    let messages = reader.wait().succeeded().json();
    let texts: Vec<_> = messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.join("\n") + "\n", input);
    let first = messages[0]["era"].as_u64().unwrap();
    messages.iter().map(|message| message["era"].as_u64().unwrap() - first).collect()
}

#[test]
fn edges_after_each_line_some_lines_and_at_the_end() {
    assert_eq!(eras("each"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(eras("4"), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
    assert_eq!(eras("end"), [0; 10]);
}

#[test]
fn without_an_edge_a_synced_reader_gets_nothing() {
    let broker = Broker::start();
    let live = broker.spawn(&["sub", "lines", "--count", "1"]);
    let reader = broker.spawn(&["sub", "lines", "--synced"]);
    let stays = broker.spawn(&["sub", "lines", "--synced", "--until-closed"]);
    let mut writer = broker.spawn(&["pub", "lines", "--wait-readers", "3", "--edge", "never"]);
    writer.write(b"unsealed\n");
    live.wait().succeeded();
    std::thread::sleep(std::time::Duration::from_millis(200));
    reader.signal(Signal::SIGINT);
    assert_eq!(reader.wait().failed(130, &[]).out, b"");
    // The broker seals what the last writer of a zone leaves behind.
    writer.wait().succeeded();
    assert_eq!(stays.wait().succeeded().text(), "unsealed\n");
}

#[test]
fn json_tells_everything() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "c", "--zone", "z", "--synced", "--json", "--count", "2"]);
    let writer = broker.spawn(&["pub", "c", "--zone", "z", "--wait-readers", "1", "--name", "me"]);
    let pid = writer.child.id();
    let mut writer = writer;
    writer.write(b"gr\xc3\xbc\xc3\x9fe \"you\"\n\x00\xff\n");
    writer.wait().succeeded();
    let done = reader.wait().succeeded();
    let expected = format!(
        r#"{{"zone":"z","channel":"c","writer":0,"writer_name":"me","pid":{pid},"sequence":0,"era":1,"reason":"exact","tag":null,"len":13,"text":"grüße \"you\""}}"#
    );
    assert_eq!(done.text().lines().next(), Some(expected.as_str()));
    assert_eq!(done.json()[1]["hex"], "00ff");
}

#[test]
fn readers_come_first_and_zones_apart() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "a", "b", "--json", "--count", "3"]);
    eventually("the reader is there, the channels are not declared", || {
        let zones = broker.list();
        zones.len() == 2
            && zones.iter().all(|zone| zone["channels"][0]["type"].is_null() && zone["readers"][0]["name"] == "sub")
    });
    broker.run(&["pub", "a"], b"1\n2\n").succeeded();
    broker.run(&["pub", "b"], b"3\n").succeeded();
    let messages = reader.wait().succeeded().json();
    let text = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
    let texts: Vec<_> = messages.iter().map(|message| text(message, "zone") + " " + &text(message, "text")).collect();
    assert_eq!(texts, ["a 1", "a 2", "b 3"]);
}

#[test]
fn several_channels_of_one_zone() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "a", "b", "--zone", "z", "--count", "2"]);
    broker.run(&["pub", "a", "--zone", "z", "--wait-readers", "1"], b"1\n").succeeded();
    broker.run(&["pub", "b", "--zone", "z", "--wait-readers", "1"], b"2\n").succeeded();
    assert_eq!(reader.wait().succeeded().text(), "1\n2\n");
}

#[test]
fn the_oldest_or_the_latest() {
    let broker = Broker::start();
    let first = broker.spawn(&["sub", "c", "--count", "2"]);
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "1", "--edge", "each"]);
    writer.write(b"1\n2\n");
    first.wait().succeeded();
    let oldest = broker.spawn(&["sub", "c", "--count", "3", "--from", "oldest"]);
    let synced = broker.spawn(&["sub", "c", "--count", "3", "--from", "oldest", "--synced"]);
    let latest = broker.spawn(&["sub", "c", "--count", "1"]);
    eventually("three readers", || broker.list()[0]["readers"].as_array().unwrap().len() == 3);
    writer.write(b"3\n");
    assert_eq!(oldest.wait().succeeded().text(), "1\n2\n3\n");
    assert_eq!(synced.wait().succeeded().text(), "1\n2\n3\n");
    assert_eq!(latest.wait().succeeded().text(), "3\n");
    writer.wait().succeeded();
}

#[test]
fn waiting_has_an_end() {
    let broker = Broker::start();
    broker.run(&["pub", "c", "--wait-readers", "1", "--timeout", "0.2"], b"x\n").failed(3, &["expected 1 readers"]);
    broker.run(&["sub", "c", "--timeout", "0.2"], b"").failed(3, &["timeout"]);
    broker.run(&["sub", "c", "--timeout", "0.2", "--count", "5"], b"").failed(3, &["5 messages"]);
    assert_eq!(broker.run(&["sub", "c", "--count", "0"], b"").succeeded().text(), "");
}

#[test]
fn a_closed_output_ends_the_reader_quietly() {
    let broker = Broker::start();
    let (reader, mut output) = Running::with_output(&mut broker.command(&["sub", "c"]));
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "1"]);
    writer.write(b"1\n");
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n");
    drop(output);
    // Nothing more is published, and still it finds out.
    assert_eq!(reader.wait().succeeded().err, "");
    writer.write(b"2\n");
    writer.wait().succeeded();
}

#[test]
fn a_closed_output_while_writing() {
    let broker = Broker::start();
    let (reader, mut output) = Running::with_output(&mut broker.command(&["sub", "c"]));
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "1"]);
    writer.feed(&random_lines(200_000));
    let mut line = Vec::new();
    output.read_until(b'\n', &mut line).unwrap();
    drop(output);
    assert_eq!(reader.wait().succeeded().err, "");
    writer.wait().succeeded();
}

#[test]
fn signals_end_a_reader() {
    let broker = Broker::start();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (reader, mut output) = Running::with_output(&mut broker.command(&["sub", "c"]));
        broker.run(&["pub", "c", "--wait-readers", "1"], b"1\n").succeeded();
        output.read_line(&mut String::new()).unwrap();
        reader.signal(signal);
        assert_eq!(reader.wait().failed(130, &[]).err, "");
    }
}

#[test]
fn a_writer_that_is_interrupted_seals_what_it_published() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "c", "--synced", "--until-closed"]);
    let live = broker.spawn(&["sub", "c", "--count", "2"]);
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "2"]);
    writer.write(b"1\n2\nunfinished");
    live.wait().succeeded();
    writer.signal(Signal::SIGINT);
    writer.wait().failed(130, &[]);
    assert_eq!(reader.wait().succeeded().text(), "1\n2\n");
}

#[test]
fn a_writer_waits_for_a_slow_reader() {
    let broker = Broker::start();
    let text = random_lines(50_000);
    let (mut reader, mut output) = Running::with_output(&mut broker.command(&["sub", "c", "--count", "50000"]));
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "1", "--capacity", "4096"]);
    writer.feed(&text);
    // The pipe and the channel fill; then the writer has to wait.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(writer.child.try_wait().unwrap().is_none() && reader.child.try_wait().unwrap().is_none());
    let mut copied = Vec::new();
    std::io::Read::read_to_end(&mut output, &mut copied).unwrap();
    assert!(copied == text);
    writer.wait().succeeded();
    reader.wait().succeeded();
}
