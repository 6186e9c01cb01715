//! `syncline_writer`: its lanes and its edges; [`super::publish`] has the messages.
//!
//! A loan and a batch are states of the handle: C has no guard that could hold them. While one is open, what Rust's borrow of the
//! writer rules out is refused here.

use super::args::{self, Growing, handle, invalid, out, shared, text, wanted};
use super::bus::BusHandle;
use super::edge::OwnedEdge;
use super::error::{c_text, coded, free, guard};
use super::items::Items;
use super::types::{self, CType};
use super::zone::{CZoneOptions, ZoneShape, check_zero};
use crate::client::{HaltMode, Key, Writer};
use crate::error::{Code, Error, Result};
use crate::ring::lane::Claim;
use crate::wire::TypeDesc;
use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

/// What is behind a `syncline_writer`.
pub struct WriterHandle {
    pub(super) writer: Writer,
    /// What the lanes carry, by index; `None`: what a table has changed, which is not for C to publish.
    shapes: Vec<Option<Shape>>,
    pub(super) loan: Option<(Key, Claim)>,
    pub(super) in_batch: bool,
    /// The edge that was looked at last.
    pub(super) edge: Option<OwnedEdge>,
    /// The reader that was looked at last.
    holder: Option<OwnedHolder>,
    /// The items of its tables.
    pub(super) items: Items,
}

/// What lengths a lane's messages may have.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    element: usize,
    variable: bool,
}

impl Shape {
    fn new(ty: &TypeDesc) -> Self {
        Shape { element: ty.size as usize, variable: ty.variable }
    }

    #[inline(always)]
    fn admits(self, len: usize) -> bool {
        if self.variable { self.element <= 1 || len.is_multiple_of(self.element) } else { len == self.element }
    }

    #[inline(always)]
    fn check(self, len: usize) -> Result<()> {
        if self.admits(len) { Ok(()) } else { Err(self.refuse(len)) }
    }

    #[cold]
    #[inline(never)]
    fn refuse(self, len: usize) -> Error {
        let expected = if self.variable { "a whole number of elements" } else { "one element" };
        let text =
            format!("message of {len} bytes: expected {expected} of the channel's type, {} bytes each", self.element);
        coded(Code::BadValue, text)
    }
}

impl WriterHandle {
    /// Nothing is open that forbids the call.
    #[inline(always)]
    pub(super) fn check_idle(&self) -> Result<()> {
        if self.in_batch || self.loan.is_some() { Err(self.busy()) } else { Ok(()) }
    }

    #[inline(always)]
    pub(super) fn check_no_loan(&self) -> Result<()> {
        if self.loan.is_some() { Err(self.busy()) } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn busy(&self) -> Error {
        let (what, ends) = match self.loan {
            Some(_) => ("loan", "syncline_loan_publish or syncline_loan_drop"),
            None => ("batch", "syncline_batch_commit or syncline_batch_roll_back"),
        };
        self.out_of_turn(format!("a {what} is open: end it first, with {ends}"))
    }

    /// The text, but in a forked child that comes first.
    fn out_of_turn(&self, text: String) -> Error {
        self.writer.check_fork().err().unwrap_or_else(|| invalid(text))
    }

    pub(super) fn check_in_batch(&self) -> Result<()> {
        if self.in_batch {
            return self.writer.check_fork();
        }
        Err(self.out_of_turn("no batch is open: begin one with syncline_batch_begin".to_owned()))
    }

    pub(super) fn open_loan(&self) -> Result<(Key, Claim)> {
        self.writer.check_fork()?;
        self.loan.ok_or_else(|| invalid("no loan is open: take one with syncline_writer_loan"))
    }

    /// Whether the lane carries messages of this length. One of another writer's, of which there is one of that index here, is for the claim to
    /// refuse.
    #[inline(always)]
    pub(super) fn check_len(&self, key: Key, len: usize) -> Result<()> {
        self.shape(key)?.check(len)
    }

    /// What a lane carries that was opened from C.
    #[inline(always)]
    pub(super) fn shape(&self, key: Key) -> Result<Shape> {
        match self.shapes.get(key.index as usize) {
            Some(Some(shape)) => Ok(*shape),
            _ => {
                Err(self.out_of_turn("the lane belongs to another writer: use one that this writer opened".to_owned()))
            }
        }
    }
}

/// `struct syncline_writer_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct WriterOptions {
    size: usize,
    zone: *const c_char,
    name: *const c_char,
    room_timeout_ns: i64,
    zone_writers: u32,
    zone_eras: u32,
    zone_subscriptions: u32,
    zero: u32,
    zone_options: *const CZoneOptions,
}

/// `struct syncline_lane_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LaneOptions {
    size: usize,
    capacity: u64,
    max_len: u64,
    delivery: u32,
    evict_ms: u32,
}

/// `struct syncline_holder`.
#[repr(C)]
pub struct CHolder {
    name: *const c_char,
    behind: u64,
    pid: i32,
    uid: u32,
    synced: u32,
    zero: u32,
}

/// The same with the text that it points to.
pub(super) struct OwnedHolder {
    shown: Box<CHolder>,
    _name: CString,
}

const _: () = assert!(size_of::<CHolder>() == 32);

const _: () = assert!(size_of::<WriterOptions>() == 56 && size_of::<LaneOptions>() == 32);

// SAFETY: `repr(C)`, the size first, no padding, pointers and integers.
unsafe impl Growing for WriterOptions {
    const NAME: &'static str = "struct syncline_writer_options";
}

// SAFETY: as above.
unsafe impl Growing for LaneOptions {
    const NAME: &'static str = "struct syncline_lane_options";
}

/// Opens a writer.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_open(
    bus: *mut BusHandle,
    options: *const WriterOptions,
    writer: *mut *mut WriterHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (writer, bus, options) =
            unsafe { (out(writer, ptr::null_mut(), "writer")?, shared(bus, "bus")?, args::sized(options)?) };
        check_zero(options.zero, WriterOptions::NAME)?;
        // SAFETY: as above.
        let (zone, name) = unsafe { (text(options.zone, "zone name")?, text(options.name, "writer name")?) };
        let shape = ZoneShape {
            options: options.zone_options,
            writers: options.zone_writers,
            eras: options.zone_eras,
            subscriptions: options.zone_subscriptions,
        };
        // SAFETY: as above.
        let mut opened = unsafe { shape.give(bus.bus.zone(zone))? }.writer(name)?;
        opened.set_room_timeout(args::timeout(options.room_timeout_ns));
        let opened = WriterHandle {
            writer: opened,
            shapes: Vec::new(),
            loan: None,
            in_batch: false,
            edge: None,
            holder: None,
            items: Items::default(),
        };
        *writer = Box::into_raw(Box::new(opened));
        Ok(0)
    })
}

/// Opens a lane.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lane_open(
    writer: *mut WriterHandle,
    channel: *const c_char,
    ty: *const CType,
    options: *const LaneOptions,
    lane: *mut u64,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls.
        let (lane, writer, channel, ty) = unsafe {
            (
                out(lane, u64::MAX, "lane")?,
                handle(writer, "writer")?,
                text(channel, "channel name")?,
                types::describe(ty)?.unwrap_or_else(TypeDesc::bytes),
            )
        };
        let options = if options.is_null() {
            LaneOptions { size: 0, capacity: 0, max_len: 0, delivery: 0, evict_ms: 0 }
        } else {
            // SAFETY: as above.
            unsafe { args::sized(options)? }
        };
        writer.check_idle()?;
        let shape = Shape::new(&ty);
        let builder = writer.writer.channel(channel).capacity(options.capacity).max_len(options.max_len);
        let builder = match (options.delivery, options.evict_ms) {
            (0, 0) => builder,
            (1, 0) => builder.reliable(),
            (1, evict_ms) => builder.evict_after(Duration::from_millis(evict_ms.into())),
            (2, 0) => builder.lossy(),
            (found @ 0..=2, _) => {
                return Err(invalid(format!(
                    "evict_ms: expected 0 with delivery {found}, since only reliable channels evict"
                )));
            }
            (found, _) => {
                return Err(invalid(format!("delivery: expected one of enum syncline_delivery, found {found}")));
            }
        };
        let key = builder.open_described(ty)?;
        // Lanes are numbered as they are opened, those of tables among them.
        writer.shapes.resize(key.index as usize, None);
        writer.shapes.push(Some(shape));
        *lane = key.to_bits();
        Ok(0)
    })
}

/// Who holds a lane up.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_held_up_by(
    writer: *mut WriterHandle,
    lane: u64,
    holder: *mut *const CHolder,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (holder, writer) = unsafe { (out(holder, ptr::null(), "holder")?, handle(writer, "writer")?) };
        let Some(by) = writer.writer.holder(Key::from_bits(lane))? else { return Ok(0) };
        let name = c_text(&by.name);
        let shown = Box::new(CHolder {
            name: name.as_ptr(),
            behind: by.behind,
            pid: by.pid as i32,
            uid: by.uid,
            synced: by.synced.into(),
            zero: 0,
        });
        let owned = writer.holder.insert(OwnedHolder { shown, _name: name });
        *holder = &raw const *owned.shown;
        Ok(1)
    })
}

/// Seals an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_edge(writer: *mut WriterHandle, era: *mut u64) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { seal(writer, era, Writer::edge) }
}

/// Seals an era, with a tag.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_edge_tagged(writer: *mut WriterHandle, tag: u64, era: *mut u64) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { seal(writer, era, |writer| writer.edge_tagged(tag)) }
}

/// Lets the edge of the open era pass.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_permit(writer: *mut WriterHandle, era: *mut u64) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { seal(writer, era, Writer::permit) }
}

/// Drops what is not sealed, for everybody.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_roll_back_era(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.check_idle()?;
        writer.writer.roll_back_era().map(|()| 0)
    })
}

/// What edges and permits have in common.
///
/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn seal(writer: *mut WriterHandle, era: *mut u64, seal: impl FnOnce(&mut Writer) -> Result<u64>) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        // SAFETY: as above; NULL says that nobody wants to know.
        let era = unsafe { wanted(era, "era")? };
        writer.check_idle()?;
        let sealed = seal(&mut writer.writer)?;
        if let Some(era) = era {
            *era = sealed;
        }
        Ok(0)
    })
}

/// Asks everybody to finish and commit now.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_request_early(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.request_early().map(|()| 0)
    })
}

/// Whether somebody has asked for that.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_early_requested(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.check_fork()?;
        Ok(c_int::from(writer.writer.early_requested()))
    })
}

/// Looks for halts and hints.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_step(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.step().map(c_int::from)
    })
}

/// Says what to do during a halt.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_on_halt(writer: *mut WriterHandle, mode: u32) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.check_fork()?;
        let mode = match mode {
            0 => HaltMode::Wait,
            1 => HaltMode::Refuse,
            other => return Err(invalid(format!("mode: expected one of enum syncline_halt_mode, found {other}"))),
        };
        writer.writer.on_halt(mode);
        Ok(0)
    })
}

/// Waits until all readers have done with an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_wait_done(writer: *mut WriterHandle, era: u64, timeout_ns: i64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.wait_done(era, args::timeout(timeout_ns)).map(|()| 0)
    })
}

/// Sets how long to wait for room.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_set_room_timeout(writer: *mut WriterHandle, timeout_ns: i64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.check_fork()?;
        writer.writer.set_room_timeout(args::timeout(timeout_ns));
        Ok(0)
    })
}

/// The last sealed era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_generation(writer: *mut WriterHandle, generation: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (generation, writer) = unsafe { (out(generation, 0, "generation")?, handle(writer, "writer")?) };
        *generation = writer.writer.generation()?;
        Ok(0)
    })
}

/// The writer's row.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_row(writer: *mut WriterHandle, row: *mut u32) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (row, writer) = unsafe { (out(row, 0, "row")?, handle(writer, "writer")?) };
        writer.writer.check_fork()?;
        *row = writer.writer.row();
        Ok(0)
    })
}

/// Closes the writer.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_close(writer: *mut WriterHandle) {
    // SAFETY: it came from `syncline_writer_open`, which boxed it.
    unsafe { free(writer) }
}
