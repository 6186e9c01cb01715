//! Whoever runs the edges is killed, again and again, at random moments, while others run theirs.

use super::stage::{Actor, PER_ROUND, Stage, act};
use super::support::*;
use std::time::Duration;
use syncline::{Pace, Zone};

/// Kills participants of this role one after the other, each a moment after it has begun; how often it was at what then, and how
/// often nothing of a round that it had begun was sealed.
fn kill_some(stage: &mut Stage, role: &str, others: &[&Actor], kills: u64) -> ([u64; 3], u64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let is_revocable = stage.bus.list().expect("list")[0].geometry.pace == Pace::Revocable;
    let (mut was_at, mut lost) = ([0; 3], 0);
    let mut victim = stage.start(role, "victim");
    for kill in 0..kills {
        stage.more(&[&victim], 2);
        let told = stage.observer.closed.len();
        // From a thread of its own: while nobody reads, writers wait for room.
        let (process, delay) = (&mut victim.process, Duration::from_micros(random.below(1500)));
        std::thread::scope(|scope| {
            let killed = scope.spawn(|| {
                std::thread::sleep(delay);
                process.kill();
            });
            while !killed.is_finished() {
                stage.more(others, 1);
            }
        });
        was_at[victim.was_at()] += 1;
        let noted = victim.progress();
        stage.closed(told + 2, others);
        assert!(stage.observer.closed[told..].iter().all(|closed| closed.died && closed.writer == victim.row));
        let shown = stage.observer.last_of(victim.pid());
        // What a member has committed in its last round, it had not noted; in a revocable zone, it counts as a whole or not at all.
        let most = if role == "member" { PER_ROUND } else { 1 };
        assert!(noted <= shown && shown <= noted + most, "kill {kill}: {shown} was sealed last, {noted} noted last");
        assert!(!is_revocable || shown.is_multiple_of(PER_ROUND), "kill {kill}: {shown} is in the middle of a round");
        lost += u64::from(is_revocable && victim.was_at() == 1 && shown == noted);
        stage.more(others, 2);
        victim = stage.replace(&victim, role, "victim");
    }
    (was_at, lost)
}

fn kill_all_along(test: &str, role_name: &str, options: impl Fn(Zone) -> Zone) {
    if let Some(role) = role() {
        return act(&role);
    }
    let at_a_time = times(60, 1000);
    let mut stage = Stage::new(test, options);
    stage.pause = Duration::ZERO;
    let (one, two) = (stage.start(role_name, "one"), stage.start(role_name, "two"));
    let (mut at_an_edge, mut waited, mut lost, mut kills) = (0, 0, 0, 0);
    // Until it was seen: the moment at an edge is short.
    while kills == 0 || at_an_edge == 0 && kills < 10 * at_a_time {
        let (was_at, left_out) = kill_some(&mut stage, role_name, &[&one, &two], at_a_time);
        (at_an_edge, waited) = (at_an_edge + was_at[1], waited + was_at[2]);
        (lost, kills) = (lost + left_out, kills + at_a_time);
    }
    println!(
        "\n{kills} kills, {at_an_edge} of them at an edge or before a permit, {waited} after it; {lost} rounds were left out; {} eras, {} batches of those who went on",
        stage.observer.era,
        stage.observer.last_of(one.pid()) + stage.observer.last_of(two.pid())
    );
    assert!(at_an_edge > 0, "nobody was killed at an edge");
    // (What is committed stays, unless the zone is revocable.)
    assert!(lost > 0 || role_name == "runner" || !test.contains("revocable"), "nothing was left out");
    assert!(waited > 0 || role_name == "runner", "nobody was killed after its permit");
    stage.finish(vec![one, two], Vec::new());
}

#[test]
fn exact_edges() {
    kill_all_along("kills::exact_edges", "runner", |zone| zone);
}

#[test]
fn permits() {
    // So long that nobody waits for it.
    let options = |zone: Zone| zone.lockstep(10 * LONG);
    kill_all_along("kills::permits", "member", options);
}

#[test]
fn revocable_permits() {
    let options = |zone: Zone| zone.revocable(10 * LONG);
    kill_all_along("kills::revocable_permits", "member", options);
}
