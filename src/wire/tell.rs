//! Broker to client.

use super::ask::{Delivery, Policy};
use super::codec::{choice, messages, record};
use super::listing::ZoneInfo;
use super::schema::TableInfo;
use super::types::TypeDesc;
use crate::layout::zone::Geometry;

record! {
    /// A lane, as its readers need to know it.
    pub struct LaneInfo {
        /// Its number, unique in this broker, never 0.
        pub lane: u64,
        /// Index of its channel in the zone: orders an era, and chooses the bell's bit.
        pub channel: u32,
        /// Name of its channel.
        pub channel_name: String,
        /// Its writer's row.
        pub row: u32,
        /// Its writer's name.
        pub writer_name: String,
        /// Its writer's process.
        pub writer_pid: u32,
        /// Bytes of its ring.
        pub capacity: u64,
        /// Its largest payload in bytes.
        pub max_payload: u64,
        /// Alignment of its payloads.
        pub align: u32,
        /// What its writer does when a reader is behind.
        pub delivery: Delivery,
        /// Its writer's serial.
        pub serial: u64,
        /// What it carries.
        pub ty: TypeDesc,
    }
}

choice! {
    /// What happened to somebody.
    pub enum PresenceWhat {
        /// It came, or was there when the watch began.
        Came = 1,
        /// It left.
        Left = 2,
        /// Its process died.
        Died = 3,
    }
}

choice! {
    /// To what it happened.
    pub enum PresenceKind {
        /// A channel: comes with the first who names it, leaves with the last.
        Channel = 1,
        /// A writer: comes once for its zone (no channel), and once for each channel in which it opens a lane.
        Writer = 2,
        /// A reader: comes once for each channel that it subscribes to.
        Reader = 3,
    }
}

record! {
    /// Somebody came, left or died.
    pub struct Presence {
        /// What happened.
        pub what: PresenceWhat,
        /// To whom.
        pub kind: PresenceKind,
        /// In which zone.
        pub zone: String,
        /// In which channel; empty for a writer as such.
        pub channel: String,
        /// The writer's or reader's name; empty for a channel.
        pub name: String,
        /// Its process; 0 for a channel.
        pub pid: u32,
        /// Its user; 0 for a channel.
        pub uid: u32,
    }
}

record! {
    /// Who holds a lock, and who waits for it.
    #[derive(Copy, Default)]
    pub struct LockState {
        /// The process that holds it; 0 if nobody does.
        pub holder_pid: u32,
        /// The number of its grant; 0 if nobody holds it.
        pub fence: u64,
        /// How many wait for it.
        pub waiting: u32,
        /// Whoever had it last, before the holder if there is one, died with it.
        pub died: bool,
    }
}

messages! {
    /// What the broker tells.
    pub enum Tell {
        /// The answer to `Hello`.
        Welcome = 1 {
            /// The broker's [`PROTOCOL`](super::PROTOCOL).
            protocol: u32,
            /// The broker's process.
            pid: u32,
            /// The broker's number for this connection.
            client: u64,
        },
        /// It is done.
        Done = 2,
        /// It is not done. With id 0: the connection is refused.
        Refused = 3 {
            /// Which kind of refusal: a [`Code`](crate::Code).
            code: i32,
            /// What was expected, what was found, what to do.
            text: String,
        },
        /// A row. With descriptors: the zone, the meeting, both to be mapped writable.
        Writer = 4 {
            /// The zone's number.
            zone: u64,
            /// The row.
            row: u32,
            /// The zone's shape.
            geometry: Geometry,
            /// Its edges and its past.
            policy: Policy,
            /// The row's version: the writer goes on counting from it.
            version: u64,
            /// The writer's number, unique in this broker.
            serial: u64,
        },
        /// A lane whose memory is there. With a descriptor: the lane, to be mapped writable.
        LaneMade = 5 {
            /// Its number.
            lane: u64,
            /// Index of its channel in the zone.
            channel: u32,
            /// Bytes of its ring.
            capacity: u64,
            /// Its largest payload in bytes.
            max_payload: u64,
            /// Alignment of its payloads.
            align: u32,
            /// What its writer does when a reader is behind.
            delivery: Delivery,
            /// How many readers' pins its writer goes round.
            pins: u32,
        },
        /// The lane may be published into.
        LaneOpen = 6 {
            /// Its number.
            lane: u64,
        },
        /// A reader. With descriptors: the zone, to be mapped read-only, and the meeting, writable.
        Reader = 7 {
            /// The zone's number.
            zone: u64,
            /// The reader's number, unique in this broker.
            reader: u64,
            /// The zone's shape.
            geometry: Geometry,
            /// Its edges and its past.
            policy: Policy,
            /// The last sealed era when the reader joined.
            generation: u64,
            /// Of the eras before this one, lanes of the reader's channels have gone.
            whole_from: u64,
        },
        /// A lane for a reader: in answer to `OpenReader`, or with id 0 when it comes later. With a descriptor: the lane,
        /// read-only.
        LaneAdded = 8 {
            /// The reader.
            reader: u64,
            /// Its entry for this lane, at whose cursor it begins.
            entry: u32,
            /// The lane.
            lane: LaneInfo,
            /// The writer's last commit when the reader joined: what follows is the latest. 0 for a lane that comes later.
            version: u64,
            /// The writer has gone, and the lane is kept: whether it died.
            ended: Option<bool>,
        },
        /// All lanes that are there have been added.
        ReaderOpen = 9 {
            /// The reader.
            reader: u64,
            /// How many they were.
            lanes: u32,
        },
        /// A lane has come to its end, which stands in the reader's entry. Id 0.
        LaneEnded = 10 {
            /// The reader.
            reader: u64,
            /// Its entry for the lane.
            entry: u32,
            /// Whether the writer died (and did not leave).
            died: bool,
        },
        /// So many readers subscribe to the channel now.
        Readers = 11 {
            /// How many.
            count: u32,
        },
        /// Somebody came, left or died. Id 0.
        Presence = 12 (presence: Presence),
        /// A zone, or a part of one: its lists are continued by packets for the same zone.
        Listing = 13 {
            /// The zone; `None` if there is none at all.
            zone: Option<ZoneInfo>,
            /// Whether this is the last packet.
            last: bool,
        },
        /// The broker has run an edge.
        Sealed = 14 {
            /// The era that it sealed.
            era: u64,
        },
        /// A zone without a row. With descriptors: the zone, the meeting, both to be mapped writable.
        Attached = 15 {
            /// The zone's number.
            zone: u64,
            /// Its shape.
            geometry: Geometry,
            /// Its edges and its past.
            policy: Policy,
        },
        /// A zone to be looked at. With descriptors: the zone, the meeting, both read-only.
        ZoneShown = 16 {
            /// The zone's number.
            zone: u64,
            /// Its shape.
            geometry: Geometry,
            /// Its roster: the lanes that follow are those of this one.
            roster: u64,
        },
        /// A lane to be looked at. With a descriptor: the lane, read-only.
        LaneShown = 17 {
            /// The lane.
            lane: LaneInfo,
            /// How many readers' pins its writer goes round at most.
            pins: u32,
            /// The writer has gone, and the lane is kept: where it ends.
            end: Option<u64>,
        },
        /// The lock is the client's.
        LockGranted = 18 {
            /// The number of this grant: larger than that of any before.
            fence: u64,
            /// Whoever had it last died with it.
            died: bool,
        },
        /// Somebody holds the lock, and the client does not wait.
        LockHeld = 19 {
            /// The holder's process.
            pid: u32,
            /// The number of its grant.
            fence: u64,
            /// How many wait for it.
            waiting: u32,
        },
        /// A lock that is watched.
        LockState = 20 (state: LockState),
        /// A table whose memory is there. With descriptors: the table, to be mapped writable; its declaration; and, if there is something to go
        /// on from, the incarnation before, read-only.
        TableMade = 30 {
            /// The incarnation's number.
            incarnation: u64,
            /// The last commit of the incarnation before that counts.
            before: Option<u64>,
        },
        /// The table may be written.
        TableOpen = 31 {
            /// The incarnation.
            incarnation: u64,
        },
        /// A table for a reader. With descriptors: the zone, read-only; the table's declaration.
        TableShown = 32 {
            /// The reader's number.
            reader: u64,
            /// The zone's number.
            zone: u64,
            /// The zone's shape.
            geometry: Geometry,
        },
        /// An incarnation of a table for a reader: in answer to `ReadTable`, or with id 0 when it comes later. With a descriptor: the table,
        /// read-only.
        TableAdded = 33 {
            /// The reader.
            reader: u64,
            /// The incarnation's number: grows.
            incarnation: u64,
            /// Its writer's row.
            row: u32,
            /// What the row's `inherited` word says while it is this writer's.
            inherited: u64,
            /// Its writer's name.
            writer_name: String,
            /// Its writer's process.
            writer_pid: u32,
            /// Its writer has given it up, or is gone: the last commit that counts.
            end: Option<u64>,
        },
        /// All incarnations have been added.
        TableReady = 34 {
            /// The reader.
            reader: u64,
        },
        /// An incarnation has got its last commit. Id 0.
        TableEnded = 35 {
            /// The reader.
            reader: u64,
            /// The incarnation.
            incarnation: u64,
            /// Its last commit that counts; 0: it has none.
            end: u64,
            /// Whether its writer died.
            died: bool,
        },
        /// A table.
        TableListed = 36 {
            /// The table; `None`: no more.
            table: Option<TableInfo>,
            /// Whether this is the last packet.
            last: bool,
        },
    }
}
