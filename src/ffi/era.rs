//! Whole eras of a `syncline_reader`.

use super::args::{self, handle, in_time, invalid, out};
use super::error::guard;
use super::message::CMessage;
use super::reader::{ReaderHandle, take};
use crate::client::Reader;
use crate::error::{Error, Result};
use std::ffi::c_int;
use std::ptr;

/// `struct syncline_era`.
#[derive(Default)]
#[repr(C)]
pub struct CEra {
    number: u64,
    merged: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CEra>() == 16);

/// The error that says that no era is being read.
pub(super) fn none_begun() -> Error {
    invalid("no era is being read: begin one first")
}

/// What all functions that begin an era have in common.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[inline(always)]
unsafe fn begin(
    reader: *mut ReaderHandle,
    era: *mut *const CEra,
    poll: impl FnOnce(&mut Reader) -> Result<Option<(u64, bool)>>,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (era, reader) = unsafe { (out(era, ptr::null(), "era")?, handle(reader, "reader")?) };
        reader.release();
        match poll(&mut reader.reader) {
            Ok(Some((number, merged))) => {
                reader.era = CEra { number, merged: u32::from(merged), zero: 0 };
                *era = &raw const reader.era;
                Ok(1)
            }
            Ok(None) => Ok(0),
            Err(error) => Err(reader.note(error)),
        }
    })
}

/// The next era, if one is sealed.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_try_era(reader: *mut ReaderHandle, era: *mut *const CEra) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { begin(reader, era, |reader| reader.try_next(Reader::begin_next_era)) }
}

/// The next era, spinning.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_spin_era(
    reader: *mut ReaderHandle,
    timeout_ns: i64,
    era: *mut *const CEra,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { begin(reader, era, |reader| in_time(reader.spin_for(args::timeout(timeout_ns), Reader::begin_next_era))) }
}

/// The next era, sleeping.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_wait_era(
    reader: *mut ReaderHandle,
    timeout_ns: i64,
    era: *mut *const CEra,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { begin(reader, era, |reader| in_time(reader.wait_for(args::timeout(timeout_ns), Reader::begin_next_era))) }
}

/// The era before the one begun.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_era_previous(reader: *mut ReaderHandle, era: *mut *const CEra) -> c_int {
    let previous = |reader: &mut Reader| {
        reader.check_synced()?;
        let Some(number) = reader.era_begun() else { return Err(none_begun()) };
        reader.rewind(number - 1)?;
        reader.begin_next_era()
    };
    // SAFETY: passed on to our caller.
    unsafe { begin(reader, era, previous) }
}

/// Goes back (or on) to an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_rewind(reader: *mut ReaderHandle, era: u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        reader.release();
        reader.reader.rewind(era).map(|()| 0)
    })
}

/// The next message of the era begun.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_era_next(reader: *mut ReaderHandle, message: *mut *const CMessage) -> c_int {
    let next = |reader: &mut Reader| {
        reader.check_synced()?;
        reader.next_of_era()
    };
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, next) }
}

/// Ends the era begun.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_era_end(reader: *mut ReaderHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        reader.reader.check_synced()?;
        reader.release();
        reader.reader.finish_era().map(|()| 0)
    })
}
