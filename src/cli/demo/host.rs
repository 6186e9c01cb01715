//! The demo on this host's figures.
//!
//! Three writers take a sample at each tick; a fourth participant, which publishes nothing, seals an era a moment later. The process that was
//! started reads whole eras. So a line has what all three said about one tick, and nobody pairs anything up by time. A writer that
//! misses the edge is late: its sample is in the next era, with the number of the tick that it is about.

use super::super::exit::{Exit, Outcome};
use super::super::interrupt::Interrupt;
use super::super::output::Output;
use super::Options;
use super::crew::{self, Crew};
use super::part::Role;
use super::sample::{Cpu, Memory, Network, Sample};
use super::tick::{TICK, Tick};
use crate::client::{Bus, Era, Message, Start};
use crate::error::Error;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The zone whose edges make the eras.
const ZONE: &str = "host";
/// The channels, one a writer.
const CHANNELS: [&str; 3] = [Cpu::CHANNEL, Memory::CHANNEL, Network::CHANNEL];
/// How long after a tick its era is sealed.
const SEAL_AFTER: Duration = Duration::from_millis(60);
/// What the whole may take longer than asked for.
const GRACE: Duration = Duration::from_secs(30);

/// In a process of its own: publishes a sample at each tick.
pub(super) fn write<S: Sample>(bus: &Bus) -> Outcome {
    let mut writer = bus.zone(ZONE).writer(S::CHANNEL)?;
    let lane = writer.channel(S::CHANNEL).open::<S>()?;
    let doing = || Exit::io("sampling this host");
    let mut before = S::before().map_err(doing())?;
    let (mut tick, last) = ticks(&crew::ready()?)?;
    while tick <= last {
        tick.wait(Duration::ZERO);
        let sample = S::take(tick, &mut before).map_err(doing())?;
        writer.publish(lane, &sample)?;
        // Who was held up goes on with the present.
        tick = tick.plus(1).max(Tick::now());
    }
    Ok(())
}

/// In a process of its own: seals an era a moment after each tick.
pub(super) fn close_eras(bus: &Bus) -> Outcome {
    let mut writer = bus.zone(ZONE).writer("edges")?;
    let (mut tick, last) = ticks(&crew::ready()?)?;
    while tick <= last {
        tick.wait(SEAL_AFTER);
        writer.edge()?;
        tick = tick.plus(1);
    }
    Ok(())
}

/// The first and the last tick, as the demo tells its processes.
fn ticks(line: &str) -> Outcome<(Tick, Tick)> {
    let ticks = line.split_once(' ').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let (first, last) = ticks.ok_or_else(|| crew::misunderstood(line))?;
    Ok((Tick(first), Tick(last)))
}

/// Runs the demo.
pub(super) fn run(options: &Options) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let mut output = Output::open()?;
    let bus = Bus::embedded()?;
    let mut reader = CHANNELS
        .iter()
        .fold(bus.zone(ZONE).reader("demo"), |reader, channel| reader.any(channel))
        .synced()
        .start(Start::Latest)
        .open()?;
    let mut crew = Crew::start(&[Role::Cpu, Role::Memory, Role::Network, Role::Edges], bus.socket())?;
    crew.wait_until_ready()?;
    let count = (options.seconds.as_millis() / TICK.as_millis()).clamp(1, u128::from(u32::MAX)) as u64;
    let first = Tick::now().plus(2);
    crew.tell(&format!("{} {}", first.0, first.plus(count - 1).0))?;

    let mut summary = Summary::default();
    let deadline = Instant::now() + options.seconds.min(Duration::from_secs(1 << 32)) + GRACE;
    loop {
        interrupt.check()?;
        output.check()?;
        match reader.next_era(Duration::from_millis(100)) {
            Ok(era) => {
                let told = Told::of(era)?;
                summary.add(&told);
                if options.json {
                    output.json(&told)?
                } else {
                    output.line(format_args!("{}", told.text()))?
                }
                output.flush()?;
            }
            Err(Error::Timeout) if crew.have_ended()? => break,
            Err(Error::Timeout) if Instant::now() >= deadline => {
                return Err(Exit::TimedOut("the processes of the demo did not end in time".to_owned()));
            }
            // A writer has left, and that is how it ends.
            Err(Error::Timeout | Error::Closed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if options.json {
        output.json(&summary)?
    } else {
        output.line(format_args!("\n{}", summary.text()))?
    }
    output.flush()
}

/// A sample, and who said it.
#[derive(Serialize)]
struct Said {
    channel: &'static str,
    pid: u32,
    tick: u64,
    fields: serde_json::Value,
    #[serde(skip)]
    text: String,
}

impl Said {
    fn new(message: &Message<'_>) -> Outcome<Option<Said>> {
        Ok(Some(match message.channel() {
            Cpu::CHANNEL => Self::of::<Cpu>(message)?,
            Memory::CHANNEL => Self::of::<Memory>(message)?,
            Network::CHANNEL => Self::of::<Network>(message)?,
            _ => return Ok(None),
        }))
    }

    fn of<S: Sample>(message: &Message<'_>) -> Outcome<Said> {
        let sample: S = message.copy()?;
        Ok(Said {
            channel: S::CHANNEL,
            pid: message.origin().pid,
            tick: sample.tick().0,
            fields: serde_json::to_value(sample).map_err(|error| Exit::Failed(error.to_string()))?,
            text: sample.text(),
        })
    }
}

/// What an era says.
#[derive(Serialize)]
struct Told {
    era: u64,
    /// The newest tick in it; `None` if all were late.
    tick: Option<u64>,
    /// Whether it has a sample of that tick from every writer.
    whole: bool,
    samples: Vec<Said>,
    /// The channels that it lacks a sample of.
    late: Vec<&'static str>,
}

impl Told {
    fn of(mut era: Era<'_>) -> Outcome<Told> {
        let mut samples = Vec::new();
        while let Some(message) = era.next()? {
            samples.extend(Said::new(&message)?);
        }
        Ok(Self::from(era.number(), samples))
    }

    fn from(era: u64, samples: Vec<Said>) -> Told {
        let tick = samples.iter().map(|said| said.tick).max();
        let is_there = |channel| samples.iter().any(|said| said.channel == channel && Some(said.tick) == tick);
        let late: Vec<_> = CHANNELS.into_iter().filter(|channel| !is_there(*channel)).collect();
        Told { era, tick, whole: late.is_empty(), samples, late }
    }

    /// One line for people.
    fn text(&self) -> String {
        let Some(tick) = self.tick else { return format!("era {:4}  nobody was in time", self.era) };
        let mut parts = Vec::new();
        for channel in CHANNELS {
            for said in self.samples.iter().filter(|said| said.channel == channel) {
                parts.push(match tick - said.tick {
                    0 => said.text.clone(),
                    behind => format!("({}: {behind} late)", said.text),
                });
            }
            if self.late.contains(&channel) {
                parts.push(format!("{channel} is late"));
            }
        }
        format!("era {:4}  {}  {}", self.era, Tick(tick), parts.join("  |  "))
    }
}

/// What came of it all.
#[derive(Default, Serialize)]
struct Summary {
    eras: u64,
    whole: u64,
    /// Samples that missed their era's edge.
    late: u64,
    messages: u64,
    /// The processes that the samples came from, by channel.
    pids: std::collections::BTreeMap<&'static str, u32>,
}

impl Summary {
    fn add(&mut self, told: &Told) {
        self.eras += 1;
        self.whole += u64::from(told.whole);
        self.late += told.late.len() as u64;
        self.messages += told.samples.len() as u64;
        self.pids.extend(told.samples.iter().map(|said| (said.channel, said.pid)));
    }

    fn text(&self) -> String {
        let pids: Vec<_> = self.pids.iter().map(|(channel, pid)| format!("{channel} {pid}")).collect();
        let Summary { eras, whole, late, messages, .. } = self;
        format!("{eras} eras, {whole} whole, {late} samples late; {messages} messages from pids {}", pids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(channel: &'static str, tick: u64) -> Said {
        Said { channel, pid: 7, tick, fields: serde_json::Value::Null, text: channel.to_owned() }
    }

    #[test]
    fn a_late_writer_is_told_and_then_whole() {
        let eras = [
            Told::from(1, vec![said("cpu", 4), said("memory", 4), said("network", 4)]),
            Told::from(2, vec![said("cpu", 5), said("network", 5)]),
            Told::from(3, vec![said("cpu", 6), said("memory", 5), said("memory", 6), said("network", 6)]),
            Told::from(4, vec![]),
        ];
        assert_eq!(eras.each_ref().map(|told| told.whole), [true, false, true, false]);
        assert_eq!(eras[1].late, ["memory"]);
        assert!(eras[1].text().ends_with("cpu  |  memory is late  |  network"), "{}", eras[1].text());
        assert!(eras[2].text().ends_with("cpu  |  (memory: 1 late)  |  memory  |  network"), "{}", eras[2].text());
        let mut summary = Summary::default();
        eras.iter().for_each(|told| summary.add(told));
        assert_eq!((summary.eras, summary.whole, summary.late, summary.messages), (4, 2, 4, 9));
    }
}
