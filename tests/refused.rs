//! Processes that may not call membarrier (as in a container), or sleep on several words at once (as before Linux 5.16): nothing is lost.

mod support;

use nix::libc;
use std::path::Path;
use std::time::Duration;
use support::timing::Timing;
use support::*;
use syncline::{Bus, Live, Reader, Sleeps, Wait, WaitSet};

/// Refuses what the role is not to have, before anything of the library runs.
fn refuse() {
    let errno = argument("ERRNO").parse().unwrap();
    match argument("REFUSED").as_str() {
        "membarrier" => seccomp::refuse(&[libc::SYS_membarrier], errno),
        "futex_waitv" => seccomp::refuse(&[libc::SYS_futex_waitv], errno),
        "both" => seccomp::refuse(&[libc::SYS_membarrier, libc::SYS_futex_waitv], errno),
        _ => {}
    }
}

/// Throws a number to the other side and waits for it to come back, asleep. A ring that is lost is not made up for.
fn player() {
    refuse();
    let (own, others) = (argument("OWN"), argument("OTHERS"));
    let count: u64 = argument("COUNT").parse().unwrap();
    let bus = Bus::connect().unwrap();
    let zone = bus.zone("court");
    let mut writer = zone.writer(&own).unwrap();
    let lane = writer.channel(&own).open::<u64>().unwrap();
    let mut reader = zone.reader(&own).channel::<u64>(&others).wait(Wait::Block).open().unwrap();
    reader.set_longest_sleep(2 * LONG);
    zone.wait_readers(&own, 1, LONG).unwrap();
    say("joined", "");
    hear();
    let mut random = Random(0xba11 + u64::from(own == "a"));
    let (mut timing, is_first) = (Timing::default(), own == "a");
    for value in 0..count {
        if is_first {
            writer.publish(lane, &value).unwrap();
        }
        timing.wait(value, is_first, &mut random, || {
            assert_eq!(reader.recv(LONG / 2).unwrap().copy::<u64>().unwrap(), value);
        });
        if !is_first {
            writer.publish(lane, &value).unwrap();
        }
    }
    let Sleeps { spared, overtaken, rung, unrung, missed, .. } = reader.sleeps();
    say("sleeps", format!("{spared} {overtaken} {rung} {unrung} {missed}"));
    hear();
}

/// How often something came while a player went to sleep.
fn game(test: &str, socket: &Path, refused: [&str; 2], errno: i32) -> u64 {
    let count = times(5000, 1_000_000);
    let start = |own: &str, others: &str, refused: &str| {
        let own_arguments = [
            ("OWN", own.to_owned()),
            ("OTHERS", others.to_owned()),
            ("REFUSED", refused.to_owned()),
            ("ERRNO", errno.to_string()),
            ("COUNT", count.to_string()),
        ];
        Process::start(test, "player", socket, &own_arguments)
    };
    let mut players = [start("a", "b", refused[0]), start("b", "a", refused[1])];
    players.iter_mut().for_each(|player| drop(player.wait_for("joined")));
    players.iter_mut().for_each(|player| player.send("go"));
    let mut close = 0;
    for (player, refused) in players.iter_mut().zip(refused) {
        let sleeps: Vec<u64> = player.wait_for("sleeps").split(' ').map(|number| number.parse().unwrap()).collect();
        let [spared, overtaken, rung, unrung, missed] = sleeps[..] else { panic!("{sleeps:?}") };
        println!(
            "without {refused:12}: {spared} spared, {overtaken} overtaken, {rung} rung, {unrung} unrung, {missed} missed"
        );
        assert_eq!((unrung, missed), (0, 0), "a sleep that nobody ended");
        assert!(rung > count / 10, "hardly ever slept");
        close += spared + overtaken;
    }
    for mut player in players {
        player.send("go");
        player.finish();
    }
    close
}

#[test]
fn readers_and_writers_without_membarrier() {
    if role().is_some() {
        return player();
    }
    let test = "readers_and_writers_without_membarrier";
    let mut close = 0;
    for errno in [libc::EPERM, libc::ENOSYS] {
        for refused in [["membarrier", "nothing"], ["membarrier", "membarrier"]] {
            let bus = Bus::embedded().unwrap();
            close += game(test, bus.socket(), refused, errno);
        }
    }
    assert!(close > 0, "never came anything while a player went to sleep");
}

#[test]
fn a_broker_without_membarrier() {
    match role().as_deref() {
        Some("player") => return player(),
        Some(_) => {
            refuse();
            let bus = Bus::embedded().unwrap();
            say("socket", bus.socket().display());
            hear();
            return;
        }
        None => {}
    }
    let test = "a_broker_without_membarrier";
    let arguments = [("REFUSED", "membarrier".to_owned()), ("ERRNO", libc::EPERM.to_string())];
    let mut broker = Process::start(test, "broker", Path::new("/nonexistent"), &arguments);
    let socket = broker.wait_for("socket");
    // One that may, and one that may not, and nobody who could put a fence into the first for the second.
    game(test, Path::new(&socket), ["membarrier", "nothing"], libc::EPERM);
    broker.send("go");
    broker.finish();
}

/// How far a reader is: messages and edges.
#[derive(Clone, Copy, Default, PartialEq)]
struct Seen {
    numbers: u64,
    edges: u64,
}

const ALL: Seen = Seen { numbers: POLLED, edges: POLLED };

impl Seen {
    fn note(&mut self, given: Live<'_>) {
        match given {
            Live::Message(message) => {
                assert_eq!(message.copy::<u64>().unwrap(), self.numbers);
                self.numbers += 1;
            }
            Live::Edge(edge) => {
                self.edges += 1;
                assert_eq!(edge.era, self.edges);
            }
        }
    }
}

/// Two readers with a descriptor, and one asleep; two of the three are of two bells.
fn polled() {
    refuse();
    let bus = Bus::connect().unwrap();
    let zone = bus.zone("z");
    let open = |name: &str, markers: bool| {
        let reader = zone.reader(name).channel::<u64>("c");
        let mut reader = if markers { reader.markers() } else { reader }.open().unwrap();
        reader.set_longest_sleep(2 * LONG);
        reader
    };
    let (mut readers, mut asleep) = ([open("live", false), open("marked", true)], open("asleep", true));
    let mut set = WaitSet::new().unwrap();
    for (reader, key) in readers.iter_mut().zip(0..) {
        set.add_reader(key, reader).unwrap();
    }
    say("joined", "");
    let sleeper = std::thread::spawn(move || {
        let mut seen = Seen::default();
        while seen != ALL {
            seen.note(asleep.next_live(LONG / 2).unwrap());
        }
        asleep
    });
    let (mut live, mut marked) = (0, Seen::default());
    while live < POLLED || marked != ALL {
        let ready: Vec<u64> = set.wait(LONG / 2).expect("a wake was lost").collect();
        for key in ready {
            let reader = &mut readers[key as usize];
            if key == 0 {
                while let Some(message) = reader.try_recv().unwrap() {
                    assert_eq!(message.copy::<u64>().unwrap(), live);
                    live += 1;
                }
            } else {
                while let Some(given) = reader.try_live().unwrap() {
                    marked.note(given);
                }
            }
        }
    }
    let asleep = sleeper.join().unwrap();
    let sleeps: Vec<Sleeps> = readers.iter().chain([&asleep]).map(Reader::sleeps).collect();
    let missed: u64 = sleeps.iter().map(|sleeps| sleeps.missed).sum();
    let rung: u64 = sleeps.iter().map(|sleeps| sleeps.rung).sum();
    say("received", format!("{missed} {rung}"));
}

const POLLED: u64 = 2000;

#[test]
fn descriptors_where_one_can_sleep_on_one_word_only() {
    if role().is_some() {
        return polled();
    }
    for refused in ["futex_waitv", "both"] {
        let bus = Bus::embedded().unwrap();
        let zone = bus.zone("z");
        let mut writer = zone.writer("w").unwrap();
        writer.set_room_timeout(LONG);
        let lane = writer.channel("c").open::<u64>().unwrap();
        let arguments = [("REFUSED", refused.to_owned()), ("ERRNO", libc::ENOSYS.to_string())];
        let test = "descriptors_where_one_can_sleep_on_one_word_only";
        let mut process = Process::start(test, "polled", bus.socket(), &arguments);
        process.wait_for("joined");
        let mut random = Random(0x51ee9);
        for value in 0..POLLED {
            writer.publish(lane, &value).unwrap();
            std::thread::sleep(Duration::from_micros(random.below(60)));
            writer.edge().unwrap();
            // No more eras than the zone remembers, or edges are merged.
            zone.wait_done(value.saturating_sub(50), LONG).unwrap();
        }
        let received = process.wait_for("received");
        let [missed, rung] = received.split(' ').map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()[..] else {
            panic!()
        };
        println!("without {refused}: {rung} rung, {missed} missed");
        assert!(missed == 0 && rung > 100);
        process.finish();
    }
}
