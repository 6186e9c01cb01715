//! `syncline_reader`: messages and eras.
//!
//! The handle holds the message that was taken last, so that its memory stays as it is until the next call that takes one releases
//! it. C gets a raw pointer to it: no reference to memory that a hostile process may be writing exists on our side.

use super::args::{self, Growing, array, handle, in_time, invalid, out, shared, text};
use super::bus::BusHandle;
use super::edge::OwnedEdge;
use super::era::{CEra, none_begun};
use super::error::{c_text, coded, free, guard};
use super::message::{CMessage, Origins};
use super::types::{self, CType};
use super::waiting::CSleeps;
use super::zone::{CZoneOptions, ZoneShape, check_zero};
use crate::client::{Reader, Start, Taken};
use crate::error::{Closed, Code, Error, Result};
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

/// The most channels of one reader, as a bound for reading the array; the broker may allow fewer.
const MOST_CHANNELS: u32 = 65_536;

/// What is behind a `syncline_reader`.
pub struct ReaderHandle {
    pub(super) reader: Reader,
    /// The present message.
    held: Option<Taken>,
    origins: Origins,
    message: CMessage,
    pub(super) era: CEra,
    closed: Option<ClosedText>,
    /// The edge that was looked at last.
    pub(super) edge: Option<OwnedEdge>,
    /// How the waits went that were asked about last.
    pub(super) sleeps: CSleeps,
}

/// `struct syncline_closed`.
#[repr(C)]
pub struct CClosed {
    channel: *const c_char,
    writer_name: *const c_char,
    writer: u32,
    died: u32,
}

/// `struct syncline_channel`.
#[repr(C)]
pub struct CChannel {
    name: *const c_char,
    ty: *const CType,
}

/// `struct syncline_reader_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ReaderOptions {
    size: usize,
    zone: *const c_char,
    name: *const c_char,
    channels: *const CChannel,
    channel_count: u32,
    synced: u32,
    oldest: u32,
    must_exist: u32,
    zone_writers: u32,
    zone_eras: u32,
    zone_subscriptions: u32,
    zero: u32,
    zone_options: *const CZoneOptions,
    start_era: u64,
    markers: u32,
    early: u32,
}

const _: () = {
    assert!(size_of::<CClosed>() == 24);
    assert!(size_of::<CChannel>() == 16 && size_of::<ReaderOptions>() == 88);
};

// SAFETY: `repr(C)`, the size first, no padding, pointers and integers.
unsafe impl Growing for ReaderOptions {
    const NAME: &'static str = "struct syncline_reader_options";
}

/// The last lane that came to its end, with the texts that it points to.
struct ClosedText {
    shown: Box<CClosed>,
    _channel: CString,
    _writer_name: CString,
}

impl ClosedText {
    fn new(closed: &Closed) -> Self {
        let (channel, writer_name) = (c_text(&closed.channel), c_text(&closed.name));
        let shown = Box::new(CClosed {
            channel: channel.as_ptr(),
            writer_name: writer_name.as_ptr(),
            writer: closed.writer,
            died: u32::from(closed.died),
        });
        ClosedText { shown, _channel: channel, _writer_name: writer_name }
    }
}

impl ReaderHandle {
    /// Gives the present message back.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        if let Some(taken) = self.held.take() {
            self.reader.release(&taken);
        }
    }

    /// Makes `taken` the present message.
    #[inline(always)]
    pub(super) fn hold(&mut self, taken: Taken) -> *const CMessage {
        let origin = self.origins.of(taken.lane, self.reader.lane_info(&taken));
        self.message = CMessage::new(&taken, self.reader.payload_pointer(&taken), origin);
        self.held = Some(taken);
        &raw const self.message
    }

    fn present(&self) -> Result<&Taken> {
        self.reader.check_fork()?;
        self.held.as_ref().ok_or_else(|| invalid("there is no present message: take one first"))
    }

    /// The number of the era that is being read.
    pub(super) fn begun(&self) -> Result<u64> {
        self.reader.check_synced()?;
        self.reader.era_begun().ok_or_else(none_begun)
    }

    /// Keeps what `SYNCLINE_ECLOSED` is about.
    #[cold]
    #[inline(never)]
    pub(super) fn note(&mut self, error: Error) -> Error {
        if let Error::Closed(closed) = &error {
            self.closed = Some(ClosedText::new(closed));
        }
        error
    }
}

/// Opens a reader.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_open(
    bus: *mut BusHandle,
    options: *const ReaderOptions,
    reader: *mut *mut ReaderHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (reader, bus, options) =
            unsafe { (out(reader, ptr::null_mut(), "reader")?, shared(bus, "bus")?, args::sized(options)?) };
        check_zero(options.zero, ReaderOptions::NAME)?;
        // SAFETY: as above.
        let (zone, name) = unsafe { (text(options.zone, "zone name")?, text(options.name, "reader name")?) };
        let shape = ZoneShape {
            options: options.zone_options,
            writers: options.zone_writers,
            eras: options.zone_eras,
            subscriptions: options.zone_subscriptions,
        };
        // SAFETY: as above.
        let mut builder = unsafe { shape.give(bus.bus.zone(zone))? }.reader(name);
        if options.channel_count == 0 {
            return Err(invalid("channels: expected one or more, found none"));
        }
        // SAFETY: as above.
        for channel in unsafe { array(options.channels, options.channel_count, MOST_CHANNELS, "channels")? } {
            // SAFETY: as above.
            let (name, ty) = unsafe { (text(channel.name, "channel name")?, types::describe(channel.ty)?) };
            builder = match ty {
                Some(ty) => builder.described(name, ty),
                None => builder.any(name),
            };
        }
        builder = builder.start(match (options.start_era, options.oldest) {
            (0, 0) => Start::Latest,
            (0, _) => Start::Oldest,
            (era, _) => Start::Era(era),
        });
        if options.markers != 0 {
            builder = builder.markers();
        }
        if options.early != 0 {
            builder = builder.early();
        }
        if options.synced != 0 {
            builder = builder.synced();
        }
        if options.must_exist != 0 {
            builder = builder.must_exist();
        }
        let opened = ReaderHandle {
            reader: builder.open()?,
            held: None,
            origins: Origins::default(),
            message: CMessage::empty(),
            era: CEra::default(),
            closed: None,
            edge: None,
            sleeps: CSleeps::default(),
        };
        *reader = Box::into_raw(Box::new(opened));
        Ok(0)
    })
}

/// What all functions that take a message have in common.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[inline(always)]
pub(super) unsafe fn take(
    reader: *mut ReaderHandle,
    message: *mut *const CMessage,
    poll: impl FnOnce(&mut Reader) -> Result<Option<Taken>>,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (message, reader) = unsafe { (out(message, ptr::null(), "message")?, handle(reader, "reader")?) };
        reader.release();
        match poll(&mut reader.reader) {
            Ok(Some(taken)) => {
                *message = reader.hold(taken);
                Ok(1)
            }
            Ok(None) => Ok(0),
            Err(error) => Err(reader.note(error)),
        }
    })
}

/// The next message, if there is one now.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_try(reader: *mut ReaderHandle, message: *mut *const CMessage) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, |reader| reader.try_next(Reader::poll)) }
}

/// The next message, spinning.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_spin(
    reader: *mut ReaderHandle,
    timeout_ns: i64,
    message: *mut *const CMessage,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, |reader| in_time(reader.spin_for(args::timeout(timeout_ns), Reader::poll))) }
}

/// The next message, sleeping.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_wait(
    reader: *mut ReaderHandle,
    timeout_ns: i64,
    message: *mut *const CMessage,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { take(reader, message, |reader| in_time(reader.wait_for(args::timeout(timeout_ns), Reader::poll))) }
}

/// Copies the present message.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_message_copy(reader: *mut ReaderHandle, buffer: *mut c_void, size: usize) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        let taken = reader.present()?;
        let len = taken.frame.len as usize;
        if size < len {
            return Err(coded(Code::TooLarge, format!("message of {len} bytes: the buffer has {size}")));
        }
        if len > 0 {
            // SAFETY: as above: the buffer has `size` bytes, which is enough.
            let buffer = unsafe { args::buffer(buffer, len)? };
            reader.reader.copy_payload(taken, buffer)?;
        }
        Ok(0)
    })
}

/// The era of the present message.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_message_era(reader: *mut ReaderHandle, era: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (era, reader) = unsafe { (out(era, 0, "era")?, handle(reader, "reader")?) };
        let found = reader.reader.era_of(reader.present()?);
        *era = found.unwrap_or(0);
        Ok(c_int::from(found.is_some()))
    })
}

/// Asks everybody to finish and commit now.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_request_early(reader: *mut ReaderHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        reader.reader.request_early().map(|()| 0)
    })
}

/// Gives the present message back.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_release(reader: *mut ReaderHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        reader.reader.check_fork()?;
        reader.release();
        Ok(0)
    })
}

/// The lane that was closed last.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_closed(reader: *mut ReaderHandle, closed: *mut *const CClosed) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (closed, reader) = unsafe { (out(closed, ptr::null(), "closed")?, handle(reader, "reader")?) };
        reader.reader.check_fork()?;
        let Some(last) = &reader.closed else { return Ok(0) };
        *closed = &raw const *last.shown;
        Ok(1)
    })
}

/// How many lanes the reader has.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_lanes(reader: *mut ReaderHandle, lanes: *mut usize) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (lanes, reader) = unsafe { (out(lanes, 0, "lanes")?, handle(reader, "reader")?) };
        reader.reader.check_fork()?;
        *lanes = reader.reader.lanes();
        Ok(0)
    })
}

/// The last sealed era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_generation(reader: *mut ReaderHandle, generation: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (generation, reader) = unsafe { (out(generation, 0, "generation")?, handle(reader, "reader")?) };
        *generation = reader.reader.generation()?;
        Ok(0)
    })
}

/// Closes the reader.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_close(reader: *mut ReaderHandle) {
    // SAFETY: it came from `syncline_reader_open`, which boxed it.
    unsafe { free(reader) }
}
