//! Running commands that have a lock.

use crate::harness::{Broker, Running, Tail, eventually, is_gone};
use nix::sys::signal::Signal;

/// Holds a lock until it is told to end; it prints its number.
fn hold(broker: &Broker, name: &str) -> (Running, u64) {
    let command = "echo $SYNCLINE_FENCE; read line";
    let (running, tail) = broker.tail(&["lock", "z", name, "--", "sh", "-c", command]);
    let fence = tail.wait(1)[0].parse().unwrap();
    (running, fence)
}

#[test]
fn a_command_has_the_lock_and_its_number() {
    let broker = Broker::start();
    let command = ["sh", "-c", "echo $SYNCLINE_FENCE; cat; exit 7"];
    let run = || broker.run(&[&["lock", "z", "l", "--"], &command[..]].concat(), b"input\n").failed(7, &[]);
    let (first, second) = (run(), run());
    let fence = |text: &str| text.strip_suffix("\ninput\n").unwrap().parse::<u64>().unwrap();
    assert!(fence(first.text()) < fence(second.text()));
    assert_eq!(first.err, "", "nobody has died");
    broker.run(&["lock", "z", "l", "--", "true"], b"").succeeded();
    broker.run(&["lock", "z", "l", "--", "no-such-command-anywhere"], b"").failed(127, &["running `no-such-command"]);
    broker.run(&["lock", "z", "l"], b"").failed(2, &["COMMAND"]);
    broker.run(&["lock", "z", "l", "--try", "--timeout", "1", "--", "true"], b"").failed(2, &["--timeout"]);
    broker.run(&["lock", "z", "", "--", "true"], b"").failed(1, &["name of a lock"]);
}

#[test]
fn others_wait_in_turn_or_do_not() {
    let broker = Broker::start();
    let (holder, first) = hold(&broker, "l");
    let syncline = env!("CARGO_BIN_EXE_syncline");
    // Another lock is none of its business.
    broker.run(&["lock", "z", "other", "--", syncline, "lock", "y", "l", "--try", "--", "true"], b"").succeeded();
    for wait in [&["--try"][..], &["--timeout", "0.05"], &["--timeout", "0"]] {
        let done = broker.run(&[&["lock", "z", "l"], wait, &["--", "echo", "no"]].concat(), b"");
        assert_eq!(done.failed(3, &["lock `l` of zone `z`: somebody else has it"]).text(), "");
    }
    let order = broker.directory.path().join("order");
    let append = format!("echo $SYNCLINE_FENCE >> {}", order.display());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let waiting = broker.spawn(&["lock", "z", "l", "--timeout", "60", "--", "sh", "-c", &append]);
            let bus = syncline::Bus::connect_to(&broker.socket()).unwrap();
            let mut watch = bus.zone("z").lock("l").watch().unwrap();
            (waiting, watch.next(std::time::Duration::ZERO).unwrap())
        })
        .collect();
    assert!(waiting.iter().all(|(_, state)| state.fence == first && state.holder_pid == holder.child.id()));
    holder.wait().failed(1, &[]);
    for (waiting, _) in waiting {
        assert_eq!(waiting.wait().succeeded().err, "", "nobody has died");
    }
    let order = std::fs::read_to_string(order).unwrap();
    let order: Vec<u64> = order.lines().map(|line| line.parse().unwrap()).collect();
    assert!(order.len() == 3 && order[0] > first && order.is_sorted(), "{order:?}");
}

#[test]
fn the_next_is_told_of_a_death() {
    let broker = Broker::start();
    let (holder, _) = hold(&broker, "l");
    let next = broker.spawn(&["lock", "z", "l", "--", "true"]);
    holder.signal(Signal::SIGKILL);
    holder.wait().failed(137, &[]);
    assert_eq!(next.wait().succeeded().err, "syncline: whoever had the lock `l` of zone `z` last died with it\n");
    assert_eq!(broker.run(&["lock", "z", "l", "--", "true"], b"").succeeded().err, "", "that one did not");
}

#[test]
fn signals_end_the_command_and_the_wait() {
    let broker = Broker::start();
    let command = "exec 2>&-; trap 'exit 9' TERM; echo $$; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; done";
    let start = || -> (Running, Tail) { broker.tail(&["lock", "z", "l", "--", "sh", "-c", command]) };
    for (signal, status) in [(Signal::SIGINT, 9), (Signal::SIGTERM, 9), (Signal::SIGKILL, 137)] {
        let (holder, tail) = start();
        let pid: u64 = tail.wait(1)[0].parse().unwrap();
        let waiting = broker.spawn(&["lock", "z", "l", "--", "true"]);
        waiting.signal(Signal::SIGINT);
        waiting.wait().failed(130, &[]);
        holder.signal(signal);
        assert_eq!(holder.wait().status, status);
        eventually("the command has ended", || is_gone(pid));
    }
    let (holder, tail) = start();
    let pid: u64 = tail.wait(1)[0].parse().unwrap();
    let mut broker = broker;
    broker.child.kill().unwrap();
    holder.wait().failed(1, &["the lock is lost: the broker has gone"]);
    eventually("the command has ended", || is_gone(pid));
}
