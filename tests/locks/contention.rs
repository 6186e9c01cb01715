//! Several processes that want one lock, of which some are killed or stopped at any moment.

use crate::support::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use syncline::{Bus, Error, Lock, LockGuard, LockState, LockWatch};

const TEST: &str = "contention::one_holder_at_a_time";
const WORKERS: usize = 4;
/// The longest time that a lock is held or done without, in microseconds.
const LONGEST: u64 = 300;

/// Words: the process that is inside; the largest number stored by a holder; stores refused, since a later holder's was there; times that two were
/// inside of whom neither was dead; holders told of a death, with and without somebody's leavings.
const INSIDE: usize = 0;
const STORED: usize = 1;
const REFUSED: usize = 2;
const OVERLAPS: usize = 3;
const DIED: usize = 4;
const LEAVINGS: usize = 5;
/// Acquisitions given up, and holdings.
const GIVEN_UP: usize = 6;
const HELD: usize = 7;
/// Grants that crossed the word that takes the request back.
const CROSSED: usize = 8;
/// From here on: what each worker is at, as [`at`] has it.
const FIRST: usize = 9;

/// What a worker is at with its last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// It has not been granted anything.
    Nothing,
    /// It has the lock, and has not counted that yet.
    Entered,
    /// It is inside.
    Inside,
    /// It gives the lock back: the broker may have heard it or not.
    Releasing,
    /// It has given the lock back.
    Released,
}

const ALL: [At; 5] = [At::Nothing, At::Entered, At::Inside, At::Releasing, At::Released];

fn note(word: &AtomicU64, fence: u64, at: At) {
    word.store(fence << 3 | at as u64, SeqCst);
}

fn noted(word: &AtomicU64) -> (u64, At) {
    let word = word.load(SeqCst);
    (word >> 3, ALL[(word & 7) as usize])
}

/// Whether a process is dead: it may still be waited for.
fn is_dead(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with(['Z', 'X']) || stat.is_empty())
}

fn spin(random: &mut Random) {
    let end = std::time::Instant::now() + Duration::from_micros(random.below(LONGEST));
    while std::time::Instant::now() < end {
        std::hint::spin_loop();
    }
}

fn worker() -> ! {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let own = words.at(FIRST + argument("INDEX").parse::<usize>().expect("index"));
    let bus = Bus::connect().expect("connect");
    let lock = bus.zone("z").lock("l");
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    say("ready", "");
    loop {
        let acquired = match random.below(4) {
            0 => lock.try_acquire().expect("try"),
            1 => {
                let timeout = Duration::from_micros(random.below(2) * random.below(LONGEST));
                let acquired = match lock.acquire(timeout) {
                    Err(Error::Timeout) => None,
                    acquired => Some(acquired.expect("acquire in time")),
                };
                // Nobody else takes in what this process is told: the grant came when the request was already taken back.
                let has_crossed = timeout.is_zero() && acquired.is_some();
                words.at(CROSSED).fetch_add(has_crossed.into(), SeqCst);
                acquired
            }
            _ => Some(lock.acquire(LONG).expect("acquire")),
        };
        match acquired {
            Some(guard) => hold(guard, &words, own, &mut random),
            None => drop(words.at(GIVEN_UP).fetch_add(1, SeqCst)),
        }
        spin(&mut random);
    }
}

fn hold(guard: LockGuard, words: &SharedWord, own: &AtomicU64, random: &mut Random) {
    let (fence, died) = (guard.fence(), guard.predecessor_died());
    note(own, fence, At::Entered);
    let pid = u64::from(std::process::id());
    let before = words.at(INSIDE).swap(pid, SeqCst);
    if before != 0 {
        words.at(LEAVINGS).fetch_add(1, SeqCst);
        if !is_dead(before) || !died {
            words.at(OVERLAPS).fetch_add(1, SeqCst);
        }
    }
    words.at(DIED).fetch_add(died.into(), SeqCst);
    words.at(HELD).fetch_add(1, SeqCst);
    note(own, fence, At::Inside);
    store(fence, words);
    spin(random);
    store(fence, words);
    if words.at(INSIDE).compare_exchange(pid, 0, SeqCst, SeqCst).is_err() {
        words.at(OVERLAPS).fetch_add(1, SeqCst);
    }
    note(own, fence, At::Releasing);
    guard.release();
    note(own, fence, At::Released);
}

/// What the lock guards: it takes no store of somebody who has been overtaken.
fn store(fence: u64, words: &SharedWord) {
    let stored = words.at(STORED).fetch_update(SeqCst, SeqCst, |seen| (seen <= fence).then_some(fence));
    if stored.is_err() {
        words.at(REFUSED).fetch_add(1, SeqCst);
    }
}

/// All that is told of a lock until somebody says that it is enough.
fn record(mut watch: LockWatch, is_enough: &AtomicBool) -> Vec<LockState> {
    let mut states = Vec::new();
    loop {
        match watch.next(Duration::from_millis(20)) {
            Ok(state) => states.push(state),
            Err(Error::Timeout) if is_enough.load(SeqCst) => return states,
            Err(Error::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What was done to the workers, and where it met them.
#[derive(Debug, Default)]
struct Met {
    killed: BTreeMap<String, u64>,
    stopped_inside: u64,
    stopped_elsewhere: u64,
    queued_behind_stopped: u64,
}

/// Would break: a broker that grants to two, takes a lock back for anything else than a death or its holder's word, or tells of a death that was none,
/// or not of one that was.
#[test]
fn one_holder_at_a_time() {
    if role().is_some() {
        worker();
    }
    let rounds = times(300, 3000);
    let bus = Bus::embedded().expect("broker");
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let lock = bus.zone("z").lock("l");
    let watch = lock.watch().expect("watch");
    let is_enough = AtomicBool::new(false);
    let (states, ends, met) = std::thread::scope(|scope| {
        let recorder = scope.spawn(|| record(watch, &is_enough));
        let (ends, met) = contend(rounds, &lock, bus.socket(), &path, &words);
        is_enough.store(true, SeqCst);
        (recorder.join().expect("all that was told"), ends, met)
    });
    let count = |index| words.at(index).load(SeqCst);
    println!(
        "\n{} holdings, {} given up, {} granted while they were given up; {met:?}; {} times the dead had left something inside",
        count(HELD),
        count(GIVEN_UP),
        count(CROSSED),
        count(LEAVINGS)
    );
    assert_eq!(count(OVERLAPS), 0, "two were inside, and none of them dead");
    assert_eq!(count(REFUSED), 0, "a holder was overtaken");
    check_deaths(&states, &ends, count(DIED));
    assert!(count(HELD) > rounds * 2, "hardly anybody held it");
    assert!(count(CROSSED) > 0 && count(GIVEN_UP) > 0, "no request was taken back");
    assert!(count(LEAVINGS) > 0 && met.killed.get("Inside") > Some(&0), "nobody was killed inside");
    assert!(met.killed.len() >= 3, "all were killed at the same");
    assert!(
        met.stopped_inside > 0 && met.stopped_elsewhere > 0 && met.queued_behind_stopped > 0,
        "no stop that matters"
    );
    eventually("the broker has forgotten the lock", || bus.embedded_broker().expect("embedded").stats().locks <= 1);
}

/// Kills and stops workers; what each that died was at in the end, by process, and what that met.
fn contend(
    rounds: u64,
    lock: &Lock,
    socket: &Path,
    path: &Path,
    words: &SharedWord,
) -> (BTreeMap<u32, (u64, At)>, Met) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut ends, mut met) = (BTreeMap::new(), Met::default());
    let start = |index: usize| {
        note(words.at(FIRST + index), 0, At::Nothing);
        let arguments = [("WORDS", path.display().to_string()), ("INDEX", index.to_string())];
        let mut process = Process::start(TEST, "worker", socket, &arguments);
        process.wait_for("ready");
        process
    };
    let mut workers: Vec<_> = (0..WORKERS).map(start).collect();
    for _ in 0..rounds {
        let index = random.below(WORKERS as u64) as usize;
        std::thread::sleep(Duration::from_micros(random.below(LONGEST)));
        // Half of them while they are inside, which is otherwise a matter of luck.
        let inside = words.at(INSIDE).load(SeqCst);
        let inside = workers.iter().position(|worker| u64::from(worker.pid()) == inside && random.below(2) == 0);
        let index = inside.unwrap_or(index);
        let worker = &mut workers[index];
        if random.below(3) == 0 {
            worker.stop();
            look_at_stopped(worker.pid(), lock, words, &mut met);
            worker.resume();
            continue;
        }
        if random.below(4) == 0 {
            // Somebody who is stopped first dies all the same.
            worker.stop();
        }
        worker.kill();
        let end = noted(words.at(FIRST + index));
        *met.killed.entry(format!("{:?}", end.1)).or_default() += 1;
        ends.insert(worker.pid(), end);
        workers[index] = start(index);
    }
    for (index, mut worker) in workers.into_iter().enumerate() {
        worker.kill();
        ends.insert(worker.pid(), noted(words.at(FIRST + index)));
    }
    (ends, met)
}

/// A process is stopped: if it holds the lock, nobody else gets it.
fn look_at_stopped(pid: u32, lock: &Lock, words: &SharedWord, met: &mut Met) {
    let is_inside = || words.at(INSIDE).load(SeqCst) == u64::from(pid);
    if !is_inside() {
        met.stopped_elsewhere += 1;
        return;
    }
    let before = words.at(HELD).load(SeqCst);
    let waits = lock.acquire(Duration::from_millis(2));
    assert!(matches!(waits, Err(Error::Timeout)), "we got the lock of a process that is only stopped: {waits:?}");
    let state = lock.watch().expect("watch").next(LONG).expect("a state");
    assert_eq!(state.holder_pid, pid);
    assert!(
        is_inside() && words.at(HELD).load(SeqCst) == before,
        "somebody got the lock of a process that is only stopped"
    );
    met.stopped_inside += 1;
    met.queued_behind_stopped += u64::from(state.waiting);
}

/// Each grant is told whether the holder before it died with the lock.
fn check_deaths(states: &[LockState], ends: &BTreeMap<u32, (u64, At)>, told: u64) {
    let mut grants: Vec<LockState> = Vec::new();
    for state in states.iter().filter(|state| state.fence != 0) {
        let last = grants.last().map_or(0, |last| last.fence);
        assert!(state.fence >= last, "numbers of grants grow");
        if state.fence > last {
            grants.push(*state);
        }
    }
    let (mut died, mut clean, mut either, mut unknowing, mut uncounted) = (0, 0, 0, 0, 0);
    for pair in grants.windows(2) {
        let (holder, next) = (pair[0], pair[1]);
        let (fence, at) = ends[&holder.holder_pid];
        let expected = match (holder.fence.cmp(&fence), at) {
            (std::cmp::Ordering::Less, _) | (std::cmp::Ordering::Equal, At::Released) => Some(false),
            (std::cmp::Ordering::Equal, At::Releasing) => None,
            (std::cmp::Ordering::Equal, _) => Some(true),
            // Granted, and dead before it knew.
            (std::cmp::Ordering::Greater, _) => {
                unknowing += 1;
                Some(true)
            }
        };
        match expected {
            Some(expected) => {
                assert_eq!(next.died, expected, "after {holder:?}, which came to {fence} {at:?}: {next:?}")
            }
            None => either += 1,
        }
        died += u64::from(next.died);
        clean += u64::from(!next.died);
    }
    // The holders themselves are told what the watcher is told.
    let knew = |grant: &&LockState| grant.fence <= ends[&grant.holder_pid].0;
    let expected = grants.iter().filter(knew).filter(|grant| grant.died).count() as u64;
    uncounted += ends.values().filter(|(_, at)| *at == At::Entered).count() as u64;
    assert!(
        told <= expected && expected <= told + uncounted,
        "{told} were told of a death, and {expected} should have been"
    );
    println!(
        "{} grants: {clean} after a release, {died} after a death, {unknowing} of those before the holder knew; {either} killed while \
         it gave the lock back",
        grants.len()
    );
    assert!(died > 0 && clean > 0);
}
