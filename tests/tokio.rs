//! Asynchronous readers: messages and eras as streams, whatever becomes of the broker.

mod support;

use std::time::Duration;
use support::broker::BrokerProcess;
use support::talker::talk;
use support::*;
use syncline::{AsyncReader, Bus, Error, Live, OwnedMessage};
use tokio_stream::{Stream, StreamExt};

const COUNT: u64 = 10_000;
const ERA: u64 = 20;

fn check(message: &OwnedMessage, value: u64) {
    assert_eq!((message.channel.as_str(), message.writer_name.as_str()), ("c", "w"));
    assert_eq!((message.sequence, message.bytes.as_slice()), (value, &value.to_ne_bytes()[..]));
}

/// The next item within a time that is long enough: a wake that is lost fails.
async fn next<S: Stream + Unpin>(stream: &mut S) -> S::Item {
    let next = tokio::time::timeout(LONG / 2, stream.next()).await;
    next.expect("a wake was lost").expect("the stream ended")
}

#[test]
fn streams_go_on_without_the_broker() {
    if role().is_some() {
        return talk(COUNT, ERA);
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("broker.sock");
    let (mut broker, bus) = BrokerProcess::start(&socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let open = || bus.zone("z").reader("r").channel::<u64>("c");
    let readers = [open().open(), open().synced().open(), open().markers().open()].map(|reader| {
        let mut reader = reader.unwrap();
        reader.set_longest_sleep(2 * LONG);
        reader
    });
    let mut process = Process::start("streams_go_on_without_the_broker", "talker", &socket, &[]);
    let wakes = runtime.block_on(async {
        let [mut live, mut synced, mut marked] = readers.map(|reader| AsyncReader::new(reader).unwrap());
        let live_side = async {
            let mut messages = live.messages();
            for value in 0..COUNT {
                check(&next(&mut messages).await.unwrap(), value);
                if value == COUNT / 4 {
                    broker.kill();
                }
            }
            let sleeps = live.get_ref().sleeps();
            assert_eq!(sleeps.missed, 0, "{sleeps:?}");
            sleeps.rung
        };
        let synced_side = async {
            let mut eras = synced.eras();
            let mut value = 0;
            while value < COUNT {
                let era = next(&mut eras).await.unwrap();
                assert!(era.merged || era.number == value / ERA + 1);
                for message in era.messages {
                    assert!(era.merged || message.era == Some(era.number));
                    check(&message, value);
                    value += 1;
                }
                assert_eq!(value % ERA, 0, "a part of an era");
            }
            synced.get_ref().sleeps().rung
        };
        let marked_side = async {
            let (mut value, mut edges) = (0, 0);
            while value < COUNT || edges < COUNT / ERA {
                match tokio::time::timeout(LONG / 2, marked.next_live()).await.expect("a wake was lost").unwrap() {
                    Live::Message(message) => {
                        assert_eq!(message.copy::<u64>().unwrap(), value);
                        value += 1;
                    }
                    Live::Edge(edge) => {
                        edges = edge.era;
                        assert_eq!(value, edges * ERA);
                    }
                }
            }
            marked.into_inner().sleeps().rung
        };
        tokio::join!(live_side, synced_side, marked_side)
    });
    println!("{wakes:?} wakes of three readers");
    assert!(wakes.0 > 50 && wakes.1 > 10 && wakes.2 > 50);
    process.send("go");
    process.finish();
}

#[tokio::test]
async fn a_future_that_is_dropped_takes_nothing() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut reader = AsyncReader::new(zone.reader("r").channel::<u64>("c").open().unwrap()).unwrap();
    for value in 0..200 {
        {
            let none = tokio::time::timeout(Duration::from_micros(200), reader.recv()).await;
            assert!(none.is_err(), "nothing is there");
        }
        if value % 2 == 0 {
            writer.publish(lane, &value).unwrap();
        } else {
            // While futures wait and are dropped, until one has it.
            let (mut moved, delay) = (writer, Duration::from_micros(50 * (value % 7)));
            let publisher = std::thread::spawn(move || {
                std::thread::sleep(delay);
                moved.publish(lane, &value).unwrap();
                moved
            });
            let mut found = false;
            while !found {
                let message = tokio::time::timeout(Duration::from_micros(100), reader.recv()).await;
                found = message.is_ok_and(|message| message.unwrap().copy::<u64>().unwrap() == value);
            }
            writer = publisher.join().unwrap();
            continue;
        }
        assert_eq!(reader.recv().await.unwrap().copy::<u64>().unwrap(), value);
    }
    drop(writer);
    assert!(matches!(reader.recv().await, Err(Error::Closed(_))));
}

#[tokio::test]
async fn errors_are_items() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut reader = AsyncReader::new(zone.reader("r").channel::<u64>("c").synced().open().unwrap()).unwrap();
    for round in 1..=3 {
        let mut writer = zone.writer("w").unwrap();
        let lane = writer.channel("c").open::<u64>().unwrap();
        writer.publish(lane, &round).unwrap();
        writer.edge().unwrap();
        drop(writer);
        let mut eras = reader.eras();
        let era = next(&mut eras).await.unwrap();
        assert_eq!((era.messages.len(), era.merged), (1, false));
        assert_eq!(era.messages[0].bytes, round.to_ne_bytes());
        assert!(matches!(next(&mut eras).await, Err(Error::Closed(closed)) if !closed.died));
    }
    // What a reader does not take is told at once.
    assert!(matches!(reader.next_live().await, Err(Error::Invalid(_))));
    let mut live = AsyncReader::new(zone.reader("r").channel::<u64>("c").open().unwrap()).unwrap();
    assert!(matches!(next(&mut live.eras()).await, Err(Error::Invalid(_))));
}
