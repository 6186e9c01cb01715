//! The broker as a process: one at a place, tidy ends.

use crate::harness::{Broker, Running, eventually, syncline, wait};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown, geteuid};
use std::os::unix::net::UnixListener;

#[test]
fn without_a_broker() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for arguments in [&["pub", "c"][..], &["sub", "c"], &["ls"], &["watch"]] {
        let done = Running::new(syncline().args(arguments).arg("--socket").arg(&socket)).wait();
        done.failed(1, &["no broker at ", "none.sock", "start one with `syncline broker`"]);
    }
}

#[test]
fn a_second_broker_says_so_and_ends() {
    let broker = Broker::start();
    let pid = broker.child.id();
    broker.run(&["broker"], b"").failed(1, &["another broker", &format!("pid {pid}"), "already serves"]);
    broker.run(&["ls"], b"").succeeded();
}

#[test]
fn signals_end_it_tidily() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut broker = Broker::start();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(broker.child.id() as i32), signal).unwrap();
        assert_eq!(wait(&mut broker.child), 0);
        assert!(!broker.socket().exists());
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let mut broker = Broker::start();
    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    assert!(broker.socket().exists());
    broker.run(&["ls"], b"").failed(1, &["no broker at "]);
    broker.child = Broker::start_at(&broker.socket());
    broker.run(&["ls"], b"").succeeded();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("file");
    std::fs::write(&socket, "precious").unwrap();
    Running::new(syncline().arg("broker").arg("--socket").arg(&socket)).wait().failed(1, &["file"]);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if !geteuid().is_root() {
        return; // nobody else can give a directory away
    }
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("syncline");
    std::fs::create_dir(&place).unwrap();
    chown(&place, Some(Uid::from_raw(12345)), None).unwrap();
    let done = Running::new(syncline().arg("broker").env("XDG_RUNTIME_DIR", directory.path())).wait();
    done.failed(1, &["expected a directory owned by uid 0", "uid 12345"]);
}

#[test]
fn a_socket_of_somebody_else_is_refused() {
    if !geteuid().is_root() {
        return; // nobody else can give a socket away
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    chown(&socket, Some(Uid::from_raw(12345)), None).unwrap();
    let done = Running::new(syncline().arg("ls").arg("--socket").arg(&socket)).wait();
    done.failed(1, &["socket owned by somebody else", "uid 12345"]);
}

#[test]
fn a_pair_talks_on_without_its_broker() {
    let mut broker = Broker::start();
    let reader = broker.spawn(&["sub", "c", "--synced", "--count", "3"]);
    let mut writer = broker.spawn(&["pub", "c", "--wait-readers", "1", "--edge", "each"]);
    writer.write(b"1\n");
    eventually("an era", || broker.list().iter().any(|zone| zone["era"].as_u64() >= Some(1)));
    broker.child.kill().unwrap();
    broker.child.wait().unwrap();
    writer.write(b"2\n3\n");
    assert_eq!(reader.wait().succeeded().text(), "1\n2\n3\n");
    writer.wait().succeeded();
}

#[test]
fn ls_tells_who_is_there() {
    let broker = Broker::start();
    assert_eq!(broker.run(&["ls"], b"").succeeded().text(), "");
    let reader = broker.spawn(&["sub", "c", "--zone", "z", "--synced", "--until-closed", "--name", "them"]);
    let writer = broker.spawn(&["pub", "c", "--zone", "z", "--wait-readers", "1", "--capacity", "64K", "--name", "me"]);
    eventually("both are there", || {
        let zones = broker.list();
        zones.iter().any(|zone| zone["writers"][0]["channels"][0] == "c" && zone["readers"][0]["name"] == "them")
    });
    let zones = broker.list();
    let zone = &zones[0];
    assert_eq!((zones.len(), &zone["zone"]), (1, &"z".into()));
    assert!(zone["bytes"].as_u64().unwrap() > 65536);
    let channel = &zone["channels"][0];
    assert_eq!((&channel["channel"], &channel["writers"], &channel["readers"]), (&"c".into(), &1.into(), &1.into()));
    assert_eq!((&channel["bytes"], &channel["type"]["size"]), (&65536.into(), &0.into()));
    assert_eq!((&zone["writers"][0]["name"], &zone["writers"][0]["pid"]), (&"me".into(), &writer.child.id().into()));
    let listed = &zone["readers"][0];
    assert_eq!((&listed["synced"], &listed["pid"]), (&true.into(), &reader.child.id().into()));
    let table = broker.run(&["ls"], b"").succeeded();
    for shown in ["zone z: era 0", "plain bytes", "64.0 KiB", "them", "synced"] {
        assert!(table.text().contains(shown), "{shown}: {}", table.text());
    }
    writer.wait().succeeded();
    reader.wait().succeeded();
    eventually("all are gone", || broker.list().is_empty());
}

#[test]
fn watch_tells_who_comes_and_goes() {
    let broker = Broker::start();
    let watch = broker.spawn(&["watch", "--json", "--zone", "z"]);
    // The watch may be there before or after: either way it is told who comes.
    let mut victim = broker.spawn(&["pub", "c", "--zone", "z", "--name", "victim"]);
    eventually("the writer", || !broker.list().is_empty());
    std::thread::sleep(std::time::Duration::from_millis(300));
    victim.child.kill().unwrap();
    victim.wait().failed(137, &[]);
    broker.run(&["pub", "c", "--zone", "z", "--name", "leaver"], b"1\n").succeeded();
    broker.run(&["pub", "c", "--zone", "other", "--name", "stranger"], b"1\n").succeeded();
    std::thread::sleep(std::time::Duration::from_millis(300));
    watch.signal(Signal::SIGINT);
    let events = watch.wait().failed(130, &[]).json();
    let told = |what: &str, name: &str| events.iter().any(|event| event["what"] == what && event["name"] == name);
    assert!(told("came", "victim") && told("died", "victim"), "{events:?}");
    assert!(told("came", "leaver") && told("left", "leaver"), "{events:?}");
    assert!(!told("came", "stranger"), "{events:?}");
}
