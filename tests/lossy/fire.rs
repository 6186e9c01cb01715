//! Exact loss under fire: a writer process that never waits, reader processes that are too slow, all of them stopped at any instruction and
//! the readers also for long (SIGSTOP).

use super::support::pace::numbers;
use super::support::stops::Stops;
use super::support::*;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline::{Bus, Error, Message, Reader};

const TEST: &str = "fire::received_and_lost_are_what_was_published";
/// Four pin, two copy.
const LIVE: usize = 6;
const SYNCED: usize = 2;
/// Most words of a message.
const MOST: u64 = 24;
/// Messages between edges, at most.
const ERA: u64 = 100;

/// Message `n` in words.
fn words(n: u64) -> impl Iterator<Item = u64> {
    (0..1 + n % MOST).map(move |index| n ^ index << 48)
}

fn writer() {
    let [count] = numbers(&argument("COUNT"));
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("fire").writer("w").expect("writer");
    let lane = writer.channel("a").capacity(1 << 14).lossy().open::<[u64]>().expect("lane");
    say("ready", "");
    hear();
    let stops = Stops::begin();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut until_edge = 1 + random.below(ERA);
    for n in 0..count {
        let mut loan = writer.loan_slice(lane, (1 + n % MOST) as usize).expect("a lossy lane has always room");
        loan.items_mut().iter_mut().zip(words(n)).for_each(|(place, word)| *place = word);
        loan.publish().expect("publish");
        if n % 1_000_000 == 0 {
            say("at", n);
        }
        until_edge -= 1;
        if until_edge == 0 {
            writer.edge().expect("edge");
            until_edge = 1 + random.below(ERA);
        }
    }
    writer.edge().expect("edge");
    say("done", format!("{} {}", writer.generation().expect("generation"), stops.end()));
    hear();
}

/// The number of a message, which must be whole.
fn number(message: &Message<'_>, buffer: &mut Vec<u8>) -> u64 {
    message.copy_to(buffer).expect("copy");
    // SAFETY: its writer is this test's, and keeps what is held.
    let in_place = unsafe { message.bytes_in_place() };
    assert_eq!(in_place, &buffer[..], "what is held has changed");
    let mut found = buffer.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
    let n = found.next().expect("a message of no words");
    assert!(found.eq(words(n).skip(1)) && buffer.len() as u64 == 8 * (1 + n % MOST), "message {n} is torn");
    n
}

/// A reader that is slow now and then.
struct Slow {
    random: Random,
    left: u64,
}

impl Slow {
    fn new(seed: u64) -> Slow {
        Slow { random: Random(seed << 20 | 1), left: 1000 }
    }

    fn step(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.left = 1 + self.random.below(2000);
            std::thread::sleep(Duration::from_micros(self.random.below(200)));
        }
    }
}

fn live() {
    let [seed] = numbers(&argument("SEED"));
    let mut reader = open(false);
    say("ready", "");
    let stops = Stops::begin();
    let (mut next, mut received, mut lost, mut lags, mut buffer, mut slow) =
        (0, 0u64, 0, 0u64, Vec::new(), Slow::new(seed));
    loop {
        match reader.recv(LONG) {
            Ok(message) => {
                assert_eq!(number(&message, &mut buffer), next, "not the next message");
                next += 1;
                received += 1;
                slow.step();
            }
            Err(Error::Lagged(lagged)) => {
                next += lagged.count;
                lost += lagged.count;
                lags += 1;
            }
            Err(Error::Closed(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    say("done", format!("{received} {lost} {lags} {}", stops.end()));
    hear();
}

fn synced() {
    let [seed] = numbers(&argument("SEED"));
    let mut reader = open(true);
    say("ready", "");
    let stops = Stops::begin();
    let (mut era, mut eras, mut lost, mut lags, mut buffer, mut slow) = (0, 0u64, 0, 0u64, Vec::new(), Slow::new(seed));
    // The last message of an era and the first of the next are told apart by their neighbours: within an era there is no gap, and none is
    // handed out of which the first is not the one after the last of the era before, if that was handed out, too.
    let mut last: Option<u64> = None;
    loop {
        match reader.next_era(LONG) {
            Ok(mut begun) => {
                assert_eq!(begun.number(), era + 1, "not the next era");
                assert!(!begun.is_merged());
                era += 1;
                eras += 1;
                while let Some(message) = begun.next().expect("a whole era") {
                    let n = number(&message, &mut buffer);
                    assert!(last.is_none_or(|last| n == last + 1), "{n} after {last:?} in era {era}");
                    last = Some(n);
                    slow.step();
                }
            }
            Err(Error::ErasLost { first, last: to }) => {
                assert_eq!(first, era + 1, "not the next era");
                lost += to - era;
                era = to;
                lags += 1;
                last = None;
            }
            Err(Error::Closed(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    say("done", format!("{eras} {lost} {lags} {}", stops.end()));
    hear();
}

fn open(synced: bool) -> Reader {
    let bus = Bus::connect().expect("connect");
    // As many eras as can be: a reader that is behind is told of each.
    let builder = bus.zone("fire").reader("r").channel::<[u64]>("a");
    if synced { builder.synced().open() } else { builder.open() }.expect("reader")
}

/// Would break: a torn message; a wrong count of what was lost; an era that is handed out in part; a writer that a stopped reader holds up.
#[test]
fn received_and_lost_are_what_was_published() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some("live") => return live(),
        Some("synced") => return synced(),
        _ => {}
    }
    let count = times(200_000, 100_000_000);
    let bus = Bus::embedded().expect("broker");
    bus.zone("fire").eras(4096).create().expect("zone");
    let start = |role, seed: usize| {
        Process::start(TEST, role, bus.socket(), &[("SEED", seed.to_string()), ("COUNT", count.to_string())])
    };
    let mut writer = start("writer", 0);
    writer.wait_for("ready");
    let mut readers: Vec<_> =
        (0..LIVE + SYNCED).map(|seed| start(if seed < LIVE { "live" } else { "synced" }, seed + 1)).collect();
    readers.iter_mut().for_each(|reader| drop(reader.wait_for("ready")));
    writer.send("go");
    // One of the readers is always stopped.
    let done = AtomicBool::new(false);
    let pids: Vec<u32> = readers.iter().map(Process::pid).collect();
    let (said, stopped) = std::thread::scope(|scope| {
        let stopper = scope.spawn(|| {
            let (mut random, mut stopped) = (Random(7), 0u64);
            while !done.load(Ordering::Relaxed) {
                let pid = pids[random.below(pids.len() as u64) as usize];
                stop(pid);
                stopped += 1;
                std::thread::sleep(Duration::from_micros(500 + random.below(20_000)));
                signal(pid, Signal::SIGCONT);
            }
            stopped
        });
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.wait_for("done")));
        done.store(true, Ordering::Relaxed);
        (said.expect("the writer is done"), stopper.join().expect("the stopper"))
    });
    let [generation, interrupted] = numbers(&said);
    // The writer leaves: its readers read to the end.
    writer.send("leave");
    writer.finish();
    println!(
        "{count} messages in {generation} eras, the writer interrupted {interrupted} times, a reader stopped {stopped} times"
    );
    for (index, mut reader) in readers.into_iter().enumerate() {
        let [received, lost, lags, interrupted] = numbers(&reader.wait_for("done"));
        let (kind, all) = match index {
            0..4 => ("pinned", count),
            4..LIVE => ("copying", count),
            _ => ("synced", generation),
        };
        println!("{kind}: received {received}, lost {lost} in {lags} lags, interrupted {interrupted} times");
        assert_eq!(received + lost, all, "{kind} reader {index}");
        assert!(received > 0 && lost > 0 && lags > 1, "nothing was lost, or nothing received");
        reader.send("leave");
        reader.finish();
    }
}
