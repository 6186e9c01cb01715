//! `syncline sub`: the messages of channels on standard output, one a line. (With `--frames`: [`super::frames`].)

use super::Place;
use super::arguments::seconds;
use super::edge::{Known, Marker};
use super::exit::{Exit, Outcome};
use super::frames::source;
use super::interrupt::Interrupt;
use super::output::Output;
use super::render;
use crate::client::{Bus, Live, Message, Reader, ReaderBuilder, Start, Zone};
use crate::error::Error;
use std::time::{Duration, Instant};

/// The longest single wait, after which signals, the deadline and standard output are looked at.
pub(super) const SLICE: Duration = Duration::from_millis(100);
/// The pause between looks at several zones: no one bell rings for all.
const PAUSE: Duration = Duration::from_micros(500);
/// Messages taken from one zone before the next gets its turn.
const BURST: usize = 1024;

pub(super) const EXAMPLES: &str = "\
Examples:
  syncline sub camera lidar --zone robot --synced --json
  syncline sub --frames --zone robot | ssh there syncline pub --frames --zone robot
  syncline sub --frames --zone robot --from oldest --until-closed > robot.frames";

/// Arguments of `sub`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The channels to read; they need not exist yet. (With --frames and none named: all that the zone has now; those that
    /// come later are not read)
    #[arg(required_unless_present = "frames", value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The zone of all these channels [default: each channel's own, of the same name]
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// Write whole sealed eras, as bytes: all messages of the channels, and the edges between them, for `pub --frames` in
    /// another zone or at another broker. What takes them slower than they come holds the zone's writers up
    #[arg(long, requires = "zone", conflicts_with_all = ["live", "json", "markers"])]
    frames: bool,
    /// Each message as soon as it is committed (the default)
    #[arg(long, conflicts_with = "synced")]
    live: bool,
    /// Messages by whole sealed eras
    #[arg(long)]
    synced: bool,
    /// Where to start in channels that have messages already
    #[arg(long, value_name = "oldest|latest", default_value = "latest")]
    from: From,
    /// Start with this era, of which nothing may be missing; the one after the last sealed at the latest (exit status 5 if it is not to
    /// be had)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "from")]
    from_era: Option<u64>,
    /// Print the edges, too, each after the last message of its era, as a line of its own: `-- era 7: exact, tag 42 (0x2a) --`, or
    /// an object with `zone` and `edge`
    #[arg(long, conflicts_with = "synced")]
    markers: bool,
    /// End after this many messages. (With --frames: eras)
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// End after so long, with exit status 3
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// End when writers have come, and all of them have gone
    #[arg(long)]
    pub(super) until_closed: bool,
    /// Refuse channels that do not exist
    #[arg(long)]
    must_exist: bool,
    /// One JSON object a message: zone, channel, writer, writer_name, pid, sequence, era with the reason and tag of its edge (null
    /// while it is open), len, and `fields` (or `text`, or `hex`)
    #[arg(long)]
    json: bool,
    /// This reader's name
    #[arg(long, default_value = "sub")]
    name: String,
}

/// Where to start.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum From {
    Oldest,
    Latest,
}

/// Runs `sub`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let bus = place.connect()?;
    let deadline = arguments.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if arguments.frames {
        return source::run(arguments, &bus, &interrupt, deadline);
    }
    let mut sources = open(arguments, &bus)?;
    let mut printer = Printer {
        output: Output::open()?,
        json: arguments.json,
        left: arguments.count,
        payload: Vec::new(),
        line: Vec::new(),
        known: Known::default(),
        damaged: None,
    };
    let ended = copy(arguments, &mut sources, &mut printer, &interrupt, deadline);
    // A reader that has gone is told before a timeout: both are ends, and it is the quiet one.
    printer.output.flush()?;
    match (ended, printer.damaged) {
        (Ok(()), Some(told)) => Err(Exit::Failed(told)),
        (ended, _) => ended,
    }
}

/// A reader of one zone.
struct Source {
    zone: String,
    input: Input,
}

/// A reader, perhaps with markers.
struct Input {
    reader: Reader,
    marked: bool,
}

impl Input {
    /// What there is now; of whatever reader, as one with markers has it.
    fn try_next(&mut self) -> Option<Result<Live<'_>, Error>> {
        match self.marked {
            true => self.reader.try_live().transpose(),
            false => self.reader.try_recv().transpose().map(|received| received.map(Live::Message)),
        }
    }

    /// The same; sleeps until there is something.
    fn next(&mut self, timeout: Duration) -> Option<Result<Live<'_>, Error>> {
        let received = match self.marked {
            true => self.reader.next_live(timeout),
            false => self.reader.recv(timeout).map(Live::Message),
        };
        (!matches!(received, Err(Error::Timeout))).then_some(received)
    }
}

fn open(arguments: &Arguments, bus: &Bus) -> Outcome<Vec<Source>> {
    let channels = arguments.channels();
    let zones = match &arguments.zone {
        Some(zone) => vec![(zone.clone(), channels)],
        None => channels.into_iter().map(|channel| (channel.clone(), vec![channel])).collect(),
    };
    let mut sources = Vec::with_capacity(zones.len());
    for (zone, channels) in zones {
        let builder = arguments.builder(&bus.zone(&zone), &channels);
        let builder = if arguments.synced { builder.synced() } else { builder };
        let reader = if arguments.markers { builder.markers() } else { builder }.open()?;
        sources.push(Source { input: Input { reader, marked: arguments.markers }, zone });
    }
    Ok(sources)
}

impl Arguments {
    /// The channels named, each once.
    pub(super) fn channels(&self) -> Vec<String> {
        let mut channels = self.channels.clone();
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    /// A live reader of these channels.
    pub(super) fn builder(&self, zone: &Zone, channels: &[String]) -> ReaderBuilder {
        let builder = zone.reader(&self.name).start(match (self.from_era, self.from) {
            (Some(era), _) => Start::Era(era),
            (None, From::Oldest) => Start::Oldest,
            (None, From::Latest) => Start::Latest,
        });
        let builder = channels.iter().fold(builder, |builder, channel| builder.any(channel));
        if self.must_exist { builder.must_exist() } else { builder }
    }
}

/// Prints what comes until there is a reason to end.
fn copy(
    arguments: &Arguments,
    sources: &mut [Source],
    printer: &mut Printer,
    interrupt: &Interrupt,
    deadline: Option<Instant>,
) -> Outcome {
    let mut closed = false;
    loop {
        let mut idle = true;
        for source in sources.iter_mut() {
            for _ in 0..BURST {
                if printer.is_done() {
                    return Ok(());
                }
                match printer.take(&source.zone, source.input.try_next())? {
                    Taken::Nothing => break,
                    Taken::Closed => closed = true,
                    Taken::Something => {}
                }
                idle = false;
            }
        }
        interrupt.check()?;
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Err(Exit::TimedOut(match printer.left {
                Some(more) => format!("timeout with {more} messages of --count still to come"),
                None => "timeout".to_owned(),
            }));
        }
        if !idle {
            continue;
        }
        printer.output.flush()?;
        printer.output.check()?;
        if arguments.until_closed && closed && sources.iter().all(|source| source.input.reader.lanes() == 0) {
            return Ok(());
        }
        match sources {
            [source] => {
                let received = source.input.next(left.min(SLICE));
                closed |= matches!(printer.take(&source.zone, received)?, Taken::Closed);
            }
            _ => std::thread::sleep(left.min(PAUSE)),
        }
    }
}

/// Tells on standard error what was lost.
pub(super) fn say(zone: &str, error: &Error) {
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("syncline: zone `{zone}`: {error}\n"));
}

/// What a look at a reader gave.
enum Taken {
    Something,
    Closed,
    Nothing,
}

/// Prints messages.
struct Printer {
    output: Output,
    json: bool,
    /// Messages still to print.
    left: Option<u64>,
    payload: Vec<u8>,
    line: Vec<u8>,
    known: Known,
    /// A lane that had to be given up.
    damaged: Option<String>,
}

impl Printer {
    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self, zone: &str, received: Option<Result<Live<'_>, Error>>) -> Outcome<Taken> {
        match received {
            None => Ok(Taken::Nothing),
            Some(Ok(Live::Message(message))) => {
                self.print(zone, &message)?;
                self.left = self.left.map(|left| left - 1);
                Ok(Taken::Something)
            }
            Some(Ok(Live::Edge(edge))) => {
                let marker = Marker::new(zone, &edge);
                match self.json {
                    true => self.output.json(&marker)?,
                    false => self.output.line(format_args!("{}", marker.line()))?,
                }
                Ok(Taken::Something)
            }
            // Nothing of that was printed, nor will be.
            Some(Err(Error::RolledBack)) => Ok(Taken::Nothing),
            Some(Err(Error::Closed(_))) => Ok(Taken::Closed),
            // It goes on behind that.
            Some(Err(error @ (Error::Lagged(_) | Error::ErasLost { .. }))) => {
                self.output.flush()?;
                say(zone, &error);
                Ok(Taken::Something)
            }
            // That lane is given up; others go on.
            Some(Err(error @ Error::Corrupt(_))) => {
                tracing::error!("{error}");
                self.damaged = Some(error.to_string());
                Ok(Taken::Closed)
            }
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn print(&mut self, zone: &str, message: &Message<'_>) -> Outcome {
        message.copy_to(&mut self.payload)?;
        if self.json {
            let sealed = self.known.of(zone, message);
            return self.output.json(&render::Json { zone, message, payload: &self.payload, sealed });
        }
        if message.type_desc().is_bytes() {
            self.payload.push(b'\n');
            return self.output.write(&self.payload);
        }
        self.line.clear();
        render::plain(&mut self.line, message.type_desc(), &self.payload);
        self.line.push(b'\n');
        self.output.write(&self.line)
    }
}
