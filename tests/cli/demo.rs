//! The demos: whole eras from separate processes, and money that only vanishes live.

use crate::harness::{Running, eventually, is_gone, syncline};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::io::BufRead;

#[test]
fn whole_eras_from_separate_processes() {
    let demo = Running::new(syncline().args(["demo", "--seconds", "2", "--json"]));
    let parent = u64::from(demo.child.id());
    let mut eras = demo.wait().succeeded().json();
    let summary = eras.pop().unwrap();
    let whole: Vec<&Value> = eras.iter().filter(|era| era["whole"] == true).collect();
    assert!(!whole.is_empty(), "{summary}");
    assert_eq!((&summary["eras"], &summary["whole"]), (&eras.len().into(), &whole.len().into()));
    for era in &whole {
        let of_tick = era["samples"].as_array().unwrap().iter().filter(|sample| sample["tick"] == era["tick"]);
        let channels: Vec<_> = of_tick.map(|sample| sample["channel"].as_str().unwrap()).collect();
        assert_eq!(channels, ["cpu", "memory", "network"]);
    }
    let memory = &whole[0]["samples"].as_array().unwrap().iter().find(|said| said["channel"] == "memory").unwrap();
    assert!(memory["fields"]["total"].as_u64().unwrap() > 1 << 20);
    let pids: HashSet<u64> = summary["pids"].as_object().unwrap().values().filter_map(Value::as_u64).collect();
    assert!(pids.len() == 3 && !pids.contains(&parent), "{summary}");
}

#[test]
fn a_line_for_people_and_a_summary() {
    let done = Running::new(syncline().args(["demo", "--seconds", "0.5"])).wait().succeeded();
    assert!(done.text().starts_with("era "), "{}", done.text());
    assert!(done.text().lines().last().unwrap().contains(" messages from pids cpu "), "{}", done.text());
}

#[test]
fn money_vanishes_live_and_never_synced() {
    let done = Running::new(syncline().args(["demo", "torn", "--seconds", "2", "--json"])).wait().succeeded();
    let counts = &done.json()[0];
    let count = |reader: &str, what: &str| counts[reader][what].as_u64().unwrap();
    assert!(count("live", "torn") > 0, "{counts}");
    assert_eq!(count("synced", "torn"), 0, "{counts}");
    assert!(count("synced", "reads") > 1000 && count("live", "reads") > count("live", "torn"), "{counts}");
}

/// A demo that would go on, and the processes that it has started.
fn long_demo() -> (Running, Vec<u64>) {
    let (demo, mut output) = Running::with_output(syncline().args(["demo", "--seconds", "60", "--json"]));
    let mut pids = Vec::new();
    while pids.len() < 3 {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let era: Value = serde_json::from_str(&line).unwrap();
        pids = era["samples"].as_array().unwrap().iter().map(|sample| sample["pid"].as_u64().unwrap()).collect();
    }
    // Kept open: a closed output would end it.
    std::mem::forget(output);
    (demo, pids)
}

#[test]
fn its_processes_end_with_it() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGKILL, 137)] {
        let (demo, pids) = long_demo();
        demo.signal(signal);
        demo.wait().failed(status, &[]);
        eventually("its processes are gone", || pids.iter().all(|&pid| is_gone(pid)));
    }
}

#[test]
fn a_closed_output_ends_it() {
    let (demo, mut output) = Running::with_output(syncline().args(["demo", "--seconds", "60"]));
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    demo.wait().succeeded();
}
