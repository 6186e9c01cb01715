//! `syncline pub`: each line of standard input becomes a message. (With `--frames`: [`super::frames`].)

use super::Place;
use super::arguments::{bytes, milliseconds, seconds};
use super::exit::{Exit, Outcome};
use super::frames::sink;
use super::interrupt::Interrupt;
use super::lines::Lines;
use super::seal::{pause, seal, seal_the_rest};
use super::table::size;
use super::zone::Options;
use crate::client::{HaltMode, HeldUpBy, Lane, Writer, Zone};
use crate::error::Error;
use crate::layout::lane::FRAME_HEADER;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The longest single wait, after which signals are looked at.
pub(super) const SLICE: Duration = Duration::from_millis(100);

pub(super) const EXAMPLES: &str = "\
Examples:
  seq 1000 | syncline pub numbers --edge 100 --wait-readers 1
  syncline sub --frames --zone robot | ssh there syncline pub --frames --zone robot
  syncline pub --frames --zone replay < robot.frames";

/// Arguments of `pub`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The channel to publish in
    #[arg(required_unless_present = "frames")]
    channel: Option<String>,
    /// The channel's zone [default: one of the channel's own, of the same name]
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// Read whole eras, as `sub --frames` writes them, and publish them in the zone: each era as one batch, with an edge of
    /// its own. Channels come with the stream. An era that is not all there is left out, and the exit status is 1
    #[arg(long, requires = "zone", conflicts_with_all = ["channel", "edge", "max_len"])]
    frames: bool,
    /// When to seal an era: after each line, after every N lines, at the end of the input, or never. Except with `never`, the end
    /// of the input is always sealed, and an era that outgrows the channel is sealed early, for no reader could make room.
    /// (What the last writer of a zone leaves unsealed, the broker seals. In a lockstep zone, this is when to give this writer's permit
    /// and wait for the edge)
    #[arg(long, value_name = "each|N|end|never", default_value = "end")]
    edge: Edges,
    /// Wait for this many readers of the channel before the first line. (With --frames: of each channel, when it comes)
    #[arg(long, value_name = "N")]
    pub(super) wait_readers: Option<u32>,
    /// How long to wait for readers; after that the exit status is 3 [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "wait_readers")]
    timeout: Option<Duration>,
    /// Bytes that the channel holds for readers that are behind [default: 1M]. (With --frames: each channel; an era has to
    /// fit [default: twice what it had where the stream comes from])
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(super) capacity: Option<u64>,
    /// Wait for no reader: one that is too slow loses the oldest lines, and is told how many. (The first writer of a channel decides;
    /// others that say nothing take what it has)
    #[arg(long, conflicts_with_all = ["evict_after", "frames"])]
    lossy: bool,
    /// Evict a reader that takes nothing for so long while there is no room
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with = "frames")]
    evict_after: Option<Duration>,
    /// How long to wait for room for a line while readers are behind; after that the exit status is 3, and who holds the channel up
    /// is named [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "frames")]
    room_timeout: Option<Duration>,
    /// The longest line, in bytes [default: what the capacity allows]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_len: Option<u64>,
    /// This writer's name
    #[arg(long, default_value = "pub")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) options: Options,
}

/// When to seal an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edges {
    Every(u64),
    End,
    Never,
}

impl FromStr for Edges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "each" => Ok(Edges::Every(1)),
            "end" => Ok(Edges::End),
            "never" => Ok(Edges::Never),
            _ => match text.parse() {
                Ok(lines) if lines > 0 => Ok(Edges::Every(lines)),
                _ => Err("expected `each`, a number of lines, `end` or `never`".to_owned()),
            },
        }
    }
}

/// Runs `pub`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    if arguments.frames {
        return sink::run(arguments, place, &interrupt);
    }
    let channel = arguments.channel.as_deref().unwrap_or_default();
    let zone = arguments.options.of(place.connect()?.zone(arguments.zone.as_deref().unwrap_or(channel)));
    let mut publisher = Publisher::open(arguments, &zone, channel)?;
    wait_for_readers(&zone, channel, arguments, &interrupt)?;
    let published = publisher.publish_all(&interrupt);
    // Also after an error: what was published is whole lines.
    let rest = if arguments.edge == Edges::Never { Ok(()) } else { seal_the_rest(&mut publisher.writer, &interrupt) };
    published.and(rest)
}

/// Waits for as many readers of a channel as there have to be.
pub(super) fn wait_for_readers(zone: &Zone, channel: &str, arguments: &Arguments, interrupt: &Interrupt) -> Outcome {
    let Some(readers) = arguments.wait_readers else { return Ok(()) };
    let deadline = arguments.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        interrupt.check()?;
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        match zone.wait_readers(channel, readers, left.min(SLICE)) {
            Ok(_) => return Ok(()),
            Err(Error::Timeout) if left.is_zero() => {
                return Err(Exit::TimedOut(format!(
                    "expected {readers} readers of channel `{channel}`: not there in time"
                )));
            }
            Err(Error::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A writer with one lane of bytes.
struct Publisher {
    writer: Writer,
    lane: Lane<[u8]>,
    channel: String,
    edges: Edges,
    room_timeout: Option<Duration>,
    /// Bytes of the channel taken, and lines, since the last edge.
    unsealed: u64,
    lines: u64,
}

impl Publisher {
    fn open(arguments: &Arguments, zone: &Zone, channel: &str) -> Outcome<Publisher> {
        let mut writer = zone.writer(&arguments.name)?;
        // While it is halted, signals are looked at.
        writer.on_halt(HaltMode::Refuse);
        let mut lane = writer.channel(channel);
        if let Some(bytes) = arguments.capacity {
            lane = lane.capacity(bytes);
        }
        if let Some(bytes) = arguments.max_len {
            lane = lane.max_len(bytes);
        }
        if arguments.lossy {
            lane = lane.lossy();
        }
        if let Some(time) = arguments.evict_after {
            lane = lane.evict_after(time);
        }
        let lane = lane.open::<[u8]>()?;
        let (channel, room_timeout) = (channel.to_owned(), arguments.room_timeout);
        Ok(Publisher { writer, lane, channel, edges: arguments.edge, room_timeout, unsealed: 0, lines: 0 })
    }

    fn publish_all(&mut self, interrupt: &Interrupt) -> Outcome {
        let limit = self.writer.max_len(self.lane)?;
        let mut lines = Lines::new(std::io::stdin().lock(), usize::try_from(limit).unwrap_or(usize::MAX));
        while let Some(line) = lines.next(interrupt)? {
            self.publish(line, interrupt)?;
        }
        Ok(())
    }

    fn publish(&mut self, line: &[u8], interrupt: &Interrupt) -> Outcome {
        match self.writer.publish(self.lane, line) {
            Ok(()) => {}
            Err(error) => self.publish_later(line, error, interrupt)?,
        }
        self.unsealed += FRAME_HEADER + (line.len() as u64).next_multiple_of(8);
        self.lines += 1;
        match self.edges {
            Edges::Every(lines) if self.lines >= lines => self.seal(interrupt),
            _ => Ok(()),
        }
    }

    /// Publishes when there is room, and the zone is not halted.
    #[cold]
    fn publish_later(&mut self, line: &[u8], mut why_not: Error, interrupt: &Interrupt) -> Outcome {
        let deadline = self.room_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let left = || deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
        loop {
            interrupt.check()?;
            match why_not {
                // All that the slowest reader lacks is unsealed: a synced one waits for us, not we for it.
                Error::EraTooLarge { .. } if self.edges != Edges::Never && self.lines > 0 => self.seal(interrupt)?,
                Error::Full { behind } if self.edges != Edges::Never && self.lines > 0 && behind <= self.unsealed => {
                    self.seal(interrupt)?;
                }
                Error::Full { behind } if left().is_zero() => return Err(self.held_up(behind)),
                // Somebody else may make an edge.
                Error::Full { .. } | Error::EraTooLarge { .. } => {}
                Error::Halted => pause(interrupt)?,
                error => return Err(error.into()),
            }
            self.writer.set_room_timeout(left());
            match self.writer.publish(self.lane, line) {
                Ok(()) => break,
                Err(error) => why_not = error,
            }
        }
        self.writer.set_room_timeout(Duration::ZERO);
        Ok(())
    }

    /// There was no room in time: who is why.
    fn held_up(&self, behind: u64) -> Exit {
        let Publisher { writer, lane, channel, .. } = self;
        let text = match writer.held_up_by(*lane) {
            Ok(Some(HeldUpBy { pid, name, behind, synced, .. })) => {
                let mode = if synced { "synced" } else { "live" };
                format!("{mode} reader `{name}` (process {pid}) is {} behind", size(behind))
            }
            // It has gone meanwhile, or can not be told.
            _ => format!("a reader was {} behind", size(behind)),
        };
        Exit::TimedOut(format!("no room in channel `{channel}` in time: {text}; let it read on, or end it"))
    }

    /// Seals what was published.
    fn seal(&mut self, interrupt: &Interrupt) -> Outcome {
        (self.unsealed, self.lines) = (0, 0);
        seal(&mut self.writer, None, interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_parsed() {
        assert_eq!("each".parse(), Ok(Edges::Every(1)));
        assert_eq!("100".parse(), Ok(Edges::Every(100)));
        assert_eq!("end".parse(), Ok(Edges::End));
        assert_eq!("never".parse(), Ok(Edges::Never));
        for wrong in ["", "0", "-1", "always"] {
            assert!(wrong.parse::<Edges>().is_err(), "{wrong}");
        }
    }
}
