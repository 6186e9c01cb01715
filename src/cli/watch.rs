//! `syncline watch`: who comes, leaves and dies.

use super::Place;
use super::exit::Outcome;
use super::interrupt::Interrupt;
use super::output::Output;
use crate::error::Error;
use crate::wire::{Presence, PresenceKind, PresenceWhat};
use serde::Serialize;
use std::time::Duration;

/// The longest single wait, after which signals and standard output are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// Arguments of `watch`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Only this zone
    #[arg(long)]
    zone: Option<String>,
    /// One JSON object an event
    #[arg(long)]
    json: bool,
}

/// Runs `watch`.
pub(super) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let mut output = Output::open()?;
    let mut watch = place.connect()?.watch(arguments.zone.as_deref())?;
    loop {
        interrupt.check()?;
        match watch.next(SLICE) {
            Ok(event) if arguments.json => output.json(&Event::new(&event))?,
            Ok(event) => {
                let Event { what, kind, zone, channel, name, pid, .. } = Event::new(&event);
                output.line(format_args!("{what:4}  {kind:7}  zone={zone} channel={channel} name={name} pid={pid}"))?;
            }
            Err(Error::Timeout) => output.check()?,
            Err(error) => return Err(error.into()),
        }
        output.flush()?;
    }
}

/// What happened, in words.
#[derive(Serialize)]
struct Event<'a> {
    what: &'static str,
    kind: &'static str,
    zone: &'a str,
    channel: &'a str,
    name: &'a str,
    pid: u32,
    uid: u32,
}

impl<'a> Event<'a> {
    fn new(event: &'a Presence) -> Self {
        Event {
            what: match event.what {
                PresenceWhat::Came => "came",
                PresenceWhat::Left => "left",
                PresenceWhat::Died => "died",
            },
            kind: match event.kind {
                PresenceKind::Channel => "channel",
                PresenceKind::Writer => "writer",
                PresenceKind::Reader => "reader",
            },
            zone: &event.zone,
            channel: &event.channel,
            name: &event.name,
            pid: event.pid,
            uid: event.uid,
        }
    }
}
