//! Tables of a `syncline_writer`: opened, set, given up.

use super::args::{self, Growing, array, handle, out, text};
use super::error::guard;
use super::items::{self, CGroup, Resolved};
use super::types::{self, CType};
use super::writer::WriterHandle;
use super::zone::check_zero;
use crate::client::{Table, copy_to_front};
use crate::error::Result;
use crate::layout::table::MAX_ITEMS;
use crate::wire::TypeDesc;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

/// `struct syncline_table_items`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CTableItems {
    name: *const c_char,
    ty: *const CType,
    count: u32,
    max_len: u32,
}

/// `struct syncline_table_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TableOptions {
    size: usize,
    items: *const CTableItems,
    item_count: u32,
    zero: u32,
    wait_ns: i64,
}

const _: () = assert!(size_of::<CTableItems>() == 24 && size_of::<TableOptions>() == 32);

// SAFETY: `repr(C)`, the size first, no padding, pointers and integers.
unsafe impl Growing for TableOptions {
    const NAME: &'static str = "struct syncline_table_options";
}

impl WriterHandle {
    #[inline(always)]
    fn item(&mut self, table: Table, item: u32) -> Result<Resolved> {
        let WriterHandle { writer, items, .. } = self;
        items.at(table.numbers(), item, || {
            writer.check_fork()?;
            writer.finder(table)
        })
    }
}

/// Opens a table.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_open(
    writer: *mut WriterHandle,
    name: *const c_char,
    options: *const TableOptions,
    table: *mut u64,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (table, writer, name) =
            unsafe { (out(table, u64::MAX, "table")?, handle(writer, "writer")?, text(name, "table name")?) };
        let options = if options.is_null() {
            TableOptions { size: 0, items: ptr::null(), item_count: 0, zero: 0, wait_ns: 0 }
        } else {
            // SAFETY: as above.
            unsafe { args::sized(options)? }
        };
        check_zero(options.zero, TableOptions::NAME)?;
        // SAFETY: as above.
        let items = unsafe { array(options.items, options.item_count, MAX_ITEMS, "items")? };
        writer.check_idle()?;
        writer.writer.check_fork()?;
        let mut builder = writer.writer.table(name).wait(args::timeout(options.wait_ns));
        for item in items {
            // SAFETY: as above; NULL is the same as no name.
            let name = if item.name.is_null() { "" } else { unsafe { text(item.name, "item's name")? } };
            // SAFETY: as above.
            let ty = unsafe { types::describe(item.ty)? }.unwrap_or_else(TypeDesc::bytes);
            builder = builder.described(name, item.count.max(1), item.max_len, ty);
        }
        *table = builder.open()?.to_bits();
        Ok(0)
    })
}

/// Gives a table up.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_close(writer: *mut WriterHandle, table: u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.check_idle()?;
        writer.writer.check_fork()?;
        writer.writer.close_table(Table::from_bits(table)).map(|()| 0)
    })
}

/// Looks an item up.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_find(
    writer: *mut WriterHandle,
    table: u64,
    name: *const c_char,
    n: u32,
    ty: *const CType,
    item: *mut u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (item, writer) = unsafe { (out(item, u32::MAX, "item")?, handle(writer, "writer")?) };
        writer.writer.check_fork()?;
        let finder = writer.writer.finder(Table::from_bits(table))?;
        // SAFETY: as above.
        *item = unsafe { items::find(&finder, name, n, ty)? };
        Ok(0)
    })
}

/// Items that were declared together.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_group(
    writer: *mut WriterHandle,
    table: u64,
    index: usize,
    group: *mut *const CGroup,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (group, writer) = unsafe { (out(group, ptr::null(), "group")?, handle(writer, "writer")?) };
        writer.writer.check_fork()?;
        let WriterHandle { writer, items, .. } = writer;
        let found = items.show(writer.table_groups(Table::from_bits(table))?, index);
        Ok(items::give(group, found))
    })
}

/// Sets an item.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_set(
    writer: *mut WriterHandle,
    table: u64,
    item: u32,
    data: *const c_void,
    len: usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (writer, bytes) = unsafe { (handle(writer, "writer")?, args::bytes(data, len)?) };
        writer.check_idle()?;
        let item = writer.item(Table::from_bits(table), item)?;
        item.check_len(len)?;
        writer.writer.set_bytes(item.spot, bytes)?;
        Ok(0)
    })
}

/// Sets an item in the batch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_batch_set(
    writer: *mut WriterHandle,
    table: u64,
    item: u32,
    data: *const c_void,
    len: usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (writer, bytes) = unsafe { (handle(writer, "writer")?, args::bytes(data, len)?) };
        writer.check_in_batch()?;
        writer.check_no_loan()?;
        let item = writer.item(Table::from_bits(table), item)?;
        item.check_len(len)?;
        writer.writer.set_in_batch(item.spot, bytes)?;
        Ok(0)
    })
}

/// The value of an item as its writer has it.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_get(
    writer: *mut WriterHandle,
    table: u64,
    item: u32,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls; NULL says that nobody wants to know.
        let (len, writer) = unsafe { (args::wanted(len, "len")?, handle(writer, "writer")?) };
        let spot = writer.item(Table::from_bits(table), item)?.spot;
        // SAFETY: as above.
        let room = unsafe { items::room(spot, buffer, size)? };
        let mut found = 0;
        writer.writer.read_item(spot, |words| found = copy_to_front(spot, words, room))?;
        if let Some(len) = len {
            *len = found;
        }
        items::check_whole(spot, found, size).map(|()| 0)
    })
}

/// The number of the ownership.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_fence(writer: *mut WriterHandle, table: u64, fence: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (fence, writer) = unsafe { (out(fence, 0, "fence")?, handle(writer, "writer")?) };
        writer.writer.check_fork()?;
        *fence = writer.writer.table_fence(Table::from_bits(table))?;
        Ok(0)
    })
}

/// How the owner before this one ended.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_predecessor_died(writer: *mut WriterHandle, table: u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.check_fork()?;
        Ok(c_int::from(writer.writer.table_predecessor_died(Table::from_bits(table))?))
    })
}
