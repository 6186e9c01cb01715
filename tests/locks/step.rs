//! Committing and giving a lock back, in one step: the writer is killed in the middle of it.

use crate::support::broker::BrokerProcess;
use crate::support::stops::Stops;
use crate::support::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use syncline::{Bus, Error, Reader, Start};

const TEST: &str = "step::commit_and_release_are_one_step";
const LANES: usize = 4;
/// Writers that do nothing.
const ROWS: u32 = 300;
/// The longest time from the moment that a victim begins to commit to its end, in microseconds.
const LONGEST: u64 = 150;

fn channel(lane: usize) -> String {
    format!("lane{lane}")
}

/// Commits the number of each grant, in all lanes, and gives the lock back with it.
fn victim() -> ! {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let bus = Bus::connect().expect("connect");
    let lock = bus.zone("z").lock("l");
    let mut writer = bus.zone("z").writer("victim").expect("writer");
    writer.set_room_timeout(LONG);
    let names: Vec<String> = (0..LANES).map(channel).collect();
    let lanes: Vec<_> = names.iter().map(|name| writer.channel(name).open::<u64>().expect("lane")).collect();
    let _stops = Stops::begin();
    say("ready", "");
    loop {
        let guard = lock.acquire(LONG).expect("acquire");
        let fence = guard.fence();
        let mut batch = writer.batch().expect("batch");
        lanes.iter().for_each(|lane| batch.push(*lane, &fence).expect("push"));
        words.word().store(fence, SeqCst);
        guard.commit(batch).expect("commit");
    }
}

/// What a reader has been given: in how many lanes each number.
#[derive(Default)]
struct Seen {
    parts: BTreeMap<u64, usize>,
    closed: usize,
}

impl Seen {
    /// Takes what there is; whether there was something.
    fn take(&mut self, reader: &mut Reader) -> bool {
        match reader.try_recv() {
            Ok(Some(message)) => *self.parts.entry(message.copy().expect("a number")).or_default() += 1,
            Ok(None) => return false,
            Err(Error::Closed(_)) => self.closed += 1,
            Err(error) => panic!("{error}"),
        }
        true
    }

    fn last(&self) -> u64 {
        self.parts.last_key_value().map_or(0, |(fence, _)| *fence)
    }
}

/// Would break: a release that comes before its commit, or is lost with it; a death that is told though all was done; a row that is free before it was
/// looked at.
#[test]
fn commit_and_release_are_one_step() {
    if role().is_some() {
        victim();
    }
    let rounds = times(150, 3000);
    let directory = tempfile::tempdir().expect("directory");
    let (socket, log) = (directory.path().join("broker.sock"), directory.path().join("log"));
    // What it was asked stands in its log.
    let appending = File::options().append(true).create(true).open(&log).expect("log");
    let (_broker, bus) = BrokerProcess::start_logging(&socket, appending);
    // With each commit comes an edge over many rows: some time passes before the lock is given back.
    let zone = bus.zone("z").writers(ROWS + 1).every_commits(1);
    let lock = zone.lock("l");
    let _others: Vec<_> = (0..ROWS).map(|_| zone.writer("other").expect("writer")).collect();
    let mut random = Random(0x5eed_0000_0000_0002);
    let mut builder = zone.reader("reader").start(Start::Latest);
    for lane in 0..LANES {
        builder = builder.channel::<u64>(&channel(lane));
    }
    let mut reader = builder.open().expect("reader");
    let (mut between, mut released, mut in_commit, mut before, mut commits) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let path = directory.path().join(format!("words{round}"));
        let words = SharedWord::new(&path);
        let mut watch = lock.watch().expect("watch");
        let mut process = Process::start(TEST, "victim", &socket, &[("WORDS", path.display().to_string())]);
        process.wait_for("ready");
        let mut seen = Seen::default();
        // Some commits, and then one that is the last.
        let most = random.below(5) + 2;
        eventually("some commits", || {
            while seen.take(&mut reader) {}
            seen.parts.len() as u64 >= most
        });
        let (word, known) = (words.word(), words.word().load(SeqCst));
        let waits = if round % 4 == 0 {
            // At any moment, and nobody waits for the lock.
            std::thread::sleep(Duration::from_micros(random.below(LONGEST * 10)));
            process.kill();
            lock.acquire(LONG).expect("acquire")
        } else {
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| lock.acquire(LONG).expect("acquire"));
                if round % 4 == 1 {
                    // When its commit is there.
                    while !waits.is_finished() && (seen.take(&mut reader) || seen.last() <= known) {}
                } else {
                    // When it begins to commit, or a moment after that.
                    while !waits.is_finished() && word.load(SeqCst) == known {}
                    let delay = Duration::from_micros(if round % 4 == 2 { 0 } else { random.below(LONGEST) });
                    let end = std::time::Instant::now() + delay;
                    while std::time::Instant::now() < end {}
                }
                process.kill();
                waits.join().expect("the lock")
            })
        };
        eventually("the reader is told of all ends", || {
            while seen.take(&mut reader) {}
            seen.closed == LANES
        });
        assert!(seen.parts.values().all(|parts| *parts == LANES), "a part of a commit: {:?}", seen.parts);
        // The victim's last grant before ours.
        let mut last = 0;
        loop {
            let state = watch.next(LONG).expect("a state");
            if state.fence == waits.fence() {
                break;
            }
            if state.holder_pid == process.pid() {
                last = state.fence;
            }
        }
        let is_committed = seen.parts.contains_key(&last);
        let asked = std::fs::read_to_string(&log).expect("the log");
        let was_asked = |what: &str, end: &str| asked.contains(&format!("{what} {{ fence: {last}{end}"));
        let (promised, gave_back) = (was_asked("ReleaseLockAfter", ","), was_asked("ReleaseLock", " }"));
        assert_eq!(
            waits.predecessor_died(),
            !is_committed,
            "grant {last}: promised: {promised}, given back: {gave_back}, committed: {is_committed}"
        );
        match (is_committed, gave_back, promised) {
            (true, false, _) => between += 1,
            (true, true, _) => released += 1,
            (false, _, true) => in_commit += 1,
            (false, ..) => before += 1,
        }
        commits += seen.parts.len();
        waits.release();
        File::options().write(true).open(&log).and_then(|log| log.set_len(0)).expect("a log anew");
        std::fs::remove_file(&path).expect("remove");
    }
    println!(
        "\n{rounds} kills, {commits} commits; of the last ones {between} came about without a release, {released} with one, {in_commit} \
         were promised and came to nothing, {before} had not come so far"
    );
    assert!(between > 0, "nobody was killed between commit and release");
    assert!(in_commit > 0, "nobody was killed between promise and commit");
    assert!(released > 0 && before > 0);
}
