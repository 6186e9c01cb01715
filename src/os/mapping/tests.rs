//! Mappings against the real kernel.

use super::*;
use crate::layout::PAGE;
use crate::os::testing::in_child;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl, open};
use nix::sys::mman::{MapFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::sys::uio::pwrite;
use nix::unistd::{Uid, ftruncate, setuid};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

const CAPACITY: u64 = 4 * PAGE;
const GEOMETRY: zone::Geometry = zone::Geometry { writers: 3, eras: 8, entries: 5, pace: zone::Pace::Free };

fn lane() -> Segment {
    let segment = Segment::create("test", lane::segment_size(CAPACITY)).unwrap();
    segment.populate(0, segment.size()).unwrap();
    drop(LaneMap::create(segment.fd(), CAPACITY, 7).unwrap());
    segment
}

/// Every way to write that there is, tried through `fd`: what was not refused.
fn write_attempts(fd: BorrowedFd, size: u64) -> Vec<&'static str> {
    let len = NonZeroUsize::new(size as usize).unwrap();
    let mut allowed = Vec::new();
    let mut attempt = |what, result: Result<(), Errno>| {
        if result.is_ok() {
            allowed.push(what);
        }
    };
    let map = |protection| {
        // SAFETY: a new mapping at an address of the kernel's choice.
        unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, fd, 0) }
    };
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    attempt("writable mapping", map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map(drop));
    attempt("write-only mapping", map(ProtFlags::PROT_WRITE).map(drop));
    attempt("pwrite", pwrite(fd, b"forged", 0).map(drop));
    attempt("hole", fallocate(fd, punch, 0, PAGE as i64));
    attempt("shrink", ftruncate(fd, 0));
    attempt("grow", ftruncate(fd, size as i64 * 2));
    attempt("seal", fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).map(drop));

    let readable = map(ProtFlags::PROT_READ).unwrap();
    // SAFETY: `readable` is ours and nothing refers to it.
    unsafe {
        attempt("mprotect", mprotect(readable, len.get(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE));
        attempt("MADV_REMOVE", madvise(readable, len.get(), MmapAdvise::MADV_REMOVE));
        attempt("MADV_POPULATE_WRITE", madvise(readable, len.get(), MmapAdvise::MADV_POPULATE_WRITE));
    }
    let memory = File::options().write(true).open("/proc/self/mem").unwrap();
    attempt("/proc/self/mem", pwrite(&memory, b"forged", readable.as_ptr() as i64).map(drop));
    // SAFETY: as above.
    unsafe { munmap(readable, len.get()) }.unwrap();
    allowed
}

#[test]
fn a_sealed_lane_is_written_through_its_first_mapping_only() {
    let segment = lane();
    let writer = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap();
    segment.seal_lane().unwrap();
    writer.view().ring.word(8).store(42, Ordering::Release);

    assert_eq!(write_attempts(segment.fd(), segment.size()), [""; 0]);
    let again = format!("/proc/self/fd/{}", segment.fd().as_raw_fd());
    let again = open(again.as_str(), OFlag::O_RDWR, Mode::empty()).unwrap();
    assert_eq!(write_attempts(again.as_fd(), segment.size()), [""; 0], "opened again");
    assert_eq!(write_attempts(segment.read_only().unwrap().as_fd(), segment.size()), [""; 0], "read-only descriptor");
    assert_eq!(in_child(|| write_attempts(segment.fd(), segment.size()).is_empty()), 0, "another process");

    // Not even its writer makes holes, which would charge others for the pages.
    let base = writer.region.base().cast();
    // SAFETY: the range is the header's page; it holds atomics only.
    assert_eq!(unsafe { madvise(base, PAGE as usize, MmapAdvise::MADV_REMOVE) }, Err(Errno::EPERM));

    let error = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("only the writer that mapped it before may write"), "{error}");

    let reader = LaneMap::new(segment.read_only().unwrap().as_fd(), CAPACITY, Access::ReadOnly).unwrap();
    assert_eq!(reader.view().ring.word(8).load(Ordering::Acquire), 42);
    writer.view().ring.word(8).store(43, Ordering::Release);
    assert_eq!(reader.view().ring.word(8).load(Ordering::Acquire), 43);
}

#[test]
fn before_it_is_sealed_only_its_size_is_fixed() {
    let segment = lane();
    let allowed = write_attempts(segment.fd(), segment.size());
    let expected = ["writable mapping", "write-only mapping", "pwrite", "hole", "mprotect", "MADV_POPULATE_WRITE"];
    for what in expected {
        assert!(allowed.contains(&what), "{what} is no proof: refused anyway");
    }
    assert!(!allowed.contains(&"shrink") && !allowed.contains(&"grow"), "{allowed:?}");
}

#[test]
fn another_uid_can_not_open_a_segment_again() {
    if !Uid::effective().is_root() {
        return; // takes two users
    }
    let segment = lane();
    let reader = segment.read_only().unwrap();
    let code = in_child(|| {
        setuid(Uid::from_raw(1234)).unwrap();
        // `/proc/self` of a process that changed its uid belongs to root until it may be dumped again.
        nix::sys::prctl::set_dumpable(true).unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        open(path.as_str(), OFlag::O_RDWR, Mode::empty()).is_err_and(|errno| errno == Errno::EACCES)
            && LaneMap::new(reader.as_fd(), CAPACITY, Access::ReadOnly).is_ok()
    });
    assert_eq!(code, 0);
}

#[test]
fn the_mirror_shows_the_same_bytes() {
    let segment = lane();
    let writer = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap();
    let reader = LaneMap::new(segment.read_only().unwrap().as_fd(), CAPACITY, Access::ReadOnly).unwrap();
    assert_eq!((writer.capacity(), writer.view().ring.capacity()), (CAPACITY, CAPACITY));
    let message: Vec<u8> = (1..=100).collect();
    let position = 5 * CAPACITY - 40; // the last 60 bytes wrap
    // SAFETY: 100 bytes from the payload are mapped, writable, and used by this thread only.
    unsafe { writer.view().ring.payload(position).copy_from(NonNull::from(message.as_slice()).cast(), 100) };
    let mut read = [0; 100];
    // SAFETY: as above, for reading.
    unsafe { reader.view().ring.payload(position).as_ptr().copy_to(read.as_mut_ptr(), 100) };
    assert_eq!(read, *message);
    let wrapped = reader.view().ring.word(5 * CAPACITY).load(Ordering::Relaxed);
    assert_eq!(wrapped.to_le_bytes(), message[40..48], "the first mapping has what was written through the second");
    assert_eq!(writer.view().header.preamble.ident.load(Ordering::Relaxed), 7, "the ring does not reach the header");
    assert_eq!(writer.view().header.marks[31].ends.load(Ordering::Relaxed), 0);
}

#[test]
fn zone_and_meeting_are_shared_by_all_who_map_them() {
    let segment = Segment::create("test", GEOMETRY.segment_size()).unwrap();
    let map = ZoneMap::create(segment.fd(), GEOMETRY, 9).unwrap();
    segment.seal_shared().unwrap();
    let (other, reader) = (
        ZoneMap::new(segment.fd(), GEOMETRY, Access::ReadWrite).unwrap(),
        ZoneMap::new(segment.read_only().unwrap().as_fd(), GEOMETRY, Access::ReadOnly).unwrap(),
    );
    let view = map.view();
    assert_eq!((view.rows.len(), view.slots.len(), view.entry_lane.len()), (3, 8 * GEOMETRY.slot_stride(), 5));
    view.header.control.0.roster.store(1, Ordering::Relaxed);
    view.rows[2].start.store(2, Ordering::Relaxed);
    view.slots[view.slots.len() - 1].store(3, Ordering::Relaxed);
    view.entry_lane[4].store(4, Ordering::Relaxed);
    for view in [other.view(), reader.view()] {
        assert_eq!(view.header.control.0.roster.load(Ordering::Relaxed), 1);
        assert_eq!(view.rows[2].start.load(Ordering::Relaxed), 2);
        assert_eq!(view.slots[view.slots.len() - 1].load(Ordering::Relaxed), 3);
        assert_eq!(view.entry_lane[4].load(Ordering::Relaxed), 4);
        assert_eq!(view.header.preamble.ident.load(Ordering::Relaxed), 9);
    }

    let segment = Segment::create("test", meeting::segment_size(33)).unwrap();
    let map = MeetingMap::create(segment.fd(), 33, 9).unwrap();
    let other = MeetingMap::new(segment.fd(), 33).unwrap();
    map.view().entries[32].cursor.store(5, Ordering::Relaxed);
    assert_eq!(other.view().entries[32].cursor.load(Ordering::Relaxed), 5);
    assert!(other.view().entries.iter().all(|entry| entry.end.load(Ordering::Relaxed) == meeting::OPEN_END));
}

#[test]
fn a_read_only_mapping_can_not_be_stored_to() {
    let segment = lane();
    let code = in_child(|| {
        let map = LaneMap::new(segment.fd(), CAPACITY, Access::ReadOnly).unwrap();
        map.view().ring.word(0).store(1, Ordering::Relaxed);
        true
    });
    assert_eq!(code, -(Signal::SIGSEGV as i32));
}

#[test]
fn what_is_not_the_segment_is_refused() {
    let refusal = |error: io::Error, kind, text: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    let data = io::ErrorKind::InvalidData;
    let input = io::ErrorKind::InvalidInput;
    let read = |segment: &Segment| LaneMap::new(segment.fd(), CAPACITY, Access::ReadOnly).unwrap_err();

    let segment = lane();
    for capacity in [0, 8, 3 * PAGE, lane::MAX_CAPACITY * 2, u64::MAX] {
        let error = LaneMap::new(segment.fd(), capacity, Access::ReadOnly).unwrap_err();
        refusal(error, input, "expected a power of two, 4096 ..= 1073741824");
    }
    let error = LaneMap::new(segment.fd(), 2 * CAPACITY, Access::ReadOnly).unwrap_err();
    refusal(error, data, "expected a segment of 36864 bytes, found 20480");
    let bad = zone::Geometry { eras: 5, ..GEOMETRY };
    refusal(ZoneMap::new(segment.fd(), bad, Access::ReadOnly).unwrap_err(), input, "eras a power of two");
    refusal(MeetingMap::new(segment.fd(), 0).unwrap_err(), input, "expected 1 ..= 65536");

    // A file that its sender could cut off, one that is not memory, and one that is not a file.
    let flags = nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING;
    let unsealed = nix::sys::memfd::memfd_create("test", flags).unwrap();
    ftruncate(&unsealed, segment.size() as i64).unwrap();
    let error = LaneMap::new(unsealed.as_fd(), CAPACITY, Access::ReadOnly).unwrap_err();
    refusal(error, data, "F_SEAL_SHRINK | F_SEAL_GROW");
    let plain = File::open("/proc/self/exe").unwrap();
    let error = check_file(plain.as_fd(), plain.metadata().unwrap().len()).unwrap_err();
    refusal(error, data, "expected a sealed memory file");
    let (pipe, _) = nix::unistd::pipe().unwrap();
    refusal(check_file(pipe.as_fd(), 0).unwrap_err(), data, "expected a memory segment");

    // A preamble that says something else, word for word.
    let map = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap();
    let preamble = &map.view().header.preamble;
    for (word, wrong, text) in [
        (&preamble.magic, 0, "expected a Syncline segment"),
        (&preamble.kind, Kind::Lane as u64 | 99 << 32, &format!("expected layout version {LAYOUT_VERSION}")),
        (
            &preamble.kind,
            Kind::Zone as u64 | u64::from(LAYOUT_VERSION) << 32,
            "expected a Lane segment, kind 1, found kind 2",
        ),
        (&preamble.hash, !LAYOUT_HASH, "use one version of Syncline"),
        (&preamble.size, 4096, "expected a preamble that says 20480 bytes, found 4096"),
    ] {
        let right = word.swap(wrong, Ordering::Relaxed);
        refusal(read(&segment), data, text);
        word.store(right, Ordering::Relaxed);
    }
    LaneMap::new(segment.fd(), CAPACITY, Access::ReadOnly).unwrap();

    let reader = segment.read_only().unwrap();
    let error = LaneMap::new(reader.as_fd(), CAPACITY, Access::ReadWrite).unwrap_err();
    refusal(error, io::ErrorKind::PermissionDenied, "the descriptor is read-only");
}

#[test]
fn a_forked_child_has_none_of_its_parents_mappings() {
    let segment = lane();
    let map = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap();
    let (address, len) = (map.region.base().addr(), (lane::RING_OFFSET + 2 * CAPACITY) as usize);
    let mut inherited = Some(map);
    let code = in_child(|| {
        let foreign = !inherited.as_ref().unwrap().is_current();
        // The addresses are free there, all of them; something else takes them, and dropping the handle leaves it alone.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let len = NonZeroUsize::new(len).unwrap();
        // SAFETY: a new mapping, which replaces nothing.
        let other = unsafe { mmap_anonymous(Some(address), len, access, flags) }.unwrap().cast::<u8>();
        let own = LaneMap::new(segment.fd(), CAPACITY, Access::ReadWrite).unwrap();
        let still_foreign = !inherited.as_ref().unwrap().is_current();
        drop(inherited.take());
        // SAFETY: `other` is mapped, writable and ours: if dropping the handle had unmapped it, this would fault.
        unsafe { other.add(len.get() - 1).write_volatile(1) };
        own.view().ring.word(0).store(1, Ordering::Relaxed);
        foreign && still_foreign && own.is_current()
    });
    assert_eq!(code, 0);
    let map = inherited.unwrap();
    assert!(map.is_current());
    assert_eq!(map.view().ring.word(0).load(Ordering::Relaxed), 1, "the child's own mapping is of the same segment");
}
