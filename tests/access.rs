//! Who may touch what: a reader's process has no writable mapping of a lane, and can not get one.

mod support;

use nix::sys::mman::{MapFlags, ProtFlags};
use std::fs;
use std::num::NonZeroUsize;
use support::*;
use syncline::{Bus, Start};

/// Lines of `/proc/self/maps` that show segments of this kind.
fn maps_of(kind: &str) -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(&format!("syncline:{kind}"))).map(str::to_owned).collect()
}

/// The reader's process: looks at its mappings, then tries all it can to write.
fn reader() {
    let bus = Bus::connect().unwrap();
    let mut reader = bus.zone("z").reader("r").channel::<u64>("c").start(Start::Oldest).open().unwrap();
    assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), 7);

    let lanes = maps_of("lane");
    assert!(lanes.len() >= 2, "a lane is mapped twice in a row: {lanes:?}");
    for line in &lanes {
        assert!(line.contains(" r--s "), "a writable mapping of a lane: {line}");
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let from = usize::from_str_radix(from, 16).unwrap();
        let len = usize::from_str_radix(to, 16).unwrap() - from;
        let (at, len) = (std::ptr::without_provenance_mut::<libc::c_void>(from), NonZeroUsize::new(len).unwrap());
        let at = std::ptr::NonNull::new(at).unwrap();
        let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a change of protection that is refused changes nothing.
        assert!(unsafe { nix::sys::mman::mprotect(at, len.get(), writable) }.is_err(), "mprotect");
        let link = format!("/proc/self/map_files/{from:x}-{to}");
        // Root may follow this link to the file; others may not even do that.
        if let Ok(file) = fs::File::options().read(true).write(true).open(&link) {
            // SAFETY: a mapping at an address of the kernel's choice touches nothing that exists.
            let again = unsafe { nix::sys::mman::mmap(None, len, writable, MapFlags::MAP_SHARED, &file, 0) };
            assert!(again.is_err(), "a lane was mapped writable again");
            use std::os::unix::fs::FileExt;
            assert!(file.write_at(&[1], 4096).is_err(), "a lane was written through its file");
            assert!(file.set_len(4096).is_err(), "a lane was cut off");
        }
    }
    for line in maps_of("zone") {
        assert!(line.contains(" r--s "), "a reader's mapping of the zone is writable: {line}");
    }
    assert_eq!(maps_of("meeting").len(), 1);
    say("checked", "");
}

#[test]
fn a_reader_can_not_write_a_lane() {
    if role().is_some() {
        return reader();
    }
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    writer.publish(lane, &7).unwrap();
    let mut process = Process::start("a_reader_can_not_write_a_lane", "reader", bus.socket(), &[]);
    process.wait_for("checked");
    process.finish();
    writer.publish(lane, &8).unwrap();
}
