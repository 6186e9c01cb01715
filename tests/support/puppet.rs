//! A participant that does what the test tells it, a line at a time, and says what came of each: `Process::ask`.

use super::{LONG, hear, say};
use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;
use syncline::{Bus, Error, HaltMode, Lane, Reader, Result, Writer};

/// Runs a puppet in zone `z`: a writer of this name with lanes in the channels `a` and `b`, and a synced reader of both. It says its row,
/// and then obeys until the test has gone.
///
/// | line | what it does |
/// | --- | --- |
/// | `publish a 1` | publishes 1 in channel `a` |
/// | `batch`, `push a 1` ..., `commit` or `forget` | a batch; until its end there is nothing else |
/// | `edge`, `edge 7` | an exact edge, with a tag; the era |
/// | `permit`, `roll-back` | of the open era |
/// | `next` | waits for the next era; its number |
/// | `look` | the same, but only for a moment |
/// | `take`, `drop` | waits for the next era, and holds it until told to drop it |
/// | `halt 10`, `release` | halts the zone, with this deadline in milliseconds; who is late, by row |
/// | `refuse`, `wait` | what it does in a halt |
/// | `early`, `step`, `hint` | whether it was asked to be early; the same by a step; asks the others |
/// | `done 3 10` | waits until all have done with era 3, for 10 milliseconds at most |
pub fn run(name: &str) {
    let bus = Bus::connect().expect("connect");
    let mut puppet = Puppet::open(&bus, name);
    say("ready", puppet.writer.row());
    while let Some(line) = hear() {
        puppet.obey(&line);
    }
}

struct Puppet {
    writer: Writer,
    reader: Reader,
    lanes: HashMap<&'static str, Lane<u64>>,
}

/// In words: what came of it, or the code of the error.
fn tell(outcome: Result<impl Display>) {
    match outcome {
        Ok(outcome) => say("did", outcome),
        Err(Error::Laggards { laggards, .. }) => {
            let laggards = laggards.iter().map(|laggard| format!("{}:{}:{}", laggard.name, laggard.pid, laggard.taken));
            say("did", format!("Laggards {}", laggards.collect::<Vec<_>>().join(" ")));
        }
        Err(error) => say("did", format!("{:?}", error.code())),
    }
}

fn ok((): ()) -> &'static str {
    "ok"
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().expect("milliseconds"))
}

impl Puppet {
    fn open(bus: &Bus, name: &str) -> Puppet {
        let zone = bus.zone("z");
        let reader = zone.reader(name).channel::<u64>("a").channel::<u64>("b").synced().open().expect("reader");
        let mut writer = zone.writer(name).expect("writer");
        writer.set_room_timeout(LONG);
        let lanes = ["a", "b"].map(|channel| (channel, writer.channel(channel).open::<u64>().expect("lane")));
        Puppet { writer, reader, lanes: HashMap::from(lanes) }
    }

    fn obey(&mut self, line: &str) {
        let writer = &mut self.writer;
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["publish", channel, value] => tell(writer.publish(self.lanes[channel], &number(value)).map(ok)),
            ["batch"] => self.batch(),
            ["edge"] => tell(writer.edge()),
            ["edge", tag] => tell(writer.edge_tagged(number(tag))),
            ["permit"] => tell(writer.permit()),
            ["roll-back"] => tell(writer.roll_back_era().map(ok)),
            ["next"] => tell(self.next(LONG)),
            ["look"] => tell(self.next(Duration::from_millis(1))),
            ["take"] => self.hold_era(),
            ["halt", deadline] => self.halt(milliseconds(deadline)),
            ["refuse"] => {
                writer.on_halt(HaltMode::Refuse);
                tell(Ok(ok(())));
            }
            ["wait"] => {
                writer.on_halt(HaltMode::Wait);
                tell(Ok(ok(())));
            }
            ["early"] => tell(Ok(writer.early_requested())),
            ["step"] => tell(writer.step()),
            ["hint"] => tell(writer.request_early().map(ok)),
            ["done", era, timeout] => tell(writer.wait_done(number(era), milliseconds(timeout)).map(ok)),
            _ => panic!("no puppet does `{line}`"),
        }
    }

    /// The number of the next era.
    fn next(&mut self, timeout: Duration) -> Result<u64> {
        loop {
            match self.reader.next_era(timeout) {
                Ok(era) => return Ok(era.number()),
                // Somebody has gone.
                Err(Error::Closed(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn hold_era(&mut self) {
        let era = self.reader.next_era(LONG).expect("an era");
        tell(Ok(era.number()));
        if let Some(line) = hear() {
            assert_eq!(line, "drop", "while it holds an era, no puppet does anything else");
        }
        drop(era);
        tell(Ok("ok"));
    }

    fn batch(&mut self) {
        let mut batch = self.writer.batch().expect("batch");
        tell(Ok("ok"));
        while let Some(line) = hear() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["push", channel, value] => {
                    tell(batch.push(self.lanes[channel], &value.parse().expect("a number")).map(ok));
                }
                ["commit"] => return tell(batch.commit().map(ok)),
                ["forget"] => {
                    batch.roll_back();
                    return tell(Ok(ok(())));
                }
                _ => panic!("in a batch, no puppet does `{line}`"),
            }
        }
    }

    fn halt(&mut self, deadline: Duration) {
        let halt = match self.writer.halt(deadline) {
            Ok(halt) => halt,
            Err(error) => return tell(Err::<u64, _>(error)),
        };
        tell(Ok(format!("{:?}", halt.late().iter().map(|late| late.row).collect::<Vec<_>>())));
        while let Some(line) = hear() {
            match &line[..] {
                "holds" => tell(Ok(halt.holds())),
                "release" => {
                    halt.release();
                    return tell(Ok(ok(())));
                }
                _ => panic!("while it halts the zone, no puppet does `{line}`"),
            }
        }
    }
}
