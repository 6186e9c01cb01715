//! What an edge adds to a commit when nobody else is there: rounds of commits with an edge after each, less the same rounds without.
//!
//! That is more than the call itself: the next commit of each writer looks whether the era that was closing has been sealed.

use super::Options;
use crate::cli::bench::Stage;
use crate::cli::bench::peer::{check, pin, publish};
use crate::cli::bench::report::Spread;
use crate::client::{Bus, Lane, Reader, Start, Writer};
use crate::error::{Error, Result};
use serde::Serialize;
use std::time::Instant;

/// Bytes of a message.
const SIZE: usize = 8;
/// Small rings: 256 of them have to lie in a cache.
const CAPACITY: u64 = 16 << 10;
/// Eras that are looked through after the time: fewer than the zone holds.
const CHECKED: u64 = 32;
const MANY: usize = 64;
const CHANNELS: [usize; 3] = [1, 16, 256];

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    runs: usize,
    /// ns that an edge adds, in a zone of one writer.
    one_writer_ns: Spread,
    /// In a zone of 64 of which only the caller has committed since the last edge, and of which all have.
    writers_64_ns: Spread,
    writers_64_committed_ns: Spread,
    /// Of one writer with so many channels, each commit in another.
    channels: Vec<Channels>,
    edges: u64,
}

#[derive(Debug, Serialize)]
struct Channels {
    channels: usize,
    ns: Spread,
    /// Against one channel, run by run.
    ratio: Spread,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<()> {
    let stage = Stage::new()?;
    pin(options.core(0))?;
    let (mut many, mut many_committed) = (Vec::new(), Vec::new());
    let mut by_channels = CHANNELS.map(|_| Vec::new());
    let mut edges = 0;
    for _ in 0..options.repeat {
        let mut measure = |writers, committing, channels, rounds| {
            edges += rounds;
            Crew::open(&stage.bus, writers, channels)?.measure(&stage.bus, committing, rounds)
        };
        for (found, channels) in by_channels.iter_mut().zip(CHANNELS) {
            found.push(measure(1, 1, channels, 50_000)?);
        }
        many.push(measure(MANY, 1, 1, 5_000)?);
        many_committed.push(measure(MANY, MANY, 1, 5_000)?);
    }
    let [one, ..] = &by_channels;
    let against_one = |found: &[f64]| found.iter().zip(one).map(|(many, one)| many / one).collect::<Vec<f64>>();
    let channels = by_channels.iter().zip(CHANNELS).map(|(found, channels)| Channels {
        channels,
        ns: Spread::of(found),
        ratio: Spread::of(&against_one(found)),
    });
    let report = Report {
        benchmark: "edge cost",
        runs: one.len(),
        one_writer_ns: Spread::of(one),
        writers_64_ns: Spread::of(&many),
        writers_64_committed_ns: Spread::of(&many_committed),
        channels: channels.collect(),
        edges,
    };
    if options.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
        return Ok(());
    }
    let Report { runs, one_writer_ns, writers_64_ns, writers_64_committed_ns, channels, edges, .. } = &report;
    println!("edge cost, ns that an edge adds to a commit, {runs} runs");
    println!("  1 writer, one channel                       {one_writer_ns}");
    println!("  {MANY} writers, one has committed since         {writers_64_ns}");
    println!("  {MANY} writers, all have                        {writers_64_committed_ns}");
    for Channels { channels, ns, ratio } in &channels[1..] {
        println!("  1 writer, {channels:>3} channels in turn             {ns}   {ratio} x one channel");
    }
    println!("  {edges} edges, each one era; the last {CHECKED} of each run read back");
    Ok(())
}

/// The writers of a zone, all in this process: the first runs the edges.
struct Crew {
    members: Vec<Member>,
    channels: Vec<String>,
    /// Rounds so far: what the next messages say.
    number: u64,
}

struct Member {
    writer: Writer,
    lanes: Vec<Lane<[u8]>>,
    /// The lane of the next commit.
    turn: usize,
}

impl Crew {
    fn open(bus: &Bus, writers: usize, channels: usize) -> Result<Crew> {
        let channels: Vec<String> = (0..channels).map(|number| format!("c{number}")).collect();
        let mut members = Vec::new();
        for _ in 0..writers {
            let mut writer = bus.zone("cost").writer("bench")?;
            let mut lanes = Vec::new();
            for channel in &channels {
                lanes.push(writer.channel(channel).capacity(CAPACITY).open()?);
            }
            members.push(Member { writer, lanes, turn: 0 });
        }
        Ok(Crew { members, channels, number: 0 })
    }

    /// ns that an edge adds to the commits of the first `committing` writers.
    fn measure(mut self, bus: &Bus, committing: usize, rounds: u64) -> Result<f64> {
        // Brings the rings and the zone's slots into being.
        self.run(committing, rounds / 4, true)?;
        let sealed = self.members[0].writer.generation()?;
        let without = self.run(committing, rounds, false)?;
        let with = self.run(committing, rounds, true)?;
        let eras = self.members[0].writer.generation()? - sealed;
        if eras != rounds {
            return Err(Error::Corrupt(format!("{rounds} edges, {eras} eras")));
        }
        self.read_back(bus, committing)?;
        Ok((with - without) / rounds as f64)
    }

    /// ns of so many rounds.
    fn run(&mut self, committing: usize, rounds: u64, edges: bool) -> Result<f64> {
        let begin = Instant::now();
        for number in self.number..self.number + rounds {
            for Member { writer, lanes, turn } in &mut self.members[..committing] {
                publish(writer, lanes[*turn], SIZE, number)?;
                *turn = if *turn + 1 < lanes.len() { *turn + 1 } else { 0 };
            }
            if edges {
                self.members[0].writer.edge()?;
            }
        }
        self.number += rounds;
        Ok(begin.elapsed().as_nanos() as f64)
    }

    /// The eras that the zone still holds are rounds, whole: one message of each writer, and the last is the last.
    fn read_back(&self, bus: &Bus, committing: usize) -> Result<()> {
        let channels = self.channels.iter();
        let builder = channels.fold(bus.zone("cost").reader("check"), |builder, name| builder.channel::<[u8]>(name));
        let mut reader: Reader = builder.synced().start(Start::Oldest).open()?;
        let generation = self.members[0].writer.generation()?;
        let (mut eras, mut last) = (0, 0);
        while let Some(mut era) = reader.try_era()? {
            // The last era is the last round.
            last = era.number();
            let number = self.number - 1 - (generation - last);
            let mut messages = 0;
            while let Some(message) = era.next()? {
                // SAFETY: the writers are this process's, and wait.
                check(unsafe { message.bytes_in_place() }, number)?;
                let row = self.members[messages % committing].writer.row();
                messages += usize::from(message.len() == SIZE && message.origin().writer == row);
            }
            if messages != committing || era.is_merged() {
                let found = format!("era {last}: expected a message of each of {committing} writers, found {messages}");
                return Err(Error::Corrupt(found));
            }
            eras += 1;
        }
        if eras < CHECKED || last != generation {
            return Err(Error::Corrupt(format!("read back {eras} eras up to {last} of {generation}")));
        }
        Ok(())
    }
}
