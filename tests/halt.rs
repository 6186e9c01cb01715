//! Halts under load: writer processes publish as fast as they can, one of them runs edges, readers read; the zone is halted again and
//! again, and in some of the halts a writer has been stopped at any instruction before.
//!
//! What must hold each time: while the guard is held no row moves, but for a writer that was caught in the middle of a commit, which is
//! named; nobody else is named; afterwards everybody goes on, and nothing is lost.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;
use syncline::{Bus, Error};

const TEST: &str = "nothing_moves_under_a_halt";
/// Lanes of a batch: as long as their heads are shown, the row is busy.
const LANES: usize = 16;
/// A writer publishes a count into the channel that is read once in so many commits: readers are to hold nobody up.
const SELDOM: u64 = 64;
/// What nobody's scheduling takes: in this time each writer that runs has come to rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stopped writer is waited for. Others need less, on two busy cores too.
const BRIEFLY: Duration = Duration::from_millis(400);

const WRITERS: [&str; 3] = ["single", "batch", "edge"];
/// Words that the processes share: whether to stop, what each reader was handed, and who is in.
const STOP: usize = 0;
const LIVE: usize = 1;
const SYNCED: usize = 2;

// ---- the processes ----

/// Commits without pause; some way each: large single messages, batches over many lanes, small ones and edges.
fn writer(kind: &str) {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("load").writer(kind).expect("writer");
    writer.set_room_timeout(LONG);
    let counts = writer.channel("counts").open::<u64>().expect("lane");
    let names: Vec<String> = (0..LANES).map(|lane| format!("unread{lane}")).collect();
    let lanes: Vec<_> =
        names.iter().map(|name| writer.channel(name).capacity(1 << 18).open::<[u8]>().expect("lane")).collect();
    say("ready", writer.row());
    hear();
    let large = vec![7; 16 << 10];
    let mut count = 0;
    for commit in 1u64.. {
        if commit.is_multiple_of(SELDOM) {
            if words.at(STOP).load(Ordering::Acquire) != 0 {
                break;
            }
            count += 1;
            writer.publish(counts, &count).expect("publish");
        }
        match kind {
            "single" => writer.publish(lanes[0], &large[..]).expect("publish"),
            "batch" => {
                let mut batch = writer.batch().expect("batch");
                for &lane in &lanes {
                    batch.push(lane, &large[..8]).expect("push");
                }
                batch.commit().expect("commit");
            }
            _ => {
                writer.publish(lanes[0], &large[..8]).expect("publish");
                if commit.is_multiple_of(32) {
                    writer.edge().expect("edge");
                }
            }
        }
    }
    // So that what was published last is in an era.
    writer.edge().expect("edge");
    say("published", count);
    hear();
}

/// Looks whether every writer's counts come, all of them and in order, until all writers have left.
fn reader(kind: &str) {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let bus = Bus::connect().expect("connect");
    let builder = bus.zone("load").reader(kind).channel::<u64>("counts");
    let mut reader = if kind == "synced" { builder.synced() } else { builder }.open().expect("reader");
    let word = words.at(if kind == "synced" { SYNCED } else { LIVE });
    say("ready", "");
    let (mut last, mut closed) = ([0; WRITERS.len()], 0);
    while closed < WRITERS.len() {
        match reader.recv(LONG) {
            Ok(message) => {
                let (row, count) = (message.origin().writer as usize, message.copy::<u64>().expect("a count"));
                word.fetch_add(1, Ordering::AcqRel);
                assert_eq!(count, last[row] + 1, "row {row}");
                last[row] = count;
            }
            Err(Error::Closed(_)) => closed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    say("read", last.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
}

// ---- the test ----

#[test]
fn nothing_moves_under_a_halt() {
    match role().as_deref() {
        Some(kind @ ("live" | "synced")) => return reader(kind),
        Some(kind) => return writer(kind),
        None => {}
    }
    let halts = times(100, 1000);
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().expect("broker");
    let start = |role: &str| {
        let mut process = Process::start(TEST, role, bus.socket(), &[("WORDS", path.display().to_string())]);
        let row: usize = process.wait_for("ready").parse().unwrap_or(0);
        (process, row)
    };
    let mut readers: Vec<Process> = ["live", "synced"].iter().map(|kind| start(kind).0).collect();
    let mut writers: Vec<Process> = Vec::new();
    for kind in WRITERS {
        let (process, row) = start(kind);
        // The writer of index n has row n.
        assert_eq!(row, writers.len());
        writers.push(process);
    }
    for process in &mut writers {
        process.send("go");
    }
    let zone = bus.zone("load");
    let observer = zone.reader("observer").channel::<u64>("nothing").open().expect("reader");
    let versions = || -> Vec<u64> {
        let zones = bus.list().expect("list");
        zones[0].writers.iter().map(|writer| writer.version).collect()
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut stops, mut caught, mut edges, mut handed, mut commits) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for halt in 0..halts {
        std::thread::sleep(Duration::from_micros(random.below(2000)));
        let stopped = (random.below(2) == 0).then(|| random.below(WRITERS.len() as u64) as usize);
        if let Some(index) = stopped {
            writers[index].stop();
            stops += 1;
        }
        let guard = zone.halt(if stopped.is_some() { BRIEFLY } else { PATIENCE }).expect("halt");
        let before = guard.versions();
        let generation = observer.generation().expect("generation");
        let given = [LIVE, SYNCED].map(|word| words.at(word).load(Ordering::Acquire));
        for late in guard.late() {
            assert_eq!(Some(late.row as usize), stopped, "halt {halt}: {late:?} runs");
            assert_eq!(late.pid, writers[late.row as usize].child.id());
            assert_eq!(late.name, WRITERS[late.row as usize]);
            caught += 1;
        }
        let named = guard.late().first().map(|late| late.row as usize);
        // In every other halt the stopped one goes on under it: it must come to rest as well.
        let early = halt % 2 == 0;
        if let Some(index) = stopped.filter(|_| early) {
            writers[index].resume();
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(1));
            for (row, (now, before)) in guard.versions().iter().zip(&before).enumerate() {
                // It may end the commit that it was in.
                let most = before + u64::from(named == Some(row));
                assert!(*now >= *before && *now <= most, "halt {halt}: row {row} went from {before} to {now}");
            }
        }
        // A call that had begun before the halt comes to its end.
        for (word, given) in [LIVE, SYNCED].into_iter().zip(given) {
            let now = words.at(word).load(Ordering::Acquire) - given;
            assert!(now <= 1, "halt {halt}: a reader was handed {now} messages");
            handed += now;
        }
        let now = observer.generation().expect("generation") - generation;
        // Only a writer that was caught in the middle of one comes to its end, for which an exact edge may have to go again.
        let most = if named.is_some() { 3 } else { 0 };
        assert!(now <= most, "halt {halt}: {now} edges passed, named: {named:?}");
        edges += now;
        assert!(guard.holds());
        guard.release();
        if let Some(index) = stopped.filter(|_| !early) {
            writers[index].resume();
        }
        eventually("each writer goes on", || versions().iter().zip(&before).all(|(now, before)| *now > before + 1));
        commits = before.iter().sum();
    }
    println!(
        "\n{halts} halts under {commits} commits of {} writers; in {stops} of them one was stopped before, {caught} times in the middle of a \
         commit; calls that had begun before: {edges} edges passed and {handed} messages were handed out",
        WRITERS.len()
    );
    words.at(STOP).store(1, Ordering::Release);
    let counts: Vec<String> = writers.iter_mut().map(|process| process.wait_for("published")).collect();
    for mut process in writers {
        process.send("go");
        process.finish();
    }
    for process in &mut readers {
        assert_eq!(process.wait_for("read"), counts.join(" "), "what was published and what was read");
    }
    readers.into_iter().for_each(Process::finish);
    assert!(stops > 0 && commits > halts * 100, "hardly any load");
    assert!(caught > 0, "no writer was stopped in the middle of a commit");
}
