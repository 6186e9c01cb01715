//! Readers for `tokio`: waiting for a message or an era without holding a thread. With the feature `tokio`.

mod stream;

pub use stream::{Eras, Messages, OwnedEra, OwnedMessage};

use super::era::Era;
use super::message::Message;
use super::reader::{Live, Reader};
use crate::error::{Error, Result};
use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

/// A [`Reader`] whose waiting is asynchronous: while nothing is there, the task sleeps, and no thread but the
/// [one for all](Reader::pollable). The broker is not on the way. Deadlines: `tokio::time::timeout`.
///
/// # Cancelling
/// Dropping a future of this takes nothing: the next one finds what this one would have.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> syncline::Result<()> {
/// use syncline::{AsyncReader, Bus};
/// let bus = Bus::embedded()?;
/// let mut writer = bus.zone("plant").writer("controller")?;
/// let level = writer.channel("level").open::<f64>()?;
/// let mut reader = AsyncReader::new(bus.zone("plant").reader("log").channel::<f64>("level").open()?)?;
///
/// writer.publish(level, &1.0)?;
/// assert_eq!(reader.recv().await?.copy::<f64>()?, 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsyncReader {
    /// A duplicate of the reader's: leaves the reactor before the reader closes.
    readable: AsyncFd<OwnedFd>,
    reader: Reader,
}

impl AsyncReader {
    /// Makes one of a reader. Call it inside a `tokio` runtime with its I/O driver on.
    ///
    /// # Errors
    /// As [`Reader::pollable`]; the runtime does not take the descriptor.
    ///
    /// # Panics
    /// Outside a runtime, or in one without I/O.
    pub fn new(mut reader: Reader) -> Result<AsyncReader> {
        let doing = || Error::io("giving a reader's descriptor to the runtime");
        let descriptor = reader.pollable()?.try_clone_to_owned().map_err(doing())?;
        // SAFETY: an owned descriptor stays open, and the same one, as long as it is there.
        let readable = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let readable = readable.map_err(|error| doing()(error.into()))?;
        Ok(AsyncReader { readable, reader })
    }

    /// The reader, which waits as it did before.
    pub fn into_inner(self) -> Reader {
        self.reader
    }

    /// The reader, for all that does not wait.
    pub fn get_ref(&self) -> &Reader {
        &self.reader
    }

    /// The same, to be changed, or to try.
    pub fn get_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The next message.
    ///
    /// # Errors
    /// As [`Reader::recv`], without a deadline.
    pub async fn recv(&mut self) -> Result<Message<'_>> {
        let taken = std::future::poll_fn(|context| self.poll_for(context, Reader::poll)).await?;
        Ok(Message::new(&mut self.reader, taken))
    }

    /// The next sealed era. What is left of the one before is skipped.
    ///
    /// # Errors
    /// As [`Reader::next_era`], without a deadline.
    pub async fn next_era(&mut self) -> Result<Era<'_>> {
        let (number, merged) = std::future::poll_fn(|context| self.poll_for(context, Reader::begin_next_era)).await?;
        Ok(Era::new(&mut self.reader, number, merged))
    }

    /// The next message or edge, of a reader with [markers](crate::ReaderBuilder::markers).
    ///
    /// # Errors
    /// As [`Reader::next_live`], without a deadline.
    pub async fn next_live(&mut self) -> Result<Live<'_>> {
        let given = std::future::poll_fn(|context| self.poll_for(context, Reader::poll_marked)).await?;
        Ok(self.reader.dress(given))
    }

    /// The messages to come, as a stream of owned ones. It does not end, but for [`Error::Forked`]; other errors are items.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages::new(self)
    }

    /// The eras to come, as a stream of owned ones; an error in the middle of one is an item of its own, before what there is of that era. It
    /// does not end, but for [`Error::Forked`].
    pub fn eras(&mut self) -> Eras<'_> {
        Eras::new(self)
    }

    fn poll_for<R>(
        &mut self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Reader) -> Result<Option<R>>,
    ) -> Poll<Result<R>> {
        loop {
            if let Some(found) = self.reader.try_next(&mut poll)? {
                return Poll::Ready(Ok(found));
            }
            // The try has cleared the descriptor, unless it was rung meanwhile; whatever makes it readable from here on wakes the task.
            let ready = ready!(self.readable.poll_read_ready(context));
            ready.map_err(Error::io("waiting for a reader's descriptor"))?.clear_ready();
        }
    }
}
