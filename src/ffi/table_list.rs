//! `syncline_tables`: the tables that there are.

use super::args::{handle, invalid, out, shared, text};
use super::bus::BusHandle;
use super::error::{c_text, free, guard};
use crate::wire::TableInfo;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What is behind a `syncline_tables`.
pub struct TablesHandle {
    tables: std::vec::IntoIter<TableInfo>,
    last: Option<OwnedTable>,
}

/// `struct syncline_table_info`.
#[repr(C)]
pub struct CTableInfo {
    zone: *const c_char,
    name: *const c_char,
    writer_name: *const c_char,
    bytes: u64,
    fence: u64,
    items: u32,
    readers: u32,
    pid: i32,
    zero: u32,
}

const _: () = assert!(size_of::<CTableInfo>() == 56);

/// A table, with the texts that it points to.
struct OwnedTable {
    shown: Box<CTableInfo>,
    _texts: [CString; 3],
}

impl OwnedTable {
    fn new(table: &TableInfo) -> Self {
        let texts = [c_text(&table.zone), c_text(&table.name), c_text(&table.writer)];
        let shown = Box::new(CTableInfo {
            zone: texts[0].as_ptr(),
            name: texts[1].as_ptr(),
            writer_name: texts[2].as_ptr(),
            bytes: table.bytes,
            fence: table.fence,
            items: table.items,
            readers: table.readers,
            pid: table.pid as i32,
            zero: 0,
        });
        OwnedTable { shown, _texts: texts }
    }
}

/// Lists the tables of a zone.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_list_tables(
    bus: *mut BusHandle,
    zone: *const c_char,
    tables: *mut *mut TablesHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (tables, bus) = unsafe { (out(tables, ptr::null_mut(), "tables")?, shared(bus, "bus")?) };
        let zone = if zone.is_null() {
            ""
        } else {
            // SAFETY: as above.
            match unsafe { text(zone, "zone name")? } {
                "" => return Err(invalid("zone name: expected 1 to 128 bytes, found none; NULL for all")),
                zone => zone,
            }
        };
        let listed = bus.bus.zone(zone).tables()?;
        *tables = Box::into_raw(Box::new(TablesHandle { tables: listed.into_iter(), last: None }));
        Ok(0)
    })
}

/// The next table.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_tables_next(tables: *mut TablesHandle, table: *mut *const CTableInfo) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (table, tables) = unsafe { (out(table, ptr::null(), "table")?, handle(tables, "tables")?) };
        tables.last = tables.tables.next().as_ref().map(OwnedTable::new);
        let Some(last) = &tables.last else { return Ok(0) };
        *table = &raw const *last.shown;
        Ok(1)
    })
}

/// Frees the list.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_tables_close(tables: *mut TablesHandle) {
    // SAFETY: it came from `syncline_bus_list_tables`, which boxed it.
    unsafe { free(tables) }
}
