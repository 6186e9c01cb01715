//! `syncline stat`: counters of writers, lanes and readers, and how fast they go.

use super::Place;
use super::arguments::seconds;
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::output::Output;
use super::phrase::count;
use super::table::{size, table};
use crate::client::{Bus, LaneStats, ReaderStats, Stats, WriterStats, ZoneStats};
use crate::error::{Code, Error};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The longest single wait, after which signals and standard output are looked at.
const SLICE: Duration = Duration::from_millis(100);

pub(super) const EXAMPLES: &str = "\
Examples:
  syncline stat robot
  syncline stat robot -f=0.5
  syncline stat robot --follow --json | jq '.lanes[] | {channel, messages}'";

/// Arguments of `stat`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The zone [default: all]
    zone: Option<String>,
    /// Go on, with a reading and rates every so many seconds. They need no broker: those of zones that are known go on without it
    #[arg(long, short, value_name = "SECONDS", value_parser = interval, num_args = 0..=1, require_equals = true,
          default_missing_value = "1")]
    follow: Option<Duration>,
    /// One JSON object a zone and reading; `time_us` is of the monotonic clock. Bytes of lanes are positions in the ring, heads of
    /// messages included; those of readers are payloads
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds(text)
        .and_then(|time| if time.is_zero() { Err("expected more than 0 seconds".to_owned()) } else { Ok(time) })
}

/// Runs `stat`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let bus = place.connect()?;
    let mut output = Output::open()?;
    let clears = arguments.follow.is_some() && !arguments.json && std::io::stdout().is_terminal();
    let mut zones: Vec<Followed> = Vec::new();
    let mut due = Instant::now();
    loop {
        match &arguments.zone {
            Some(name) if zones.is_empty() => zones.push(Followed { stats: bus.zone(name).stats()?, before: None }),
            Some(_) => {}
            None => find(&bus, &mut zones)?,
        }
        if clears {
            output.write(b"\x1b[H\x1b[2J")?;
        }
        let mut shown = 0;
        let mut gone = Vec::new();
        for (index, zone) in zones.iter_mut().enumerate() {
            let now = match zone.stats.read() {
                Ok(now) => now,
                Err(error) if arguments.zone.is_none() && error.code() == Code::Unknown => {
                    gone.push(index);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if arguments.json {
                output.json(&now)?;
            } else {
                if shown > 0 || (zone.before.is_some() && !clears) {
                    output.write(b"\n")?;
                }
                for line in lines(&now, zone.before.as_ref()) {
                    output.line(format_args!("{line}"))?;
                }
            }
            shown += 1;
            zone.before = Some(now);
        }
        gone.into_iter().rev().for_each(|index| drop(zones.remove(index)));
        output.flush()?;
        let Some(interval) = arguments.follow else { return Ok(()) };
        // On its own beat, unless it has lost more than one.
        due = (due + interval).max(Instant::now());
        loop {
            interrupt.check()?;
            output.check()?;
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            interrupt.sleep(None, left.min(SLICE));
        }
    }
}

/// A zone, and its last reading.
struct Followed {
    stats: Stats,
    before: Option<ZoneStats>,
}

/// Adds the zones that have come.
fn find(bus: &Bus, zones: &mut Vec<Followed>) -> Outcome {
    let listed = match bus.list() {
        Ok(listed) => listed,
        // None can come without a broker.
        Err(Error::NoBroker { .. }) if !zones.is_empty() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for info in listed {
        if zones.iter().any(|zone| zone.stats.zone() == info.name) {
            continue;
        }
        match bus.zone(&info.name).stats() {
            Ok(stats) => zones.push(Followed { stats, before: None }),
            // Gone meanwhile.
            Err(error) if error.code() == Code::Unknown => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Rates between two readings.
#[derive(Clone, Copy)]
struct Pace {
    us: u64,
}

impl Pace {
    /// How many a second; nothing if there was no reading before.
    fn of(self, now: u64, before: Option<u64>) -> Option<u64> {
        let more = u128::from(now.saturating_sub(before?));
        (self.us > 0).then(|| u64::try_from(more * 1_000_000 / u128::from(self.us)).unwrap_or(u64::MAX))
    }

    fn number(self, now: u64, before: Option<u64>) -> String {
        self.of(now, before).map_or_else(String::new, |rate| format!("{rate}/s"))
    }

    fn bytes(self, now: u64, before: Option<u64>) -> String {
        self.of(now, before).map_or_else(String::new, |rate| format!("{}/s", size(rate)))
    }
}

/// The tables of a zone.
fn lines(now: &ZoneStats, before: Option<&ZoneStats>) -> Vec<String> {
    let pace = Pace { us: before.map_or(0, |before| now.time_us.saturating_sub(before.time_us)) };
    let eras = pace.of(now.eras, before.map(|before| before.eras));
    let eras = eras.map_or_else(String::new, |rate| format!(", {} a second", count(rate, "edge")));
    let mut lines = vec![format!("zone {}: era {}{eras}", now.zone, now.eras)];
    writers(&mut lines, now, before, pace);
    lanes(&mut lines, now, before, pace);
    readers(&mut lines, now, before, pace);
    lines
}

fn writers(lines: &mut Vec<String>, now: &ZoneStats, before: Option<&ZoneStats>, pace: Pace) {
    let row = |writer: &WriterStats| {
        let WriterStats { row, name, pid, commits, edges, full, wakes, evictions } = writer;
        // A row that another has now began anew.
        let is_same = |old: &&WriterStats| old.row == *row && old.pid == *pid && old.commits <= *commits;
        let old = before.and_then(|before| before.writers.iter().find(is_same));
        let cells = [
            row.to_string(),
            name.clone(),
            pid.to_string(),
            commits.to_string(),
            pace.number(*commits, old.map(|old| old.commits)),
            some(*edges),
            some(*full),
            some(*wakes),
            some(*evictions),
        ];
        cells.to_vec()
    };
    let head = ["WRITER", "NAME", "PID", "COMMITS", "RATE", "EDGES", "FULL", "WAKES", "EVICTED"];
    table(lines, &head, now.writers.iter().map(row));
}

fn lanes(lines: &mut Vec<String>, now: &ZoneStats, before: Option<&ZoneStats>, pace: Pace) {
    let row = |lane: &LaneStats| {
        let old = before.and_then(|before| before.lanes.iter().find(|old| old.lane == lane.lane));
        let kept = match lane.retained_messages {
            0 => String::new(),
            kept => format!("{kept} in {} of {}", size(lane.retained_bytes), size(lane.capacity)),
        };
        let pins = if lane.pins == 0 { String::new() } else { format!("{} of {}", lane.pins, lane.most_pins) };
        let cells = [
            lane.channel.clone(),
            lane.writer.to_string(),
            lane.name.clone(),
            lane.messages.to_string(),
            pace.number(lane.messages, old.map(|old| old.messages)),
            size(lane.bytes),
            pace.bytes(lane.bytes, old.map(|old| old.bytes)),
            kept,
            pins,
            state(lane).to_owned(),
        ];
        cells.to_vec()
    };
    let head = ["LANE OF", "WRITER", "NAME", "MESSAGES", "RATE", "BYTES", "RATE", "KEPT", "PINS", "STATE"];
    table(lines, &head, now.lanes.iter().map(row));
}

fn state(lane: &LaneStats) -> &'static str {
    match (lane.corrupt, lane.ended, lane.lossy) {
        (true, _, _) => "corrupt",
        (false, true, _) => "ended",
        (false, false, true) => "lossy",
        (false, false, false) => "",
    }
}

fn readers(lines: &mut Vec<String>, now: &ZoneStats, before: Option<&ZoneStats>, pace: Pace) {
    let row = |reader: &ReaderStats| {
        let is_same = |old: &&ReaderStats| {
            let is_one = old.entry == reader.entry && old.lane == reader.lane && old.pid == reader.pid;
            is_one && old.messages <= reader.messages
        };
        let old = before.and_then(|before| before.readers.iter().find(is_same));
        let behind = if reader.behind == 0 { String::new() } else { size(reader.behind) };
        let cells = [
            reader.name.clone(),
            reader.pid.to_string(),
            (if reader.synced { "synced" } else { "live" }).to_owned(),
            reader.channel.clone(),
            reader.writer.to_string(),
            reader.messages.to_string(),
            pace.number(reader.messages, old.map(|old| old.messages)),
            size(reader.bytes),
            behind,
            some(reader.lost),
            some(reader.lags),
            some(reader.sleeps),
            (if reader.evicted { "evicted" } else { "" }).to_owned(),
        ];
        cells.to_vec()
    };
    let head = [
        "READER", "PID", "MODE", "CHANNEL", "WRITER", "MESSAGES", "RATE", "BYTES", "BEHIND", "LOST", "LAGS", "SLEEPS",
        "STATE",
    ];
    table(lines, &head, now.readers.iter().map(row));
}

/// A number, if there is anything to tell.
fn some(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_time_between() {
        let pace = Pace { us: 500_000 };
        assert_eq!((pace.of(30, Some(10)), pace.of(5, Some(10)), pace.of(5, None)), (Some(40), Some(0), None));
        assert_eq!(pace.number(30, Some(10)), "40/s");
        assert_eq!(pace.bytes(2048, Some(0)), "4.0 KiB/s");
        assert_eq!(Pace { us: 0 }.of(30, Some(10)), None);
        assert_eq!(Pace { us: 1 }.of(u64::MAX, Some(0)), Some(u64::MAX));
    }
}
