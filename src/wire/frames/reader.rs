//! Records out of any input, in an order that makes sense.

use super::{Flaw, Head, MAX_CHANNELS, PREFIX, RECORD_HEAD, Record, Shape, check_prefix, cut};
use std::io::{self, BufRead, BufReader, Read};

/// How much is read at a time.
const CHUNK: usize = 128 * 1024;

/// Reads a stream of frames. What it hands out keeps the rules: the stream begins as it must, channels are declared in order and
/// between eras, messages are of declared channels, and the last one has its edge.
#[derive(Debug)]
pub struct Reader<R> {
    input: BufReader<R>,
    /// Bytes taken.
    at: u64,
    /// The beginning was there.
    begun: bool,
    /// Channels declared.
    channels: u32,
    /// There were messages since the last edge.
    in_era: bool,
    /// What was taken last.
    taken: Vec<u8>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The input could not be read.
    #[error("reading frames: {0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("frames, byte {at}: {flaw}")]
    Flaw {
        /// Where the record begins, in bytes from the beginning of the stream.
        at: u64,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

impl<R: Read> Reader<R> {
    /// A reader of the stream that `input` begins with now.
    pub fn new(input: R) -> Self {
        let input = BufReader::with_capacity(CHUNK, input);
        Reader { input, at: 0, begun: false, channels: 0, in_era: false, taken: Vec::new() }
    }

    /// The next record; `None` at the end, between eras.
    ///
    /// # Errors
    /// The input fails, or is not a stream of frames. Nothing that comes after that means anything.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the reader: no Iterator can say that")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if !self.begun {
            self.take(PREFIX)?;
            check_prefix(&self.taken).map_err(|flaw| ReadError::Flaw { at: 0, flaw })?;
            self.begun = true;
        }
        let at = self.at;
        let broken = |flaw| ReadError::Flaw { at, flaw };
        self.take(RECORD_HEAD)?;
        let shape = match (self.taken.first_chunk(), self.taken.len()) {
            (Some(bytes), _) => Shape::decode(*bytes).map_err(broken)?,
            (None, 0) if self.in_era => return Err(broken(Flaw::CutEra)),
            (None, 0) => return Ok(None),
            (None, found) => return Err(broken(cut("a record's head", RECORD_HEAD as u64, found))),
        };
        self.take(shape.body())?;
        if self.taken.len() < shape.body() {
            return Err(broken(cut(shape.what(), shape.body() as u64, self.taken.len())));
        }
        let record = shape.record(&self.taken).map_err(broken)?;
        match &record.head {
            Head::Channel(channel) => {
                let expected = self.channels;
                if self.in_era {
                    return Err(broken(Flaw::Late(channel.name.clone())));
                }
                if expected == MAX_CHANNELS {
                    return Err(broken(Flaw::Channels));
                }
                if channel.index != expected {
                    return Err(broken(Flaw::Index { expected, found: channel.index }));
                }
                self.channels += 1;
            }
            &Head::Message { channel } if channel >= self.channels => {
                return Err(broken(Flaw::Undeclared { declared: self.channels, found: channel }));
            }
            Head::Message { .. } => self.in_era = true,
            Head::Edge(_) => self.in_era = false,
        }
        Ok(Some(record))
    }

    /// Takes `len` bytes, or all there are.
    fn take(&mut self, len: usize) -> io::Result<()> {
        self.taken.clear();
        while self.taken.len() < len {
            let there = match self.input.fill_buf() {
                Ok(there) => there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if there.is_empty() {
                return Ok(());
            }
            let more = there.len().min(len - self.taken.len());
            let known = self.taken.len() + more;
            if known > self.taken.capacity() {
                // At most twice what was there, never more than there should be.
                self.taken.reserve_exact(len.min(2 * known) - self.taken.len());
            }
            self.taken.extend_from_slice(&there[..more]);
            self.input.consume(more);
            self.at += more as u64;
        }
        Ok(())
    }

    /// Bytes of memory held for what was taken: at most twice the longest record that was really there.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.taken.capacity()
    }
}
