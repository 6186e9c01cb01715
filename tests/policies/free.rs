//! Policies whose edges wait for nobody: exact ones, every so many commits or bytes, and the heartbeat. Under each, everybody is stopped
//! and killed once, and the others go on.

use super::stage::{Actor, Stage, act};
use super::support::ledger::Seen;
use super::support::*;
use std::time::Duration;
use syncline::{Reason, Zone};

/// How many eras with work of each of the others must come while somebody is away.
const MORE: u64 = 20;

/// While `away` is stopped, the others' work goes on being sealed, and nothing of `away` is; then it goes on where it was.
fn stop(stage: &mut Stage, away: &Actor, others: &[&Actor]) {
    away.process.stop();
    let noted = away.progress();
    stage.more(others, MORE);
    assert_eq!(away.progress(), noted, "it was not stopped");
    let shown = stage.observer.last_of(away.pid());
    assert!(shown <= noted + 1, "batch {shown} of a process that was stopped after {noted}");
    away.process.resume();
    stage.more(&[away], MORE);
}

/// `away` is killed: what it had committed is sealed, its end is told for each of its channels, the others go on.
fn kill(stage: &mut Stage, mut away: Actor, others: &[&Actor]) {
    let told = stage.observer.closed.len();
    away.process.kill();
    let noted = away.progress();
    stage.closed(told + 2, others);
    let is_its = |closed: &syncline::Closed| closed.died && closed.writer == away.row;
    assert!(stage.observer.closed[told..].iter().all(is_its), "{:?}", stage.observer.closed);
    let shown = stage.observer.last_of(away.pid());
    assert!(noted <= shown && shown <= noted + 1, "batch {shown} was the last sealed, {noted} the last noted");
    stage.more(others, MORE);
}

/// Everybody is stopped and killed, one after the other. `runner`: the role of those who run the edges.
fn goes_on(test: &str, runner: &str, expected: Reason, options: impl Fn(Zone) -> Zone) {
    if let Some(role) = role() {
        return act(&role);
    }
    let mut stage = Stage::new(test, options);
    let (writer, runs) = (stage.start("writer", "writer"), stage.start(runner, "runs"));
    let (lasts, lasts_too) = (stage.start(runner, "lasts"), stage.start("writer", "lasts too"));
    let (mut reader, reads) = (stage.start("reader", "reader"), stage.start("reader", "reads"));
    let seen = stage.more(&[&writer, &runs, &lasts, &lasts_too], MORE);
    let is_expected = |seen: &Seen| seen.edge.as_ref().is_none_or(|edge| edge.reason == expected);
    assert!(seen.iter().all(is_expected), "edges pass for another reason: {seen:?}");

    stop(&mut stage, &writer, &[&runs, &lasts, &lasts_too]);
    stop(&mut stage, &runs, &[&writer, &lasts, &lasts_too]);
    // A reader takes up where it was.
    reader.process.stop();
    let was = reader.progress();
    stage.more(&[&writer, &runs, &lasts, &lasts_too], MORE);
    let goal = stage.observer.era;
    assert_eq!(reader.progress(), was, "it was not stopped");
    assert!(was < goal);
    reader.process.resume();
    eventually("a reader that was stopped catches up", || reader.progress() >= goal);
    stage.broker.stop();
    stage.more(&[&writer, &runs, &lasts, &lasts_too], MORE);
    stage.broker.resume();
    stage.more(&[&writer, &runs, &lasts, &lasts_too], MORE);

    kill(&mut stage, writer, &[&runs, &lasts, &lasts_too]);
    kill(&mut stage, runs, &[&lasts, &lasts_too]);
    reader.process.kill();
    stage.more(&[&lasts, &lasts_too], MORE);
    let readers = || stage.bus.list().expect("list")[0].readers.len();
    eventually("the reader that was killed has gone", || readers() == 2);
    stage.broker.kill();
    stage.more(&[&lasts, &lasts_too], MORE);
    // Without a broker too.
    stop(&mut stage, &lasts_too, &[&lasts]);
    if runner == "writer" {
        stop(&mut stage, &lasts, &[&lasts_too]);
    }
    stage.finish(vec![lasts, lasts_too], vec![reads]);
}

#[test]
fn exact_edges_go_on() {
    goes_on("free::exact_edges_go_on", "runner", Reason::Exact, |zone| zone);
}

#[test]
fn edges_by_commits_go_on() {
    goes_on("free::edges_by_commits_go_on", "writer", Reason::Commits, |zone| zone.every_commits(7));
}

#[test]
fn edges_by_bytes_go_on() {
    goes_on("free::edges_by_bytes_go_on", "writer", Reason::Bytes, |zone| zone.every_bytes(50));
}

#[test]
fn the_heartbeat_goes_on() {
    let click = |zone: Zone| zone.click(Duration::from_millis(5));
    goes_on("free::the_heartbeat_goes_on", "writer", Reason::Click, click);
}
