//! A table at one moment.

use super::bits::{checked, elements, read_bits};
use super::{TRIES, TableReader};
use crate::client::payload::{Described, Payload};
use crate::client::table::{Item, Spot, copy, with_versions};
use crate::error::{Error, Result};
use crate::ring::item;
use crate::ring::sequencer::{self, Cut};
use crate::sync::AtomicU64;
use bytemuck::CheckedBitPattern;
use std::mem::MaybeUninit;

/// How far a reader had seen a table: from [`View::seen`], for [`View::changed_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub(in crate::client::table) incarnation: u64,
    pub(in crate::client::table) version: u64,
}

#[cfg(feature = "capi")]
impl Seen {
    /// As two numbers, for C.
    pub(crate) fn to_numbers(self) -> [u64; 2] {
        [self.incarnation, self.version]
    }

    /// From these; any two make one, which then may be of no table: everything has changed since.
    pub(crate) fn from_numbers([incarnation, version]: [u64; 2]) -> Seen {
        Seen { incarnation, version }
    }
}

/// A table at one moment: at a commit ([`TableReader::latest`]) or in a sealed era. What is read there belongs together.
pub struct View<'r> {
    pub(super) reader: &'r TableReader,
    pub(super) incarnation: usize,
    /// Its row's version when this began; not of an era.
    pub(super) found: u64,
    pub(super) bound: u64,
    pub(super) era: Option<u64>,
}

impl<'r> View<'r> {
    /// The table as of the era before this one: of CURR, PREV.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a view that is no era's; else as [`TableReader::at`].
    pub fn previous(&self) -> Result<View<'r>> {
        match self.era {
            Some(era) => {
                let found = self.reader.find_known(era - 1)?.ok_or(Error::Overtaken)?;
                Ok(self.reader.era_at(era - 1, found))
            }
            None => {
                Err(Error::Invalid("previous: expected the view of an era, found the latest; use current".to_owned()))
            }
        }
    }

    /// The era that this is; `None`: as it was at the last commit.
    pub fn era(&self) -> Option<u64> {
        self.era
    }

    /// The value of an item.
    ///
    /// # Errors
    /// At a commit: [`Error::Overtaken`] if the item was written twice since; [`TableReader::read`] tries again. In an era: [`Error::Gone`] once two
    /// more have been sealed. Else as [`TableReader::get`].
    #[inline]
    pub fn get<T: Described + CheckedBitPattern>(&self, item: Item<T>) -> Result<T> {
        let mut value = MaybeUninit::uninit();
        self.read(item.spot(), |words| value = read_bits::<T>(words))?;
        checked(value)
    }

    /// The value of an item, as bytes.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get_bytes<P: Payload + ?Sized>(&self, item: Item<P>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.get_to(item, &mut bytes)?;
        Ok(bytes)
    }

    /// The value of an item, into `buffer`, over what was there.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get_to<P: Payload + ?Sized>(&self, item: Item<P>, buffer: &mut Vec<u8>) -> Result<()> {
        let spot = item.spot();
        self.read(spot, |words| copy(spot, words, buffer)).map(drop)
    }

    /// The value of an item of any number of `T`.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn get_slice<T: Described + CheckedBitPattern>(&self, item: Item<[T]>) -> Result<Vec<T>> {
        elements(&self.get_bytes(item)?)
    }

    /// Reads an item; the commit that has set it.
    #[inline(always)]
    pub(crate) fn read(&self, spot: Spot, mut copy: impl FnMut(&[AtomicU64])) -> Result<u64> {
        self.reader.check(spot)?;
        let incarnation = &self.reader.incarnations[self.incarnation];
        let Some(era) = self.era else {
            let read = with_versions!(incarnation.map, V => {
                // SAFETY: the item is of this handle (`check`), so its place comes from the table's declaration, as the maps do.
                let item = unsafe { incarnation.map.item_declared::<V>(spot.place) };
                item::read_live(item, incarnation.still(self.found), self.bound, &mut copy)
            });
            return read.ok_or(Error::Overtaken);
        };
        let zone = self.reader.zone.view();
        for _ in 0..TRIES {
            let read = with_versions!(incarnation.map, V => {
                // SAFETY: as above.
                let item = unsafe { incarnation.map.item_declared::<V>(spot.place) };
                item::read_synced(item, zone, era, self.bound, &mut copy)
            });
            match read {
                Ok(version) => return Ok(version),
                Err(true) => std::hint::spin_loop(),
                Err(false) => {
                    let generation = zone.generation();
                    return Err(Error::Gone { era, oldest: Some(generation - 1), generation });
                }
            }
        }
        Err(Error::Overtaken)
    }

    /// Whether an item was ever set: one that was not holds zeros.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn is_set<P: ?Sized>(&self, item: Item<P>) -> Result<bool> {
        self.spot_is_set(item.spot())
    }

    /// The same, by place.
    pub(in crate::client::table) fn spot_is_set(&self, spot: Spot) -> Result<bool> {
        Ok(self.read(spot, |_| {})? > 0)
    }

    /// How far this is, to be compared with later.
    pub fn seen(&self) -> Seen {
        Seen { incarnation: self.reader.incarnations[self.incarnation].number, version: self.bound }
    }

    /// Whether an item was set between the era before this one and this one, PREV and CURR.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a view that is no era's; [`Error::Gone`] once two more have been sealed.
    pub fn changed<P: ?Sized>(&self, item: Item<P>) -> Result<bool> {
        let Some(era) = self.era else {
            return Err(Error::Invalid(
                "changed: expected the view of an era, found the latest; use changed_since".to_owned(),
            ));
        };
        let zone = self.reader.zone.view();
        // In the era before, the table may have had another writer.
        for other in self.reader.incarnations[..=self.incarnation].iter().rev() {
            let before = match sequencer::cut(zone, era - 1, other.row) {
                Cut::Version(cut) if era > 1 => other.bounded(cut),
                Cut::Gone if era > 1 => return Err(Error::Gone { era, oldest: None, generation: zone.generation() }),
                _ => Some(0),
            };
            let Some(before) = before else { return Err(Error::Overtaken) };
            if other.is_begun_at(before) {
                return self.changed_since(item, Seen { incarnation: other.number, version: before });
            }
        }
        // There was no table: what its first writer has set is new.
        Ok(self.read(item.spot(), |_| {})? > 0)
    }

    /// Whether an item was set since a view that was seen before. (After a change of writers that this reader can not follow so far back: true.)
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn changed_since<P: ?Sized>(&self, item: Item<P>, seen: Seen) -> Result<bool> {
        self.spot_changed_since(item.spot(), seen)
    }

    pub(crate) fn spot_changed_since(&self, spot: Spot, seen: Seen) -> Result<bool> {
        let version = self.read(spot, |_| {})?;
        let incarnation = &self.reader.incarnations[self.incarnation];
        if incarnation.number == seen.incarnation {
            return Ok(version > seen.version);
        }
        // Its writer took it over with its first commit, or never set it at all.
        if version > incarnation.first {
            return Ok(true);
        }
        if version == 0 {
            return Ok(false);
        }
        // Those before it have only left it behind, or set it.
        for before in self.reader.incarnations[..self.incarnation].iter().rev() {
            let Some(end) = before.end else { break };
            let version = with_versions!(before.map, V => {
                before.map.item::<V>(spot.place).and_then(|item| item::read_last(item, end, |_| {}))
            });
            let Some(version) = version else { break };
            if before.number == seen.incarnation {
                return Ok(version > seen.version);
            }
            if version > before.first {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// The indices of all items that were set since a view that was seen before. Looks at every item.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn changes_since(&self, seen: Seen) -> Result<Vec<u32>> {
        let finder = self.reader.finder();
        let mut changed = Vec::new();
        for index in 0..self.reader.len() {
            if self.spot_changed_since(finder.at(index)?.0, seen)? {
                changed.push(index);
            }
        }
        Ok(changed)
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("table", &self.reader.name).field("era", &self.era).finish_non_exhaustive()
    }
}
