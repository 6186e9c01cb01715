use super::*;
use crate::os::memfd::Segment;
use nix::fcntl::SealFlag;
use nix::sys::uio::pwrite;

#[test]
fn a_reader_that_is_there_misses_nothing_of_a_new_lane() {
    isolated(|| {
        let place = Place::new();
        let mut readers = [place.connect(), place.connect()];
        let joined = [readers[0].reader("z", &["a", "b"]), readers[1].reader("z", &["a"])];
        let roster = joined[0].roster();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        // When this returns, the writer has been told that the lane is open.
        let mut out = client.lane(&writer, "a");
        out.publish(&mut writer, 7, true);
        assert!(joined[0].roster() > roster, "the roster makes readers look");
        for (client, reader) in readers.iter_mut().zip(&joined) {
            assert!(client.conn.poll_readable(Some(Duration::ZERO)).unwrap(), "told before the writer was");
            let lane = client.added(reader);
            assert_eq!((reader.cursor(lane.entry), reader.end(lane.entry)), (0, u64::MAX));
            assert_eq!((lane.info.lane, lane.info.row, lane.info.serial), (out.number, writer.row, writer.serial));
            assert_eq!((&*lane.info.channel_name, &*lane.info.writer_name), ("a", "writer"));
            assert_eq!(lane.info.writer_pid, std::process::id());
            let held = &reader.zone.view().entry_lane[lane.entry as usize];
            assert_eq!(held.load(order::RELAXED.get()), out.number);
            assert_eq!(lane.read(0).0, [7]);
        }
        client.lane(&writer, "b");
        assert_eq!(readers[0].added(&joined[0]).info.channel_name, "b");
        readers[1].no_event();
    });
}

#[test]
fn a_reader_that_comes_later_gets_what_is_retained() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let mut out = client.lane(&writer, "a");
        for value in 0..5 {
            out.publish(&mut writer, value, true);
        }
        client.lane(&writer, "b");
        // Not mapped yet: nobody gets it.
        let (unmapped, ..) = client.make_lane(&writer, "c");
        let mut other = place.connect();
        let reader = other.reader("z", &["c", "a"]);
        let [lane] = &reader.lanes[..] else { panic!("{} lanes", reader.lanes.len()) };
        assert_eq!(reader.cursor(lane.entry), 0);
        assert_eq!(lane.read(0).0, [0, 1, 2, 3, 4]);
        assert!(!reader.zone.view().rows.is_empty() && reader.geometry.writers == 64);
        assert!(matches!(client.call(Ask::LaneMapped { lane: unmapped }).0, Tell::LaneOpen { .. }));
        assert_eq!(other.added(&reader).info.lane, unmapped);
    });
}

#[test]
fn nobody_can_write_a_lane_but_its_writer() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        let (lane, fd, capacity, _) = client.make_lane(&writer, "a");
        let last = SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL;
        assert!(!Segment::seals(fd.as_fd()).unwrap().intersects(last), "its writer maps it first");
        let _map = LaneMap::new(fd.as_fd(), capacity, Access::ReadWrite).unwrap();
        client.call(Ask::LaneMapped { lane });
        assert!(LaneMap::new(fd.as_fd(), capacity, Access::ReadWrite).is_err(), "not even the writer maps it again");
        let reader = client.reader("z", &["a"]);
        let read_only = &reader.lanes[0].fd;
        assert!(pwrite(read_only, b"x", 4096).is_err());
        let seals = Segment::seals(read_only.as_fd()).unwrap();
        assert!(seals.contains(last), "{seals:?}");
        let name = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(read_only))).unwrap();
        let name = name.display().to_string();
        assert!(name.contains(&format!("syncline:lane:row0:uid{}:serial{lane}:z:a", nix::unistd::geteuid())), "{name}");
        // Twice is once too often, and another's lane is nobody's.
        assert_eq!(client.refused(Ask::LaneMapped { lane }).0, Code::Invalid);
        assert_eq!(place.connect().refused(Ask::LaneMapped { lane }).0, Code::Unknown);
    });
}

#[test]
fn a_large_lane_is_made_while_others_are_served() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        let ty = TypeDesc::bytes();
        let capacity = 256 << 20;
        let ask = Ask::OpenLane {
            writer: writer.serial,
            channel: "large".to_owned(),
            ty,
            capacity,
            max_payload: 0,
            delivery: None,
        };
        let large = client.send(ask.clone());
        client.done(Ask::Sync);
        let was_later = client.others.is_empty();
        let (Tell::LaneMade { lane, capacity: made, .. }, fds) = client.answer(large) else { panic!() };
        assert!(was_later, "Sync was answered between two slices");
        assert_eq!(made, capacity);
        assert_eq!(
            nix::sys::stat::fstat(&fds[0]).unwrap().st_blocks as u64 * 512,
            capacity + 4096,
            "all of it is there"
        );
        assert!(matches!(client.call(Ask::LaneMapped { lane }).0, Tell::LaneOpen { .. }));
        // A writer that leaves in the middle leaves nothing behind.
        let second = client.writer("z");
        let Ask::OpenLane { channel, ty, .. } = ask else { panic!() };
        client.send(Ask::OpenLane { writer: second.serial, channel, ty, capacity, max_payload: 0, delivery: None });
        client.done(Ask::CloseWriter { writer: second.serial });
        client.done(Ask::CloseWriter { writer: writer.serial });
        place.until("everything is given back", |stats| stats.bytes == 0 && stats.lanes == 0);
    });
}

#[test]
fn a_writer_that_leaves_ends_its_lanes() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let mut out = client.lane(&writer, "a");
        let mut other = place.connect();
        let reader = other.reader("z", &["a"]);
        out.publish(&mut writer, 1, true);
        out.publish(&mut writer, 2, true);
        let roster = reader.roster();
        client.done(Ask::CloseWriter { writer: writer.serial });
        let entry = reader.lanes[0].entry;
        assert_eq!(other.event().0, Tell::LaneEnded { reader: reader.number, entry, died: false });
        assert!(reader.roster() > roster);
        assert_eq!(reader.lanes[0].read(0), (vec![1, 2], reader.end(entry)));
        assert_eq!(reader.zone.view().generation(), 1, "the last writer's work is sealed by the broker");
        // Nobody joins it any more; its entry lasts until it is done.
        assert!(other.reader("z", &["a"]).lanes.is_empty());
        place.until("the lane waits for its reader", |stats| (stats.lanes, stats.entries, stats.rows) == (1, 1, 0));
        assert_eq!(client.writer("z").version, 2, "the row counts on");
        other.send(Ask::LaneDone { reader: reader.number, entry });
        other.send(Ask::LaneDone { reader: reader.number, entry });
        other.done(Ask::Sync);
        place.until("the lane is gone", |stats| (stats.lanes, stats.entries) == (0, 0));
        let free = reader.zone.view().entry_lane[entry as usize].load(order::RELAXED.get());
        assert_eq!(free, crate::layout::zone::NO_LANE);
    });
}

#[test]
fn a_reader_that_gives_a_lane_up_holds_nothing_up() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        client.lane(&writer, "a");
        let reader = client.reader("z", &["a"]);
        client.send(Ask::LaneDone { reader: reader.number, entry: reader.lanes[0].entry });
        client.done(Ask::Sync);
        place.until("the entry is free", |stats| (stats.lanes, stats.entries) == (1, 0));
        let second = client.reader("z", &["a"]);
        assert_eq!(second.lanes[0].entry, reader.lanes[0].entry, "the lowest free one");
    });
}

#[test]
fn a_lane_with_a_damaged_floor_does_not_keep_readers_from_others() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        let damaged = client.lane(&writer, "damaged");
        damaged.map.view().header.floor.0.store(u64::MAX, order::RELAXED.get());
        let unnamed = client.lane(&writer, "unnamed");
        unnamed.map.view().header.preamble.magic.store(0, order::RELAXED.get());
        client.lane(&writer, "sound");
        let reader = client.reader("z", &["damaged", "unnamed", "sound"]);
        let names: Vec<_> = reader.lanes.iter().map(|lane| &*lane.info.channel_name).collect();
        assert_eq!(names, ["sound"]);
        place.until("no entry is lost", |stats| stats.entries == 1);
        client.done(Ask::CloseWriter { writer: writer.serial });
    });
}

#[test]
fn one_client_writes_in_several_zones() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let (first, second) = (client.writer("one"), client.writer("two"));
        assert_eq!((first.row, second.row), (0, 0));
        client.lane(&first, "a");
        client.lane(&second, "a");
        assert_eq!(client.reader("two", &["a"]).lanes[0].info.serial, second.serial);
        client.done(Ask::CloseWriter { writer: first.serial });
        place.until("its zone is gone", |stats| stats.zones == 1);
        client.lane(&second, "b");
        assert!(second.meeting.is_current());
    });
}
