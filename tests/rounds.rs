//! Rounds that can be rolled back: participants in processes of their own, each with a writer and a synced reader, roll their rounds back at
//! random moments before their own permit, and do them again; some are killed in the middle.
//!
//! What must hold: every reader sees every round that was kept, of each participant the work of one attempt, all of it, once and in order,
//! and the participant knows which attempt that was. Of an attempt that was rolled back nobody sees anything, nor of what a killed
//! participant had not permitted.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::*;
use syncline::{Bus, Code, Era, Error, Lane, Reader, Writer, Zone};

const PARTICIPANTS: u32 = 3;
const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// Who is killed, and begun anew: they have numbers from here on.
const VICTIMS: u32 = 1000;

/// One message of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Part {
    who: u32,
    round: u32,
    attempt: u32,
    commit: u32,
    index: u32,
    channel: u32,
}

syncline::describe!(Part as "test.round" { who: u32, round: u32, attempt: u32, commit: u32, index: u32, channel: u32 });

/// What a participant commits in an attempt at a round: everybody can say it.
fn work(who: u32, round: u32, attempt: u32) -> Vec<Vec<Part>> {
    let mut random = Random(u64::from(who) << 48 ^ u64::from(round) << 20 ^ u64::from(attempt) ^ 0x9e37_79b9_7f4a_7c15);
    random.next();
    let commits = 2 + random.below(5) as u32;
    let mut commit_of = |commit| {
        let messages = if random.below(2) == 0 { 1 } else { 2 + random.below(4) as u32 };
        let mut part = |index| Part { who, round, attempt, commit, index, channel: random.below(3) as u32 };
        (0..messages).map(&mut part).collect()
    };
    (0..commits).map(&mut commit_of).collect()
}

fn zone(bus: &Bus) -> Zone {
    bus.zone("rounds").revocable(LONG).eras(1024)
}

fn open_reader(zone: &Zone, name: &str) -> Reader {
    let builder = CHANNELS.iter().fold(zone.reader(name), |builder, channel| builder.channel::<Part>(channel));
    builder.synced().open().expect("reader")
}

/// What a reader has found out.
#[derive(Default)]
struct Seen {
    rounds: u64,
    /// The same for everybody who has read the same.
    hash: u64,
    /// The number of the next message, by participant and channel.
    sequences: BTreeMap<(u32, u32), u64>,
    /// The last round and attempt of each participant.
    last: BTreeMap<u32, (u32, u32)>,
}

impl Seen {
    /// Reads an era to its end; of each participant the attempt that was kept.
    fn read(&mut self, mut era: Era<'_>) -> BTreeMap<u32, u32> {
        self.rounds += 1;
        let number = era.number();
        assert_eq!(number, self.rounds, "a round is missing, or was passed by nobody's permit");
        assert!(!era.is_merged());
        let mut found = BTreeMap::<u32, Vec<Part>>::new();
        while let Some(message) = era.next().expect("message") {
            let part: Part = message.copy().expect("a part");
            assert_eq!(CHANNELS[part.channel as usize], message.channel());
            let sequence = self.sequences.entry((part.who, part.channel)).or_default();
            assert_eq!(message.sequence(), *sequence, "numbers of {part:?}");
            *sequence += 1;
            found.entry(part.who).or_default().push(part);
            for word in [part.who, part.round, part.attempt, part.commit, part.index, part.channel] {
                self.hash = (self.hash ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        let mut kept = BTreeMap::new();
        for (who, parts) in found {
            let Part { round, attempt, .. } = parts[0];
            let mut expected: Vec<Part> = work(who, round, attempt).into_iter().flatten().collect();
            // An era has them by channel.
            expected.sort_by_key(|part| part.channel);
            assert!(parts == expected, "era {number}: expected {expected:?}, found {parts:?}");
            let (last_round, last_attempt) = self.last.insert(who, (round, attempt)).unwrap_or_default();
            assert_eq!(round, last_round + 1, "participant {who} in era {number}");
            assert!(attempt > last_attempt);
            assert!(who >= VICTIMS || u64::from(round) == number, "round {round} of {who} in era {number}");
            kept.insert(who, attempt);
        }
        for who in 0..PARTICIPANTS {
            assert!(kept.contains_key(&who), "era {number} has nothing of {who}");
        }
        kept
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rolled_back: u64,
    told_by_a_commit: u64,
    /// Between the last commit and the permit.
    told_by_the_permit: u64,
    /// The permit was for nothing.
    told_by_the_reader: u64,
}

impl Counts {
    fn of(words: &[u64]) -> Counts {
        let [rolled_back, told_by_a_commit, told_by_the_permit, told_by_the_reader] = words else {
            panic!("{words:?}")
        };
        Counts {
            rolled_back: *rolled_back,
            told_by_a_commit: *told_by_a_commit,
            told_by_the_permit: *told_by_the_permit,
            told_by_the_reader: *told_by_the_reader,
        }
    }

    fn add(&mut self, other: Counts) {
        self.rolled_back += other.rolled_back;
        self.told_by_a_commit += other.told_by_a_commit;
        self.told_by_the_permit += other.told_by_the_permit;
        self.told_by_the_reader += other.told_by_the_reader;
    }
}

/// What a participant notes of its attempts, in a word of its own each.
#[derive(Clone, Copy)]
enum Note {
    Begun,
    Permits,
    /// It has read that it was kept.
    Kept,
}

/// One who takes part, in a process of its own.
struct Participant {
    who: u32,
    writer: Writer,
    lanes: Vec<Lane<Part>>,
    reader: Reader,
    random: Random,
    seen: Seen,
    counts: Counts,
    attempt: u32,
}

impl Participant {
    fn of_role() -> Participant {
        let bus = Bus::connect().expect("connect");
        let who = argument("WHO").parse().expect("a number");
        let seed: u64 = argument("SEED").parse().expect("a number");
        let mut writer = zone(&bus).writer(&format!("participant{who}")).expect("writer");
        writer.set_room_timeout(LONG);
        let lanes = CHANNELS.map(|name| writer.channel(name).capacity(1 << 14).open().expect("lane")).to_vec();
        let reader = open_reader(&zone(&bus), &format!("reader{who}"));
        let random = Random((seed ^ u64::from(who)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (seen, counts) = (Seen::default(), Counts::default());
        Participant { who, writer, lanes, reader, random, seen, counts, attempt: 0 }
    }

    fn publish(&mut self, commit: &[Part]) -> syncline::Result<()> {
        if let [part] = commit {
            return self.writer.publish(self.lanes[part.channel as usize], part);
        }
        let mut batch = self.writer.batch()?;
        for part in commit {
            batch.push(self.lanes[part.channel as usize], part)?;
        }
        batch.commit().map(drop)
    }

    /// An attempt at a round, up to its permit: the era that it was given for. Notes when the first commit was made, and that the permit is
    /// going to be given.
    fn attempt(&mut self, round: u32, note: impl Fn(Note, u32)) -> Option<u64> {
        self.attempt += 1;
        let commits = work(self.who, round, self.attempt);
        let roll_back_at = (self.random.below(6) == 0).then(|| self.random.below(commits.len() as u64 + 1) as usize);
        for at in 0..=commits.len() {
            if roll_back_at == Some(at) {
                self.writer.roll_back_era().expect("roll back");
                self.counts.rolled_back += 1;
                return None;
            }
            let Some(commit) = commits.get(at) else { break };
            match self.publish(commit) {
                Ok(()) => {}
                Err(Error::RolledBack) => {
                    self.counts.told_by_a_commit += 1;
                    return None;
                }
                Err(error) => panic!("publish: {error}"),
            }
            if at == 0 {
                note(Note::Begun, self.attempt);
            }
            // Now and then the others come first; those who are to be killed take their time.
            if self.random.below(if self.who < VICTIMS { 32 } else { 2 }) == 0 {
                std::thread::sleep(Duration::from_micros(self.random.below(100)));
            }
        }
        note(Note::Permits, self.attempt);
        match self.writer.permit() {
            Ok(era) => Some(era),
            Err(Error::RolledBack) => {
                self.counts.told_by_the_permit += 1;
                None
            }
            Err(error) => panic!("permit: {error}"),
        }
    }

    /// Plays a round until it is kept.
    fn round(&mut self, round: u32) {
        loop {
            let Some(number) = self.attempt(round, |_, _| {}) else { continue };
            assert_eq!(number, u64::from(round), "the era of a permit");
            loop {
                match self.reader.next_era(LONG) {
                    Ok(era) => {
                        let kept = self.seen.read(era);
                        assert_eq!(
                            kept.get(&self.who),
                            Some(&self.attempt),
                            "another attempt of {} was kept",
                            self.who
                        );
                        return;
                    }
                    Err(Error::RolledBack) => break self.counts.told_by_the_reader += 1,
                    // One that was killed.
                    Err(Error::Closed(closed)) => assert!(closed.died, "{closed}"),
                    Err(error) => panic!("next era: {error}"),
                }
            }
        }
    }
}

/// In a role: takes part until it is killed.
fn victim() -> ! {
    let notes = SharedWord::new(argument("WORD").as_ref());
    let note = |note: Note, attempt: u32| notes.at(note as usize).store(attempt.into(), Ordering::Release);
    let mut own = Participant::of_role();
    say("ready", "");
    let mut round = 1;
    loop {
        let Some(number) = own.attempt(round, note) else { continue };
        loop {
            let mut era = match own.reader.next_era(LONG) {
                Ok(era) if era.number() < number => continue,
                Ok(era) => era,
                Err(Error::RolledBack) => break,
                // Who was here before.
                Err(Error::Closed(closed)) if closed.died => continue,
                Err(error) => panic!("next era: {error}"),
            };
            assert_eq!(era.number(), number);
            let mut found = false;
            while let Some(message) = era.next().expect("message") {
                let part: Part = message.copy().expect("a part");
                found |= (part.who, part.attempt) == (own.who, own.attempt);
            }
            assert!(found, "what {} had permitted for era {number} is not there", own.who);
            note(Note::Kept, own.attempt);
            round += 1;
            break;
        }
    }
}

/// In a role: takes part until the round that the test says.
fn participant() {
    let last = SharedWord::new(argument("WORD").as_ref());
    let mut own = Participant::of_role();
    say("ready", "");
    hear().expect("the others are there");
    for round in 1.. {
        if u64::from(round) > last.word().load(Ordering::Acquire) {
            break;
        }
        own.round(round);
    }
    let Counts { rolled_back, told_by_a_commit, told_by_the_permit, told_by_the_reader } = own.counts;
    let Seen { rounds, hash, .. } = own.seen;
    say("done", format!("{rolled_back} {told_by_a_commit} {told_by_the_permit} {told_by_the_reader} {rounds} {hash}"));
    // The others are not to find a round without this one.
    hear();
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    std::env::var("SYNCLINE_SEED").map_or(now.as_nanos() as u64, |seed| seed.parse().expect("a number"))
}

/// The participants of a test, and the last round that they are to play.
struct Crew {
    processes: Vec<Process>,
    last: SharedWord,
    _directory: tempfile::TempDir,
}

impl Crew {
    fn start(test: &str, bus: &Bus, seed: u64, last_round: u64) -> Crew {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("last");
        let last = SharedWord::new(&path);
        last.word().store(last_round, Ordering::Release);
        let start = |who: u32| {
            let arguments =
                [("WHO", who.to_string()), ("SEED", seed.to_string()), ("WORD", path.display().to_string())];
            Process::start(test, "participant", bus.socket(), &arguments)
        };
        let mut processes: Vec<Process> = (0..PARTICIPANTS).map(start).collect();
        processes.iter_mut().for_each(|process| drop(process.wait_for("ready")));
        Crew { processes, last, _directory: directory }
    }

    fn go(&mut self) {
        self.processes.iter_mut().for_each(|process| process.send("go"));
    }

    /// Waits for all; they must have read the same as the observer. What they have counted.
    fn finish(mut self, observed: &Seen) -> Counts {
        let mut sum = Counts::default();
        for process in &mut self.processes {
            let words: Vec<u64> =
                process.wait_for("done").split(' ').map(|word| word.parse().expect("a number")).collect();
            assert_eq!(words[4..], [observed.rounds, observed.hash], "a participant has read something else");
            sum.add(Counts::of(&words[..4]));
        }
        for mut process in self.processes {
            process.send("end");
            process.finish();
        }
        sum
    }
}

/// Reads era after era, up to the last one that is to be.
fn observe(reader: &mut Reader, last: &AtomicU64, seen: &mut Seen, mut each: impl FnMut(u64)) {
    while seen.rounds < last.load(Ordering::Acquire) {
        match reader.next_era(LONG) {
            Ok(era) => {
                seen.read(era);
                each(seen.rounds);
            }
            Err(Error::RolledBack) => {}
            Err(Error::Closed(closed)) => assert!(closed.died, "{closed}"),
            Err(error) => panic!("observer: {error}"),
        }
    }
}

/// Would break: a roll-back that leaves somebody's work in, or takes work out that was sealed; a permit of before a roll-back that counts
/// after it; a participant that is told of a roll-back twice, or of that of another round, and does its work twice.
#[test]
fn every_reader_sees_the_rounds_that_were_kept_and_nothing_else() {
    if role().is_some() {
        return participant();
    }
    let (rounds, seed) = (times(20_000, 1_000_000), seed());
    println!("\nseed {seed}");
    let bus = Bus::embedded().expect("broker");
    let mut reader = open_reader(&zone(&bus), "observer");
    let mut crew = Crew::start("every_reader_sees_the_rounds_that_were_kept_and_nothing_else", &bus, seed, rounds);
    let mut seen = Seen::default();
    crew.go();
    observe(&mut reader, crew.last.word(), &mut seen, |_| {});
    let counts = crew.finish(&seen);
    println!("{rounds} rounds: {counts:?}");
    assert!(counts.rolled_back > rounds / 10, "hardly anything was rolled back");
    assert!(counts.told_by_a_commit > 0 && counts.told_by_the_permit > 0, "no roll-back met another's work");
    assert!(counts.told_by_the_reader > 0, "no roll-back came after a permit");
}

/// Would break: messages of a killed participant that it had not permitted are in an era, now or after its row has another owner; a part of what
/// it had permitted; the others wait for its permit.
#[test]
fn a_participant_that_is_killed_takes_what_it_had_not_permitted_with_it() {
    match role().as_deref() {
        Some("victim") => victim(),
        Some(_) => return participant(),
        None => {}
    }
    let test = "a_participant_that_is_killed_takes_what_it_had_not_permitted_with_it";
    let (kills, seed) = (times(60, 1_000) as u32, seed());
    println!("\nseed {seed}");
    let bus = Bus::embedded().expect("broker");
    let mut reader = open_reader(&zone(&bus), "observer");
    let mut crew = Crew::start(test, &bus, seed, u64::MAX);
    let (mut seen, observed) = (Seen::default(), AtomicU64::new(0));
    let mut random = Random(seed | 1);
    crew.go();
    let directory = tempfile::tempdir().expect("directory");
    let path = |who: u32| directory.path().join(who.to_string());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            observe(&mut reader, crew.last.word(), &mut seen, |rounds| observed.store(rounds, Ordering::Release))
        });
        for who in (VICTIMS..).take(kills as usize) {
            let word = path(who).display().to_string();
            let arguments = [("WHO", who.to_string()), ("SEED", seed.to_string()), ("WORD", word)];
            let mut process = Process::start(test, "victim", bus.socket(), &arguments);
            process.wait_for("ready");
            std::thread::sleep(Duration::from_micros(random.below(3_000)));
            assert!(process.child.try_wait().expect("wait").is_none(), "{who} has given up");
            process.kill();
        }
        // So far on that nobody is there yet.
        let last = observed.load(Ordering::Acquire) + 2_000;
        crew.last.word().store(last, Ordering::Release);
    });
    let counts = crew.finish(&seen);
    let (mut kept_rounds, mut not_permitted, mut not_told) = (0, 0, 0);
    for who in (VICTIMS..).take(kills as usize) {
        let notes = SharedWord::new(&path(who));
        let [begun, permits, kept] =
            [Note::Begun, Note::Permits, Note::Kept].map(|note| notes.at(note as usize).load(Ordering::Acquire));
        let (rounds, last) = seen.last.get(&who).copied().unwrap_or_default();
        assert!(kept <= last.into(), "{who} had read its attempt {kept}, others read {last} at most");
        assert!(u64::from(last) <= permits, "attempt {last} of {who} was read, which had permitted {permits} at most");
        kept_rounds += rounds;
        not_permitted += u32::from(begun > permits);
        not_told += u32::from(permits > kept);
    }
    println!(
        "{kills} kills in {} rounds, {kept_rounds} of them with the killed: {not_permitted} with something committed and not permitted, \
         {not_told} with a permit whose edge it had not read; {counts:?}",
        seen.rounds
    );
    assert!(not_permitted > 0 && not_told > 0, "nobody was killed in the middle of a round");
    assert!(kept_rounds > kills, "the victims were killed before they did anything");
}

/// What is refused says what to do.
#[test]
fn what_makes_no_sense_in_a_zone_is_refused() {
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let mut writer = zone.writer("w").unwrap();
    let other = zone.writer("other").unwrap();
    let refused = |error: Error, words: &[&str]| {
        assert_eq!(error.code(), Code::Invalid, "{error}");
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    for builder in [zone.reader("live"), zone.reader("live").markers()] {
        let opened = builder.channel::<u32>("a").open();
        refused(opened.expect_err("refused"), &["`live`", "expected a synced one", "rolled back", "open it synced"]);
    }
    writer.permit().unwrap();
    refused(writer.roll_back_era().unwrap_err(), &["roll-back", "before this writer's permit", "too late"]);
    drop(other);
    assert_eq!(writer.generation().unwrap(), 1, "nobody else is waited for");
    writer.roll_back_era().unwrap();
    for zone in [bus.zone("free"), bus.zone("plain").lockstep(LONG)] {
        let mut writer = zone.writer("w").unwrap();
        refused(writer.roll_back_era().unwrap_err(), &["expected a zone made for that", "make it revocable"]);
    }
    refused(bus.zone("free").writer("w").unwrap().permit().unwrap_err(), &["without lockstep", "call edge"]);
    refused(writer.edge().unwrap_err(), &["lockstep", "call permit"]);
    assert_eq!(zone.lockstep(LONG).writer("w").err().map(|error| error.code()), Some(Code::Mismatch));
}

/// Would break: a permit that another's roll-back has taken back counts as one for the round that has begun anew.
#[test]
fn whoever_was_told_by_its_reader_can_roll_back_in_turn() {
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let [mut one, mut other] = ["one", "other"].map(|name| zone.writer(name).unwrap());
    let lane = one.channel("a").open::<u32>().unwrap();
    let mut reader = zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    one.publish(lane, &1).unwrap();
    one.permit().unwrap();
    other.roll_back_era().unwrap();
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
    one.roll_back_era().unwrap();
    one.publish(lane, &2).unwrap();
    one.permit().unwrap();
    assert!(matches!(other.permit(), Err(Error::RolledBack)));
    other.permit().unwrap();
    let mut era = reader.next_era(LONG).unwrap();
    assert_eq!(era.next().unwrap().unwrap().copy::<u32>().unwrap(), 2);
    assert!(era.next().unwrap().is_none());
}

/// Would break: a reader that waits for a round that is sealed is told that the next one was rolled back, and its participant does the sealed
/// one again.
#[test]
fn what_is_sealed_comes_before_the_roll_back_of_the_next_round() {
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let [mut one, mut other] = ["one", "other"].map(|name| zone.writer(name).unwrap());
    let mut reader = zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    one.permit().unwrap();
    other.permit().unwrap();
    other.roll_back_era().unwrap();
    // The halt holds back what is sealed, as if the reader had looked a moment before that.
    let halt = zone.halt(LONG).unwrap();
    assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    assert!(matches!(reader.spin_era(Duration::from_millis(20)), Err(Error::Timeout)));
    halt.release();
    assert_eq!(reader.next_era(LONG).unwrap().number(), 1);
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
}

/// Would break: who was told by its writer, has begun anew and given its permit is told again by its reader, and does its work twice.
#[test]
fn what_all_writers_of_a_process_know_its_readers_do_not_tell() {
    let bus = Bus::embedded().unwrap();
    // A connection of its own, as of another process.
    let elsewhere = zone(&Bus::connect_to(bus.socket()).unwrap());
    let zone = zone(&bus);
    let (mut one, mut other) = (zone.writer("one").unwrap(), elsewhere.writer("other").unwrap());
    let open = |zone: &Zone| zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    let (mut reader, mut reader_elsewhere) = (open(&zone), open(&elsewhere));
    other.roll_back_era().unwrap();
    assert!(matches!(one.permit(), Err(Error::RolledBack)));
    one.permit().unwrap();
    for reader in [&mut reader, &mut reader_elsewhere] {
        assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    }
    // Another writer of the process has no part in that, until it knows, too.
    let mut third = zone.writer("third").unwrap();
    other.roll_back_era().unwrap();
    assert!(matches!(third.permit(), Err(Error::RolledBack)));
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
    other.roll_back_era().unwrap();
    for writer in [&mut one, &mut third] {
        assert!(matches!(writer.permit(), Err(Error::RolledBack)));
    }
    assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    drop(third);
    other.roll_back_era().unwrap();
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
}

/// Would break: who takes the place of one that left in the middle of a round is not handed that round, and waits for it, and all for him.
#[test]
fn whoever_comes_in_the_middle_of_a_round_is_handed_it_whole() {
    let bus = Bus::embedded().unwrap();
    let permits_first = [false, true];
    for (name, is_revocable) in [("plain", false), ("revocable", true)] {
        for permits in permits_first {
            for rounds_before in [0, 1] {
                let zone = bus.zone(name);
                let zone = if is_revocable { zone.revocable(LONG) } else { zone.lockstep(LONG) };
                let [mut stays, mut leaves] = ["stays", "leaves"].map(|name| zone.writer(name).unwrap());
                let lane = leaves.channel("a").open::<u32>().unwrap();
                let mut witness = zone.reader("witness").channel::<u32>("a").synced().open().unwrap();
                for round in 1..=rounds_before {
                    leaves.publish(lane, &round).unwrap();
                    leaves.permit().unwrap();
                    stays.permit().unwrap();
                }
                leaves.publish(lane, &7).unwrap();
                if permits {
                    leaves.permit().unwrap();
                }
                drop(leaves);
                let mut comes = zone.writer("comes").unwrap();
                let mut reader = zone.reader("r").channel::<u32>("a").synced().open().unwrap();
                stays.permit().unwrap();
                let number = comes.permit().unwrap();
                let read = |reader: &mut Reader| loop {
                    match reader.try_era() {
                        Ok(Some(mut era)) => {
                            let mut found = Vec::new();
                            while let Some(message) = era.next().unwrap() {
                                found.push(message.copy::<u32>().unwrap());
                            }
                            if era.number() == number {
                                return found;
                            }
                        }
                        Ok(None) => panic!("{name}, {permits}, {rounds_before}: no era {number}"),
                        Err(Error::Closed(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                };
                let expected = if permits || !is_revocable { vec![7] } else { Vec::new() };
                assert_eq!(read(&mut witness), expected);
                assert_eq!(read(&mut reader), expected, "{name}, {permits}, {rounds_before}");
                // What was kept for that goes with those who were there.
                drop((stays, comes, witness, reader));
                eventually("the zone is gone", || bus.list().unwrap().is_empty());
            }
        }
    }
}

/// Would break: who joins while others roll back takes the roll-back for known, though its row does not, and its permit never counts.
#[test]
fn whoever_joins_during_a_roll_back_can_permit() {
    let joins = times(1_000, 20_000);
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let mut stays = zone.writer("stays").unwrap();
    let (mut during, mut told) = (0, 0);
    for join in 1..=joins {
        let has_joined = AtomicU64::new(0);
        let mut comes = std::thread::scope(|scope| {
            let rolls = scope.spawn(|| {
                let mut rolls = 0;
                while has_joined.load(Ordering::Acquire) == 0 {
                    stays.roll_back_era().unwrap();
                    rolls += 1;
                }
                rolls
            });
            let comes = zone.writer("comes").unwrap();
            has_joined.store(1, Ordering::Release);
            during += u64::from(rolls.join().unwrap() > 1);
            comes
        });
        while let Err(error) = comes.permit() {
            assert!(matches!(error, Error::RolledBack), "{error}");
            told += 1;
        }
        stays.permit().unwrap();
        assert_eq!(stays.generation().unwrap(), join, "all have given their permits");
    }
    println!("\n{joins} joins, {during} of them during roll-backs, after which {told} were told of one");
    assert!(during > joins / 2 && told > 0);
}
