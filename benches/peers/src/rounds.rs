//! Rounds: in each, every peer does the work once, one after the other, between two probes of what the machine is like just then.

use crate::Result;
use crate::arena::Arena;
use crate::arguments::Arguments;
use crate::boards::{Case, Side};
use crate::child::{Other, pin};
use crate::measure::{Found, Run, TRIPS, UNIT, histogram};
use crate::peer::{Entry, Plan, Work};
use crate::{boards, peers};
use hdrhistogram::Histogram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How far two probes may be apart: a host moves virtual cores, and the same code differs fourfold between two placements.
const AGREE: f64 = 1.15;
/// How far a probe's mean may be above its median: it is a time slice and more, if anything else wants one of the cores.
const QUIET: f64 = 1.25;
/// How often a run is tried in one round.
const TRIES: u32 = 5;

/// Percentiles in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    mean: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |share: f64| histogram.value_at_quantile(share) as f64 / UNIT;
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), mean: histogram.mean() / UNIT }
    }

    fn is_quiet(&self) -> bool {
        self.mean <= QUIET * self.p50
    }
}

/// A run whose probes agreed.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    pub round: u32,
    /// The mean of its probes, in nanoseconds.
    pub bare: f64,
    pub latency: Percentiles,
    /// Million messages a second; of a table, values.
    pub rate: f64,
    /// Of a table: what the other process did, a million a second.
    pub other: f64,
    /// Of a table: how often values were tried to get together.
    pub tries: f64,
}

/// A peer's runs with messages of one size.
pub struct Row {
    pub entry: &'static Entry,
    pub room: String,
    pub kept: Vec<Kept>,
    pub discarded: u32,
    /// Messages received, in all runs.
    pub messages: u64,
    /// Round trips in a sample, found in the first run.
    pub trips: Option<u64>,
    /// Why it was given up.
    pub failure: Option<String>,
}

/// One kind of work with messages of one size.
pub struct Section {
    pub work: Work,
    pub size: usize,
    /// Of a table: who does what.
    pub case: Option<&'static Case>,
    pub rows: Vec<Row>,
    /// All probes.
    pub bare: Vec<Percentiles>,
}

/// Whether two probes tell of the same machine.
pub fn agree(one: f64, other: f64) -> bool {
    one.max(other) <= AGREE * one.min(other)
}

/// Runs all that was asked for.
pub fn run(arguments: &Arguments) -> Result<Vec<Section>> {
    let works = arguments.works()?;
    let mut court = Court::new(arguments)?;
    let mut sections = Vec::new();
    for (work, sizes) in works {
        let cases = || boards::CASES.iter().map(Some);
        let cases: Vec<_> = if work == Work::Table { cases().collect() } else { vec![None] };
        for (size, case) in sizes.into_iter().flat_map(|size| cases.iter().map(move |case| (size, *case))) {
            let mut entries = arguments.peers(work);
            if case.is_some_and(|case| case.side == Side::GetAll) {
                entries.retain(|entry| entry.singly.is_none());
            }
            if !entries.is_empty() {
                sections.push(court.section(Task { work, size, case }, &entries)?);
            }
        }
    }
    Ok(sections)
}

/// What is done in a section.
#[derive(Clone, Copy)]
struct Task {
    work: Work,
    size: usize,
    case: Option<&'static Case>,
}

/// Where it all happens.
struct Court<'a> {
    arguments: &'a Arguments,
    place: Place,
    arena: Arena,
    other: Other,
    runs: u64,
}

/// A directory in memory, removed at the end.
struct Place(PathBuf);

/// Shared memory is files here.
const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "syncline-peers-";

impl Place {
    fn new() -> Result<Place> {
        // What killed ones have left.
        remove(|process| !Path::new("/proc").join(process).exists())?;
        let place = Path::new(MEMORY).join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&place)?;
        Ok(Place(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = remove(|process| process.parse() == Ok(std::process::id()));
    }
}

/// Removes the places of such processes, and what their peers have put beside them.
fn remove(which: impl Fn(&str) -> bool) -> Result<()> {
    for entry in std::fs::read_dir(MEMORY)?.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('_').next());
        if process.is_some_and(&which) {
            let _ = std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir_all(entry.path()));
        }
    }
    Ok(())
}

impl Court<'_> {
    fn new(arguments: &Arguments) -> Result<Court<'_>> {
        let place = Place::new()?;
        let arena = Arena::open(&place.0)?;
        let other = Other::start(&place.0)?;
        Ok(Court { arguments, place, arena, other, runs: 0 })
    }

    fn section(&mut self, task: Task, entries: &[&'static Entry]) -> Result<Section> {
        let row = |&entry: &&'static Entry| {
            let plan = self.plan(task);
            let (kept, room) = (Vec::new(), (entry.room)(&plan));
            Row { entry, room, kept, discarded: 0, messages: 0, trips: None, failure: None }
        };
        let rows: Vec<Row> = entries.iter().map(row).collect();
        let Task { work, size, case } = task;
        let mut section = Section { work, size, case, rows, bare: Vec::new() };
        let title = case.map_or(String::new(), |case| format!(", {}", case.title));
        for round in 0..self.arguments.repeat() {
            eprintln!("{work:?}, {size} bytes{title}, round {} of {}", round + 1, self.arguments.repeat());
            let mut before = self.probe(work)?;
            section.bare.push(before);
            for row in &mut section.rows {
                for _ in 0..TRIES {
                    if row.failure.is_some() || self.once(row, task, round, &mut before, &mut section.bare)? {
                        break;
                    }
                }
            }
        }
        Ok(section)
    }

    /// One run and the probe after it; whether that was all for this round.
    fn once(
        &mut self,
        row: &mut Row,
        task: Task,
        round: u32,
        before: &mut Percentiles,
        bare: &mut Vec<Percentiles>,
    ) -> Result<bool> {
        let run = Run { time: self.arguments.time(), trips: row.trips };
        let found = match self.measure(row.entry, task, &run) {
            Ok(found) => found,
            Err(error) => {
                eprintln!("{}: {error}", row.entry.name);
                row.failure = Some(error.to_string());
                // Whatever state it is in.
                self.other = Other::start(&self.place.0)?;
                return Ok(true);
            }
        };
        let after = self.probe(task.work)?;
        bare.push(after);
        let first = std::mem::replace(before, after);
        row.messages += found.messages;
        row.trips = Some(found.trips);
        let quiet = self.arguments.busy || (first.is_quiet() && after.is_quiet());
        let good = agree(first.p50, after.p50) && quiet;
        if !good && !self.arguments.quick {
            row.discarded += 1;
            return Ok(false);
        }
        let latency = Percentiles::of(&found.latency);
        row.kept.push(Kept {
            round,
            bare: (first.p50 + after.p50) / 2.0,
            latency,
            rate: found.rate,
            other: found.other,
            tries: found.tries,
        });
        Ok(true)
    }

    fn plan(&self, Task { work, size, case }: Task) -> Plan {
        Plan { work, size, case, place: self.place.0.clone(), number: self.runs }
    }

    fn measure(&mut self, entry: &Entry, task: Task, run: &Run) -> Result<Found> {
        self.runs += 1;
        let (plan, work) = (self.plan(task), task.work);
        let (ours, others) = (self.arguments.cores[0], self.arguments.cores[usize::from(work != Work::Wake)]);
        self.arena.reset();
        pin(ours)?;
        (entry.lead)(&plan, &self.arena, run, &mut self.other.turn(others))
    }

    /// What the machine is like: a cache line to and fro, or a futex on one core.
    fn probe(&mut self, work: Work) -> Result<Percentiles> {
        let time = self.arguments.time() / 4;
        if work == Work::Wake {
            let run = Run { time, trips: Some(1) };
            return Ok(Percentiles::of(
                &self.measure(peers::futex(), Task { work, size: 8, case: None }, &run)?.latency,
            ));
        }
        self.arena.reset();
        pin(self.arguments.cores[0])?;
        let mut turn = self.other.turn(self.arguments.cores[1]);
        turn.begin_bare()?;
        let latency = bounce_bare(&self.arena, time);
        self.arena.stop();
        turn.end()?;
        Ok(Percentiles::of(&latency))
    }
}

fn bounce_bare(arena: &Arena, time: Duration) -> Histogram<u64> {
    let mut latency = histogram();
    let begin = Instant::now();
    let (mut last, mut number) = (begin, 0);
    while last - begin < time {
        arena.serve(number, TRIPS);
        number += TRIPS;
        let now = Instant::now();
        let one_way = (now - last).as_nanos() as f64 / (2 * TRIPS) as f64;
        latency.saturating_record((one_way * UNIT) as u64);
        last = now;
    }
    latency
}
