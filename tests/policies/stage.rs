//! Writers and readers that run freely, each in a process of its own, with a broker in another.

use super::support::broker::BrokerProcess;
use super::support::ledger::{Note, Observer, Seen};
use super::support::*;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};
use syncline::{Bus, Error, Lane, Writer, Zone};

/// Of the shared words: 0 run, 1 the writers end, 2 the readers do, once they have come to the final era.
const PHASE: usize = 0;
const FINAL_ERA: usize = 1;
/// Where the participants' own words begin: their progress.
const FIRST_SLOT: usize = 2;
/// So much further on: what they are at; see [`Actor::was_at`].
const DOING: usize = 32;
/// What comes between two batches of a writer, if nothing else is said: enough that a reader that is stopped for a moment does not hold it
/// up.
const PAUSE: Duration = Duration::from_micros(300);

/// A writer or a reader.
pub struct Actor {
    pub process: Process,
    pub row: u32,
    words: SharedWord,
    slot: usize,
}

impl Actor {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The last batch that it has noted after its commit; of a reader, the last era.
    pub fn progress(&self) -> u64 {
        self.words.at(self.slot).load(Acquire)
    }

    /// What it was at when it was stopped or killed. 0: nothing special; 1: an edge, or a batch and its permit; 2: waiting for the others.
    pub fn was_at(&self) -> usize {
        self.words.at(self.slot + DOING).load(Acquire) as usize
    }
}

/// All of them.
pub struct Stage {
    pub bus: Bus,
    pub observer: Observer,
    pub broker: BrokerProcess,
    /// What comes between two batches of a writer.
    pub pause: Duration,
    test: String,
    words: PathBuf,
    slots: usize,
    directory: tempfile::TempDir,
}

impl Stage {
    /// A zone `z`, which this makes with `options`. `test`: the name of the test that its processes run.
    pub fn new(test: &str, options: impl Fn(Zone) -> Zone) -> Stage {
        let directory = tempfile::tempdir().expect("directory");
        let (broker, bus) = BrokerProcess::start(&directory.path().join("broker.sock"));
        options(bus.zone("z")).create().expect("create the zone");
        let observer = Observer::open(&bus, "observer", true);
        let words = directory.path().join("words");
        Stage { bus, observer, broker, pause: PAUSE, test: test.to_owned(), words, slots: FIRST_SLOT, directory }
    }

    /// Starts a participant in a role, and waits until it is ready.
    pub fn start(&mut self, role: &str, name: &str) -> Actor {
        self.slots += 1;
        self.start_in(self.slots - 1, role, name)
    }

    /// The same, with the words of one that has gone.
    pub fn replace(&self, gone: &Actor, role: &str, name: &str) -> Actor {
        self.start_in(gone.slot, role, name)
    }

    fn start_in(&self, slot: usize, role: &str, name: &str) -> Actor {
        let own = SharedWord::new(&self.words);
        for slot in [slot, slot + DOING] {
            own.at(slot).store(0, Release);
        }
        let words = self.words.display().to_string();
        let log = self.directory.path().join(name).display().to_string();
        let pause = self.pause.as_micros().to_string();
        let arguments =
            [("WORDS", words), ("SLOT", slot.to_string()), ("NAME", name.to_owned()), ("LOG", log), ("PAUSE", pause)];
        let mut process = Process::start(&self.test, role, self.bus.socket(), &arguments);
        let row = process.wait_for("ready").parse().expect("a row");
        Actor { process, row, words: SharedWord::new(&self.words), slot }
    }

    /// The lines that a participant has logged.
    pub fn log(&self, name: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join(name)).expect("a log");
        log.lines().map(str::to_owned).collect()
    }

    /// Takes eras until each of these has been in `count` of those that were not sealed before this call.
    pub fn more(&mut self, actors: &[&Actor], count: u64) -> Vec<Seen> {
        let mut left: Vec<_> = actors.iter().map(|actor| (actor.pid(), count)).collect();
        let deadline = Instant::now() + LONG;
        let mut all = Vec::new();
        let sealed = self.observer.reader.generation().expect("generation");
        while left.iter().any(|(_, left)| *left > 0) {
            assert!(Instant::now() < deadline, "not within {LONG:?}: {count} more eras with all of {left:?}");
            let seen = self.observer.next(LONG).expect("an era");
            for (pid, left) in left.iter_mut().filter(|_| seen.number > sealed) {
                *left = left.saturating_sub(u64::from(seen.notes.iter().any(|note| note.pid == *pid)));
            }
            all.push(seen);
        }
        all
    }

    /// Takes eras until the observer has been told of so many ends of lanes.
    pub fn closed(&mut self, count: usize, others: &[&Actor]) {
        let deadline = Instant::now() + LONG;
        while self.observer.closed.len() < count {
            assert!(Instant::now() < deadline, "not within {LONG:?}: {count} ends of lanes are told");
            self.more(others, 1);
        }
    }

    /// Ends all. What the writers have written must have been read, all of it, by the observer and by the readers.
    pub fn finish(self, writers: Vec<Actor>, readers: Vec<Actor>) {
        self.finish_with(writers, readers, |_| {});
    }

    /// The same; `then` comes last.
    pub fn finish_with(mut self, mut writers: Vec<Actor>, readers: Vec<Actor>, then: impl FnOnce(&Stage)) {
        let words = SharedWord::new(&self.words);
        words.at(PHASE).store(1, Release);
        let mut wrote = Vec::new();
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| {
                for writer in &mut writers {
                    let count = writer.process.wait_for("wrote").parse::<u64>().expect("a count");
                    wrote.push((writer.pid(), count));
                }
            });
            // While nobody reads, they may wait for room.
            while !ended.is_finished() {
                match self.observer.next(Duration::from_millis(1)) {
                    Ok(_) | Err(Error::Timeout) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let is_behind = |observer: &Observer| wrote.iter().any(|(pid, count)| observer.last_of(*pid) < *count);
        while is_behind(&self.observer) {
            self.observer.next(LONG).expect("an era");
        }
        for (pid, count) in &wrote {
            assert_eq!(self.observer.last_of(*pid), *count, "batches of process {pid} that the observer was given");
        }
        words.at(FINAL_ERA).store(self.observer.era, Release);
        words.at(PHASE).store(2, Release);
        for mut reader in readers {
            let read = reader.process.wait_for("read");
            for (pid, count) in &wrote {
                assert!(read.contains(&format!("{pid}:{count};")), "reader {}: {read}, wrote: {wrote:?}", reader.pid());
            }
            reader.process.finish();
        }
        for mut writer in writers {
            writer.process.send("go");
            writer.process.finish();
        }
        then(&self);
    }
}

/// In a role: this participant's words.
struct Own {
    words: SharedWord,
    slot: usize,
    pause: Duration,
}

impl Own {
    fn new() -> Own {
        let words = SharedWord::new(argument("WORDS").as_ref());
        let pause = Duration::from_micros(argument("PAUSE").parse().expect("microseconds"));
        Own { words, slot: argument("SLOT").parse().expect("a slot"), pause }
    }

    fn phase(&self) -> u64 {
        self.words.at(PHASE).load(Acquire)
    }

    fn note(&self, progress: u64) {
        self.words.at(self.slot).store(progress, Release);
    }

    fn does(&self, what: u64) {
        self.words.at(self.slot + DOING).store(what, Release);
    }

    /// How many batches a member commits before it gives its permit.
    fn per_round(&self) -> u64 {
        if self.pause.is_zero() { PER_ROUND } else { 1 }
    }

    fn pause(&self) {
        if !self.pause.is_zero() {
            std::thread::sleep(self.pause);
        }
    }
}

/// How many batches a member that does not pause commits before it gives its permit.
pub const PER_ROUND: u64 = 16;

/// The participants.
pub fn act(role: &str) {
    match role {
        "writer" => writer(|_, _| {}),
        // After each batch an exact edge.
        "runner" => writer(|writer, _| assert_ne!(writer.edge().expect("edge"), 0)),
        // An edge after some batches; between two edges a moment in which readers come to the end of what there is.
        "bursts" => writer(|writer, number| match number % 16 {
            0 => assert_ne!(writer.edge().expect("edge"), 0),
            8 => std::thread::sleep(PAUSE),
            _ => {}
        }),
        "tagger" => tagger(),
        "slow" => slow(),
        "member" => member(),
        "reader" => reader(),
        _ => panic!("no role `{role}`"),
    }
}

/// Opens a writer with its two channels. One that does not pause has small rings, so that readers are never far behind.
fn open(bus: &Bus, own: &Own) -> (Writer, [Lane<u64>; 2]) {
    let capacity = if own.pause.is_zero() { 1 << 14 } else { 1 << 20 };
    let mut writer = bus.zone("z").writer(&argument("NAME")).expect("writer");
    writer.set_room_timeout(LONG);
    let lanes = ["a", "b"].map(|channel| writer.channel(channel).capacity(capacity).open::<u64>().expect("lane"));
    (writer, lanes)
}

fn commit(writer: &mut Writer, lanes: [Lane<u64>; 2], number: u64) {
    let mut batch = writer.batch().expect("batch");
    for lane in lanes {
        batch.push(lane, &number).expect("push");
    }
    batch.commit().expect("commit");
}

/// Commits batches over two channels; `then` comes after each. Ends with an edge, and stays until told to go.
fn writer(mut then: impl FnMut(&mut Writer, u64)) {
    let own = Own::new();
    let bus = Bus::connect().expect("connect");
    let (mut writer, lanes) = open(&bus, &own);
    say("ready", writer.row());
    let mut number = 0;
    while own.phase() == 0 {
        number += 1;
        commit(&mut writer, lanes, number);
        own.note(number);
        own.does(1);
        then(&mut writer, number);
        own.does(0);
        own.pause();
    }
    writer.edge().expect("edge");
    say("wrote", number);
    hear();
}

/// A writer whose batches stay open for a while.
fn slow() {
    let own = Own::new();
    let bus = Bus::connect().expect("connect");
    let (mut writer, lanes) = open(&bus, &own);
    say("ready", writer.row());
    let mut number = 0;
    while own.phase() == 0 {
        number += 1;
        let mut batch = writer.batch().expect("batch");
        for lane in lanes {
            batch.push(lane, &number).expect("push");
            own.pause();
        }
        batch.commit().expect("commit");
        own.note(number);
    }
    writer.edge().expect("edge");
    say("wrote", number);
    hear();
}

/// Seals an era after each batch, with a tag of its own, and logs which.
fn tagger() {
    let mut log = BufWriter::new(File::create(argument("LOG")).expect("log"));
    writer(|writer, number| {
        let tag = u64::from(std::process::id()) << 40 | number;
        let era = writer.edge_tagged(tag).expect("edge");
        writeln!(log, "{era} {tag}").expect("log");
    });
    log.flush().expect("log");
}

/// In lockstep: commits, gives its permit, and waits for the edge.
fn member() {
    let own = Own::new();
    let bus = Bus::connect().expect("connect");
    let mut observer = Observer::open(&bus, &argument("NAME"), false);
    let (mut writer, lanes) = open(&bus, &own);
    say("ready", writer.row());
    let mut number = 0;
    while own.phase() == 0 {
        own.does(1);
        for _ in 0..own.per_round() {
            number += 1;
            commit(&mut writer, lanes, number);
        }
        let era = writer.permit().expect("permit");
        own.note(number);
        own.does(2);
        while observer.era < era {
            observer.next(LONG).expect("an era");
        }
        own.does(0);
        own.pause();
    }
    say("wrote", number);
    // The others do not wait for it any more.
    drop(writer);
    hear();
}

/// Reads eras, and logs each: its record, and a digest of what it holds.
fn reader() {
    let own = Own::new();
    let bus = Bus::connect().expect("connect");
    let mut observer = Observer::open(&bus, &argument("NAME"), false);
    let mut log = BufWriter::new(File::create(argument("LOG")).expect("log"));
    say("ready", 0);
    while own.phase() < 2 || observer.era < own.words.at(FINAL_ERA).load(Acquire) {
        let seen = match observer.next(Duration::from_millis(20)) {
            Ok(seen) => seen,
            Err(Error::Timeout) => continue,
            Err(error) => panic!("{error}"),
        };
        own.note(seen.number);
        let mut digest = DefaultHasher::new();
        for Note { row, pid, channel, value } in &seen.notes {
            (row, pid, channel, value).hash(&mut digest);
        }
        let Seen { number, merged, edge, notes } = seen;
        writeln!(log, "{number} {merged} {edge:?} {} {:x}", notes.len(), digest.finish()).expect("log");
    }
    log.flush().expect("log");
    let read: String = observer.last.iter().map(|(pid, last)| format!("{pid}:{};", last[0])).collect();
    say("read", read);
}
