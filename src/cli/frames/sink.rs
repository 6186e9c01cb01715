//! `syncline pub --frames`: eras from standard input, each published as one batch with an edge of its own.

use crate::cli::Place;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::input::Input;
use crate::cli::interrupt::Interrupt;
use crate::cli::publish::{Arguments, SLICE, wait_for_readers};
use crate::cli::seal::seal;
use crate::client::{Batch, Lane, Writer, Zone};
use crate::error::Error;
use crate::layout::lane::MAX_CAPACITY;
use crate::wire::frames::{Channel, Head, Reader, Record};
use std::io::IsTerminal;

/// Runs `pub --frames`.
pub(in crate::cli) fn run(arguments: &Arguments, place: &Place, interrupt: &Interrupt) -> Outcome {
    if std::io::stdin().is_terminal() {
        return Err(Exit::Failed(
            "frames are not for people: expected a pipe or a file as standard input, found a terminal; use \
             `syncline sub --frames --zone ZONE | ...`"
                .to_owned(),
        ));
    }
    let zone = arguments.options.of(place.connect()?.zone(arguments.zone.as_deref().unwrap_or_default()));
    let mut writer = zone.writer(&arguments.name)?;
    // Not longer: between waits, signals are looked at.
    writer.set_room_timeout(SLICE);
    let sink = Sink { arguments, zone, interrupt, writer, lanes: Vec::new(), sealed: None };
    sink.publish_all(&mut Reader::new(Input::open(interrupt)?))
}

/// Publishes a stream of frames.
struct Sink<'a> {
    arguments: &'a Arguments,
    zone: Zone,
    interrupt: &'a Interrupt,
    writer: Writer,
    /// By the channel's index in the stream.
    lanes: Vec<Target>,
    /// The last era published, by its number where it came from.
    sealed: Option<u64>,
}

/// A channel, and our lane there.
struct Target {
    channel: String,
    lane: Lane<[u8]>,
}

impl Sink<'_> {
    fn publish_all(mut self, stream: &mut Reader<Input<'_>>) -> Outcome {
        while let Some(record) = next(stream, self.interrupt)? {
            let Record { head, payload } = record;
            let edge = match head {
                Head::Channel(channel) => {
                    self.open(&channel)?;
                    continue;
                }
                Head::Edge(edge) => edge,
                Head::Message { channel } => {
                    let pusher = Pusher { lanes: &self.lanes, sealed: self.sealed, interrupt: self.interrupt };
                    // Dropped on any way out but the last: then nobody ever sees anything of it.
                    let mut batch = self.writer.batch()?;
                    pusher.push(&mut batch, channel, payload)?;
                    let edge = loop {
                        match next(stream, self.interrupt)? {
                            Some(Record { head: Head::Message { channel }, payload }) => {
                                pusher.push(&mut batch, channel, payload)?;
                            }
                            Some(Record { head: Head::Edge(edge), .. }) => break edge,
                            // The reader does not let these by.
                            Some(Record { head: Head::Channel(_), .. }) | None => return Err(pusher.no_edge()),
                        }
                    };
                    batch.commit()?;
                    edge
                }
            };
            seal(&mut self.writer, edge.tag, self.interrupt)?;
            self.sealed = Some(edge.era);
        }
        Ok(())
    }

    /// Opens the lane of a channel, and waits for its readers.
    fn open(&mut self, channel: &Channel) -> Outcome {
        let Channel { name, ty, max_len, rings, .. } = channel;
        let lane = self.writer.channel(name);
        let lane = match (self.arguments.capacity, rings) {
            (Some(bytes), _) => lane.capacity(bytes),
            (None, 0) => lane.max_len(*max_len),
            // An era can fill all the rings that it comes from, and a batch not quite its one.
            (None, rings) => lane.capacity(rings.max(max_len).saturating_mul(2).min(MAX_CAPACITY)),
        };
        let lane = lane.open_as(ty.clone())?;
        self.lanes.push(Target { channel: name.clone(), lane });
        wait_for_readers(&self.zone, name, self.arguments, self.interrupt)
    }
}

/// Adds the messages of an era to its batch.
struct Pusher<'a> {
    lanes: &'a [Target],
    sealed: Option<u64>,
    interrupt: &'a Interrupt,
}

impl Pusher<'_> {
    /// Adds a message, as soon as there is room for it.
    fn push(&self, batch: &mut Batch<'_>, channel: u32, payload: &[u8]) -> Outcome {
        let Some(target) = self.lanes.get(channel as usize) else {
            // The reader does not let these by either.
            return Err(Exit::Failed(format!("message in channel {channel}: expected one that was declared")));
        };
        loop {
            match batch.push(target.lane, payload) {
                Ok(()) => return Ok(()),
                // All that is in the lane is sealed, so its readers can go on and make room.
                Err(Error::Full { .. }) => self.interrupt.check()?,
                Err(Error::TooLarge { len, limit }) => return Err(self.too_large(target, payload.len(), len, limit)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cold]
    fn too_large(&self, target: &Target, payload: usize, len: u64, limit: u64) -> Exit {
        let channel = &target.channel;
        let what = if len == payload as u64 { "a message of" } else { "at least" };
        Exit::Failed(format!(
            "{} is left out: {what} {len} bytes in channel `{channel}`, whose lane takes {limit} at once; give it more with \
             --capacity (up to 1G)",
            self.era()
        ))
    }

    fn no_edge(&self) -> Exit {
        Exit::Failed(format!("{} is left out: it has no edge", self.era()))
    }

    /// The era that is being published. Its number comes with its edge.
    fn era(&self) -> String {
        self.sealed.map_or_else(|| "the first era".to_owned(), |era| format!("what follows era {era}"))
    }
}

fn next<'s>(stream: &'s mut Reader<Input<'_>>, interrupt: &Interrupt) -> Outcome<Option<Record<'s>>> {
    stream.next().map_err(|error| match interrupt.check() {
        Err(interrupted) => interrupted,
        Ok(()) => Exit::Failed(error.to_string()),
    })
}
