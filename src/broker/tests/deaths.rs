use super::*;
use crate::layout::lane::MAX_VERSION;
use crate::os::testing::{join_child, spawn_child};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write, pipe};

/// A process that runs `body` and is then killed, or keeps what `body` returns until it is.
pub(super) struct Victim {
    pid: Pid,
    buried: bool,
}

impl Victim {
    /// Returns once `body` has returned in the child.
    pub(super) fn new<T>(body: impl FnOnce() -> T) -> Victim {
        let (mut ready, mut tell) = pipe().unwrap();
        let pid = spawn_child(|| {
            let _kept = body();
            tell.write_all(b"!").unwrap();
            loop {
                std::thread::sleep(PATIENCE);
            }
        });
        drop(tell);
        ready.read_exact(&mut [0]).expect("the victim is ready");
        Victim { pid, buried: false }
    }

    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.buried, true) {
            kill(self.pid, Signal::SIGKILL).unwrap();
            assert_eq!(join_child(self.pid), -(Signal::SIGKILL as i32));
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn a_killed_process_leaves_nothing() {
    isolated(|| {
        let place = Place::new();
        let mut bystander = place.connect();
        bystander.done(Ask::Sync);
        let (fds, stats) = (open_fds(), place.stats());
        for _ in 0..3 {
            let victim = Victim::new(|| {
                let mut clients = [place.connect(), place.connect()];
                let writer = clients[0].writer("z");
                let lanes = ["a", "b"].map(|channel| clients[0].lane(&writer, channel));
                let readers = [clients[0].reader("z", &["a", "b"]), clients[1].reader("z", &["a", "x"])];
                clients[1].send(Ask::WaitReaders { zone: "z".to_owned(), channel: "q".to_owned(), count: 1 });
                clients[1].done(Ask::Watch { zone: String::new() });
                (clients, writer, lanes, readers)
            });
            place.until("it is there", |stats| (stats.sessions, stats.lanes, stats.entries) == (3, 2, 3));
            assert_eq!(open_fds(), fds + place.stats().fds - stats.fds, "the books know every descriptor");
            victim.kill();
            place.until("all of it is gone", |now| now == Stats { completed: 0, buried: 0, ..stats });
            assert_eq!(open_fds(), fds);
        }
        bystander.done(Ask::Sync);
    });
}

#[test]
fn a_dead_writers_last_commit_is_finished_or_buried() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        // Keeps the zone.
        let keeper = client.writer("z");
        let reader = client.reader("z", &["a", "b"]);
        let killed = |last: &dyn Fn(&mut Writer, &mut [LaneOut; 2])| {
            Victim::new(|| {
                let mut client = place.connect();
                let mut writer = client.writer("z");
                let mut lanes = ["a", "b"].map(|channel| client.lane(&writer, channel));
                lanes[0].publish(&mut writer, 1, true);
                last(&mut writer, &mut lanes);
                (client, writer, lanes)
            })
            .kill();
        };
        let row = 1;
        assert_eq!(keeper.row, 0);

        // Shown and not committed: readers have it.
        killed(&|writer, lanes| lanes[0].publish(writer, 2, false));
        let lanes = [client.added(&reader), client.added(&reader)];
        for lane in &lanes {
            assert_eq!(client.event().0, Tell::LaneEnded { reader: reader.number, entry: lane.entry, died: true });
        }
        assert_eq!(lanes[0].read(0), (vec![1, 2], reader.end(lanes[0].entry)));
        assert_eq!(reader.end(lanes[1].entry), 0);
        assert_eq!(reader.version(row), 2, "completed");
        place.until("counted", |stats| (stats.completed, stats.buried) == (1, 0));

        // A batch over two lanes, of which one head is shown.
        killed(&|writer, lanes| {
            lanes[0].push(writer, 8);
            lanes[1].push(writer, 9);
            lanes[0].ring.show_batch(lanes[0].map.view(), true);
        });
        let lanes = [client.added(&reader), client.added(&reader)];
        assert_eq!(lanes[0].info.row, row, "the row is used again");
        for lane in &lanes {
            assert_eq!(client.event().0, Tell::LaneEnded { reader: reader.number, entry: lane.entry, died: true });
        }
        let frame = 24;
        assert_eq!((reader.end(lanes[0].entry), reader.end(lanes[1].entry)), (frame, 0));
        assert_eq!(reader.version(row), 3, "the row counts on, and not over what was buried");
        place.until("counted", |stats| (stats.completed, stats.buried) == (1, 1));
        place.until("lanes wait for their reader", |stats| (stats.lanes, stats.rows) == (4, 1));
        client.done(Ask::CloseReader { reader: reader.number });
        place.until("and go with it", |stats| (stats.lanes, stats.entries) == (0, 0));
    });
}

#[test]
fn a_closed_socket_is_no_death() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let (mut ready, mut tell) = pipe().unwrap();
        let victim = Victim::new(|| {
            let mut client = place.connect();
            let mut writer = client.writer("z");
            let mut lane = client.lane(&writer, "a");
            let reader = client.reader("z", &["a", "later"]);
            drop(client);
            lane.publish(&mut writer, 5, true);
            tell.write_all(&reader.number.to_le_bytes()).unwrap();
            (writer, lane, reader)
        });
        let mut number = [0; 8];
        ready.read_exact(&mut number).unwrap();
        place.until("the socket is closed", |stats| stats.fds == 2 + 1 + ZoneSegments::FDS + 1);
        place.until("everything is kept", |stats| (stats.sessions, stats.rows, stats.readers) == (2, 1, 1));
        let reader = client.reader("z", &["a"]);
        assert_eq!(reader.lanes[0].read(0).0, [5], "and goes on working");
        // It can not be told of new lanes, so it gets none, and is not counted.
        let writer = client.writer("z");
        assert_eq!(writer.row, 1);
        client.lane(&writer, "later");
        place.until("no entry", |stats| stats.entries == 2);
        let wait = |count| Ask::WaitReaders { zone: "z".to_owned(), channel: "a".to_owned(), count };
        assert_eq!(client.call(wait(1)).0, Tell::Readers { count: 1 });
        // What it had opened is not another connection's.
        assert_eq!(client.refused(Ask::CloseReader { reader: u64::from_le_bytes(number) }).0, Code::Unknown);
        victim.kill();
        let entry = reader.lanes[0].entry;
        assert_eq!(client.event().0, Tell::LaneEnded { reader: reader.number, entry, died: true });
        place.until("its death frees it", |stats| (stats.sessions, stats.rows, stats.readers) == (1, 1, 1));
    });
}

#[test]
fn who_has_closed_all_leaves_with_its_socket() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        client.lane(&writer, "a");
        let reader = client.reader("z", &["a"]);
        client.done(Ask::CloseWriter { writer: writer.serial });
        client.done(Ask::CloseReader { reader: reader.number });
        drop(client);
        place.until("nothing is left", |stats| stats == Stats::default());
    });
}

#[test]
fn last_words_are_heard() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        client.done(Ask::Watch { zone: String::new() });
        // It closes its writer, does not wait, and is gone.
        let child = spawn_child(|| {
            let mut client = place.connect();
            let writer = client.writer("z");
            client.send(Ask::CloseWriter { writer: writer.serial });
            true
        });
        assert_eq!(join_child(child), 0);
        place.until("it is gone", |stats| (stats.sessions, stats.zones) == (1, 0));
        let what = |(told, _): Told| match told {
            Tell::Presence(event) => event.what,
            other => panic!("{other:?}"),
        };
        use crate::wire::PresenceWhat::{Came, Left};
        assert_eq!([what(client.event()), what(client.event())], [Came, Left], "it left, and did not die");
    });
}

#[test]
fn a_child_that_holds_the_socket_is_not_its_dead_parent() {
    isolated(|| {
        let place = Place::new();
        let (mut ready, mut tell) = pipe().unwrap();
        // The victim's child keeps its socket open.
        let victim = Victim::new(|| {
            let mut client = place.connect();
            let writer = client.writer("z");
            let child = spawn_child(|| {
                std::thread::sleep(Duration::from_secs(2));
                true
            });
            tell.write_all(&child.as_raw().to_le_bytes()).unwrap();
            (client, writer)
        });
        let mut child = [0; 4];
        ready.read_exact(&mut child).unwrap();
        victim.kill();
        place.until("death counts, not the socket", |stats| stats == Stats::default());
        let child = Pid::from_raw(i32::from_le_bytes(child));
        kill(child, None).expect("the child still lives");
        kill(child, Signal::SIGKILL).unwrap();
    });
}

#[test]
fn a_row_that_has_counted_far_is_not_used_again() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let keeper = client.writer("z");
        let mut writer = client.writer("z");
        assert_eq!((keeper.row, writer.row), (0, 1));
        writer.version = MAX_VERSION / 2 + 1;
        writer.store_version();
        client.done(Ask::CloseWriter { writer: writer.serial });
        assert_eq!(client.writer("z").row, 2);
    });
}

#[test]
fn a_dead_reader_lets_its_writer_go_on() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let mut out = client.lane(&writer, "a");
        let victim = Victim::new(|| {
            let mut client = place.connect();
            (client.reader("z", &["a"]), client)
        });
        let mut floor = crate::ring::floor::Floor::new(out.number);
        for value in 0..100 {
            out.publish(&mut writer, value, true);
        }
        let (zone, meeting) = (writer.zone.view(), writer.meeting.view());
        let tail = out.ring.tail();
        let mut advance = || floor.advance(out.map.view(), zone, meeting, tail, 1);
        assert!(advance().is_err(), "the reader holds the floor");
        let room = &meeting.header.room.0;
        let expected = crate::ring::bell::announce(room, 1);
        victim.kill();
        eventually("the writer is rung", || room.bell.load(order::RELAXED.get()) != expected);
        place.until("the entry is free", |stats| stats.entries == 0);
        assert!(advance().is_ok());
    });
}
