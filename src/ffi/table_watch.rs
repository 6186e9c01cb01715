//! `syncline_table_watch` and `syncline_on_change`: being told which items of a table have changed.

use super::args::{self, Growing, array, array_mut, handle, in_time, out, text, wanted};
use super::error::{coded, free, guard, syncline_detail};
use super::table_reader::TableReaderHandle;
use super::waiting::wait;
use super::zone::check_zero;
use crate::client::{Changes, OnChange, TableWatch};
use crate::error::{Code, Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

/// The most ranges of one watch.
const MOST_RANGES: u32 = 65_536;

/// What is behind a `syncline_table_watch`.
pub struct TableWatchHandle {
    watch: TableWatch,
    /// What was told and had no room in C's array: from `next` on.
    told: Changes,
    next: usize,
}

/// `struct syncline_range`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CRange {
    first: u32,
    count: u32,
}

/// `struct syncline_table_watch_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct TableWatchOptions {
    size: usize,
    name: *const c_char,
    ranges: *const CRange,
    range_count: u32,
    synced: u32,
    every_ns: u64,
    wait: u32,
    zero: u32,
    spin_ns: i64,
}

const _: () = assert!(size_of::<CRange>() == 8 && size_of::<TableWatchOptions>() == 56);

// SAFETY: `repr(C)`, the size first, no padding, pointers and integers.
unsafe impl Growing for TableWatchOptions {
    const NAME: &'static str = "struct syncline_table_watch_options";
}

/// Opens a watch of the reader's table.
///
/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn open(reader: &TableReaderHandle, options: *const TableWatchOptions) -> Result<TableWatch> {
    // SAFETY: the caller keeps the header's contract.
    let options = unsafe { args::sized(options)? };
    check_zero(options.zero, TableWatchOptions::NAME)?;
    // SAFETY: as above, for both calls.
    let (name, ranges) = unsafe {
        (text(options.name, "watch's name")?, array(options.ranges, options.range_count, MOST_RANGES, "ranges")?)
    };
    reader.reader.check_fork()?;
    let builder = reader.reader.watch(name).every(Duration::from_nanos(options.every_ns));
    let builder = builder.wait(wait(options.wait, options.spin_ns)?);
    let builder = if options.synced == 0 { builder } else { builder.synced() };
    let add = |builder: crate::client::TableWatchBuilder, range: &CRange| {
        builder.range(range.first..range.first.saturating_add(range.count))
    };
    ranges.iter().fold(builder, add).open()
}

/// Opens a watch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_open(
    reader: *mut TableReaderHandle,
    options: *const TableWatchOptions,
    watch: *mut *mut TableWatchHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (watch, reader) = unsafe { (out(watch, ptr::null_mut(), "table watch")?, handle(reader, "table reader")?) };
        // SAFETY: as above.
        let opened = unsafe { open(reader, options)? };
        let told = Changes { items: Vec::new(), era: None };
        *watch = Box::into_raw(Box::new(TableWatchHandle { watch: opened, told, next: 0 }));
        Ok(0)
    })
}

/// What both functions have in common.
///
/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn take(
    watch: *mut TableWatchHandle,
    items: *mut u32,
    capacity: u32,
    left: *mut u32,
    era: *mut u64,
    next: impl FnOnce(&mut TableWatch) -> Result<Option<Changes>>,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls; NULL says that nobody wants to know.
        let (watch, items, left, era) = unsafe {
            (
                handle(watch, "table watch")?,
                array_mut(items, capacity.min(c_int::MAX as u32), "items")?,
                wanted(left, "left")?,
                wanted(era, "era")?,
            )
        };
        watch.watch.check_fork()?;
        if watch.next == watch.told.items.len() {
            let Some(told) = next(&mut watch.watch)? else { return Ok(0) };
            (watch.told, watch.next) = (told, 0);
        }
        let rest = &watch.told.items[watch.next..];
        let count = rest.len().min(items.len());
        items[..count].copy_from_slice(&rest[..count]);
        watch.next += count;
        if let Some(left) = left {
            *left = (rest.len() - count) as u32;
        }
        if let Some(era) = era {
            *era = watch.told.era.unwrap_or(0);
        }
        Ok(count as c_int)
    })
}

/// What has changed, if something has.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_try(
    watch: *mut TableWatchHandle,
    items: *mut u32,
    capacity: u32,
    left: *mut u32,
    era: *mut u64,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { take(watch, items, capacity, left, era, TableWatch::try_next) }
}

/// Waits until something has changed.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_next(
    watch: *mut TableWatchHandle,
    timeout_ns: i64,
    items: *mut u32,
    capacity: u32,
    left: *mut u32,
    era: *mut u64,
) -> c_int {
    let next = |watch: &mut TableWatch| in_time(watch.next(args::timeout(timeout_ns)));
    // SAFETY: passed on to our caller.
    unsafe { take(watch, items, capacity, left, era, next) }
}

/// A watch's descriptor.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_pollable(watch: *mut TableWatchHandle, descriptor: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (descriptor, watch) = unsafe { (out(descriptor, -1, "descriptor")?, handle(watch, "table watch")?) };
        watch.watch.check_fork()?;
        *descriptor = watch.watch.pollable()?.as_raw_fd();
        Ok(0)
    })
}

/// How often it looked for nothing.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_ignored(watch: *mut TableWatchHandle, commits: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (commits, watch) = unsafe { (out(commits, 0, "commits")?, handle(watch, "table watch")?) };
        watch.watch.check_fork()?;
        *commits = watch.watch.ignored();
        Ok(0)
    })
}

/// Ends a watch.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_table_watch_close(watch: *mut TableWatchHandle) {
    // SAFETY: it came from `syncline_table_watch_open`, which boxed it.
    unsafe { free(watch) }
}

/// `syncline_change_callback`.
pub type ChangeCallback = unsafe extern "C" fn(*mut c_void, *mut TableReaderHandle, *const u32, usize, u64) -> c_int;

/// What is behind a `syncline_on_change`.
pub struct OnChangeHandle {
    /// Until it was stopped.
    on_change: Mutex<Option<OnChange>>,
    thread: Option<ThreadId>,
    /// What the callback has said, if that was not 0.
    said: Arc<AtomicI32>,
}

/// The callback, with what it is called with.
struct Callback {
    call: ChangeCallback,
    context: *mut c_void,
    reader: TableReaderHandle,
    said: Arc<AtomicI32>,
}

// SAFETY: the context is C's, which promises that the callback may use it on another thread. What the handle of the reader points to is its own,
// and goes with it.
unsafe impl Send for Callback {}

impl Callback {
    fn call(&mut self, changes: &Changes) -> Result<()> {
        let (items, era) = (&changes.items, changes.era.unwrap_or(0));
        // SAFETY: C promises that the function is one of this kind, and may be called until it is stopped.
        let said = unsafe { (self.call)(self.context, &raw mut self.reader, items.as_ptr(), items.len(), era) };
        if said == 0 {
            return Ok(());
        }
        self.said.store(said, Ordering::Relaxed);
        Err(said_by_callback(said))
    }
}

/// The error that a callback has returned: if it is one of a call of its own, with the text of that.
fn said_by_callback(said: c_int) -> Error {
    let code = said.checked_neg().and_then(Code::from_number);
    // SAFETY: the text is this thread's, and no call fails before it is copied.
    let detail = unsafe { CStr::from_ptr(syncline_detail()) }.to_string_lossy();
    coded(code.unwrap_or(Code::Invalid), format!("the callback has returned {said}: {detail}"))
}

/// Calls back whenever something has changed.
///
/// # Safety
/// As the module [`ffi`](super) says; the function may be called, with the context, on another thread until it is stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_on_change_start(
    reader: *mut TableReaderHandle,
    options: *const TableWatchOptions,
    callback: Option<ChangeCallback>,
    context: *mut c_void,
    on_change: *mut *mut OnChangeHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (on_change, reader) =
            unsafe { (out(on_change, ptr::null_mut(), "on_change")?, handle(reader, "table reader")?) };
        let call = callback.ok_or_else(|| args::invalid("callback: expected a function, found NULL"))?;
        // SAFETY: as above.
        let watch = unsafe { open(reader, options)? };
        let said = Arc::new(AtomicI32::new(0));
        let reader = TableReaderHandle::new(reader.reader.again()?, true);
        let mut callback = Callback { call, context, reader, said: said.clone() };
        let started = watch.on_change(move |_, changes| callback.call(&changes))?;
        let (thread, started) = (started.thread(), Mutex::new(Some(started)));
        *on_change = Box::into_raw(Box::new(OnChangeHandle { on_change: started, thread, said }));
        Ok(0)
    })
}

/// Ends the calls.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again, unless this is the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_on_change_stop(on_change: *mut OnChangeHandle) -> c_int {
    guard(|| {
        if on_change.is_null() {
            return Ok(0);
        }
        // SAFETY: the caller keeps the header's contract. It is only looked at: another thread may be waiting here for the callback, and the handle
        // is there until that has come to its end.
        let stopped = unsafe { &*on_change };
        if stopped.thread == Some(std::thread::current().id()) {
            return Err(args::invalid(
                "stop: the callback can not wait for itself; let it return another number than 0",
            ));
        }
        let running = stopped.on_change.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = running.map_or(Ok(()), OnChange::stop);
        let said = stopped.said.load(Ordering::Relaxed);
        // SAFETY: it came from `syncline_on_change_start`, which boxed it, and the callback is over.
        unsafe { free(on_change) };
        match (ended, said) {
            (Err(Error::Forked), _) => Err(Error::Forked),
            (_, said) if said > 0 => Ok(said),
            (ended, _) => ended.map(|()| 0),
        }
    })
}
