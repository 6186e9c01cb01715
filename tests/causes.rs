//! Cause before effect: four processes react to what the others tell them live, while edges compete. No era may hold a reaction
//! without its cause being in that era or an earlier one.
//!
//! Each process has a channel that it reads and the others write. Tokens go round: whoever reads one publishes a reaction, a commit of
//! its own, that passes it on to another and names the message it is a reaction to. A checker reads whole eras.

mod support;

use std::time::{Duration, Instant};
use support::pace::{ERAS, Met, Pace, numbers};
use support::stops::Stops;
use support::*;
use syncline::{Bus, Error, Zone};

const TEST: &str = "no_era_has_an_effect_without_its_cause";
/// The channel that each process reads.
const CHANNELS: [&str; 4] = ["to0", "to1", "to2", "to3"];
const PROCESSES: usize = CHANNELS.len();
const SEALERS: usize = 2;
/// Writers that do nothing: an edge takes longer over their rows, between those of the processes.
const IDLE: usize = 14;
const ROWS: usize = PROCESSES * (1 + IDLE) + SEALERS;
/// How far sealers go before the checker, in eras.
const LEADS: [u64; 4] = [4, 64, 512, 3000];
/// Tokens in flight. A lane can hold them all: nobody who reacts ever waits for another who does.
const TOKENS: u32 = 256;
/// As a cause: none. The first message of a token.
const NOBODY: u32 = u32::MAX;

/// A reaction, and what it is one to.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Reaction {
    token: u32,
    /// How many reactions of this token came before.
    hop: u32,
    /// The cause: its writer's row, its channel, its number there.
    row: u32,
    channel: u32,
    sequence: u64,
}

syncline::describe!(Reaction as "test.reaction" { token: u32, hop: u32, row: u32, channel: u32, sequence: u64 });

fn zone(bus: &Bus) -> Zone {
    bus.zone("causes").eras(ERAS)
}

// ---- the processes ----

fn process() {
    let [index, hops] = numbers(&argument("NUMBERS"));
    let (index, pace) = (index as usize, Pace::of_role());
    let bus = Bus::connect().expect("connect");
    let mut reader = zone(&bus).reader("process").channel::<Reaction>(CHANNELS[index]).open().expect("reader");
    let mut writer = zone(&bus).writer("process").expect("writer");
    writer.set_room_timeout(LONG);
    let others = (1..PROCESSES).map(|step| CHANNELS[(index + step) % PROCESSES]);
    let lanes: Vec<_> = others.map(|channel| writer.channel(channel).open::<Reaction>().expect("lane")).collect();
    say("ready", "");
    hear();
    let stops = Stops::begin();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (index as u64) << 7);
    for token in (0..TOKENS).filter(|token| *token as usize % PROCESSES == index) {
        let lane = lanes[random.below(lanes.len() as u64) as usize];
        writer.publish(lane, &Reaction { token, hop: 0, row: NOBODY, channel: 0, sequence: 0 }).expect("publish");
    }
    let mut idle_since = Instant::now();
    // Until every token has come to its end, here or elsewhere.
    while pace.counted() < u64::from(TOKENS) {
        let (cause, row, sequence) = match reader.recv(Duration::from_millis(20)) {
            Ok(message) => {
                (message.copy::<Reaction>().expect("a reaction"), message.origin().writer, message.sequence())
            }
            Err(Error::Timeout) => {
                assert!(idle_since.elapsed() < LONG, "no token for {LONG:?}");
                continue;
            }
            // Another has seen the end, or has failed; then the test does.
            Err(Error::Closed(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        idle_since = Instant::now();
        if u64::from(cause.hop) == hops {
            pace.count_one();
            continue;
        }
        let (token, hop) = (cause.token, cause.hop + 1);
        let reaction = Reaction { token, hop, row, channel: index as u32, sequence };
        let lane = lanes[random.below(lanes.len() as u64) as usize];
        // Every way there is to commit one message.
        match random.below(8) {
            0 => {
                let mut batch = writer.batch().expect("batch");
                batch.push(lane, &reaction).expect("push");
                batch.commit().expect("commit");
            }
            1 => {
                let mut loan = writer.loan(lane).expect("loan");
                loan.write(reaction);
                loan.publish().expect("publish");
            }
            _ => writer.publish(lane, &reaction).expect("publish"),
        }
    }
    let stops = stops.end();
    writer.edge().expect("edge");
    Met::say(&writer, stops);
}

fn sealer() {
    let pace = Pace::of_role();
    let bus = Bus::connect().expect("connect");
    let mut writer = zone(&bus).writer("sealer").expect("writer");
    say("ready", "");
    hear();
    let stops = Stops::begin();
    pace.run_edges(&mut writer, &LEADS);
    Met::say(&writer, stops.end());
}

/// What the checker has seen.
struct Seen {
    /// How many messages, by row and channel; at the end of the last era, and now.
    before: [[u64; PROCESSES]; ROWS],
    now: [[u64; PROCESSES]; ROWS],
    /// How many of each token, and the highest hop.
    tokens: Vec<(u64, u64)>,
    /// The messages of the era begun, with their rows and channels.
    era: Vec<(Reaction, usize, usize)>,
    /// Reactions in a later era than their cause, and in the same one.
    later: u64,
    together: u64,
    /// Eras with a reaction of the one kind, and of the other.
    eras_later: u64,
    eras_together: u64,
}

impl Seen {
    fn new() -> Seen {
        let none = [[0; PROCESSES]; ROWS];
        let tokens = vec![(0, 0); TOKENS as usize];
        let (later, together, eras_later, eras_together) = (0, 0, 0, 0);
        Seen { before: none, now: none, tokens, era: Vec::new(), later, together, eras_later, eras_together }
    }

    fn add(&mut self, reaction: Reaction, row: usize, channel: usize, sequence: u64) {
        let count = &mut self.now[row][channel];
        assert_eq!(sequence, *count, "row {row}, channel {channel}: {reaction:?}");
        *count += 1;
        let (count, hop) = &mut self.tokens[reaction.token as usize];
        *count += 1;
        *hop = (*hop).max(u64::from(reaction.hop));
        self.era.push((reaction, row, channel));
    }

    /// All of an era was added.
    fn end_era(&mut self, era: u64) {
        let (later, together) = (self.later, self.together);
        for (reaction, ..) in &self.era {
            let Reaction { token, hop, row, channel, sequence } = *reaction;
            if row == NOBODY {
                continue;
            }
            let (row, channel) = (row as usize, channel as usize);
            let has = self.now[row][channel];
            assert!(
                sequence < has,
                "era {era} has an effect without its cause: {reaction:?}, and there are only {has} of these ({} reactions were read)",
                self.later + self.together
            );
            let (count, highest) = self.tokens[token as usize];
            assert_eq!(count, highest + 1, "era {era} has hop {hop} of token {token} without all before");
            if sequence < self.before[row][channel] { self.later += 1 } else { self.together += 1 }
        }
        for (_, row, channel) in self.era.drain(..) {
            self.before[row][channel] = self.now[row][channel];
        }
        self.eras_later += u64::from(self.later > later);
        self.eras_together += u64::from(self.together > together);
    }
}

fn checker() {
    let [_, hops] = numbers(&argument("NUMBERS"));
    let pace = Pace::of_role();
    let bus = Bus::connect().expect("connect");
    let builder = CHANNELS.iter().fold(zone(&bus).reader("checker"), |builder, name| builder.channel::<Reaction>(name));
    let mut reader = builder.synced().open().expect("reader");
    say("ready", "");
    let mut seen = Seen::new();
    let (mut before, mut merged, mut closed) = (0, 0u64, 0);
    while closed < PROCESSES * (PROCESSES - 1) {
        let mut era = match reader.next_era(LONG) {
            Ok(era) => era,
            Err(Error::Closed(lane)) => {
                assert!(!lane.died, "{lane}");
                closed += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let number = era.number();
        assert!(number > before && (number == before + 1) != era.is_merged(), "era {number} after {before}");
        merged += u64::from(era.is_merged());
        while let Some(message) = era.next().expect("message") {
            let reaction: Reaction = message.copy().expect("a reaction");
            let channel = CHANNELS.iter().position(|&name| name == message.channel()).expect("a channel of ours");
            seen.add(reaction, message.origin().writer as usize, channel, message.sequence());
        }
        seen.end_era(number);
        before = number;
        pace.has_read(0, number);
    }
    for (token, &(count, hop)) in seen.tokens.iter().enumerate() {
        assert_eq!((count, hop), (hops + 1, hops), "token {token} has not arrived");
    }
    let Seen { later, together, eras_later, eras_together, .. } = seen;
    pace.is_done();
    say("read", format!("{before} {merged} {later} {together} {eras_later} {eras_together}"));
}

// ---- the test ----

#[test]
fn no_era_has_an_effect_without_its_cause() {
    match role().as_deref() {
        Some("process") => return process(),
        Some("sealer") => return sealer(),
        Some("checker") => return checker(),
        _ => {}
    }
    let wanted = times(1_000_000, 100_000_000);
    let hops = wanted / u64::from(TOKENS);
    let directory = tempfile::tempdir().expect("directory");
    let bus = Bus::embedded().expect("broker");
    let path = directory.path().join("pace");
    let pace = Pace::new(&path, 1);
    let start = |role: &str, index: usize| {
        let arguments = [("PACE", path.display().to_string()), ("NUMBERS", format!("{index} {hops}"))];
        let mut process = Process::start(TEST, role, bus.socket(), &arguments);
        process.wait_for("ready");
        process
    };
    let mut checker = start("checker", 0);
    let mut idle = Vec::new();
    let mut processes = Vec::new();
    for index in 0..PROCESSES {
        processes.push(start("process", index));
        idle.extend((0..IDLE).map(|_| zone(&bus).writer("idle").expect("writer")));
    }
    let mut sealers: Vec<Process> = (0..SEALERS).map(|index| start("sealer", index)).collect();
    let began = Instant::now();
    for process in processes.iter_mut().chain(&mut sealers) {
        process.send("go");
    }
    pace.wait_for_readers(processes.iter_mut().chain(&mut sealers).chain([&mut checker]));
    let [eras, merged, later, together, eras_later, eras_together] = numbers(&checker.wait_for("read"));
    let took = began.elapsed();
    let mut met = Met::default();
    for process in &mut processes {
        met.add(process);
    }
    pace.stop();
    for process in &mut sealers {
        met.add(process);
    }
    for process in processes.into_iter().chain(sealers).chain([checker]) {
        process.finish();
    }
    println!(
        "\n{} reactions in {took:.1?}, {eras} eras ({merged} merged), {} for each millisecond",
        later + together,
        u128::from(eras) / took.as_millis()
    );
    println!(
        "{later} in a later era than their cause ({eras_later} eras), {together} in the same ({eras_together} eras)"
    );
    met.assert_raced();
    assert_eq!(later + together, hops * u64::from(TOKENS));
    assert!(merged <= eras / 100, "too many eras were merged");
    assert!(later > 0, "no edge passed between a cause and its effect");
    assert!(together > 0, "no era had both");
}
