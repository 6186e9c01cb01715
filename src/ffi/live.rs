//! A live `syncline_reader` with markers: messages, and the edges among them.

use super::args::{self, handle, in_time, out};
use super::edge::{CEdge, show};
use super::error::guard;
use super::message::CMessage;
use super::reader::ReaderHandle;
use crate::client::{Given, Reader};
use crate::error::Result;
use std::ffi::c_int;
use std::ptr;

/// What both functions have in common.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[inline(always)]
unsafe fn take(
    reader: *mut ReaderHandle,
    message: *mut *const CMessage,
    edge: *mut *const CEdge,
    poll: impl FnOnce(&mut Reader) -> Result<Option<Given>>,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (message, edge, reader) = unsafe {
            (out(message, ptr::null(), "message")?, out(edge, ptr::null(), "edge")?, handle(reader, "reader")?)
        };
        reader.release();
        match poll(&mut reader.reader) {
            Ok(Some(Given::Message(taken))) => {
                *message = reader.hold(taken);
                Ok(1)
            }
            Ok(Some(Given::Edge(era))) => {
                let found = reader.reader.edge_given(era);
                Ok(show(&mut reader.edge, edge, Some(found)))
            }
            Ok(None) => Ok(0),
            Err(error) => Err(reader.note(error)),
        }
    })
}

/// The next message or edge, if there is one now.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_try_live(
    reader: *mut ReaderHandle,
    message: *mut *const CMessage,
    edge: *mut *const CEdge,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, edge, |reader| reader.try_next(Reader::poll_marked)) }
}

/// The next message or edge, sleeping.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_wait_live(
    reader: *mut ReaderHandle,
    timeout_ns: i64,
    message: *mut *const CMessage,
    edge: *mut *const CEdge,
) -> c_int {
    let wait = |reader: &mut Reader| in_time(reader.wait_for(args::timeout(timeout_ns), Reader::poll_marked));
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, edge, wait) }
}
