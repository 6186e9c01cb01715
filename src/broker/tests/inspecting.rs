//! Onlookers: what they are shown, and that it is for reading only.

use super::*;
use crate::broker::segments::ZoneSegments;

/// What is shown of a zone: its number and roster, its descriptors, and its lanes with where they end.
type Shown = ((u64, Geometry, u64), [OwnedFd; 2], Vec<(LaneInfo, Option<u64>, OwnedFd)>);

fn inspect(client: &mut Client, zone: &str) -> Shown {
    let id = client.send(Ask::Inspect { zone: zone.to_owned() });
    let (Tell::ZoneShown { zone, geometry, roster }, fds) = client.answer(id) else { panic!("no zone") };
    let mut lanes = Vec::new();
    loop {
        match client.answer(id) {
            (Tell::LaneShown { lane, pins, end }, fds) => {
                assert_eq!(pins, 0, "a reliable lane");
                let [fd] = fds.try_into().unwrap();
                lanes.push((lane, end, fd));
            }
            (Tell::Done, _) => return ((zone, geometry, roster), fds.try_into().unwrap(), lanes),
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// Would break: an onlooker that could write; a lane that is not shown, or is before it is one.
#[test]
fn onlookers_are_shown_all_and_can_write_nothing() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut onlooker = place.connect();
        let (code, text) = onlooker.refused(Ask::Inspect { zone: "z".to_owned() });
        assert_eq!(code, Code::Unknown, "{text}");
        assert_eq!(onlooker.refused(Ask::Inspect { zone: String::new() }).0, Code::Invalid);

        let mut writer = client.writer("z");
        let ((number, geometry, roster), [zone, meeting], lanes) = inspect(&mut onlooker, "z");
        assert!(lanes.is_empty());
        let mut out = client.lane(&writer, "a");
        client.make_lane(&writer, "not mapped yet");
        out.publish(&mut writer, 7, true);
        // Two sessions with a process each, the zone's, a lane that is open and one that is made.
        let fds = 2 * 2 + ZoneSegments::FDS + 2;
        place.until("all is there", |stats| stats.lanes == 2 && stats.fds == fds);
        let ((again, _, later), _, lanes) = inspect(&mut onlooker, "z");
        assert_eq!((again, lanes.len()), (number, 1));
        assert!(later > roster, "whoever looks finds that something has changed");
        let (info, end, fd) = &lanes[0];
        assert_eq!((info.lane, info.channel_name.as_str(), *end), (out.number, "a", None));
        assert_eq!(info.writer_pid, std::process::id());

        let denied = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        denied(ZoneMap::new(zone.as_fd(), geometry, Access::ReadWrite).unwrap_err());
        denied(MeetingMap::new(meeting.as_fd(), geometry.entries).unwrap_err());
        denied(LaneMap::new(fd.as_fd(), info.capacity, Access::ReadWrite).unwrap_err());
        let map = ZoneMap::new(zone.as_fd(), geometry, Access::ReadOnly).unwrap();
        assert_eq!(map.view().header.control.0.roster.load(order::ROSTER_SEE.get()), later);
        MeetingMap::glance(meeting.as_fd(), geometry.entries).unwrap();
        LaneMap::glance(fd.as_fd(), info.capacity).unwrap();
        place.until("nothing stays with the broker", |stats| stats.fds == fds && stats.readers == 0);
        onlooker.no_event();

        // Somebody has not drained it.
        let reader = client.reader("z", &["a"]);
        client.done(Ask::CloseWriter { writer: writer.serial });
        let (_, _, lanes) = inspect(&mut onlooker, "z");
        assert_eq!(lanes.iter().map(|(_, end, _)| *end).collect::<Vec<_>>(), [Some(24)]);
        client.done(Ask::CloseReader { reader: reader.number });
        place.until("the zone goes", |stats| stats.zones == 0);
    });
}
