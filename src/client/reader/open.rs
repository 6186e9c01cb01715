//! Opening a reader: what it wants, how it joins, and where it starts.

use super::eras::{Before, ERA_TRIES};
use super::wait::Waits;
use super::{NEVER_LOOKED, Reader};
use crate::client::link::{Link, take_fds, unexpected};
use crate::client::payload::Payload;
use crate::client::waiting::{self, Wait};
use crate::client::zone::Zone;
use crate::error::{Error, Result};
use crate::layout::zone::Pace;
use crate::os::mapping::{Access, MeetingMap, ZoneMap};
use crate::ring::{lockstep, sequencer};
use crate::wire::{Ask, Tell, TypeDesc, Wanted};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Where a new reader starts in the lanes that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With what comes after it has joined.
    #[default]
    Latest,
    /// With all that the lanes still hold; a synced reader with the oldest era that is still whole.
    Oldest,
    /// With this era, of which nothing may be missing; the one after the last sealed at the latest.
    Era(u64),
}

/// Describes a reader to open; from [`Zone::reader`].
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct ReaderBuilder {
    zone: Zone,
    name: String,
    channels: Vec<Wanted>,
    must_exist: bool,
    synced: bool,
    marked: bool,
    early: bool,
    start: Start,
    wait: Wait,
}

impl ReaderBuilder {
    pub(crate) fn new(zone: Zone, name: &str) -> Self {
        let name = name.to_owned();
        ReaderBuilder {
            zone,
            name,
            channels: Vec::new(),
            must_exist: false,
            synced: false,
            marked: false,
            early: false,
            start: Start::default(),
            wait: Wait::default(),
        }
    }

    /// Subscribes to a channel of messages of `P`: a type, a slice of it, or `[u8]` for bytes. The channel need not exist yet.
    pub fn channel<P: Payload + ?Sized>(mut self, channel: &str) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: Some(P::type_desc()) });
        self
    }

    /// Subscribes to a channel of whatever type.
    pub fn any(mut self, channel: &str) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: None });
        self
    }

    /// Subscribes to a channel of the type described.
    pub fn described(mut self, channel: &str, ty: TypeDesc) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: Some(ty) });
        self
    }

    /// Refuses channels that do not exist yet; without this the reader waits for their writers.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Whole sealed eras, in the same order for every reader. Without this: each message as soon as it is committed.
    pub fn synced(mut self) -> Self {
        self.synced = true;
        self
    }

    /// A live reader that is handed the edges, too, each after the last message of its era and before the first of the next: read with
    /// [`Reader::next_live`]. (In lockstep zones a message is in no era before that is sealed: there messages come with their edge.)
    pub fn markers(mut self) -> Self {
        self.marked = true;
        self
    }

    /// Waiting ends with [`Error::Early`] when a participant asks everybody to finish and commit now.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Where to start in lanes that are there already.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How to wait; see [`Reader::set_wait`].
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Joins. When this returns, nothing that is published afterwards can be missed.
    ///
    /// # Errors
    /// A channel has another type; a bad name; a channel that does not exist, if it must; quotas; no broker. [`Error::Gone`] if the era to
    /// start with is not to be had.
    pub fn open(self) -> Result<Reader> {
        Reader::open(self)
    }
}

impl Reader {
    fn open(builder: ReaderBuilder) -> Result<Reader> {
        let ReaderBuilder { zone, name, channels, must_exist, synced, marked, early, start, wait } = builder;
        if synced && marked {
            return Err(Error::Invalid(
                "reader both synced and with markers: expected one of them; a synced reader is handed whole eras"
                    .to_owned(),
            ));
        }
        let link = zone.link().clone();
        let id = link.send(Ask::OpenReader {
            zone: zone.name().to_owned(),
            options: zone.options(),
            name,
            channels,
            must_exist,
            past: synced || marked || start != Start::Latest,
            synced,
            marked,
        })?;
        let opened = Self::join(&link, id, (synced, marked, early), start);
        link.forget(id);
        let mut reader = opened?;
        reader.set_wait(wait);
        Ok(reader)
    }

    /// The answers to `OpenReader`: the segments, each lane there is, and that it was all.
    fn join(link: &Arc<Link>, id: u32, (synced, marked, early): (bool, bool, bool), start: Start) -> Result<Reader> {
        let patience = Duration::from_secs(30);
        let (told, fds) = link.next_reply(id, patience)?;
        let Tell::Reader { zone: number, reader, geometry, policy, generation, whole_from } = told else {
            return Err(unexpected("Reader", &told));
        };
        let [zone_fd, meeting_fd] = take_fds(fds)?;
        let zone =
            ZoneMap::new(zone_fd.as_fd(), geometry, Access::ReadOnly).map_err(Error::io("mapping the zone segment"))?;
        let meeting =
            MeetingMap::new(meeting_fd.as_fd(), geometry.entries).map_err(Error::io("mapping the meeting segment"))?;
        let fence = waiting::attach(&meeting, link)?;
        let mut reader = Reader {
            epoch: link.epoch(),
            reactions: link.reactions(number, geometry.writers as usize)?,
            link: link.clone(),
            roster: NEVER_LOOKED,
            header: zone.header(),
            bells: meeting.bells(),
            early: early.then(|| zone.view().header.control.0.early.load(Ordering::Relaxed)),
            rolls: lockstep::rolls(zone.view().header),
            zone,
            meeting,
            id: reader,
            number,
            synced,
            fence,
            mask: 0,
            sleep_bits: 0,
            lanes: Vec::new(),
            waiting: VecDeque::new(),
            turn: 0,
            given: 0,
            era: 0,
            cuts: Vec::new(),
            in_era: false,
            unreleased: false,
            first: true,
            guarded: false,
            whole_from,
            marked,
            is_plain: !synced && !marked,
            cuts_of: 0,
            keep_eras: policy.keep_eras.into(),
            untold: None,
            waits: Waits::new(Wait::default()),
        };
        loop {
            match link.next_reply(id, patience)? {
                (Tell::LaneAdded { entry, lane, version, ended, .. }, fds) => {
                    reader.add_lane(lane, entry, version, ended, fds)?;
                }
                (Tell::ReaderOpen { .. }, _) => break,
                (other, _) => return Err(unexpected("LaneAdded or ReaderOpen", &other)),
            }
        }
        reader.seek(start, generation)?;
        Ok(reader)
    }

    /// Goes to where this reader starts. `joined`: the generation when the broker joined it. Not the present one: a writer that has
    /// waited for this reader may have published and sealed since.
    fn seek(&mut self, start: Start, joined: u64) -> Result<()> {
        self.era = joined;
        match start {
            Start::Latest if self.synced => self.seek_next_era(joined)?,
            Start::Latest => self.skip_to_latest()?,
            Start::Oldest if self.synced || self.marked => self.seek_oldest_era()?,
            Start::Oldest => {}
            Start::Era(era) => self.seek_era(era)?,
        }
        if start == Start::Latest {
            // Whoever wants the present only is not told of those who had gone before.
            while let Some(index) = self.lanes.iter().position(|lane| lane.is_to_be_told()) {
                drop(self.close(index));
            }
        }
        Ok(())
    }

    /// Goes to the beginning of an era of which nothing is missing.
    fn seek_era(&mut self, era: u64) -> Result<()> {
        let generation = self.zone.view().generation();
        if era == 0 || era > generation + 1 || !matches!(self.look_before(era), Before::Whole) {
            return Err(self.gone(era));
        }
        match self.skip_before(era)? {
            Before::Whole => {
                (self.era, self.first) = (era - 1, false);
                Ok(())
            }
            Before::Parts | Before::Gone => Err(self.gone(era)),
        }
    }

    /// Goes behind what was committed when this reader joined.
    fn skip_to_latest(&mut self) -> Result<()> {
        for lane in &mut self.lanes {
            lane.skip_to_latest()?;
            lane.release(&self.bells, self.fence);
        }
        Ok(())
    }

    /// Goes to the beginning of the era after `joined`. If a lane has lost a part of it, the first whole one is found as eras
    /// are sealed. If the zone has forgotten where it began, what came after this reader is merged into the first one.
    fn seek_next_era(&mut self, joined: u64) -> Result<()> {
        match self.skip_before(joined + 1)? {
            Before::Whole => self.first = false,
            Before::Parts => {}
            // What is not sealed can still be rolled back: behind that there may be nothing.
            Before::Gone if self.zone.view().geometry.pace == Pace::Revocable => {}
            Before::Gone => {
                self.skip_to_latest()?;
                self.first = false;
            }
        }
        Ok(())
    }

    /// Goes to the beginning of the oldest era of which nothing is missing. If there is none yet (a lane has lost a part of the era
    /// that is open now), the first whole one is found as eras are sealed.
    fn seek_oldest_era(&mut self) -> Result<()> {
        for _ in 0..ERA_TRIES {
            let generation = self.zone.view().generation();
            let oldest = match sequencer::oldest_era(self.zone.view(), generation) {
                1 => 1,
                // The era before has to be known.
                oldest => oldest + 1,
            };
            self.era = generation;
            let mut gone = false;
            for era in oldest..=generation + 1 {
                match self.skip_before(era)? {
                    Before::Whole => {
                        (self.era, self.first) = (era - 1, false);
                        return Ok(());
                    }
                    Before::Parts => {}
                    Before::Gone => gone = true,
                }
            }
            if !gone {
                return Ok(());
            }
        }
        Ok(())
    }
}
