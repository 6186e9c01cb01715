//! Edges after so many commits or bytes: exactly there.

use super::puppets::Theatre;
use super::support::*;
use syncline::{Reason, Zone};

#[test]
fn an_edge_after_every_so_many_commits() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let test = "counted::an_edge_after_every_so_many_commits";
    let mut theatre = Theatre::new(test, |zone: Zone| zone.every_commits(5));
    let (mut puppet, mut other) = (theatre.puppet("writer"), theatre.puppet("other"));
    for value in 1..=9 {
        puppet.publish(value);
    }
    // A batch is one commit.
    puppet.must("batch");
    puppet.must("push a 10");
    puppet.must("push b 10");
    puppet.must("push a 11");
    puppet.must("commit");
    let seen = theatre.up_to(2);
    assert_eq!((seen[0].of(puppet.row), seen[1].of(puppet.row)), (vec![1, 2, 3, 4, 5], vec![6, 7, 8, 9, 10, 11]));
    assert!(seen.iter().all(|seen| seen.record().reason == Reason::Commits));
    // Each writer counts its own.
    for value in 12..=15 {
        puppet.publish(value);
        other.publish(value);
    }
    assert_eq!(theatre.observer.reader.generation().unwrap(), 2);
    other.publish(16);
    let seen = theatre.next();
    assert_eq!((seen.of(puppet.row), seen.of(other.row)), (vec![12, 13, 14, 15], vec![12, 13, 14, 15, 16]));
    // An edge of somebody else's does not set the count back.
    assert_eq!(other.ask("edge"), "4");
    puppet.publish(16);
    let seen = theatre.up_to(5);
    assert_eq!((seen[0].record().reason, seen[1].record().reason), (Reason::Exact, Reason::Commits));
    assert_eq!((seen[0].of(puppet.row), seen[1].of(puppet.row)), (vec![], vec![16]));
}

#[test]
fn an_edge_after_every_so_many_bytes() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let test = "counted::an_edge_after_every_so_many_bytes";
    let mut theatre = Theatre::new(test, |zone: Zone| zone.every_bytes(40));
    let (mut puppet, mut other) = (theatre.puppet("writer"), theatre.puppet("other"));
    for value in 1..=5 {
        other.publish(value);
        puppet.publish(value);
    }
    let seen = theatre.up_to(2);
    assert_eq!((seen[0].of(other.row), seen[0].of(puppet.row)), (vec![1, 2, 3, 4, 5], vec![1, 2, 3, 4]));
    assert_eq!((seen[1].of(other.row), seen[1].of(puppet.row)), (vec![], vec![5]));
    // A batch is in one era, however much it is.
    puppet.must("batch");
    for value in 6..=20 {
        puppet.must(&format!("push a {value}"));
    }
    assert_eq!(theatre.observer.reader.generation().unwrap(), 2);
    puppet.must("commit");
    let seen = theatre.next();
    assert_eq!(seen.of(puppet.row), (6..=20).collect::<Vec<_>>());
    assert_eq!(seen.record().reason, Reason::Bytes);
    assert_eq!(theatre.observer.reader.generation().unwrap(), 3);
}
