//! Which state of a table is read, and reading several items of it that belong together.

use crate::cli::exit::Outcome;
use crate::client::{Item, TableReader, View};
use crate::error::{Error, Result};
use std::str::FromStr;

/// How often an era is asked for that moves on meanwhile.
const TRIES: u32 = 64;

/// A state of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// CURR: as of the last edge.
    Current,
    /// PREV: as of the one before.
    Previous,
    Number(u64),
}

impl FromStr for Era {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "current" => Ok(Era::Current),
            "previous" => Ok(Era::Previous),
            _ => match text.parse() {
                Ok(number) if number > 0 => Ok(Era::Number(number)),
                _ => Err("expected `current`, `previous` or the number of an era".to_owned()),
            },
        }
    }
}

/// Items with their values.
pub(super) struct Values {
    pub(super) era: Option<u64>,
    pub(super) items: Vec<(u32, Vec<u8>)>,
}

/// Reads items as they are (`None`) or were: all of them, or those that were ever set.
pub(super) fn read(
    table: &mut TableReader,
    era: Option<Era>,
    indices: impl Iterator<Item = u32>,
    all: bool,
) -> Outcome<Values> {
    let items = indices.map(|index| table.any_item(index)).collect::<Result<Vec<_>>>()?;
    let read = |view: &View<'_>| values(view, &items, all);
    let Some(era) = era else { return Ok(table.read(read)?) };
    let mut tries = 0;
    loop {
        tries += 1;
        let view = match era {
            Era::Number(number) => table.at(number),
            Era::Current => table.current(),
            Era::Previous => table.current().and_then(|current| current.previous()),
        };
        match view.and_then(|view| read(&view)) {
            Err(Error::Overtaken) if tries < TRIES => {}
            // It was sealed meanwhile, and is another now.
            Err(Error::Gone { era: gone, .. }) if !matches!(era, Era::Number(_)) && gone > 0 && tries < TRIES => {}
            other => return Ok(other?),
        }
    }
}

pub(super) fn values(view: &View<'_>, items: &[Item<[u8]>], all: bool) -> Result<Values> {
    let mut values = Vec::new();
    for &item in items {
        if all || view.is_set(item)? {
            values.push((item.index(), view.get_bytes(item)?));
        }
    }
    Ok(Values { era: view.era(), items: values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_are_parsed() {
        assert_eq!("current".parse(), Ok(Era::Current));
        assert_eq!("previous".parse(), Ok(Era::Previous));
        assert_eq!("7".parse(), Ok(Era::Number(7)));
        for wrong in ["", "0", "-1", "latest"] {
            assert!(wrong.parse::<Era>().is_err(), "{wrong}");
        }
    }
}
