//! Tables: shared state, of which readers have the newest values, or those of a whole era, at the cost of a copy.

mod changes;
mod reader;

/// Does something with `V` for the number of versions that a table's items have.
macro_rules! with_versions {
    ($map:expr, $versions:ident => $body:block) => {
        if $map.versions() == 4 {
            const $versions: usize = 4;
            $body
        } else {
            const $versions: usize = 5;
            $body
        }
    };
}
pub(crate) use with_versions;

pub use changes::{Changes, OnChange, TableWatch, TableWatchBuilder};
pub use reader::{Seen, TableReader, View};
pub(crate) use reader::{declared, foreign};

use super::payload::Payload;
use crate::error::{Code, Error, Result};
use crate::layout::table::Place;
use crate::sync::{AtomicU64, Ordering};
use crate::wire::{Group, Schema};
use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;

/// An item of a table, typed by what it holds; from [`TableReader::item`] for reading, from [`Writer::item`](crate::Writer::item) for writing. An
/// item of another table or handle is refused.
pub struct Item<P: ?Sized> {
    spot: Spot,
    payload: PhantomData<fn(&P)>,
}

impl<P: ?Sized> Clone for Item<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: ?Sized> Copy for Item<P> {}

impl<P: ?Sized> std::fmt::Debug for Item<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Item").field(&self.spot.index).finish()
    }
}

impl<P: ?Sized> Item<P> {
    /// Its index in the table.
    pub fn index(&self) -> u32 {
        self.spot.index
    }

    #[inline(always)]
    pub(crate) fn spot(&self) -> Spot {
        self.spot
    }

    pub(crate) fn of(spot: Spot) -> Self {
        Item { spot, payload: PhantomData }
    }
}

/// Where an item is, and whose handle it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    pub(crate) index: u32,
    /// Of the handle; not 0.
    pub(crate) tag: u32,
    /// Which table of the handle.
    pub(crate) table: u32,
    /// The longest value in bytes.
    pub(crate) max_len: u32,
    /// A value begins with a word that says how long it is.
    pub(crate) variable: bool,
}

/// The tag of the next handle of this process: a writer, one of its tables, a table's reader.
static NEXT_TAG: AtomicU32 = AtomicU32::new(1);

pub(crate) fn next_tag() -> u32 {
    NEXT_TAG.fetch_add(1, Ordering::Relaxed).max(1)
}

/// What a handle looks items up in.
pub(crate) struct Finder<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) name: &'a str,
    pub(crate) tag: u32,
    pub(crate) table: u32,
}

impl Finder<'_> {
    fn spot(&self, group: &Group, n: u32) -> Option<Spot> {
        let place = group.run.place(n)?;
        let Finder { tag, table, .. } = *self;
        let (max_len, variable) = (group.max_len, group.is_variable());
        Some(Spot { place, index: group.first + n, tag, table, max_len, variable })
    }

    /// The item of this index, of whatever type.
    pub(crate) fn at(&self, index: u32) -> Result<(Spot, &Group)> {
        let (group, _) = self.schema.item(index).ok_or_else(|| self.missing(&index.to_string()))?;
        let spot = self.spot(group, index - group.first).ok_or_else(|| self.missing(&index.to_string()))?;
        Ok((spot, group))
    }

    /// The `n`-th item of this name, of whatever type.
    pub(crate) fn named(&self, name: &str, n: u32) -> Result<(Spot, &Group)> {
        let group = self.schema.find(name).ok_or_else(|| self.missing(&format!("`{name}`")))?;
        let spot = self.spot(group, n).ok_or_else(|| self.missing(&format!("`{name}[{n}]`")))?;
        Ok((spot, group))
    }

    /// As a typed item.
    pub(crate) fn typed<P: Payload + ?Sized>(&self, (spot, group): (Spot, &Group)) -> Result<Item<P>> {
        let asked = P::type_desc();
        match group.ty.difference(&asked) {
            None => Ok(Item::of(spot)),
            Some(difference) => Err(Error::Refused {
                code: Code::Mismatch,
                text: format!("item {} of table `{}`: {difference}; use the type it has", spot.index, self.name),
            }),
        }
    }

    fn missing(&self, what: &str) -> Error {
        let items = self.schema.items();
        Error::Refused {
            code: Code::Unknown,
            text: format!(
                "item {what} of table `{}`: expected one of its {items} items, found none; see `syncline table ls`",
                self.name
            ),
        }
    }
}

/// Copies words out as bytes: whatever their writer does meanwhile, it is sound. As many as `bytes` has, which the words have, too.
#[inline(always)]
pub(crate) fn copy_words(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    for (bytes, word) in whole.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let (false, Some(word)) = (rest.is_empty(), words.get(whole.len())) {
        let len = rest.len();
        rest.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..len]);
    }
}

/// Copies bytes into words, which are as many at least.
#[inline(always)]
pub(crate) fn fill_words(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (bytes, word) in whole.iter().zip(words) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), words.get(whole.len())) {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}

/// Writes a value as an item of this kind has it.
#[inline(always)]
pub(crate) fn fill(spot: Spot, words: &[AtomicU64], bytes: &[u8]) {
    match (spot.variable, words) {
        (true, [len, words @ ..]) => {
            len.store(bytes.len() as u64, Ordering::Relaxed);
            fill_words(words, bytes);
        }
        (_, words) => fill_words(words, bytes),
    }
}

/// Copies a value out of an item of this kind, over what was in `bytes`. A length that is no item's is cut short: the value is torn then, and is
/// not used.
pub(crate) fn copy(spot: Spot, words: &[AtomicU64], bytes: &mut Vec<u8>) {
    match (spot.variable, words) {
        (true, [len, words @ ..]) => {
            let len = len.load(Ordering::Relaxed).min(spot.max_len.into()) as usize;
            bytes.resize(len, 0);
            copy_words(words, bytes);
        }
        (_, words) => {
            bytes.resize(spot.max_len as usize, 0);
            copy_words(words, bytes);
        }
    }
}

/// Copies a value out of an item of this kind to the front of `bytes`: how long it is. What there is no room for is left out.
#[cfg(feature = "capi")]
#[inline(always)]
pub(crate) fn copy_to_front(spot: Spot, words: &[AtomicU64], bytes: &mut [u8]) -> usize {
    let (len, words) = match (spot.variable, words) {
        (true, [len, words @ ..]) => (len.load(Ordering::Relaxed).min(spot.max_len.into()) as usize, words),
        (_, words) => (spot.max_len as usize, words),
    };
    let room = len.min(bytes.len());
    copy_words(words, &mut bytes[..room]);
    len
}

/// What a commit has changed, in the order of the indices; as a message on the table's channel of changes. A count that goes beyond the table's
/// end says: anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Change {
    /// The index of the first item.
    pub first: u32,
    /// How many they are.
    pub count: u32,
}

// SAFETY: two numbers, without a gap; zero is a value of both.
unsafe impl bytemuck::Zeroable for Change {}
// SAFETY: as above, and any bits are.
unsafe impl bytemuck::Pod for Change {}

crate::describe!(Change as "syncline.change" { first: u32, count: u32 });

/// The channel that a table's changes are published in.
pub(crate) fn changes_channel(table: &str) -> String {
    format!("{table}.changes")
}
