//! `syncline sub --frames`: the eras of a zone on standard output.
//!
//! A stream declares a channel between eras, but what a channel carries is known only once somebody writes there. So while there are
//! channels that are not declared, the broker is asked at the beginning of each era: whoever has a message in it had its lane
//! announced before, and the channel's type with it.

use crate::cli::exit::{Exit, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::Output;
use crate::cli::subscribe::{Arguments, SLICE, say};
use crate::client::{Bus, Era};
use crate::error::Error;
use crate::wire::ZoneInfo;
use crate::wire::frames::{self, Channel, Edge, Head};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Runs `sub --frames`.
pub(in crate::cli) fn run(
    arguments: &Arguments,
    bus: &Bus,
    interrupt: &Interrupt,
    deadline: Option<Instant>,
) -> Outcome {
    if std::io::stdout().is_terminal() {
        return Err(Exit::Failed(
            "frames are not for people: expected a pipe or a file as standard output, found a terminal; leave --frames \
             out, or add `| syncline pub --frames --zone ZONE`"
                .to_owned(),
        ));
    }
    let zone = arguments.zone.as_deref().unwrap_or_default();
    let mut channels = arguments.channels();
    if channels.is_empty() {
        channels = all_channels(bus, zone)?;
    }
    let mut reader = arguments.builder(&bus.zone(zone), &channels).synced().open()?;
    let mut writer = Writer {
        bus,
        zone,
        output: Output::open()?,
        declared: Vec::new(),
        last: 0,
        undeclared: channels,
        bytes: Vec::new(),
        payload: Vec::new(),
    };
    frames::begin(&mut writer.bytes);
    writer.write_bytes()?;
    let mut left = arguments.count;
    let mut closed = false;
    let mut wait = Duration::ZERO;
    while left != Some(0) {
        // Between eras only, so that the stream ends with a whole one.
        interrupt.check()?;
        match reader.next_era(wait) {
            Ok(era) => {
                wait = Duration::ZERO;
                writer.era(era)?;
                left = left.map(|left| left - 1);
                continue;
            }
            Err(Error::Timeout) => {}
            Err(error @ Error::ErasLost { .. }) => {
                writer.output.flush()?;
                say(zone, &error);
                continue;
            }
            Err(Error::Closed(_)) => {
                closed = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        // Nothing now: whoever reads the stream gets what there is.
        writer.output.flush()?;
        writer.output.check()?;
        if arguments.until_closed && closed && reader.lanes() == 0 {
            return Ok(());
        }
        let rest = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if rest.is_zero() {
            return Err(Exit::TimedOut(match left {
                Some(more) => format!("timeout with {more} eras of --count still to come"),
                None => "timeout".to_owned(),
            }));
        }
        wait = rest.min(SLICE);
    }
    writer.output.flush()
}

/// What the zone has.
fn all_channels(bus: &Bus, zone: &str) -> Outcome<Vec<String>> {
    let zones = bus.list()?;
    let found = zones.iter().find(|info| info.name == zone);
    let names: Vec<_> = found.iter().flat_map(|info| &info.channels).map(|channel| channel.name.clone()).collect();
    if names.is_empty() {
        return Err(Exit::Failed(format!(
            "zone `{}`: expected channels, found none yet; name those to come: they need not exist",
            zone.escape_debug()
        )));
    }
    Ok(names)
}

/// Writes a stream of frames.
struct Writer<'a> {
    bus: &'a Bus,
    zone: &'a str,
    output: Output,
    /// Channels by their index in the stream.
    declared: Vec<String>,
    /// The index of the last message's channel.
    last: usize,
    /// Those that nobody has written in yet.
    undeclared: Vec<String>,
    bytes: Vec<u8>,
    payload: Vec<u8>,
}

impl Writer<'_> {
    /// Writes an era and its edge. If it fails, the edge is missing, and with it the era.
    fn era(&mut self, mut era: Era<'_>) -> Outcome {
        let (number, merged) = (era.number(), era.is_merged());
        // Now: the zone may have forgotten it once all is written.
        let (tag, reason) = era.edge().map_or((None, 0), |edge| (edge.tag, edge.reason as u8));
        self.declare()?;
        loop {
            let message = match era.next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                // The reader could go on, but not with a whole era.
                Err(error) => return Err(Exit::Failed(format!("era {number} is not whole, and left out: {error}"))),
            };
            let channel = self.index(message.channel(), number)?;
            message.copy_to(&mut self.payload)?;
            // No ring has a longer one.
            let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
            Head::Message { channel }.encode(len, &mut self.bytes);
            self.write_bytes()?;
            self.output.write(&self.payload)?;
        }
        // A mere edge is nobody's, and somebody asked for it.
        Head::Edge(Edge { era: number, merged, tag, reason }).encode(0, &mut self.bytes);
        self.write_bytes()
    }

    /// The index of a channel in the stream.
    fn index(&mut self, channel: &str, era: u64) -> Outcome<u32> {
        if self.declared.get(self.last).is_none_or(|last| last != channel) {
            let found = self.declared.iter().position(|declared| declared == channel);
            self.last = found.ok_or_else(|| {
                Exit::Failed(format!(
                    "era {era} is left out: it has the first message of channel `{channel}`, and there is no broker to ask \
                     what that carries; start again with one"
                ))
            })?;
        }
        Ok(self.last as u32)
    }

    /// Declares the channels that somebody has begun to write in.
    fn declare(&mut self) -> Outcome {
        if self.undeclared.is_empty() {
            return Ok(());
        }
        let zones = match self.bus.list() {
            Ok(zones) => zones,
            // Nobody can begin without a broker, and what was begun goes on.
            Err(error) => {
                tracing::debug!("{error}");
                return Ok(());
            }
        };
        let Some(info) = zones.iter().find(|info| info.name == self.zone) else { return Ok(()) };
        for name in std::mem::take(&mut self.undeclared) {
            match describe(info, &name, self.declared.len() as u32) {
                Some(channel) => {
                    Head::Channel(channel).encode(0, &mut self.bytes);
                    self.declared.push(name);
                }
                None => self.undeclared.push(name),
            }
        }
        self.write_bytes()
    }

    fn write_bytes(&mut self) -> Outcome {
        let written = self.output.write(&self.bytes);
        self.bytes.clear();
        written
    }
}

/// A channel of the zone, if it is known what it carries.
fn describe(zone: &ZoneInfo, name: &str, index: u32) -> Option<Channel> {
    let info = zone.channels.iter().find(|channel| channel.name == name)?;
    let lanes = || zone.lanes.iter().filter(|lane| lane.channel == info.index);
    Some(Channel {
        index,
        name: info.name.clone(),
        ty: info.ty.clone()?,
        max_len: lanes().map(|lane| lane.max_payload).max().unwrap_or(0),
        rings: lanes().map(|lane| lane.capacity).sum(),
    })
}
