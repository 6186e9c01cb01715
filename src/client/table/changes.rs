//! Being told which items of a table have changed.

mod builder;
mod callback;
mod timed;

pub use builder::TableWatchBuilder;
pub use callback::OnChange;

use timed::Timed;

use super::{Change, Seen, TableReader, View, changes_channel};
use crate::client::reader::Reader;
use crate::client::waiting::Sleeps;
use crate::error::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Items that have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Their indices, in order.
    pub items: Vec<u32>,
    /// The last era that changed one; `None`: told at commits.
    pub era: Option<u64>,
}

/// Waits until certain items of a table have changed; from [`TableReader::watch`]. Send, not Sync.
///
/// Changes are coalesced: what has changed between two looks is told once, with the indices of all items concerned. A commit that sets an item to the
/// value that it has counts as a change.
///
/// ```
/// # fn main() -> syncline::Result<()> {
/// use std::time::Duration;
/// let bus = syncline::Bus::embedded()?;
/// let zone = bus.zone("plant");
/// let mut writer = zone.writer("controller")?;
/// let table = writer.table("state").items::<f64>("level", 4).open()?;
/// let level = writer.item_of::<f64>(table, "level", 2)?;
///
/// let mut watch = zone.table("state")?.watch("alarm").index(2).open()?;
/// writer.set(level, &0.75)?;
/// assert_eq!(watch.next(Duration::from_secs(1))?.items, [2]);
/// assert_eq!(watch.try_next()?, None);
/// # Ok(())
/// # }
/// ```
pub struct TableWatch {
    reader: Reader,
    table: TableReader,
    wanted: Wanted,
    /// What has changed and was not told yet; a bit for each item.
    pending: Bits,
    era: Option<u64>,
    /// Up to here everything was looked at.
    seen: Option<Seen>,
    /// Something was overwritten before it was looked at: a comparison is due, until one has come to its end.
    behind: bool,
    every: Duration,
    /// When something may be told again.
    due: Option<Instant>,
    buffer: Vec<u8>,
    pollable: Option<Timed>,
    ignored: u64,
}

/// A set of items.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    any: bool,
}

/// Which items are watched.
#[derive(Debug)]
enum Wanted {
    All(u32),
    These(Bits),
}

impl Bits {
    fn new(items: u32) -> Bits {
        Bits { words: vec![0; items.div_ceil(64) as usize], any: false }
    }

    fn has(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    fn add(&mut self, index: u32) {
        if let Some(word) = self.words.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
            self.any = true;
        }
    }

    /// All of them, in order; none are left.
    fn take(&mut self) -> Vec<u32> {
        let mut taken = Vec::new();
        for (n, word) in self.words.iter_mut().enumerate() {
            while *word != 0 {
                taken.push(n as u32 * 64 + word.trailing_zeros());
                *word &= *word - 1;
            }
        }
        self.any = false;
        taken
    }
}

impl Wanted {
    fn has(&self, index: u32) -> bool {
        match self {
            Wanted::All(items) => index < *items,
            Wanted::These(bits) => bits.has(index),
        }
    }
}

/// What came of looking at what was published.
enum Looked {
    /// A commit, of this row, that changed something; and whether that was told.
    Commit,
    /// Something was overwritten before it was looked at.
    Lost,
    Nothing,
}

impl TableWatch {
    fn open(builder: TableWatchBuilder) -> Result<TableWatch> {
        let TableWatchBuilder { zone, table, name, schema, wanted, every, synced, wait, failed } = builder;
        if let Some(failed) = failed {
            return Err(failed);
        }
        let reader = zone.reader(&name).channel::<[Change]>(&changes_channel(&table)).wait(wait);
        let reader = if synced { reader.synced() } else { reader };
        let mut watch = TableWatch {
            // First: what comes after the mark is on its way to this reader.
            reader: reader.open()?,
            table: zone.table(&table)?,
            wanted: match wanted.is_empty() {
                true => Wanted::All(schema.items()),
                false => {
                    let mut bits = Bits::new(schema.items());
                    wanted.into_iter().flatten().for_each(|index| bits.add(index));
                    Wanted::These(bits)
                }
            },
            pending: Bits::new(schema.items()),
            era: None,
            seen: None,
            behind: false,
            every,
            due: None,
            buffer: Vec::new(),
            pollable: None,
            ignored: 0,
        };
        watch.seen = match watch.mark()? {
            // Nothing is sealed yet: what is committed by now is not news either.
            None => seen(watch.table.latest())?,
            mark => mark,
        };
        watch.set_sleep_bits();
        Ok(watch)
    }

    /// Sleeps for the bits of the items watched, if these are few.
    fn set_sleep_bits(&mut self) {
        if let Wanted::These(bits) = &self.wanted {
            let mut mask = 0;
            for index in (0..self.table.len()).filter(|&index| bits.has(index)) {
                mask |= crate::ring::bell::bit(u64::from(index));
                if mask == u32::MAX {
                    break;
                }
            }
            self.reader.set_sleep_bits(mask);
        }
    }

    /// How far the table is now.
    fn mark(&mut self) -> Result<Option<Seen>> {
        seen(if self.reader.is_synced() { self.table.current() } else { self.table.latest() })
    }

    /// The table, to read what has changed.
    pub fn table(&mut self) -> &mut TableReader {
        &mut self.table
    }

    /// How often a commit was looked at that changed nothing of what is watched.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    #[cfg(feature = "capi")]
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.reader.check_fork()
    }

    /// How the waits went.
    pub fn sleeps(&self) -> Sleeps {
        self.reader.sleeps()
    }

    /// What has changed, if there is something to be told now.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if the writer was faster than this could look, again and again: nothing is lost, try again. As for a reader.
    pub fn try_next(&mut self) -> Result<Option<Changes>> {
        while !matches!(self.look(None)?, Looked::Nothing) {}
        let told = self.take_due();
        self.set_timer()?;
        Ok(told)
    }

    /// Waits until something has changed.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`TableWatch::try_next`].
    pub fn next(&mut self, timeout: Duration) -> Result<Changes> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            while !matches!(self.look(None)?, Looked::Nothing) {}
            if let Some(told) = self.take_due() {
                return Ok(told);
            }
            let now = Instant::now();
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            match self.due {
                // Until then nothing is told, whatever comes.
                Some(due) if self.pending.any => std::thread::sleep(due.saturating_duration_since(now).min(left)),
                _ => {
                    self.look(Some(left))?;
                }
            }
        }
    }

    fn take_due(&mut self) -> Option<Changes> {
        if !self.pending.any {
            return None;
        }
        if !self.every.is_zero() {
            let now = Instant::now();
            if self.due.is_some_and(|due| due > now) {
                return None;
            }
            self.due = Some(now + self.every);
        }
        Some(Changes { items: self.pending.take(), era: self.era.take() })
    }

    /// Takes the next commit in, or the next era; waits for it, if so long is given.
    fn look(&mut self, wait: Option<Duration>) -> Result<Looked> {
        if self.behind {
            self.compare()?;
        }
        let looked = match self.reader.is_synced() {
            true => self.look_synced(wait),
            false => self.look_live(wait),
        };
        match looked {
            Ok(Looked::Lost) | Err(Error::Lagged(_) | Error::ErasLost { .. }) => {
                self.behind = true;
                self.compare()?;
                Ok(Looked::Lost)
            }
            // All that this owner had changed was looked at. The next one goes on: what it changes, it says in a lane of its own.
            Err(Error::Closed(_)) => Ok(Looked::Commit),
            Err(Error::Timeout) => Ok(Looked::Nothing),
            other => other,
        }
    }

    fn look_live(&mut self, wait: Option<Duration>) -> Result<Looked> {
        let (row, version) = {
            let message = match wait {
                Some(wait) => self.reader.recv(wait)?,
                None => match self.reader.try_recv()? {
                    Some(message) => message,
                    None => return Ok(Looked::Nothing),
                },
            };
            message.copy_to(&mut self.buffer)?;
            (message.origin().writer, message.version())
        };
        self.heed(row, version, None)
    }

    fn look_synced(&mut self, wait: Option<Duration>) -> Result<Looked> {
        let era = match wait {
            Some(wait) => Some(self.reader.next_era(wait)?),
            None => self.reader.try_era()?,
        };
        let Some(mut era) = era else { return Ok(Looked::Nothing) };
        let number = era.number();
        let mut looked = Looked::Commit;
        while let Some(message) = era.next()? {
            let mut bytes = std::mem::take(&mut self.buffer);
            message.copy_to(&mut bytes)?;
            let (row, version) = (message.origin().writer, message.version());
            drop(message);
            let heeded =
                heed(&bytes, &self.wanted, &mut self.pending, &mut self.table, &mut self.seen, (row, version))?;
            self.buffer = bytes;
            self.ignored += u64::from(matches!(heeded, Heeded::Ignored));
            if matches!(heeded, Heeded::Told) {
                self.era = Some(number);
            }
            if matches!(heeded, Heeded::Anything) {
                looked = Looked::Lost;
            }
        }
        Ok(looked)
    }

    fn heed(&mut self, row: u32, version: u64, era: Option<u64>) -> Result<Looked> {
        let bytes = std::mem::take(&mut self.buffer);
        let heeded = heed(&bytes, &self.wanted, &mut self.pending, &mut self.table, &mut self.seen, (row, version))?;
        self.buffer = bytes;
        match heeded {
            Heeded::Anything => return Ok(Looked::Lost),
            Heeded::Ignored => self.ignored += 1,
            Heeded::Told => self.era = era,
            Heeded::Known => {}
        }
        Ok(Looked::Commit)
    }

    /// Finds out by comparison what has changed since everything was looked at.
    #[cold]
    fn compare(&mut self) -> Result<()> {
        let now = self.mark()?;
        self.behind = now.is_some();
        let (Some(now), synced) = (now, self.reader.is_synced()) else { return Ok(()) };
        for index in (0..self.table.len()).filter(|&index| self.wanted.has(index)) {
            let spot = self.table.finder().at(index)?.0;
            let mut tries = 0;
            let changed = loop {
                // Each item by a view of its own: a writer at full speed passes any longer look.
                let view = if synced { self.table.current()? } else { self.table.latest()? };
                let changed = match self.seen {
                    Some(seen) => view.spot_changed_since(spot, seen),
                    // There was no table then.
                    None => view.spot_is_set(spot),
                };
                match changed {
                    Err(Error::Overtaken | Error::Gone { .. }) if tries < 64 => tries += 1,
                    other => break other?,
                }
            };
            if changed {
                self.pending.add(index);
            }
        }
        if synced && self.pending.any {
            self.era = Some(self.reader.generation()?);
        }
        (self.seen, self.behind) = (Some(now), false);
        Ok(())
    }

    // ---- epoll ----

    /// A descriptor that is readable when there may be something to be told, for `poll` and `epoll`; as [`Reader::pollable`]: it is cleared by
    /// [`TableWatch::try_next`] saying that there is nothing. With [`TableWatchBuilder::every`], it is not readable before the time has come.
    ///
    /// # Errors
    /// As for [`Reader::pollable`].
    pub fn pollable(&mut self) -> Result<BorrowedFd<'_>> {
        if self.every.is_zero() {
            return self.reader.pollable();
        }
        if self.pollable.is_none() {
            self.pollable = Some(Timed::new(self.reader.pollable()?)?);
        }
        match &self.pollable {
            Some(timed) => Ok(timed.epoll.0.as_fd()),
            None => Err(Error::Timeout),
        }
    }

    /// Lets the descriptor be silent until the time has come.
    fn set_timer(&mut self) -> Result<()> {
        let Some(timed) = &mut self.pollable else { return Ok(()) };
        let wait = match self.due {
            Some(due) if self.pending.any => Some(due.saturating_duration_since(Instant::now())),
            _ => None,
        };
        timed.set(self.reader.pollable()?, wait)
    }
}

/// How far a view is, if there is one.
fn seen(view: Result<View<'_>>) -> Result<Option<Seen>> {
    match view {
        Ok(view) => Ok(Some(view.seen())),
        Err(Error::Gone { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What came of looking at one commit.
enum Heeded {
    /// Items that are watched.
    Told,
    /// Only others.
    Ignored,
    /// It was looked at before.
    Known,
    /// The commit does not say which.
    Anything,
}

fn heed(
    bytes: &[u8],
    wanted: &Wanted,
    pending: &mut Bits,
    table: &mut TableReader,
    seen: &mut Option<Seen>,
    (row, version): (u32, u64),
) -> Result<Heeded> {
    let of_seen = match seen {
        Some(seen) if table.is_of(seen, row, version)? => Some(seen),
        _ => None,
    };
    if of_seen.as_ref().is_some_and(|seen| version <= seen.version) {
        return Ok(Heeded::Known);
    }
    let items = table.len();
    let mut told = false;
    for change in bytes.chunks_exact(size_of::<Change>()) {
        let Change { first, count } = bytemuck::pod_read_unaligned(change);
        let end = u64::from(first) + u64::from(count);
        if end > items.into() {
            return Ok(Heeded::Anything);
        }
        for index in (first..end as u32).filter(|&index| wanted.has(index)) {
            pending.add(index);
            told = true;
        }
    }
    if let Some(seen) = of_seen {
        seen.version = version;
    }
    Ok(if told { Heeded::Told } else { Heeded::Ignored })
}

impl std::fmt::Debug for TableWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWatch").field("table", &self.table).finish_non_exhaustive()
    }
}
