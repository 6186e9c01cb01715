//! `syncline_stats`: counters of a zone, item by item.

use super::args::{handle, out, shared, text};
use super::bus::BusHandle;
use super::error::{c_text, free, guard};
use crate::client::{LaneStats, ReaderStats, Stats, WriterStats, ZoneStats};
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What is behind a `syncline_stats`.
pub struct StatsHandle {
    stats: Stats,
    /// The last reading.
    read: Option<Reading>,
}

/// `struct syncline_zone_stats`.
#[repr(C)]
pub struct CZoneStats {
    zone: *const c_char,
    time_ns: u64,
    eras: u64,
    writers: u32,
    lanes: u32,
    readers: u32,
    zero: u32,
}

/// `struct syncline_writer_stats`.
#[repr(C)]
pub struct CWriterStats {
    name: *const c_char,
    commits: u64,
    edges: u64,
    full: u64,
    wakes: u64,
    evictions: u64,
    writer: u32,
    pid: i32,
}

/// `struct syncline_lane_stats`.
#[repr(C)]
pub struct CLaneStats {
    channel: *const c_char,
    writer_name: *const c_char,
    lane: u64,
    messages: u64,
    bytes: u64,
    retained_messages: u64,
    retained_bytes: u64,
    capacity: u64,
    writer: u32,
    readers: u32,
    pins: u32,
    most_pins: u32,
    lossy: u32,
    evict_ms: u32,
    ended: u32,
    corrupt: u32,
}

/// `struct syncline_reader_stats`.
#[repr(C)]
pub struct CReaderStats {
    name: *const c_char,
    channel: *const c_char,
    lane: u64,
    messages: u64,
    bytes: u64,
    lost: u64,
    lags: u64,
    sleeps: u64,
    behind: u64,
    entry: u32,
    writer: u32,
    pid: i32,
    uid: u32,
    synced: u32,
    evicted: u32,
    pinned: u32,
    zero: u32,
}

const _: () = {
    assert!(size_of::<CZoneStats>() == 40);
    assert!(size_of::<CWriterStats>() == 56);
    assert!(size_of::<CLaneStats>() == 96);
    assert!(size_of::<CReaderStats>() == 104);
};

/// A reading for C, with all that it points to.
struct Reading {
    zone: Box<CZoneStats>,
    writers: Vec<CWriterStats>,
    lanes: Vec<CLaneStats>,
    readers: Vec<CReaderStats>,
    _texts: Vec<CString>,
}

impl Reading {
    fn new(read: &ZoneStats) -> Self {
        let mut texts = Vec::new();
        // Where a text is does not change with the list.
        let mut show = |text: &str| {
            let text = c_text(text);
            let shown = text.as_ptr();
            texts.push(text);
            shown
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let zone = Box::new(CZoneStats {
            zone: show(&read.zone),
            time_ns: read.time_us.saturating_mul(1000),
            eras: read.eras,
            writers: count(read.writers.len()),
            lanes: count(read.lanes.len()),
            readers: count(read.readers.len()),
            zero: 0,
        });
        let writers = read.writers.iter().map(|writer| CWriterStats::new(writer, &mut show)).collect();
        let lanes = read.lanes.iter().map(|lane| CLaneStats::new(lane, &mut show)).collect();
        let readers = read.readers.iter().map(|reader| CReaderStats::new(reader, &mut show)).collect();
        Reading { zone, writers, lanes, readers, _texts: texts }
    }
}

impl CWriterStats {
    fn new(writer: &WriterStats, mut show: impl FnMut(&str) -> *const c_char) -> Self {
        let WriterStats { row, name, pid, commits, edges, full, wakes, evictions } = writer;
        CWriterStats {
            name: show(name),
            commits: *commits,
            edges: *edges,
            full: *full,
            wakes: *wakes,
            evictions: *evictions,
            writer: *row,
            pid: *pid as i32,
        }
    }
}

impl CLaneStats {
    fn new(lane: &LaneStats, mut show: impl FnMut(&str) -> *const c_char) -> Self {
        CLaneStats {
            channel: show(&lane.channel),
            writer_name: show(&lane.name),
            lane: lane.lane,
            messages: lane.messages,
            bytes: lane.bytes,
            retained_messages: lane.retained_messages,
            retained_bytes: lane.retained_bytes,
            capacity: lane.capacity,
            writer: lane.writer,
            readers: lane.readers,
            pins: lane.pins,
            most_pins: lane.most_pins,
            lossy: lane.lossy.into(),
            evict_ms: lane.evict_after_ms,
            ended: lane.ended.into(),
            corrupt: lane.corrupt.into(),
        }
    }
}

impl CReaderStats {
    fn new(reader: &ReaderStats, mut show: impl FnMut(&str) -> *const c_char) -> Self {
        CReaderStats {
            name: show(&reader.name),
            channel: show(&reader.channel),
            lane: reader.lane,
            messages: reader.messages,
            bytes: reader.bytes,
            lost: reader.lost,
            lags: reader.lags,
            sleeps: reader.sleeps,
            behind: reader.behind,
            entry: reader.entry,
            writer: reader.writer,
            pid: reader.pid as i32,
            uid: reader.uid,
            synced: reader.synced.into(),
            evicted: reader.evicted.into(),
            pinned: reader.pinned.into(),
            zero: 0,
        }
    }
}

/// Maps the counters of a zone.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_open(
    bus: *mut BusHandle,
    zone: *const c_char,
    stats: *mut *mut StatsHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (stats, bus, zone) =
            unsafe { (out(stats, ptr::null_mut(), "stats")?, shared(bus, "bus")?, text(zone, "zone name")?) };
        let opened = StatsHandle { stats: bus.bus.zone(zone).stats()?, read: None };
        *stats = Box::into_raw(Box::new(opened));
        Ok(0)
    })
}

/// Reads all counters.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_read(stats: *mut StatsHandle, zone: *mut *const CZoneStats) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (zone, stats) = unsafe { (out(zone, ptr::null(), "zone")?, handle(stats, "stats")?) };
        let read = stats.read.insert(Reading::new(&stats.stats.read()?));
        *zone = &raw const *read.zone;
        Ok(0)
    })
}

/// An item of the last reading.
///
/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn item<T>(
    stats: *mut StatsHandle,
    index: usize,
    item: *mut *const T,
    of: impl FnOnce(&Reading) -> &[T],
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (item, stats) = unsafe { (out(item, ptr::null(), "item")?, handle(stats, "stats")?) };
        stats.stats.check_fork()?;
        let Some(found) = stats.read.as_ref().and_then(|read| of(read).get(index)) else { return Ok(0) };
        *item = found;
        Ok(1)
    })
}

/// A writer of the last reading.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_writer(
    stats: *mut StatsHandle,
    index: usize,
    writer: *mut *const CWriterStats,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { item(stats, index, writer, |read| &read.writers) }
}

/// A lane of the last reading.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_lane(
    stats: *mut StatsHandle,
    index: usize,
    lane: *mut *const CLaneStats,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { item(stats, index, lane, |read| &read.lanes) }
}

/// A reader of the last reading.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_reader(
    stats: *mut StatsHandle,
    index: usize,
    reader: *mut *const CReaderStats,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { item(stats, index, reader, |read| &read.readers) }
}

/// Frees the handle.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_stats_close(stats: *mut StatsHandle) {
    // SAFETY: it came from `syncline_stats_open`, which boxed it.
    unsafe { free(stats) }
}
