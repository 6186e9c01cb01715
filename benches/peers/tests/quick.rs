//! Everything runs: a quick run of all peers that were built has a figure for each of them, and every check holds.

use std::process::Command;

#[test]
fn every_peer_does_all_its_work() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    command.args(["--quick", "--work", "latency", "--work", "throughput", "--work", "wake"]);
    let output = command.args(["--size", "8", "--size", "16384", "--size", "1048576"]).output().unwrap();
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(!text.contains("given up"), "{text}\n{log}");
    // Titles in the tables, each with its runs.
    let mut peers = vec!["bare ring", "**Syncline**", "unix socket", "pipe"];
    peers.extend(cfg!(feature = "iceoryx2").then_some("iceoryx2"));
    peers.extend(cfg!(feature = "aeron").then_some("Aeron IPC"));
    peers.extend(cfg!(feature = "zeromq").then_some("ZeroMQ ipc"));
    for peer in peers {
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("| {peer} |"))).collect();
        // Latency and throughput of three sizes; all but two can sleep too.
        let expected = if matches!(peer, "bare ring" | "Aeron IPC") { 6 } else { 7 };
        assert_eq!(rows.len(), expected, "{peer}: {text}");
        assert!(rows.iter().all(|row| row.ends_with("| 2 (0) |")), "{peer}: {rows:?}");
    }
}

#[test]
fn every_table_is_set_and_got() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    let output = command.args(["--quick", "--work", "table"]).output().unwrap();
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(!text.contains("given up"), "{text}\n{log}");
    let mut boards = vec!["bare seqlock", "**Syncline**"];
    boards.extend(cfg!(feature = "iceoryx2").then_some("iceoryx2"));
    for board in boards {
        let rows = || text.lines().filter(|line| line.split(" | ").nth(1) == Some(board));
        // Alone, against the other at full speed and at two rates, each got and set; Syncline also gets many together, the others say why not.
        let measured = if board == "**Syncline**" { 9 } else { 8 };
        assert_eq!(rows().filter(|row| row.ends_with("| 2 (0) |")).count(), measured, "{board}: {text}");
        assert_eq!(rows().filter(|row| row.contains("| can not: ")).count(), 9 - measured, "{board}: {text}");
        // Nobody else, or both with a rate.
        let idle = rows().filter(|row| row.contains(" | none | ")).count();
        assert_eq!((idle, rows().count()), (2, 9), "{board}: {text}");
    }
}
