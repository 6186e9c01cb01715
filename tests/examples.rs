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
