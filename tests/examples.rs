//! The Rust examples do what they say, together.

mod support;

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::*;
use syncline::{Bus, Error};

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

/// A process that ends with its test.
struct Part(Child);

impl Part {
    /// All that it prints.
    fn text(mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Would break: a list of half an era; a process that is there twice, or has another's figures; a watch that is told of others.
#[test]
fn processes() {
    let bus = Bus::embedded().unwrap();
    let run = |arguments: &[&str]| example("processes", bus.socket()).args(arguments).spawn().map(Part).unwrap();
    // At rest until it is killed, since it has come as far as to answer.
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map(Part).unwrap();
    let pid = cat.0.id();
    cat.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    cat.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let _writer = run(&["write"]);
    let _work = run(&["work", "1000"]);
    let watch = run(&["watch", &pid.to_string()]);
    let top = run(&["top", "3"]).text();

    let zone = bus.zone("host");
    let mut table = zone.table("processes").unwrap();
    let fields = table.groups()[0].ty.fields.clone();
    let items: Vec<_> = (0..table.len()).map(|slot| table.any_item(slot).unwrap()).collect();
    let field = |bytes: &[u8], name: &str| {
        let at = fields.iter().find(|field| field.name == name).unwrap().offset as usize;
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    let mut eras = Vec::new();
    for _ in 0..10 {
        let (era, all) = loop {
            let view = table.current().unwrap();
            match items.iter().map(|&item| view.get_bytes(item)).collect::<Result<Vec<_>, _>>() {
                // This machine is slow.
                Err(Error::Gone { .. }) => {}
                all => break (view.era().unwrap(), all.unwrap()),
            }
        };
        let own: Vec<_> = all.iter().filter(|bytes| field(bytes, "pid") == std::process::id()).collect();
        assert_eq!(own.len(), 1, "this process, once");
        assert_eq!(field(own[0], "parent"), std::os::unix::process::parent_id());
        let mut pids: Vec<u32> = all.iter().map(|bytes| field(bytes, "pid")).filter(|&pid| pid != 0).collect();
        let count = pids.len();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), count, "one is there twice");
        eras.push(era);
        std::thread::sleep(Duration::from_millis(50));
    }
    eras.dedup();
    assert!(eras.len() > 1, "the writer writes no more");

    // The watch has found it by the time that it is subscribed to what changes, of which it alone is left.
    zone.wait_readers("processes.changes", 1, LONG).unwrap();
    drop(cat);
    let watch = watch.text();
    let lines: Vec<&str> = watch.lines().collect();
    assert!(lines[0].starts_with(&format!("{} cat S, child of {}", pid, std::process::id())), "{watch}");
    let (told, ignored) = lines[lines.len() - 1].split_once(" times, and not told of ").unwrap();
    assert!(told.starts_with(&format!("{} is gone: told ", pid)), "{watch}");
    assert_ne!(ignored, "0 eras' changes of others", "{watch}");
    // It may have been seen dead before it was seen gone, and that is all.
    assert!(lines[1..lines.len() - 1].iter().all(|line| line.contains(" cat Z, ")) && lines.len() <= 3, "{watch}");
    let eras: Vec<u64> =
        top.lines().filter_map(|line| line.strip_prefix("era ")?.split_once(':')?.0.parse().ok()).collect();
    assert!(eras.len() == 3 && eras.is_sorted_by(|a, b| a < b), "{top}");
}

#[test]
fn processes_shows_itself() {
    let bus = Bus::embedded().unwrap();
    let done = example("processes", bus.socket()).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && text.lines().filter(|line| line.starts_with("era ")).count() == 3, "{text}");
    assert!(text.contains("One process, whenever it changes:") && text.contains(" is gone: told "), "{text}");
}

#[cfg(feature = "tokio")]
#[test]
fn tokio() {
    let eras = "era 1: 20 messages\nera 2: 20 messages\nera 3: 10 messages\n";
    assert_eq!(beside_the_publisher("tokio"), eras);
}
