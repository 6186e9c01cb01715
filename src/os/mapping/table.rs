//! A mapped table segment.

use super::{Access, Region, check_file, check_preamble, out_of_range, write_preamble};
use crate::layout::table::{Header, ITEMS_OFFSET, MAX_VERSIONS, Place};
use crate::layout::{Kind, PAGE};
use crate::ring::view::Item;
use crate::sync::AtomicU64;
use std::io;
use std::os::fd::BorrowedFd;
use std::slice;

/// A mapped table segment: one incarnation of a table.
#[derive(Debug)]
pub struct TableMap {
    region: Region,
    size: u64,
    versions: usize,
}

impl TableMap {
    /// Maps a table of `size` bytes, whose items have so many versions.
    ///
    /// # Errors
    /// `InvalidInput` for a size that is none; `InvalidData` if size, seals or preamble are not those of such a table; `PermissionDenied` for
    /// write access to a sealed table; out of memory.
    pub fn new(fd: BorrowedFd, size: u64, versions: usize, access: Access) -> io::Result<TableMap> {
        let map = TableMap::map(fd, size, versions, access)?;
        check_preamble(&map.header().preamble, Kind::Table, size)?;
        map.region.prefault(access)?;
        Ok(map)
    }

    /// Maps a new table and writes its preamble. All else starts as zero.
    ///
    /// # Errors
    /// As for [`TableMap::new`], without the preamble.
    pub fn create(fd: BorrowedFd, size: u64, versions: usize, ident: u64) -> io::Result<TableMap> {
        let map = TableMap::map(fd, size, versions, Access::ReadWrite)?;
        write_preamble(&map.header().preamble, Kind::Table, size, ident);
        Ok(map)
    }

    /// As [`TableMap::new`], read-only and without touching the pages: for who looks at few of them, once.
    ///
    /// # Errors
    /// As for [`TableMap::new`].
    pub fn glance(fd: BorrowedFd, size: u64, versions: usize) -> io::Result<TableMap> {
        let map = TableMap::map(fd, size, versions, Access::ReadOnly)?;
        check_preamble(&map.header().preamble, Kind::Table, size)?;
        Ok(map)
    }

    fn map(fd: BorrowedFd, size: u64, versions: usize, access: Access) -> io::Result<TableMap> {
        if size < ITEMS_OFFSET || !size.is_multiple_of(PAGE) || !(1..=MAX_VERSIONS).contains(&versions) {
            return Err(out_of_range(format!(
                "table of {size} bytes and {versions} versions: expected whole pages, 1 ..= 5"
            )));
        }
        check_file(fd, size)?;
        Ok(TableMap { region: Region::map(fd, size, access)?, size, versions })
    }

    /// Its header.
    #[inline(always)]
    pub fn header(&self) -> &Header {
        // SAFETY: at least `ITEMS_OFFSET` bytes, the size of the header, are mapped from the page-aligned base for as long as `self` is
        // borrowed; it is made of atomics.
        unsafe { self.region.base().cast::<Header>().as_ref() }
    }

    /// The item at a place, if that is inside the segment and aligned.
    #[inline(always)]
    pub fn item(&self, place: Place) -> Option<Item<'_>> {
        let Place { offset, head, words } = place;
        let is_inside = offset >= ITEMS_OFFSET && offset <= self.size && place.end(self.versions) <= self.size;
        if !is_inside || !(offset | u64::from(head)).is_multiple_of(8) || u64::from(head) < 8 * self.versions as u64 {
            return None;
        }
        let base = self.region.base();
        // SAFETY: from `offset` to the place's end, which is inside the mapping (`is_inside`; the sum does not wrap: each of its parts is below
        // 2^62), there are `head` bytes, at least the versions, and then `versions * words` words, all aligned to 8 and made of atomics. They
        // are mapped for as long as `self` is borrowed.
        unsafe {
            let versions = base.add(offset as usize).cast::<AtomicU64>();
            let values = base.add(offset as usize + head as usize).cast::<AtomicU64>();
            Some(Item {
                versions: slice::from_raw_parts(versions.as_ptr(), self.versions),
                values: slice::from_raw_parts(values.as_ptr(), self.versions * words as usize),
            })
        }
    }

    /// Whether the caller is the process that made this map, and not a forked child of it.
    #[inline(always)]
    pub fn is_current(&self) -> bool {
        self.region.is_current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::table::Run;
    use crate::os::memfd::Segment;
    use crate::sync::Ordering;

    #[test]
    fn items_are_inside_or_refused() {
        let run = Run::new(ITEMS_OFFSET, 10, 24, 4).unwrap();
        let size = crate::layout::table::segment_size(run.end());
        let segment = Segment::create("test", size).unwrap();
        let map = TableMap::create(segment.fd(), size, 4, 7).unwrap();
        let place = run.place(9).unwrap();
        let item = map.item(place).unwrap();
        assert_eq!((item.versions.len(), item.values.len()), (4, 12));
        item.values[11].store(5, Ordering::Relaxed);
        let again = TableMap::new(segment.fd(), size, 4, Access::ReadOnly).unwrap();
        assert_eq!(again.item(place).unwrap().values[11].load(Ordering::Relaxed), 5);
        for bad in [
            Place { offset: size, ..place },
            Place { offset: u64::MAX - 7, ..place },
            Place { offset: 0, ..place },
            Place { offset: place.offset + 4, ..place },
            Place { words: u32::MAX, ..place },
            Place { head: 24, ..place },
        ] {
            assert!(map.item(bad).is_none(), "{bad:?}");
        }
        assert!(TableMap::new(segment.fd(), size + PAGE, 4, Access::ReadOnly).is_err());
        assert!(TableMap::new(segment.fd(), size, 9, Access::ReadOnly).is_err());
    }
}
