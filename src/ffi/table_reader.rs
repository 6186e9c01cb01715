//! `syncline_table_reader`: the newest values of a table, those of an era, and what has changed.
//!
//! A view of Rust is a moment here: the number of an era, or [`LATEST`]. So C has no view that could outlive what it shows.

use super::args::{self, handle, out, shared, text, wanted};
use super::bus::BusHandle;
use super::error::{c_text, coded, free, guard};
use super::items::{self, CGroup, CRead, Items, check_whole, room, wanted_reads};
use super::types::CType;
use crate::client::{Item, Seen, Spot, TableReader, View, copy_to_front};
use crate::error::{Code, Result};
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

/// `SYNCLINE_LATEST`: no era, but what was committed last.
const LATEST: u64 = u64::MAX;

/// What is behind a `syncline_table_reader`.
pub struct TableReaderHandle {
    pub(super) reader: TableReader,
    items: Items,
    /// Those of one call.
    spots: Vec<Spot>,
    writer_name: CString,
    /// It belongs to the library: a callback has it for as long as it runs.
    lent: bool,
}

/// `struct syncline_seen`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct CSeen {
    ownership: u64,
    commit: u64,
}

impl TableReaderHandle {
    pub(super) fn new(reader: TableReader, lent: bool) -> Self {
        TableReaderHandle { reader, items: Items::default(), spots: Vec::new(), writer_name: CString::default(), lent }
    }

    #[inline(always)]
    fn spot(&mut self, item: u32) -> Result<Spot> {
        let TableReaderHandle { reader, items, .. } = self;
        let found = items.at((reader.tag(), 0), item, || {
            reader.check_fork()?;
            Ok(reader.finder())
        })?;
        Ok(found.spot)
    }

    /// Reads at a moment; at the latest again and again, while the writer is faster.
    fn read_at<R>(&mut self, era: u64, mut read: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        if era == LATEST { self.reader.read(read) } else { read(&self.reader.at(era)?) }
    }
}

/// Opens a table for reading.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_open(
    bus: *mut BusHandle,
    zone: *const c_char,
    table: *const c_char,
    timeout_ns: i64,
    reader: *mut *mut TableReaderHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls.
        let (reader, bus, zone, table) = unsafe {
            (
                out(reader, ptr::null_mut(), "table reader")?,
                shared(bus, "bus")?,
                text(zone, "zone name")?,
                text(table, "table name")?,
            )
        };
        let zone = bus.bus.zone(zone);
        let opened = match timeout_ns {
            0 => zone.table(table)?,
            timeout_ns => zone.wait_table(table, args::timeout(timeout_ns))?,
        };
        *reader = Box::into_raw(Box::new(TableReaderHandle::new(opened, false)));
        Ok(0)
    })
}

/// How many items there are.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_items(reader: *mut TableReaderHandle, items: *mut u32) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (items, reader) = unsafe { (out(items, 0, "items")?, handle(reader, "table reader")?) };
        reader.reader.check_fork()?;
        *items = reader.reader.len();
        Ok(0)
    })
}

/// Items that were declared together.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_group(
    reader: *mut TableReaderHandle,
    index: usize,
    group: *mut *const CGroup,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (group, reader) = unsafe { (out(group, ptr::null(), "group")?, handle(reader, "table reader")?) };
        reader.reader.check_fork()?;
        let found = reader.items.show(reader.reader.groups(), index);
        Ok(items::give(group, found))
    })
}

/// Looks an item up.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_find(
    reader: *mut TableReaderHandle,
    name: *const c_char,
    n: u32,
    ty: *const CType,
    item: *mut u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (item, reader) = unsafe { (out(item, u32::MAX, "item")?, handle(reader, "table reader")?) };
        reader.reader.check_fork()?;
        // SAFETY: as above.
        *item = unsafe { items::find(&reader.reader.finder(), name, n, ty)? };
        Ok(0)
    })
}

/// Who writes the table.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_writer(
    reader: *mut TableReaderHandle,
    name: *mut *const c_char,
    pid: *mut i32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (name, reader) = unsafe { (out(name, ptr::null(), "name")?, handle(reader, "table reader")?) };
        // SAFETY: as above; NULL says that nobody wants to know.
        let place = unsafe { wanted(pid, "pid")? };
        let Some((writer, pid)) = reader.reader.writer()? else { return Ok(0) };
        reader.writer_name = c_text(&writer);
        *name = reader.writer_name.as_ptr();
        if let Some(place) = place {
            *place = pid as i32;
        }
        Ok(1)
    })
}

/// The number of the last sealed era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_generation(
    reader: *mut TableReaderHandle,
    generation: *mut u64,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (generation, reader) = unsafe { (out(generation, 0, "generation")?, handle(reader, "table reader")?) };
        *generation = reader.reader.generation()?;
        Ok(0)
    })
}

/// The value of an item at a moment.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_get(
    reader: *mut TableReaderHandle,
    era: u64,
    item: u32,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls; NULL says that nobody wants to know.
        let (len, reader) = unsafe { (wanted(len, "len")?, handle(reader, "table reader")?) };
        let spot = reader.spot(item)?;
        // SAFETY: as above.
        let place = unsafe { room(spot, buffer, size)? };
        let mut found = 0;
        let mut copy = |words: &[_]| found = copy_to_front(spot, words, place);
        if era == LATEST {
            reader.reader.read_live(spot, copy)?;
        } else {
            reader.reader.at(era)?.read(spot, &mut copy)?;
        }
        if let Some(len) = len {
            *len = found;
        }
        check_whole(spot, found, size).map(|()| 0)
    })
}

/// The values of several items at one moment.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_read(
    reader: *mut TableReaderHandle,
    era: u64,
    reads: *mut CRead,
    count: u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (reader, reads) = unsafe { (handle(reader, "table reader")?, wanted_reads(reads, count)?) };
        let mut spots = std::mem::take(&mut reader.spots);
        spots.clear();
        for read in &*reads {
            spots.push(reader.spot(read.item)?);
        }
        let read = |view: &View<'_>| {
            for (read, &spot) in reads.iter_mut().zip(&spots) {
                // SAFETY: as above.
                let place = unsafe { room(spot, read.buffer, read.size)? };
                view.read(spot, |words| read.len = copy_to_front(spot, words, place))?;
            }
            Ok(())
        };
        reader.read_at(era, read)?;
        let whole = |(read, &spot): (&CRead, &Spot)| check_whole(spot, read.len, read.size);
        let checked = reads.iter().zip(&spots).try_for_each(whole);
        reader.spots = spots;
        checked.map(|()| 0)
    })
}

/// Whether an era has set an item.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_changed(reader: *mut TableReaderHandle, era: u64, item: u32) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "table reader")? };
        let item = Item::<[u8]>::of(reader.spot(item)?);
        reader.read_at(era, |view| view.changed(item)).map(c_int::from)
    })
}

/// How far the table is at a moment.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_seen(
    reader: *mut TableReaderHandle,
    era: u64,
    seen: *mut CSeen,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (seen, reader) = unsafe { (out(seen, CSeen::default(), "seen")?, handle(reader, "table reader")?) };
        let [ownership, commit] = reader.read_at(era, |view| Ok(view.seen()))?.to_numbers();
        *seen = CSeen { ownership, commit };
        Ok(0)
    })
}

/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn seen_before(seen: *const CSeen) -> Result<Seen> {
    // SAFETY: passed on to our caller.
    let CSeen { ownership, commit } = *unsafe { shared(seen, "seen")? };
    Ok(Seen::from_numbers([ownership, commit]))
}

/// Whether an item was set since.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_changed_since(
    reader: *mut TableReaderHandle,
    era: u64,
    item: u32,
    seen: *const CSeen,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (reader, seen) = unsafe { (handle(reader, "table reader")?, seen_before(seen)?) };
        let spot = reader.spot(item)?;
        reader.read_at(era, |view| view.spot_changed_since(spot, seen)).map(c_int::from)
    })
}

/// All items that were set since.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_changes_since(
    reader: *mut TableReaderHandle,
    era: u64,
    seen: *const CSeen,
    items: *mut u32,
    capacity: u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls; without room, C wants to know how many.
        let (reader, seen, items) = unsafe {
            (
                handle(reader, "table reader")?,
                seen_before(seen)?,
                if capacity == 0 { &mut [][..] } else { args::array_mut(items, capacity, "items")? },
            )
        };
        let changed = reader.read_at(era, |view| view.changes_since(seen))?;
        items.iter_mut().zip(&changed).for_each(|(place, index)| *place = *index);
        c_int::try_from(changed.len()).map_err(|_| coded(Code::TooLarge, "more items than can be counted".to_owned()))
    })
}

/// Closes a table's reader.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again, unless it was lent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_reader_close(reader: *mut TableReaderHandle) {
    // SAFETY: NULL or open: the caller keeps the header's contract.
    if unsafe { reader.as_ref() }.is_some_and(|reader| reader.lent) {
        return;
    }
    // SAFETY: it came from `syncline_table_reader_open`, which boxed it.
    unsafe { free(reader) }
}
