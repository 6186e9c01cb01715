//! The Rust examples do what they say, together.

mod support;

use std::process::{Command, Stdio};
use support::*;
use syncline::Bus;

fn example(name: &str, socket: &std::path::Path) -> Command {
    // Cargo builds examples before it runs tests, beside the directory of these.
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    let mut command = Command::new(path);
    command.env("SYNCLINE_SOCKET", socket).stdout(Stdio::piped());
    command
}

#[test]
fn publisher_and_subscriber() {
    let bus = Bus::embedded().unwrap();
    let subscriber = example("subscriber", bus.socket()).spawn().unwrap();
    bus.zone("example").wait_readers("pose", 1, LONG).unwrap();
    let published = example("publisher", bus.socket()).arg("25").output().unwrap();
    let received = subscriber.wait_with_output().unwrap();
    assert!(published.status.success() && received.status.success());
    let text = String::from_utf8(received.stdout).unwrap();
    let sizes: Vec<&str> = text.lines().filter_map(|line| line.split(", last").next()?.split(": ").nth(1)).collect();
    assert_eq!(sizes, ["10 poses, 10 notes", "10 poses, 10 notes", "5 poses, 5 notes"], "{text}");
}

/// Runs an example that waits for the publisher, and that one; what the first prints.
fn beside_the_publisher(name: &str) -> String {
    let bus = Bus::embedded().unwrap();
    let mut waiting = example(name, bus.socket()).stdin(Stdio::piped()).spawn().unwrap();
    bus.zone("example").wait_readers("pose", 1, LONG).unwrap();
    drop(waiting.stdin.take());
    let published = example("publisher", bus.socket()).arg("25").output().unwrap();
    let received = waiting.wait_with_output().unwrap();
    assert!(published.status.success() && received.status.success());
    String::from_utf8(received.stdout).unwrap()
}

#[test]
fn epoll() {
    // Two doubles each, and the notes "pose 0" to "pose 24".
    assert_eq!(beside_the_publisher("epoll"), format!("50 messages, {} bytes\n", 25 * 16 + 10 * 6 + 15 * 7));
}

#[cfg(feature = "tokio")]
#[test]
fn tokio() {
    let eras = "era 1: 20 messages\nera 2: 20 messages\nera 3: 10 messages\n";
    assert_eq!(beside_the_publisher("tokio"), eras);
}
