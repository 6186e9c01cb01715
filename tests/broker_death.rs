//! The broker is never on the data path: killed while a pair talks, it is not missed.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;
use support::broker::BrokerProcess;
use support::*;
use syncline::{Bus, Error};

const COUNT: u64 = 400_000;

fn talker() {
    let bus = Bus::connect().unwrap();
    let progress = SharedWord::new(argument("WORD").as_ref());
    let mut writer = bus.zone("z").writer("w").unwrap();
    writer.set_room_timeout(LONG);
    let lane = writer.channel("c").open::<u64>().unwrap();
    bus.zone("z").wait_readers("c", 2, LONG).unwrap();
    say("talking", "");
    for value in 0..COUNT {
        writer.publish(lane, &value).unwrap();
        if value % 100 == 99 {
            writer.edge().unwrap();
        }
        progress.word().store(value, Ordering::Relaxed);
    }
    say("said", COUNT);
    // Stays, since its death can be told by nobody.
    hear();
}

#[test]
fn a_pair_goes_on_without_the_broker() {
    if role().is_some() {
        return talker();
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let word = directory.path().join("word");
    let progress = SharedWord::new(&word);
    let (mut broker, bus) = BrokerProcess::start(&socket);
    let mut live = bus.zone("z").reader("live").channel::<u64>("c").open().unwrap();
    let mut synced = bus.zone("z").reader("synced").channel::<u64>("c").synced().open().unwrap();
    let arguments = [("WORD", word.display().to_string())];
    let mut process = Process::start("a_pair_goes_on_without_the_broker", "talker", &socket, &arguments);
    process.wait_for("talking");

    let mut given_synced = 0;
    let mut killed_at = None;
    for value in 0..COUNT {
        assert_eq!(live.recv(LONG).unwrap().copy::<u64>().unwrap(), value);
        while let Some(message) = synced.try_recv().unwrap() {
            assert_eq!(message.copy::<u64>().unwrap(), given_synced);
            given_synced += 1;
        }
        if value == COUNT / 4 {
            broker.kill();
            killed_at = Some(progress.word().load(Ordering::Relaxed));
        }
    }
    while given_synced < COUNT {
        assert_eq!(synced.recv(LONG).unwrap().copy::<u64>().unwrap(), given_synced);
        given_synced += 1;
    }
    let killed_at = killed_at.unwrap();
    assert!(killed_at < COUNT - 1, "the broker was killed after the talk was over");
    println!("the broker was killed at message {killed_at} of {COUNT}; all were received");
    assert!(matches!(live.recv(Duration::from_millis(20)), Err(Error::Timeout)));
    // What needs the broker says that it has gone.
    let error = bus.zone("z").writer("late").unwrap_err();
    assert!(matches!(error, Error::NoBroker { .. }), "{error}");
    process.send("go");
    process.finish();
}
