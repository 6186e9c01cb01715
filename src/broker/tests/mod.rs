//! The broker over real sockets, with clients that are threads, forked processes, or hostile.
//!
//! Each test runs in a process of its own: a child forked by another test would otherwise hold copies of this test's sockets,
//! and hide that they were closed.

mod any;
mod deaths;
mod halts;
mod inspecting;
mod joining;
mod lifecycle;
mod locking;
mod refusals;
mod tables;
mod telling;

use super::*;
use crate::layout::LAYOUT_HASH;
use crate::layout::zone::{Geometry, Pace};
use crate::os::mapping::{Access, LaneMap, MeetingMap, ZoneMap};
use crate::ring::lane;
use crate::ring::order;
use crate::wire::{Ask, LaneInfo, PROTOCOL, Policy, Request, TypeDesc, Wanted, ZoneOptions};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const NO_OPTIONS: ZoneOptions = ZoneOptions {
    writers: 0,
    eras: 0,
    entries: 0,
    pace: None,
    policy: Policy { click_ms: 0, commits: 0, bytes: 0, deadline_ms: 0, keep_eras: 0, keep_bytes: 0 },
};

/// Runs a test, the closure's, in a process of its own.
fn isolated(body: impl FnOnce()) {
    const INSIDE: &str = "SYNCLINE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let path = std::any::type_name_of_val(&body);
    let test = path.split_once("::").and_then(|(_crate, rest)| rest.strip_suffix("::{{closure}}")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--nocapture"]).env(INSIDE, "").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
}

/// A broker with a socket in a directory of its own.
struct Place {
    broker: Option<BrokerThread>,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place::with(Limits::default())
    }

    fn with(limits: Limits) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let socket = Some(directory.path().join("broker.sock"));
        let broker = Some(Broker::spawn(Config { socket, limits }).unwrap());
        Place { broker, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("broker.sock")
    }

    fn connect(&self) -> Client {
        Client::hello(&self.socket())
    }

    fn stats(&self) -> Stats {
        self.broker.as_ref().unwrap().stats()
    }

    /// Waits until the broker's numbers are so.
    fn until(&self, what: &str, is_so: impl Fn(Stats) -> bool) {
        eventually(what, || is_so(self.stats()));
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

type Told = (Tell, Vec<OwnedFd>);

/// A client by hand.
struct Client {
    conn: Conn,
    last_id: u32,
    /// What came with another id than the one waited for.
    others: VecDeque<(u32, Told)>,
}

impl Client {
    fn silent(socket: &Path) -> Client {
        Client { conn: Conn::connect(socket).unwrap(), last_id: 0, others: VecDeque::new() }
    }

    fn hello(socket: &Path) -> Client {
        let mut client = Client::silent(socket);
        match client.call(hello()) {
            (Tell::Welcome { protocol, .. }, _) => assert_eq!(protocol, PROTOCOL),
            (other, _) => panic!("{other:?}"),
        }
        client
    }

    fn send(&mut self, body: Ask) -> u32 {
        self.last_id += 1;
        let id = self.last_id;
        let mut bytes = Vec::new();
        Request { id, body }.encode(&mut bytes);
        self.send_bytes(&bytes);
        id
    }

    fn send_bytes(&self, bytes: &[u8]) {
        eventually("the broker takes packets", || match self.conn.send(bytes, &[]) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                false
            }
        });
    }

    /// The next packet; `None` at the end of the connection.
    fn receive(&mut self) -> Option<(u32, Told)> {
        assert!(self.conn.poll_readable(Some(PATIENCE)).unwrap(), "the broker says nothing");
        let mut buffer = vec![0; MAX_PACKET];
        let packet = self.conn.recv(&mut buffer).unwrap();
        assert!(!packet.truncated);
        if packet.len == 0 {
            return None;
        }
        let Reply { id, body } = Reply::decode(&buffer[..packet.len]).unwrap();
        Some((id, (body, packet.fds)))
    }

    fn answer(&mut self, id: u32) -> Told {
        if let Some(at) = self.others.iter().position(|(other, _)| *other == id) {
            return self.others.remove(at).unwrap().1;
        }
        loop {
            let (found, told) = self.receive().expect("the broker has closed the connection");
            if found == id {
                return told;
            }
            self.others.push_back((found, told));
        }
    }

    fn call(&mut self, body: Ask) -> Told {
        let id = self.send(body);
        self.answer(id)
    }

    /// The next event.
    fn event(&mut self) -> Told {
        self.answer(0)
    }

    /// Asserts that there is no event, also after all that the broker had to say.
    fn no_event(&mut self) {
        self.done(Ask::Sync);
        let event = self.others.iter().find(|(id, _)| *id == 0);
        assert!(event.is_none(), "{event:?}");
    }

    fn done(&mut self, body: Ask) {
        let (told, _) = self.call(body);
        assert_eq!(told, Tell::Done);
    }

    fn refused(&mut self, body: Ask) -> (Code, String) {
        match self.call(body) {
            (Tell::Refused { code, text }, fds) => {
                assert!(fds.is_empty());
                assert!(text.contains("expected") && text.contains("found"), "{text}");
                (Code::from_number(code).unwrap(), text)
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Asserts that the connection ends.
    fn ended(mut self) {
        while self.receive().is_some() {}
    }

    fn writer(&mut self, zone: &str) -> Writer {
        self.writer_named(zone, "writer")
    }

    fn writer_named(&mut self, zone: &str, name: &str) -> Writer {
        self.writer_by(Ask::OpenWriter { zone: zone.to_owned(), options: NO_OPTIONS, name: name.to_owned() })
    }

    fn writer_by(&mut self, ask: Ask) -> Writer {
        let (Tell::Writer { row, geometry, version, serial, .. }, fds) = self.call(ask) else { panic!("no writer") };
        let [zone, meeting] = fds.try_into().unwrap();
        let zone = ZoneMap::new(zone.as_fd(), geometry, Access::ReadWrite).unwrap();
        let meeting = MeetingMap::new(meeting.as_fd(), geometry.entries).unwrap();
        Writer { serial, row, version, zone, meeting }
    }

    /// Opens a lane up to its memory.
    fn make_lane(&mut self, writer: &Writer, channel: &str) -> (u64, OwnedFd, u64, u64) {
        let (Tell::LaneMade { lane, capacity, max_payload, .. }, fds) = self.call(open_lane(writer, channel)) else {
            panic!("no lane")
        };
        let [fd] = fds.try_into().unwrap();
        (lane, fd, capacity, max_payload)
    }

    fn lane(&mut self, writer: &Writer, channel: &str) -> LaneOut {
        let (number, fd, capacity, _) = self.make_lane(writer, channel);
        let map = LaneMap::new(fd.as_fd(), capacity, Access::ReadWrite).unwrap();
        assert_eq!(self.call(Ask::LaneMapped { lane: number }).0, Tell::LaneOpen { lane: number });
        LaneOut { number, map, ring: lane::Writer::new(capacity, 1) }
    }

    fn reader(&mut self, zone: &str, channels: &[&str]) -> Reader {
        let id = self.send(open_reader(zone, channels));
        let (Tell::Reader { reader, geometry, .. }, fds) = self.answer(id) else { panic!("no reader") };
        let [zone, meeting] = fds.try_into().unwrap();
        let zone = ZoneMap::new(zone.as_fd(), geometry, Access::ReadOnly).unwrap();
        let meeting = MeetingMap::new(meeting.as_fd(), geometry.entries).unwrap();
        let mut lanes = Vec::new();
        loop {
            match self.answer(id) {
                (Tell::LaneAdded { reader: number, entry, lane, .. }, fds) => {
                    assert_eq!(number, reader);
                    lanes.push(LaneIn::new(entry, lane, fds));
                }
                (Tell::ReaderOpen { reader: number, lanes: count }, _) => {
                    assert_eq!((number, count as usize), (reader, lanes.len()));
                    return Reader { number: reader, geometry, zone, meeting, lanes };
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    /// The lane that is announced next.
    fn added(&mut self, reader: &Reader) -> LaneIn {
        match self.event() {
            (Tell::LaneAdded { reader: number, entry, lane, .. }, fds) if number == reader.number => {
                LaneIn::new(entry, lane, fds)
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

struct Writer {
    serial: u64,
    row: u32,
    version: u64,
    zone: ZoneMap,
    meeting: MeetingMap,
}

struct LaneOut {
    number: u64,
    map: LaneMap,
    ring: lane::Writer,
}

impl LaneOut {
    /// Publishes a message of 8 bytes, as `client` does: shown, then, if `commit`, committed.
    fn publish(&mut self, writer: &mut Writer, value: u64, commit: bool) {
        let view = self.map.view();
        let claim = self.ring.claim(view, 8).unwrap();
        view.ring.word(claim.payload()).store(value, order::RELAXED.get());
        self.ring.show(view, claim, writer.version + 1);
        if commit {
            writer.version += 1;
            writer.store_version();
            self.ring.committed(view, writer.version);
        }
    }

    /// Adds a message to a batch.
    fn push(&mut self, writer: &Writer, value: u64) {
        let view = self.map.view();
        let claim = self.ring.claim(view, 8).unwrap();
        view.ring.word(claim.payload()).store(value, order::RELAXED.get());
        self.ring.push(view, claim, writer.version + 1);
    }
}

impl Writer {
    fn store_version(&self) {
        self.zone.view().rows[self.row as usize].version.store(self.version, order::COMMIT.get());
    }
}

struct Reader {
    number: u64,
    geometry: Geometry,
    zone: ZoneMap,
    meeting: MeetingMap,
    lanes: Vec<LaneIn>,
}

impl Reader {
    fn roster(&self) -> u64 {
        self.zone.view().header.control.0.roster.load(order::ROSTER_SEE.get())
    }

    fn cursor(&self, entry: u32) -> u64 {
        self.meeting.view().entries[entry as usize].cursor.load(order::RELAXED.get())
    }

    fn end(&self, entry: u32) -> u64 {
        crate::ring::recovery::end(&self.meeting.view().entries[entry as usize])
    }

    fn version(&self, row: u32) -> u64 {
        self.zone.view().rows[row as usize].version.load(order::COMMIT_SEE.get())
    }
}

struct LaneIn {
    entry: u32,
    info: LaneInfo,
    fd: OwnedFd,
    map: LaneMap,
}

impl LaneIn {
    fn new(entry: u32, info: LaneInfo, fds: Vec<OwnedFd>) -> LaneIn {
        let [fd] = fds.try_into().unwrap();
        let map = LaneMap::new(fd.as_fd(), info.capacity, Access::ReadOnly).unwrap();
        LaneIn { entry, info, fd, map }
    }

    /// What single messages of 8 bytes from `position` on say, and where they end.
    fn read(&self, position: u64) -> (Vec<u64>, u64) {
        let mut reader = lane::Reader { position, sequence: 0 };
        let mut values = Vec::new();
        while let lane::Peek::Frame(frame) = reader.peek(self.map.view(), self.info.max_payload) {
            values.push(self.map.view().ring.word(frame.payload).load(order::RELAXED.get()));
            reader.pass(&frame);
        }
        (values, reader.position)
    }
}

fn hello() -> Ask {
    Ask::Hello { protocol: PROTOCOL, layout_hash: LAYOUT_HASH, name: "test".to_owned() }
}

fn open_writer(zone: &str) -> Ask {
    Ask::OpenWriter { zone: zone.to_owned(), options: NO_OPTIONS, name: "writer".to_owned() }
}

fn open_lane(writer: &Writer, channel: &str) -> Ask {
    lane_of(writer, channel, TypeDesc::bytes())
}

fn lane_of(writer: &Writer, channel: &str, ty: TypeDesc) -> Ask {
    Ask::OpenLane {
        writer: writer.serial,
        channel: channel.to_owned(),
        ty,
        capacity: 4096,
        max_payload: 0,
        delivery: None,
    }
}

fn open_reader(zone: &str, channels: &[&str]) -> Ask {
    Ask::OpenReader {
        zone: zone.to_owned(),
        options: NO_OPTIONS,
        name: "reader".to_owned(),
        channels: channels.iter().map(|&channel| Wanted { channel: channel.to_owned(), ty: None }).collect(),
        must_exist: false,
        past: false,
        marked: false,
        synced: false,
    }
}
