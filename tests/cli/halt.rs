//! Halting a zone from outside.

use crate::harness::{Broker, Guard, Running, eventually, is_gone};
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::Duration;

/// Time for what must not happen.
const AWHILE: Duration = Duration::from_millis(300);

/// A zone is halted when this returns, and until the process ends or is told to.
fn halt(broker: &Broker, zone: &str) -> Running {
    let (running, tail) = broker.tail(&["zone", "halt", zone]);
    assert_eq!(tail.wait(1), ["halted: every writer is at rest"]);
    running
}

#[test]
fn it_holds_a_writer_back_until_it_is_released() {
    let broker = Broker::start();
    let (_live, live) = broker.tail(&["sub", "c", "--zone", "z"]);
    let (_synced, synced) = broker.tail(&["sub", "c", "--zone", "z", "--synced"]);
    let mut writer = broker.spawn(&["pub", "c", "--zone", "z", "--wait-readers", "2", "--edge", "each"]);
    let mut expected = Vec::new();
    for (round, (signal, status)) in
        [(Signal::SIGINT, 0), (Signal::SIGKILL, 137), (Signal::SIGTERM, 0)].iter().enumerate()
    {
        writer.write(format!("before {round}\n").as_bytes());
        expected.push(format!("before {round}"));
        assert_eq!((live.wait(expected.len()), synced.wait(expected.len())), (expected.clone(), expected.clone()));
        let halted = halt(&broker, "z");
        let commits = broker.show("z")["writers"][0]["commits"].clone();
        for line in 0..3 {
            writer.write(format!("while {round} {line}\n").as_bytes());
        }
        std::thread::sleep(AWHILE);
        assert_eq!((live.lines(), synced.lines()), (expected.clone(), expected.clone()));
        let zone = broker.show("z");
        assert_eq!((&zone["halted"], &zone["writers"][0]["commits"]), (&true.into(), &commits));
        assert!(broker.run(&["ls"], b"").succeeded().text().contains(", halted, exact, "));
        halted.signal(*signal);
        assert_eq!(halted.wait().status, *status);
        expected.extend((0..3).map(|line| format!("while {round} {line}")));
        assert_eq!((live.wait(expected.len()), synced.wait(expected.len())), (expected.clone(), expected.clone()));
        assert_eq!(broker.show("z")["halted"], false);
    }
    writer.wait().succeeded();
}

#[test]
fn others_are_told_so_and_signals_end_a_writer_that_waits() {
    let broker = Broker::start();
    let mut writer = broker.spawn(&["pub", "c", "--zone", "z", "--edge", "each"]);
    eventually("the writer", || broker.list().iter().any(|zone| zone["writers"][0]["channels"][0] == "c"));
    let halted = halt(&broker, "z");
    broker.run(&["zone", "halt", "z"], b"").failed(4, &["halted"]);
    broker.run(&["zone", "edge", "z"], b"").failed(4, &["expected it to run, found it halted"]);
    writer.write(b"1\n");
    std::thread::sleep(AWHILE);
    writer.signal(Signal::SIGINT);
    writer.wait().failed(130, &[]);
    // Nobody is in it any more, and it is still the zone that is halted.
    assert_eq!(broker.show("z")["halted"], true);
    let mut writer = broker.spawn(&["pub", "c", "--zone", "z", "--edge", "never"]);
    writer.write(b"2\n");
    std::thread::sleep(AWHILE);
    let commits = || broker.show("z")["writers"][0]["commits"].clone();
    assert_eq!(commits(), 0);
    halted.signal(Signal::SIGINT);
    halted.wait().succeeded();
    eventually("the commit", || commits() == 1);
    writer.wait().succeeded();
    assert!(broker.list().is_empty());
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        broker.run(&["zone", "create", "z"], b"").succeeded();
        let halted = halt(&broker, "z");
        broker.run(&["zone", "remove", "z"], b"").succeeded();
        assert_eq!(broker.show("z")["halted"], true);
        halted.signal(signal);
        halted.wait();
        eventually("it is gone", || broker.list().is_empty());
    }
}

#[test]
fn it_lasts_as_long_as_it_is_to() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z"], b"").succeeded();
    broker.run(&["zone", "halt", "z", "--for", "20"], b"").succeeded();
    assert_eq!(broker.show("z")["halted"], false);
    let (halted, tail) = broker.tail(&["zone", "halt", "z", "--for", "60000"]);
    tail.wait(1);
    assert_eq!(broker.show("z")["halted"], true);
    halted.signal(Signal::SIGINT);
    halted.wait().failed(130, &[]);
    assert_eq!(broker.show("z")["halted"], false);
}

#[test]
fn a_command_runs_while_it_lasts() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z"], b"").succeeded();
    let syncline = env!("CARGO_BIN_EXE_syncline");
    let inside = broker.run(&["zone", "halt", "z", "--", syncline, "zone", "show", "z", "--json"], b"").succeeded();
    assert_eq!(inside.json()[0]["halted"], true, "and nothing but its output is there");
    assert_eq!(broker.show("z")["halted"], false);
    let directory = broker.directory.path().to_str().unwrap();
    for (command, status, said) in [
        (&["sh", "-c", "exit 7"][..], 7, ""),
        (&["sh", "-c", "kill -9 $$"], 137, ""),
        (&["no-such-command-anywhere"], 127, "running `no-such-command-anywhere`: No such file"),
        (&[directory], 126, "Permission denied"),
    ] {
        let done = broker.run(&[&["zone", "halt", "z", "--"][..], command].concat(), b"").failed(status, &[said]);
        assert_eq!(done.err.is_empty(), said.is_empty(), "{}", done.err);
        assert_eq!(broker.show("z")["halted"], false);
    }
}

#[test]
fn a_command_does_not_outlive_it() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z"], b"").succeeded();
    // Ends in a way of its own when it is told to, and some time in any case. It does not hold what we wait for.
    let command = "exec 2>&-; trap 'exit 9' TERM; echo $$; for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7 8 9; do sleep 1; done; done";
    for (signal, status) in [(Signal::SIGINT, 9), (Signal::SIGTERM, 9), (Signal::SIGKILL, 137)] {
        let (halted, tail) = broker.tail(&["zone", "halt", "z", "--", "sh", "-c", command]);
        let pid: u64 = tail.wait(1)[0].parse().unwrap();
        assert!(broker.show("z")["halted"] == true && !is_gone(pid));
        halted.signal(signal);
        assert_eq!(halted.wait().status, status);
        eventually("the command has ended", || is_gone(pid));
        eventually("the zone goes on", || broker.show("z")["halted"] == false);
    }
}

#[test]
fn a_writer_that_is_stopped_in_a_commit_is_named() {
    const TRIES: usize = 500;
    let broker = Broker::start();
    let mut lines = Guard(std::process::Command::new("yes").stdout(Stdio::piped()).spawn().unwrap());
    let input = lines.0.stdout.take().unwrap();
    let flood = broker.command(&["pub", "c", "--zone", "z", "--name", "flood"]).stdin(input).spawn();
    let flood = Guard(flood.unwrap());
    let pid = nix::unistd::Pid::from_raw(flood.0.id().try_into().unwrap());
    eventually("the flood", || broker.list().iter().any(|zone| zone["writers"][0]["commits"].as_u64() > Some(0)));
    let mut rested = 0;
    let named = (0..TRIES).find_map(|_| {
        nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
        let done = broker.run(&["zone", "halt", "z", "--for", "1"], b"").succeeded();
        // What a command prints is left alone.
        let quiet = broker.run(&["zone", "halt", "z", "--", "true"], b"").succeeded();
        nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
        assert_eq!((quiet.text(), quiet.err.is_empty()), ("", done.text() == "halted: every writer is at rest\n"));
        let late = done.text().contains("late");
        rested += usize::from(!late);
        late.then(|| done.text().to_owned())
    });
    println!("late after {rested} times at rest");
    let named = named.expect("it was never stopped in a commit");
    let expected = format!("halted, but in the middle of a commit and late: writer 0 (`flood`, process {pid})\n");
    assert_eq!(named, expected);
}
