//! Lines of input: any bytes, of bounded length, without copies; a signal ends the wait for more.

use super::exit::{Exit, Outcome};
use super::input::wait_for;
use super::interrupt::Interrupt;
use std::io::Read;
use std::os::fd::AsFd;

/// How much is read at a time.
const CHUNK: usize = 256 * 1024;

/// Reads lines.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What is in the buffer and was not handed out: in range 0 ..= end.
    start: usize,
    end: usize,
    /// No newline before here: in range start ..= end.
    scanned: usize,
    limit: usize,
    number: u64,
    ended: bool,
}

impl<R: Read + AsFd> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub(super) fn new(input: R, limit: usize) -> Self {
        Lines { input, buffer: vec![0; CHUNK], start: 0, end: 0, scanned: 0, limit, number: 0, ended: false }
    }

    /// The next line, without its newline; the last may lack it. `None` at the end.
    pub(super) fn next(&mut self, interrupt: &Interrupt) -> Outcome<Option<&[u8]>> {
        let (start, len) = loop {
            let unseen = &self.buffer[self.scanned..self.end];
            if let Some(at) = unseen.iter().position(|&byte| byte == b'\n') {
                let line = (self.start, self.scanned + at - self.start);
                self.start = self.scanned + at + 1;
                self.scanned = self.start;
                break line;
            }
            self.scanned = self.end;
            if self.end - self.start > self.limit {
                break (self.start, self.end - self.start);
            }
            if self.ended {
                let line = (self.start, self.end - self.start);
                self.start = self.end;
                if line.1 == 0 {
                    return Ok(None);
                }
                break line;
            }
            self.fill(interrupt)?;
        };
        self.number += 1;
        if len > self.limit {
            let (number, limit) = (self.number, self.limit);
            return Err(Exit::Failed(format!(
                "line {number}: longer than the limit of {limit} bytes; raise it with --max-len or --capacity"
            )));
        }
        Ok(Some(&self.buffer[start..start + len]))
    }

    fn fill(&mut self, interrupt: &Interrupt) -> Outcome {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.scanned, self.end, self.start) = (self.scanned - self.start, self.end - self.start, 0);
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.resize(self.buffer.len() + CHUNK.max(self.buffer.len()), 0);
        }
        loop {
            let is_ready = wait_for(&self.input, interrupt).map_err(Exit::io("waiting for standard input"))?;
            interrupt.check()?;
            if !is_ready {
                continue;
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(more) => self.end += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(Exit::io("reading standard input")(error)),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn lines(text: &[u8], limit: usize) -> Outcome<Vec<Vec<u8>>> {
        let interrupt = Interrupt::catch()?;
        let mut file = tempfile::tempfile().map_err(Exit::io("tempfile"))?;
        file.write_all(text).and_then(|()| file.rewind()).map_err(Exit::io("tempfile"))?;
        let mut lines = Lines::new(file, limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next(&interrupt)? {
            all.push(line.to_vec());
        }
        Ok(all)
    }

    #[test]
    fn any_bytes_and_a_last_line_without_newline() {
        assert_eq!(lines(b"", 10).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"\n", 10).unwrap(), [b""]);
        assert_eq!(lines(b"a\0b\n\n\xff\r\nlast", 10).unwrap(), [&b"a\0b"[..], b"", b"\xff\r", b"last"]);
    }

    #[test]
    fn lines_longer_than_a_chunk() {
        let long = vec![b'x'; 3 * CHUNK + 7];
        let text = [&b"short\n"[..], &long, b"\n", &long].concat();
        assert_eq!(lines(&text, long.len()).unwrap(), [&b"short"[..], &long, &long]);
    }

    #[test]
    fn a_line_over_the_limit_is_told_by_its_number() {
        for text in [&b"1234\n12345\n"[..], b"1234\n12345", b"1234\n123456789"] {
            let Err(Exit::Failed(told)) = lines(text, 4) else { panic!("not refused") };
            assert!(told.starts_with("line 2: longer than the limit of 4 bytes"), "{told}");
        }
    }
}
