//! Writers that are killed at random moments, while they publish single messages and batches over one and over several lanes.
//!
//! What must hold each time: no reader sees a part of a batch; what a live reader was given is in an era in the end; nothing
//! committed is lost; readers get `Closed`, and then everything is freed.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;
use syncline::{Bus, Error, Reader, Start};

const LANES: usize = 8;

/// One message: which commit it is of, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Part {
    commit: u64,
    index: u32,
    of: u32,
    check: u64,
}

syncline::describe!(Part as "test.part" { commit: u64, index: u32, of: u32, check: u64 });

impl Part {
    fn new(commit: u64, index: u32, of: u32) -> Part {
        Part { commit, index, of, check: commit ^ 0x5eed_0000_0000_0000 }
    }
}

fn channel(lane: usize) -> String {
    format!("lane{lane}")
}

/// The process that will be killed.
fn victim() -> ! {
    let bus = Bus::connect().expect("connect");
    let committed = SharedWord::new(argument("WORD").as_ref());
    let mut writer = bus.zone("fire").writer("victim").expect("writer");
    let names: Vec<String> = (0..LANES).map(channel).collect();
    let lanes: Vec<_> =
        names.iter().map(|name| writer.channel(name).capacity(1 << 18).open::<Part>().expect("lane")).collect();
    writer.set_room_timeout(LONG);
    say("ready", "");
    let mut random = Random(u64::from(std::process::id()) | 1);
    for commit in 1.. {
        match random.below(8) {
            0 => writer.publish(lanes[0], &Part::new(commit, 0, 1)).expect("publish"),
            1 => {
                let mut batch = writer.batch().expect("batch");
                for index in 0..3 {
                    batch.push(lanes[1], &Part::new(commit, index, 3)).expect("push");
                }
                batch.commit().expect("commit");
            }
            _ => {
                let mut batch = writer.batch().expect("batch");
                for (index, lane) in lanes.iter().enumerate() {
                    batch.push(*lane, &Part::new(commit, index as u32, LANES as u32)).expect("push");
                }
                batch.commit().expect("commit");
            }
        }
        committed.word().store(commit, Ordering::Release);
        if random.below(16) == 0 {
            writer.edge().expect("edge");
        }
    }
    unreachable!()
}

/// What a reader has been given: parts found of each commit.
#[derive(Default)]
struct Seen {
    parts: BTreeMap<u64, (u32, u32)>,
    closed: usize,
}

impl Seen {
    fn add(&mut self, part: Part) {
        assert_eq!(part.check, part.commit ^ 0x5eed_0000_0000_0000, "torn payload: {part:?}");
        let entry = self.parts.entry(part.commit).or_insert((0, part.of));
        entry.0 += 1;
    }

    fn assert_whole(&self, who: &str) {
        for (commit, (found, of)) in &self.parts {
            assert_eq!(found, of, "{who} saw {found} of {of} parts of commit {commit}");
        }
    }

    fn last(&self) -> u64 {
        self.parts.last_key_value().map_or(0, |(commit, _)| *commit)
    }
}

fn open(bus: &Bus, name: &str, synced: bool) -> Reader {
    let mut builder = bus.zone("fire").reader(name).start(Start::Latest);
    for lane in 0..LANES {
        builder = builder.channel::<Part>(&channel(lane));
    }
    if synced { builder.synced() } else { builder }.open().expect("reader")
}

/// Reads all that there is now; whether all lanes have been closed.
fn drain_live(reader: &mut Reader, seen: &mut Seen) -> bool {
    loop {
        match reader.try_recv() {
            Ok(Some(message)) => seen.add(message.copy().expect("a part")),
            Ok(None) => return seen.closed == LANES,
            Err(Error::Closed(closed)) => {
                assert!(closed.died, "{closed}");
                seen.closed += 1;
            }
            Err(error) => panic!("live: {error}"),
        }
    }
}

/// Reads whole eras as far as there are; whether all lanes have been closed.
fn drain_synced(reader: &mut Reader, seen: &mut Seen) -> bool {
    loop {
        let mut era = match reader.try_era() {
            Ok(Some(era)) => era,
            Ok(None) => return seen.closed == LANES,
            Err(Error::Closed(_)) => {
                seen.closed += 1;
                continue;
            }
            Err(error) => panic!("synced: {error}"),
        };
        let before = seen.last();
        while let Some(message) = era.next().expect("message") {
            let part: Part = message.copy().expect("a part");
            assert!(part.commit > before, "commit {} in era {}, after {before}", part.commit, era_of(&message));
            seen.add(part);
        }
        seen.assert_whole("the synced reader, after an era,");
    }
}

fn era_of(message: &syncline::Message<'_>) -> u64 {
    message.era().expect("a synced reader knows the era")
}

#[test]
fn no_reader_ever_sees_part_of_a_killed_writers_batch() {
    if role().is_some() {
        victim();
    }
    let kills = times(300, 1000);
    let bus = Bus::embedded().expect("broker");
    let directory = tempfile::tempdir().expect("directory");
    // Keeps the zone, and seals what the dead have committed.
    let mut sealer = bus.zone("fire").writer("sealer").expect("writer");
    let mut live = open(&bus, "live", false);
    let mut synced = open(&bus, "synced", true);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut commits, mut at_rest) = (0, None);
    for kill in 0..kills {
        let path = directory.path().join(format!("word{kill}"));
        let committed = SharedWord::new(&path);
        let arguments = [("WORD", path.display().to_string())];
        let test = "no_reader_ever_sees_part_of_a_killed_writers_batch";
        let mut process = Process::start(test, "victim", bus.socket(), &arguments);
        let (mut given_live, mut given_synced) = (Seen::default(), Seen::default());
        process.wait_for("ready");
        // From a thread of its own: reading must not put the moment off until the writer waits for room.
        let delay = Duration::from_micros(random.below(500));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                process.kill();
            });
            drain_live(&mut live, &mut given_live);
            drain_synced(&mut synced, &mut given_synced);
        });
        let least = committed.word().load(Ordering::Acquire);
        eventually("the live reader is told of the end of all lanes", || drain_live(&mut live, &mut given_live));
        sealer.edge().expect("edge");
        eventually("the synced reader is told of the end of all lanes", || {
            drain_synced(&mut synced, &mut given_synced)
        });
        given_live.assert_whole("the live reader");
        given_synced.assert_whole("the synced reader");
        assert_eq!(given_live.parts, given_synced.parts, "live messages that are in no era, or the other way round");
        let last = given_live.last();
        assert!(last >= least, "commit {least} was committed, {last} is the last that was read");
        assert!(last <= least + 1, "commit {last} was read, {least} is the last that was begun and noted");
        assert_eq!(given_live.parts.len() as u64, last, "a commit is missing");
        commits += last;
        std::fs::remove_file(&path).expect("remove");
        // After each death everything is as it was.
        let stats = || bus.embedded_broker().expect("embedded").stats();
        eventually("the broker has freed all that the dead writer had", || {
            let stats = stats();
            stats.lanes == 0 && stats.entries == 0 && stats.rows == 1
        });
        let rest = (open_fds(), mappings());
        assert_eq!(*at_rest.get_or_insert(rest), rest, "descriptors and mappings after kill {kill}");
    }
    let stats = bus.embedded_broker().expect("embedded").stats();
    println!(
        "\n{kills} kills, {commits} commits read; the last commit was completed {} times and buried {} times; {:?}",
        stats.completed,
        stats.buried,
        sealer.races()
    );
    assert!(stats.buried > 0, "no writer was killed in the middle of a commit over several lanes");
    assert!(
        stats.completed > 0 || kills < 1000,
        "no writer was killed between showing a commit and storing its version"
    );
    assert!(commits > kills * 10, "the writers were killed before they did anything");
}
