//! Streams of what is copied out of the lanes, to be kept.

use super::AsyncReader;
use crate::client::message::Message;
use crate::client::reader::Reader;
use crate::error::{Error, Result};
use futures_core::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A message, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedMessage {
    /// Its channel.
    pub channel: String,
    /// The row of its writer.
    pub writer: u32,
    /// The name of its writer.
    pub writer_name: String,
    /// Its number among its writer's messages in its channel, from 0.
    pub sequence: u64,
    /// The era it is in; `None`: not sealed yet, or forgotten.
    pub era: Option<u64>,
    /// What it says.
    pub bytes: Vec<u8>,
}

impl OwnedMessage {
    fn of(message: &Message<'_>) -> Result<OwnedMessage> {
        let origin = message.origin();
        Ok(OwnedMessage {
            channel: message.channel().to_owned(),
            writer: origin.writer,
            writer_name: origin.writer_name.to_owned(),
            sequence: message.sequence(),
            era: message.era(),
            bytes: message.to_vec()?,
        })
    }
}

/// A sealed era, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedEra {
    /// Its number, from 1.
    pub number: u64,
    /// Earlier eras, which the zone does not tell apart any more, come with this one.
    pub merged: bool,
    /// All its messages, in the order that is the same for every reader.
    pub messages: Vec<OwnedMessage>,
}

/// From [`AsyncReader::messages`].
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct Messages<'r> {
    reader: &'r mut AsyncReader,
}

impl<'r> Messages<'r> {
    pub(super) fn new(reader: &'r mut AsyncReader) -> Self {
        Messages { reader }
    }
}

impl Stream for Messages<'_> {
    type Item = Result<OwnedMessage>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let taken = ready!(self.reader.poll_for(context, Reader::poll));
        let reader = &mut self.reader.reader;
        Poll::Ready(item(taken.and_then(|taken| OwnedMessage::of(&Message::new(reader, taken)))))
    }
}

/// From [`AsyncReader::eras`].
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct Eras<'r> {
    reader: &'r mut AsyncReader,
    /// What is to come before anything else.
    next: VecDeque<Result<OwnedEra>>,
}

impl<'r> Eras<'r> {
    pub(super) fn new(reader: &'r mut AsyncReader) -> Self {
        Eras { reader, next: VecDeque::new() }
    }

    /// Copies the era begun; an error in it comes first.
    fn copy(&mut self, number: u64, merged: bool) {
        let mut messages = Vec::new();
        loop {
            let reader = &mut self.reader.reader;
            let next = match reader.next_of_era() {
                Ok(Some(taken)) => OwnedMessage::of(&Message::new(reader, taken)),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            match next {
                Ok(message) => messages.push(message),
                Err(Error::Forked) => return self.next.push_back(Err(Error::Forked)),
                // That lane is given up, the rest goes on.
                Err(error) => self.next.push_back(Err(error)),
            }
        }
        self.reader.reader.end_era(number);
        self.next.push_back(Ok(OwnedEra { number, merged, messages }));
    }
}

impl Stream for Eras<'_> {
    type Item = Result<OwnedEra>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.next.is_empty() {
            match ready!(this.reader.poll_for(context, Reader::begin_next_era)) {
                Ok((number, merged)) => this.copy(number, merged),
                Err(error) => this.next.push_back(Err(error)),
            }
        }
        Poll::Ready(this.next.pop_front().and_then(item))
    }
}

/// In a forked child there is nothing more, ever.
fn item<T>(next: Result<T>) -> Option<Result<T>> {
    if matches!(next, Err(Error::Forked)) { None } else { Some(next) }
}
