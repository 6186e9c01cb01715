//! No wake-up is lost: processes that throw a number to and fro, and sleep for it in every way there is.
//!
//! A ring that is lost is not made up for: a single sleep may last longer than the wait, so that a sleep that nobody ended shows as such.

mod support;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use support::timing::Timing;
use support::*;
use syncline::{Bus, Lane, Live, Reader, Sleeps, Wait, Writer, Zone};

/// What a player sleeps on.
const WAYS: [&str; 4] = ["messages", "edges", "both", "a descriptor"];
/// Throws between two looks at how many sleeps there were.
const THROWS: u64 = 2000;

fn open_reader(zone: &Zone, way: &str, own: &str, others: &str) -> Reader {
    let reader = zone.reader(own).channel::<u64>(others).wait(Wait::Block);
    let reader = match way {
        "edges" => reader.synced(),
        "both" => reader.markers(),
        _ => reader,
    };
    let mut reader = reader.open().unwrap();
    reader.set_longest_sleep(2 * LONG);
    if way == "a descriptor" {
        reader.pollable().unwrap();
    }
    reader
}

fn throw(writer: &mut Writer, lane: Lane<u64>, way: &str, value: u64) {
    // With both bells to sleep on, now the one is rung and now the other.
    let is_edge = way == "edges" || (way == "both" && value.is_multiple_of(2));
    if way != "both" || !is_edge {
        writer.publish(lane, &value).unwrap();
    }
    if is_edge {
        writer.edge().unwrap();
    }
}

fn catch(reader: &mut Reader, way: &str, value: u64) {
    match way {
        "edges" => {
            let mut era = reader.next_era(LONG).unwrap();
            assert_eq!(era.next().unwrap().unwrap().copy::<u64>().unwrap(), value);
        }
        "both" if value.is_multiple_of(2) => {
            let given = reader.next_live(LONG).unwrap();
            assert!(matches!(given, Live::Edge(_)), "expected an edge, found {given:?}");
        }
        "both" => match reader.next_live(LONG).unwrap() {
            Live::Message(message) => assert_eq!(message.copy::<u64>().unwrap(), value),
            given => panic!("expected a message, found {given:?}"),
        },
        "a descriptor" => loop {
            if let Some(message) = reader.try_recv().unwrap() {
                return assert_eq!(message.copy::<u64>().unwrap(), value);
            }
            let mut fds = [PollFd::new(reader.pollable().unwrap(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::try_from(LONG).unwrap()), Ok(1), "a wake was lost");
        },
        _ => assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), value),
    }
}

fn player() {
    let (way, own, others) = (argument("WAY"), argument("OWN"), argument("OTHERS"));
    let bus = Bus::connect().unwrap();
    // To each a zone of its own: the bells that one rings are those that the other sleeps on.
    let mut writer = bus.zone(&own).writer(&own).unwrap();
    let lane = writer.channel(&own).open::<u64>().unwrap();
    let mut reader = open_reader(&bus.zone(&others), &way, &own, &others);
    bus.zone(&own).wait_readers(&own, 1, LONG).unwrap();
    say("joined", "");
    let mut random = Random(argument("SEED").parse().unwrap());
    let (mut value, mut timing) = (0, Timing::default());
    let is_first = own == "a";
    while hear().as_deref() == Some("more") {
        for _ in 0..THROWS {
            if is_first {
                throw(&mut writer, lane, &way, value);
            }
            timing.wait(value, is_first, &mut random, || catch(&mut reader, &way, value));
            if !is_first {
                throw(&mut writer, lane, &way, value);
            }
            value += 1;
        }
        let Sleeps { spared, overtaken, rung, unrung, missed, .. } = reader.sleeps();
        say("sleeps", format!("{spared} {overtaken} {rung} {unrung} {missed}"));
    }
}

/// How the waits of both players went.
#[derive(Default)]
struct Score {
    throws: u64,
    spared: u64,
    overtaken: u64,
    rung: u64,
}

fn game(bus: &Bus, way: &str, sleeps: u64) -> Score {
    let seed = 0x5eed_0000_0000 + u64::from(std::process::id()) * 64 + way.len() as u64;
    let start = |own: &str, others: &str, seed: u64| {
        let arguments = [
            ("WAY", way.to_owned()),
            ("OWN", own.to_owned()),
            ("OTHERS", others.to_owned()),
            ("SEED", seed.to_string()),
        ];
        Process::start("no_wake_is_lost", "player", bus.socket(), &arguments)
    };
    let mut players = [start("a", "b", seed), start("b", "a", seed + 1)];
    players.iter_mut().for_each(|player| drop(player.wait_for("joined")));
    let mut score = Score::default();
    while score.rung < sleeps {
        players.iter_mut().for_each(|player| player.send("more"));
        let throws = score.throws + 2 * THROWS;
        score = Score { throws, ..Score::default() };
        for player in &mut players {
            let said = player.wait_for("sleeps");
            let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
            let [spared, overtaken, rung, unrung, missed] = numbers[..] else { panic!("{said}") };
            assert_eq!((unrung, missed), (0, 0), "{way}: a sleep that nobody ended, seed {seed}: {said}");
            score.spared += spared;
            score.overtaken += overtaken;
            score.rung += rung;
        }
    }
    players.iter_mut().for_each(|player| player.send("enough"));
    players.into_iter().for_each(Process::finish);
    score
}

#[test]
fn no_wake_is_lost() {
    if role().is_some() {
        return player();
    }
    let each = times(10_000, 2_500_000);
    let (mut overtaken, mut spared) = (0, 0);
    println!();
    for way in WAYS {
        let bus = Bus::embedded().unwrap();
        let score = game(&bus, way, each);
        println!(
            "asleep for {way}: {} of {} throws were slept for and rung, {} came between the look and the announcement, \
             {} rings between the announcement and the sleep; none was lost",
            score.rung, score.throws, score.spared, score.overtaken
        );
        overtaken += score.overtaken;
        spared += score.spared;
    }
    // A matter of nanoseconds: the quick form does not count on it.
    assert!(overtaken >= times(0, 1), "no ring ever came between the announcement and the sleep");
    assert!(spared > 0, "no throw ever came between the look and the announcement");
}

/// Lanes come while their reader goes to sleep: it sleeps with the bits of the channels that it knew, and is rung for with another.
#[test]
fn a_lane_that_comes_is_not_slept_through() {
    let rounds = times(500, 20_000);
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut builder = zone.reader("r").wait(Wait::Block);
    for channel in 0..32 {
        builder = builder.channel::<u64>(&format!("c{channel}"));
    }
    let mut reader = builder.open().unwrap();
    reader.set_longest_sleep(2 * LONG);
    let publisher = std::thread::spawn(move || {
        let mut random = Random(0x1a9e);
        for round in 0..rounds {
            let mut writer = zone.writer("w").unwrap();
            let lane = writer.channel(&format!("c{}", round % 32)).capacity(4096).open::<u64>().unwrap();
            (0..random.below(300)).for_each(|_| std::hint::spin_loop());
            writer.publish(lane, &round).unwrap();
        }
    });
    for round in 0..rounds {
        loop {
            match reader.recv(LONG) {
                Ok(message) => break assert_eq!(message.copy::<u64>().unwrap(), round),
                Err(syncline::Error::Closed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    publisher.join().unwrap();
    let sleeps = reader.sleeps();
    println!("{rounds} lanes came: {sleeps:?}");
    assert!(sleeps.missed == 0 && sleeps.unrung == 0 && sleeps.rung > rounds / 10, "{sleeps:?}");
}
