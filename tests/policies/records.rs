//! What is on record of an edge is decided once: readers in different processes find the same, and whoever asked finds its tag.

use super::stage::{Stage, act};
use super::support::*;
use std::collections::BTreeMap;
use std::time::Duration;
use syncline::Reason;

/// Lines of a log by the number that they begin with.
fn by_era(log: Vec<String>) -> BTreeMap<u64, String> {
    let era = |line: String| {
        let (era, rest) = line.split_once(' ').expect("two words");
        (era.parse().expect("an era"), rest.to_owned())
    };
    log.into_iter().map(era).collect()
}

#[test]
fn are_the_same_for_all_readers() {
    if let Some(role) = role() {
        return act(&role);
    }
    let work = times(1000, 20_000);
    // Clicks, edges by commits and tagged ones compete, and a slow writer straddles; stopped, it does so all the time, or not at all.
    let mut stage = Stage::new("records::are_the_same_for_all_readers", |zone| {
        zone.eras(4096).click(Duration::from_millis(2)).every_commits(3)
    });
    stage.pause = Duration::from_micros(100);
    let (reader, other) = (stage.start("reader", "reader"), stage.start("reader", "other"));
    let (one, two) = (stage.start("tagger", "one"), stage.start("tagger", "two"));
    let slow = stage.start("slow", "slow");
    let mut seen = BTreeMap::new();
    let mut straddled = 0;
    let mut add = |all: Vec<ledger::Seen>| {
        for era in all {
            straddled += u64::from(era.record().straddlers.contains(&slow.row));
            let edge = era.record().clone();
            assert!(seen.insert(edge.era, edge).is_none());
        }
    };
    for _ in 0..times(20, 100) {
        slow.process.stop();
        add(stage.more(&[&one, &two], work / 100));
        slow.process.resume();
        add(stage.more(&[&one, &two, &slow], work / 100));
    }
    // The rest is looked at in the logs.
    stage.finish_with(vec![one, two, slow], vec![reader, other], |stage| {
        let logs = ["reader", "other"].map(|name| by_era(stage.log(name)));
        let tags: Vec<_> = ["one", "two"].into_iter().flat_map(|name| by_era(stage.log(name))).collect();
        assert!(logs[0].values().all(|line| line.starts_with("false")), "eras were merged: a reader was too slow");
        let first = *logs[0].keys().min().unwrap().max(logs[1].keys().min().unwrap());
        let last = *logs[0].keys().max().unwrap().min(logs[1].keys().max().unwrap());
        let common =
            |log: &BTreeMap<u64, String>| log.range(first..=last).map(|(era, line)| (*era, line.clone())).collect();
        let [left, right]: [Vec<(u64, String)>; 2] = [common(&logs[0]), common(&logs[1])];
        assert_eq!(left.len(), right.len());
        for (left, right) in left.iter().zip(&right) {
            assert_eq!(left, right);
        }
        // The observer found the same.
        for (era, edge) in seen.range(first..) {
            assert!(logs[0][era].starts_with(&format!("false Some({edge:?})")), "{edge:?} is {}", logs[0][era]);
        }
        let mut edges = seen.values();
        let mut before = edges.next().unwrap();
        for edge in edges {
            assert!(edge.time >= before.time, "{edge:?} after {before:?}");
            before = edge;
        }
        // Who asked for a tagged edge was told which it is, and no other edge has that tag.
        for (era, tag) in &tags {
            let Some(line) = logs[0].get(era) else { continue };
            assert!(line.contains(&format!("tag: Some({tag})")), "era {era} was tagged {tag}: {line}");
        }
        let tagged = logs[0].values().filter(|line| line.contains("tag: Some")).count();
        let told = tags.iter().filter(|(era, _)| logs[0].contains_key(era)).count();
        assert!(tagged >= told && told > 0, "{tagged} eras with tags, {told} of them told");
        let by = |reason: Reason| logs[0].values().filter(|line| line.contains(&format!("reason: {reason:?}"))).count();
        let reasons = [Reason::Exact, Reason::Click, Reason::Commits].map(by);
        println!(
            "\n{} eras: {reasons:?} by edges, clicks, commits; {told} tags; the slow writer straddled in {straddled}",
            left.len()
        );
        assert!(straddled > 0, "nobody straddled");
        assert!(reasons.iter().all(|count| *count > 0), "not all kinds of edges competed");
    });
}

#[test]
fn tags_are_never_mixed_up() {
    if let Some(role) = role() {
        return act(&role);
    }
    let work = times(60_000, 1_000_000);
    let mut stage = Stage::new("records::tags_are_never_mixed_up", |zone| zone.eras(4096));
    stage.pause = Duration::ZERO;
    let (one, two) = (stage.start("tagger", "one"), stage.start("tagger", "two"));
    let mut seen = BTreeMap::new();
    while (seen.len() as u64) < work {
        seen.extend(stage.more(&[&one, &two], 1).iter().map(|seen| (seen.number, seen.record().tag)));
    }
    stage.finish_with(vec![one, two], Vec::new(), |stage| {
        let logs = ["one", "two"].map(|name| by_era(stage.log(name)));
        let mut told = 0;
        for (era, tag) in logs.iter().flatten() {
            let Some(found) = seen.get(era) else { continue };
            told += 1;
            assert_eq!(*found, Some(tag.parse().unwrap()), "era {era}");
        }
        let mut tags: Vec<_> = seen.values().flatten().collect();
        let tagged = tags.len();
        tags.sort_unstable();
        tags.dedup();
        println!("\n{} eras, {tagged} with a tag, {} different ones; {told} told", seen.len(), tags.len());
        assert!(logs[0].keys().all(|era| !logs[1].contains_key(era)), "one era, two tags");
    });
}
