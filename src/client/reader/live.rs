//! Live reading with the edges among the messages.

use super::Reader;
use crate::client::edge::Edge;
use crate::client::lanes::{Next, Taken};
use crate::client::message::Message;
use crate::client::waiting;
use crate::error::{Error, Result};
use crate::ring::{bell, sequencer};
use std::time::Duration;

/// What a live reader with [markers](crate::ReaderBuilder::markers) is handed.
#[derive(Debug)]
pub enum Live<'r> {
    /// A message of the era after the last edge.
    Message(Message<'r>),
    /// The edge that seals that era.
    Edge(Edge),
}

/// The same, before it is dressed up.
pub(crate) enum Given {
    Message(Taken),
    Edge(u64),
}

impl Reader {
    /// The next message or edge, if there is one now; of a live reader with [markers](crate::ReaderBuilder::markers). An edge comes after
    /// the last message of its era and before the first of the next.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reader without markers; else as [`Reader::try_recv`].
    pub fn try_live(&mut self) -> Result<Option<Live<'_>>> {
        let given = self.try_next(Self::poll_marked)?;
        Ok(given.map(|given| self.dress(given)))
    }

    /// The next message or edge; waits until there is one, as [`Reader::set_wait`] says.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_live`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// use syncline::{Bus, Live};
    /// let bus = Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// let level = writer.channel("level").open::<f64>()?;
    /// let mut reader = bus.zone("plant").reader("log").channel::<f64>("level").markers().open()?;
    /// writer.publish(level, &1.0)?;
    /// writer.edge_tagged(7)?;
    /// let second = Duration::from_secs(1);
    /// assert!(matches!(reader.next_live(second)?, Live::Message(message) if message.copy::<f64>()? == 1.0));
    /// assert!(matches!(reader.next_live(second)?, Live::Edge(edge) if edge.tag == Some(7)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_live(&mut self, timeout: Duration) -> Result<Live<'_>> {
        let given = self.wait_for(timeout, Self::poll_marked)?;
        Ok(self.dress(given))
    }

    pub(crate) fn dress(&mut self, given: Given) -> Live<'_> {
        match given {
            Given::Message(taken) => Live::Message(Message::new(self, taken)),
            Given::Edge(era) => Live::Edge(self.edge_given(era)),
        }
    }

    /// What is on record of an edge that is handed out.
    pub(crate) fn edge_given(&self, era: u64) -> Edge {
        Edge::of(self.zone.view(), era).unwrap_or_else(|| forgotten(era))
    }

    pub(crate) fn poll_marked(&mut self) -> Result<Option<Given>> {
        self.check_fork()?;
        if !self.marked {
            return Err(Error::Invalid(
                "messages with edges: expected a live reader with markers, found one without; open it with markers"
                    .to_owned(),
            ));
        }
        if self.is_halted() {
            return Ok(None);
        }
        loop {
            let generation = self.zone.view().generation();
            if generation > self.era {
                return self.next_sealed_live(generation).map(Some);
            }
            if let Some(taken) = self.next_open_live(generation)? {
                return Ok(Some(Given::Message(taken)));
            }
            if !self.keep_up()? && self.zone.view().generation() == generation {
                return Ok(None);
            }
        }
    }

    /// What is left of the era after the last edge, which is sealed; then its edge.
    fn next_sealed_live(&mut self, generation: u64) -> Result<Given> {
        // After the generation: whoever has committed something in this era has announced its lane before.
        self.keep_up()?;
        let mut era = self.era + 1;
        if self.cuts_of != era {
            if self.load_cuts(era).is_err() {
                // Further behind than the zone remembers: the edges before are merged into one.
                era = sequencer::oldest_era(self.zone.view(), generation);
                if self.load_cuts(era).is_err() {
                    return self.next_sealed_live(self.zone.view().generation());
                }
                self.era = era - 1;
            }
            for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
                lane.set_cut(*cut);
            }
            self.cuts_of = era;
            self.turn = 0;
        }
        while let Some(lane) = self.lanes.get_mut(self.turn) {
            match lane.next_sealed() {
                Ok(Next::Frame(frame)) => return Ok(Given::Message(self.take_live(self.turn, frame))),
                Ok(Next::Nothing | Next::Drained) => self.turn += 1,
                Ok(Next::Lost(count)) => return Err(lane.lagged(count)),
                Err(error) => {
                    self.remove(self.turn);
                    return Err(error);
                }
            }
        }
        (self.era, self.turn, self.cuts_of) = (era, 0, 0);
        for lane in &self.lanes {
            lane.done_with(era);
        }
        bell::ring(&self.bells.done.0, bell::ALL, self.fence, waiting::wake);
        Ok(Given::Edge(era))
    }

    /// The next message that is certain to be in the open era, after `generation`.
    fn next_open_live(&mut self, generation: u64) -> Result<Option<Taken>> {
        let count = self.lanes.len();
        for _ in 0..count {
            let index = if self.turn < count { self.turn } else { 0 };
            self.turn = index + 1;
            let lane = &mut self.lanes[index];
            match lane.next_live() {
                Ok(Next::Frame(frame)) => {
                    // Else it is handed out once its era is known.
                    let (zone, row) = (&self.zone, lane.row());
                    if sequencer::is_in_open_era(|| zone.view(), generation, row, frame.version, &mut lane.known) {
                        return Ok(Some(self.take_live(index, frame)));
                    }
                }
                Ok(Next::Nothing) => {}
                Ok(Next::Lost(count)) => return Err(lane.lagged(count)),
                Ok(Next::Drained) => return Err(self.close(index)),
                Err(error) => {
                    self.remove(index);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn take_live(&mut self, index: usize, frame: crate::ring::lane::Frame) -> Taken {
        let lane = &mut self.lanes[index];
        let sequence = lane.take(&frame);
        self.reactions.note(lane.row(), frame.version);
        Taken { lane: index, frame, sequence, era: 0 }
    }
}

fn forgotten(era: u64) -> Edge {
    Edge { era, reason: crate::Reason::Rest, time: Duration::ZERO, tag: None, straddlers: Vec::new() }
}
