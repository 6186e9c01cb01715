//! Mapped segments as the core's views: the only place that turns shared memory into references.
//!
//! What makes the references sound: the file has exactly the size that the views reach over and is sealed against shrinking
//! (checked before it is mapped), so that no access can fault; every field of a layout is an atomic, so that whatever a
//! peer writes there at the same time is a race that the language allows; and a view can not outlive its map. (In a
//! read-only mapping the core only loads, relaxed or acquire, which is allowed there.) The ring's payload is handed out as
//! raw pointers only.
//!
//! A forked child has none of these mappings. Whoever may be called there asks `is_current` first; using a view of a map
//! that is not current ends in a fault, dropping the map does not.

mod table;

pub use table::TableMap;

use super::memfd::Segment;
use super::region::Region;
use crate::layout::{Kind, LAYOUT_HASH, LAYOUT_VERSION, MAGIC, Preamble, lane, meeting, zone};
use crate::ring::view;
use crate::sync::{AtomicU64, Ordering};
use nix::fcntl::SealFlag;
use nix::sys::mman::{MmapAdvise, ProtFlags};
use nix::sys::stat::fstat;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads.
    ReadOnly,
    /// Loads and stores.
    ReadWrite,
}

impl Access {
    pub(super) fn protection(self) -> ProtFlags {
        match self {
            Access::ReadOnly => ProtFlags::PROT_READ,
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        }
    }

    pub(super) fn populate(self) -> MmapAdvise {
        match self {
            Access::ReadOnly => MmapAdvise::MADV_POPULATE_READ,
            Access::ReadWrite => MmapAdvise::MADV_POPULATE_WRITE,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::ReadOnly => "read-only",
            Access::ReadWrite => "writable",
        })
    }
}

/// One struct of a mapped segment, at hand without the segment's view: for what every commit touches. Keeps the mapping.
#[derive(Debug)]
pub struct Shared<T> {
    at: NonNull<T>,
    _region: Arc<Region>,
}

// SAFETY: a shared reference to atomics in all but name.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(region: &Arc<Region>, of: &T) -> Shared<T> {
        Shared { at: NonNull::from(of), _region: region.clone() }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: made from a reference into the region, which is mapped as long as `self` holds it.
        unsafe { self.at.as_ref() }
    }
}

/// A mapped lane segment: its header, and its ring twice in a row.
#[derive(Debug)]
pub struct LaneMap {
    region: Region,
    capacity: u64,
}

impl LaneMap {
    /// Maps a lane with a ring of `capacity` bytes.
    ///
    /// # Errors
    /// `InvalidInput` for a capacity out of range; `InvalidData` if size, seals or preamble are not those of such a lane;
    /// `PermissionDenied` for write access to a sealed lane; out of memory.
    pub fn new(fd: BorrowedFd, capacity: u64, access: Access) -> io::Result<LaneMap> {
        let map = LaneMap::map(fd, capacity, access)?;
        check_preamble(&map.view().header.preamble, Kind::Lane, lane::segment_size(capacity))?;
        map.region.prefault(access)?;
        Ok(map)
    }

    /// As [`LaneMap::new`], read-only and without touching the pages: for who looks at few of them, once.
    ///
    /// # Errors
    /// As for [`LaneMap::new`].
    pub fn glance(fd: BorrowedFd, capacity: u64) -> io::Result<LaneMap> {
        let map = LaneMap::map(fd, capacity, Access::ReadOnly)?;
        check_preamble(&map.view().header.preamble, Kind::Lane, lane::segment_size(capacity))?;
        Ok(map)
    }

    /// Maps a new lane and writes its preamble. Does not touch the ring: see [`Segment::populate`].
    ///
    /// # Errors
    /// As for [`LaneMap::new`], without the preamble.
    pub fn create(fd: BorrowedFd, capacity: u64, ident: u64) -> io::Result<LaneMap> {
        let map = LaneMap::map(fd, capacity, Access::ReadWrite)?;
        write_preamble(&map.view().header.preamble, Kind::Lane, lane::segment_size(capacity), ident);
        Ok(map)
    }

    fn map(fd: BorrowedFd, capacity: u64, access: Access) -> io::Result<LaneMap> {
        if !capacity.is_power_of_two() || !(lane::MIN_CAPACITY..=lane::MAX_CAPACITY).contains(&capacity) {
            let (min, max) = (lane::MIN_CAPACITY, lane::MAX_CAPACITY);
            return Err(out_of_range(format!("ring of {capacity} bytes: expected a power of two, {min} ..= {max}")));
        }
        check_file(fd, lane::segment_size(capacity))?;
        Ok(LaneMap { region: Region::map_mirrored(fd, lane::RING_OFFSET, capacity, access)?, capacity })
    }

    /// What the core works on.
    #[inline]
    pub fn view(&self) -> view::Lane<'_> {
        let base = self.region.base();
        // SAFETY: `RING_OFFSET + 2 * capacity` bytes are mapped from `base` for as long as `self` is borrowed, the last
        // `capacity` showing the same as those before (`map_mirrored`); `base` is page-aligned; the header fits before the
        // ring and is made of atomics. `capacity` is a power of two of at least a page.
        unsafe {
            view::Lane {
                header: base.cast::<lane::Header>().as_ref(),
                ring: view::Ring::new(base.add(lane::RING_OFFSET as usize), self.capacity),
            }
        }
    }

    /// Size of the ring in bytes.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The `len` bytes at `position` of the ring, for its writer to fill: the lane is the caller's, mapped writable, and no
    /// head is among the bytes. At most the capacity.
    #[inline(always)]
    pub fn payload_mut(&mut self, position: u64, len: usize) -> &mut [u8] {
        let len = len.min(self.capacity as usize);
        let start = self.view().ring.payload(position);
        // SAFETY: `capacity` bytes from `start` are mapped contiguously for as long as `self` is borrowed; `&mut self` is the
        // one handle through which this process writes the lane, and no other process can (the segment is sealed). Views made
        // meanwhile reach heads only. In a read-only mapping a store would fault: only writers call this.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Copies the payload at `position` into `buffer`, word by word, relaxed: sound whatever the writer does meanwhile. At most the
    /// capacity; `position` is rounded down to 8.
    #[inline]
    pub fn copy_payload(&self, position: u64, buffer: &mut [u8]) {
        let len = buffer.len().min(self.capacity as usize);
        let start = self.view().ring.payload(position).cast::<AtomicU64>();
        let (words, rest) = buffer[..len].as_chunks_mut::<8>();
        for (index, bytes) in words.iter_mut().enumerate() {
            // SAFETY: `capacity` bytes from `start` are mapped contiguously, and `start` is a multiple of 8.
            let word = unsafe { start.add(index).as_ref() };
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if !rest.is_empty() {
            // SAFETY: as above; a payload is padded to 8, and `capacity` is a multiple of it.
            let word = unsafe { start.add(words.len()).as_ref() };
            rest.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..rest.len()]);
        }
    }

    /// Writes a payload: [`LaneMap::payload_mut`] and a copy, in one.
    #[inline(always)]
    pub fn fill(&mut self, position: u64, bytes: &[u8]) {
        if bytes.len() <= self.capacity as usize {
            let start = self.view().ring.payload(position);
            // SAFETY: as in `payload_mut`; `bytes` is not part of the lane, which only `self` can lend.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
        }
    }

    /// The payload in place. At most the capacity.
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives.
    #[inline]
    pub unsafe fn payload(&self, position: u64, len: usize) -> &[u8] {
        let len = len.min(self.capacity as usize);
        let start = self.view().ring.payload(position);
        // SAFETY: `capacity` bytes from `start` are mapped contiguously for as long as `self` is borrowed; that nobody writes
        // them is promised by the caller.
        unsafe { slice::from_raw_parts(start.as_ptr(), len) }
    }

    /// Whether the caller is the process that made this map, and not a forked child of it.
    #[inline(always)]
    pub fn is_current(&self) -> bool {
        self.region.is_current()
    }
}

/// A mapped zone segment. A clone shares the mapping.
#[derive(Clone, Debug)]
pub struct ZoneMap {
    region: Arc<Region>,
    geometry: zone::Geometry,
}

impl ZoneMap {
    /// Maps a zone of this shape.
    ///
    /// # Errors
    /// `InvalidInput` for a shape out of range; `InvalidData` if size, seals or preamble are not those of such a zone;
    /// `PermissionDenied` for write access by a read-only descriptor; out of memory.
    pub fn new(fd: BorrowedFd, geometry: zone::Geometry, access: Access) -> io::Result<ZoneMap> {
        let map = ZoneMap::map(fd, geometry, access)?;
        check_preamble(&map.view().header.preamble, Kind::Zone, geometry.segment_size())?;
        map.region.prefault(access)?;
        Ok(map)
    }

    /// Maps a new zone and writes its preamble. All else starts as zero.
    ///
    /// # Errors
    /// As for [`ZoneMap::new`], without the preamble.
    pub fn create(fd: BorrowedFd, geometry: zone::Geometry, ident: u64) -> io::Result<ZoneMap> {
        const { assert!(zone::NO_LANE == 0) };
        let map = ZoneMap::map(fd, geometry, Access::ReadWrite)?;
        write_preamble(&map.view().header.preamble, Kind::Zone, geometry.segment_size(), ident);
        Ok(map)
    }

    fn map(fd: BorrowedFd, geometry: zone::Geometry, access: Access) -> io::Result<ZoneMap> {
        if !geometry.is_valid() {
            return Err(out_of_range(format!(
                "{geometry:?}: expected writers 1 ..= {}, eras a power of two {} ..= {}, entries 1 ..= {}",
                zone::MAX_WRITERS,
                zone::MIN_ERAS,
                zone::MAX_ERAS,
                zone::MAX_ENTRIES
            )));
        }
        check_file(fd, geometry.segment_size())?;
        Ok(ZoneMap { region: Arc::new(Region::map(fd, geometry.segment_size(), access)?), geometry })
    }

    /// What the core works on.
    #[inline]
    pub fn view(&self) -> view::Zone<'_> {
        let (base, geometry) = (self.region.base(), self.geometry);
        let words = geometry.eras as usize * geometry.slot_stride();
        // SAFETY: `segment_size` bytes are mapped from `base` for as long as `self` is borrowed, and the header and the
        // three arrays lie inside them at the geometry's offsets, each a multiple of its alignment from the page-aligned
        // `base`; all are made of atomics.
        unsafe {
            let rows = base.add(geometry.rows_offset()).cast::<zone::Row>().as_ptr();
            let slots = base.add(geometry.slots_offset()).cast::<AtomicU64>().as_ptr();
            let entry_lane = base.add(geometry.entry_lane_offset()).cast::<AtomicU64>().as_ptr();
            view::Zone {
                header: base.cast::<zone::Header>().as_ref(),
                rows: slice::from_raw_parts(rows, geometry.writers as usize),
                slots: slice::from_raw_parts(slots, words),
                entry_lane: slice::from_raw_parts(entry_lane, geometry.entries as usize),
                geometry,
            }
        }
    }

    /// The zone's header.
    pub fn header(&self) -> Shared<zone::Header> {
        Shared::new(&self.region, self.view().header)
    }

    /// A row, if the zone has as many.
    pub fn row(&self, row: u32) -> Option<Shared<zone::Row>> {
        self.view().rows.get(row as usize).map(|row| Shared::new(&self.region, row))
    }

    /// The word that says which lane a reader entry is for, if there are as many.
    pub fn entry_lane(&self, entry: u32) -> Option<Shared<AtomicU64>> {
        self.view().entry_lane.get(entry as usize).map(|word| Shared::new(&self.region, word))
    }

    /// Whether the caller is the process that made this map, and not a forked child of it.
    #[inline(always)]
    pub fn is_current(&self) -> bool {
        self.region.is_current()
    }
}

/// A mapped meeting segment; writable for all readers and writers. A clone shares the mapping.
#[derive(Clone, Debug)]
pub struct MeetingMap {
    region: Arc<Region>,
    entries: u32,
}

impl MeetingMap {
    /// Maps a meeting of `entries` reader entries.
    ///
    /// # Errors
    /// `InvalidInput` for a number out of range; `InvalidData` if size, seals or preamble are not those of such a meeting;
    /// `PermissionDenied` for a read-only descriptor; out of memory.
    pub fn new(fd: BorrowedFd, entries: u32) -> io::Result<MeetingMap> {
        MeetingMap::open(fd, entries, Access::ReadWrite)
    }

    /// As [`MeetingMap::new`], read-only: for who counts.
    ///
    /// # Errors
    /// As for [`MeetingMap::new`]; any descriptor will do.
    pub fn glance(fd: BorrowedFd, entries: u32) -> io::Result<MeetingMap> {
        MeetingMap::open(fd, entries, Access::ReadOnly)
    }

    fn open(fd: BorrowedFd, entries: u32, access: Access) -> io::Result<MeetingMap> {
        let map = MeetingMap::map(fd, entries, access)?;
        check_preamble(&map.view().header.preamble, Kind::Meeting, meeting::segment_size(entries))?;
        map.region.prefault(access)?;
        Ok(map)
    }

    /// Maps a new meeting, writes its preamble and opens its entries' ends. All else starts as zero.
    ///
    /// # Errors
    /// As for [`MeetingMap::new`], without the preamble.
    pub fn create(fd: BorrowedFd, entries: u32, ident: u64) -> io::Result<MeetingMap> {
        let map = MeetingMap::map(fd, entries, Access::ReadWrite)?;
        let view = map.view();
        for entry in view.entries {
            entry.end.store(meeting::OPEN_END, Ordering::Relaxed);
        }
        write_preamble(&view.header.preamble, Kind::Meeting, meeting::segment_size(entries), ident);
        Ok(map)
    }

    fn map(fd: BorrowedFd, entries: u32, access: Access) -> io::Result<MeetingMap> {
        if !(1..=zone::MAX_ENTRIES).contains(&entries) {
            return Err(out_of_range(format!("{entries} reader entries: expected 1 ..= {}", zone::MAX_ENTRIES)));
        }
        let size = meeting::segment_size(entries);
        check_file(fd, size)?;
        Ok(MeetingMap { region: Arc::new(Region::map(fd, size, access)?), entries })
    }

    /// What the core works on.
    #[inline]
    pub fn view(&self) -> view::Meeting<'_> {
        let base = self.region.base();
        // SAFETY: `segment_size` bytes are mapped from `base` for as long as `self` is borrowed: the header and, right
        // behind it, the entries; `base` is page-aligned and the header's size a multiple of an entry's alignment; both are
        // made of atomics.
        unsafe {
            let entries = base.add(size_of::<meeting::Header>()).cast::<meeting::Entry>().as_ptr();
            view::Meeting {
                header: base.cast::<meeting::Header>().as_ref(),
                entries: slice::from_raw_parts(entries, self.entries as usize),
            }
        }
    }

    /// The meeting's bells.
    pub fn bells(&self) -> Shared<meeting::Header> {
        Shared::new(&self.region, self.view().header)
    }

    /// A reader entry, if there are as many.
    pub fn entry(&self, entry: u32) -> Option<Shared<meeting::Entry>> {
        self.view().entries.get(entry as usize).map(|entry| Shared::new(&self.region, entry))
    }

    /// Whether the caller is the process that made this map, and not a forked child of it.
    #[inline(always)]
    pub fn is_current(&self) -> bool {
        self.region.is_current()
    }
}

/// Whether `fd` is a file of exactly `expected` bytes that nobody can cut off: else an access could end in a SIGBUS.
fn check_file(fd: BorrowedFd, expected: u64) -> io::Result<()> {
    let stat = fstat(fd)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(invalid(format!("expected a memory segment, found a file of mode {:o}", stat.st_mode)));
    }
    if stat.st_size as u64 != expected {
        let found = stat.st_size;
        return Err(invalid(format!("expected a segment of {expected} bytes, found {found}: not the one announced")));
    }
    let required = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    match Segment::seals(fd) {
        Ok(seals) if seals.contains(required) => Ok(()),
        Ok(seals) => {
            Err(invalid(format!("expected a segment sealed {required:?}, found {seals:?}: its size could change")))
        }
        Err(source) => Err(invalid(format!("expected a sealed memory file, found one without seals ({source})"))),
    }
}

/// Whether a segment is of the kind, size and layout that this build expects. Each word is read once.
fn check_preamble(preamble: &Preamble, kind: Kind, size: u64) -> io::Result<()> {
    let [magic, found_kind, hash, found_size] =
        [&preamble.magic, &preamble.kind, &preamble.hash, &preamble.size].map(|word| word.load(Ordering::Relaxed));
    let version = (found_kind >> 32) as u32;
    if magic != MAGIC {
        return Err(invalid(format!("expected a Syncline segment (magic {MAGIC:#018x}), found {magic:#018x}")));
    }
    if version != LAYOUT_VERSION || hash != LAYOUT_HASH {
        return Err(invalid(format!(
            "expected layout version {LAYOUT_VERSION} (hash {LAYOUT_HASH:#018x}), found {version} ({hash:#018x}): \
             use one version of Syncline in the broker and all its clients"
        )));
    }
    if found_kind as u32 != kind as u32 {
        return Err(invalid(format!(
            "expected a {kind:?} segment, kind {}, found kind {}",
            kind as u32, found_kind as u32
        )));
    }
    if found_size != size {
        return Err(invalid(format!("expected a preamble that says {size} bytes, found {found_size}")));
    }
    Ok(())
}

/// The maker's side of [`check_preamble`]. Whoever else maps the segment gets its descriptor after this.
fn write_preamble(preamble: &Preamble, kind: Kind, size: u64, ident: u64) {
    preamble.kind.store(kind as u64 | u64::from(LAYOUT_VERSION) << 32, Ordering::Relaxed);
    preamble.hash.store(LAYOUT_HASH, Ordering::Relaxed);
    preamble.size.store(size, Ordering::Relaxed);
    preamble.ident.store(ident, Ordering::Relaxed);
    preamble.magic.store(MAGIC, Ordering::Release);
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn out_of_range(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests;
