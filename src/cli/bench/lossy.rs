//! What becomes of a writer's time for a message when a reader of its lossy channel stops reading: because it does something else with a message
//! in its hands, is stopped (SIGSTOP), or is killed.
//!
//! The writer publishes 256 messages in one go, again and again, and each go is timed; the ring goes round hundreds of times in each state of the
//! reader.

use super::bare::Arena;
use super::peer::{Job, check, open_reader, pin, publish, ready};
use super::report::{Figure, Runs, Spread, Steal, histogram, ratios, record};
use super::{Options, Stage};
use crate::client::{Bus, Lane, Writer};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use nix::sys::signal::Signal;
use serde::Serialize;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

const SIZE: usize = 48;
/// Messages that are timed together.
const BURST: u64 = 256;
const CAPACITY: u64 = 1 << 18;
const ZONE: &str = "careless";
/// Notes: what the reader is to do, and what it does.
const ASKED: usize = 0;
const DOES: usize = 1;
/// Its states.
const READ: u64 = 1;
const SLEEP: u64 = 2;

/// The reader's states, in order.
const STATES: [&str; 6] = ["reads", "sleeps elsewhere", "reads again", "is stopped", "goes on", "was killed"];

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    runs: u32,
    states: Vec<State>,
    /// Published, and none of them waited for.
    messages: u64,
    steal: f64,
}

#[derive(Debug, Serialize)]
struct State {
    reader: &'static str,
    /// ns of the writer for a message: means of 256.
    #[serde(flatten)]
    figure: Figure,
    /// Against the first state, run by run.
    ratio: Spread,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    let arena = stage.arena()?;
    pin(options.core(0))?;
    let steal = Steal::begin();
    let mut found = STATES.map(|_| Runs::new());
    let mut messages = 0;
    for _ in 0..options.repeat {
        let (samples, sent) = measure(&stage, &arena, options)?;
        found.iter_mut().zip(&samples).for_each(|(runs, samples)| runs.add(samples));
        messages += sent;
    }
    let states = found.iter().zip(STATES);
    let states =
        states.map(|(runs, reader)| State { reader, figure: runs.figure(), ratio: ratios(&runs.p50, &found[0].p50) });
    let report = Report {
        benchmark: "lossy",
        size: SIZE,
        runs: options.repeat,
        states: states.collect(),
        messages,
        steal: steal.share(),
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    println!("lossy, {SIZE} bytes, the writer's time for a message, {} runs", report.runs);
    for State { reader, figure, ratio } in &report.states {
        println!("  the reader {reader:<17} {ratio} x the first   {figure}");
    }
    println!("  {messages} messages, none waited for; steal {:.1} %", report.steal * 100.0);
    Ok(())
}

fn measure(stage: &Stage, arena: &Arena, options: &Options) -> Result<(Vec<Histogram<u64>>, u64)> {
    arena.reset();
    let mut writer = stage.bus.zone(ZONE).writer("bench")?;
    let lane = writer.channel("c").capacity(CAPACITY).max_len(SIZE as u64).lossy().open::<[u8]>()?;
    let mut other = stage.other(options.core(1))?;
    arena.note(ASKED, READ);
    other.begin(Job::Follow, SIZE)?;
    let mut flow = Flow { writer, lane, number: 0, time: options.time() };
    let mut samples = Vec::new();
    for state in STATES {
        match state {
            "sleeps elsewhere" => ask(arena, SLEEP, &mut flow)?,
            "reads again" => ask(arena, READ, &mut flow)?,
            "is stopped" => other.signal(Signal::SIGSTOP)?,
            "goes on" => other.signal(Signal::SIGCONT)?,
            "was killed" => other.signal(Signal::SIGKILL)?,
            _ => {}
        }
        samples.push(flow.go_on()?);
    }
    Ok((samples, flow.number))
}

/// Has the reader do something else, which it finds between two messages.
fn ask(arena: &Arena, what: u64, flow: &mut Flow) -> Result<()> {
    arena.note(ASKED, what);
    let deadline = Instant::now() + Duration::from_secs(10);
    while arena.noted(DOES) != what {
        flow.burst()?;
        if Instant::now() > deadline {
            return Err(Error::Timeout);
        }
    }
    Ok(())
}

/// The writer's side.
struct Flow {
    writer: Writer,
    lane: Lane<[u8]>,
    number: u64,
    time: Duration,
}

impl Flow {
    /// Publishes for a time; the time of a message, means of a burst.
    fn go_on(&mut self) -> Result<Histogram<u64>> {
        let mut samples = histogram();
        let run = Instant::now();
        while run.elapsed() < self.time {
            let begin = Instant::now();
            self.burst()?;
            record(&mut samples, begin.elapsed().as_nanos() as f64 / BURST as f64);
        }
        Ok(samples)
    }

    /// No message is refused: a lossy lane has always room.
    fn burst(&mut self) -> Result<()> {
        for number in self.number..self.number + BURST {
            publish(&mut self.writer, self.lane, SIZE, number)?;
        }
        self.number += BURST;
        Ok(())
    }
}

/// The other process: reads, and sometimes sleeps with a message in its hands, until it is killed.
pub(super) fn follow(bus: &Bus, arena: &Arena) -> Result<u64> {
    let mut reader = open_reader(bus, ZONE)?;
    ready();
    let mut next = None;
    loop {
        match reader.try_recv() {
            Ok(Some(message)) => {
                let number = message.sequence();
                if next.is_some_and(|next| next != number) {
                    return Err(Error::Corrupt(format!("message {number} after what was lost, expected {next:?}")));
                }
                next = Some(number + 1);
                while arena.noted(ASKED) == SLEEP {
                    arena.note(DOES, SLEEP);
                    std::thread::sleep(Duration::from_millis(1));
                }
                // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
                check(unsafe { message.bytes_in_place() }, number)?;
                arena.note(DOES, READ);
            }
            Ok(None) => {
                if arena.stopped() {
                    return Ok(next.unwrap_or(0));
                }
                spin_loop();
            }
            Err(Error::Lagged(lagged)) => next = next.map(|next| next + lagged.count),
            Err(error) => return Err(error),
        }
    }
}
