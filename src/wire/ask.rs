//! Client to broker.

use super::codec::{choice, messages, record};
use super::schema::TableItem;
use super::types::TypeDesc;
use crate::layout::zone::Pace;

/// The tag of [`Ask::Hello`], in every version.
pub(super) const HELLO: u16 = 1;

record! {
    /// When the edges of a zone pass by themselves, and how much of the past it keeps. 0: not at all; in what is asked, also: what the zone has.
    #[derive(Copy, Default)]
    pub struct Policy {
        /// Heartbeat, in milliseconds: the broker runs an edge so often.
        pub click_ms: u32,
        /// An edge after so many commits of one writer.
        pub commits: u64,
        /// An edge after so many bytes published by one writer.
        pub bytes: u64,
        /// Lockstep: how long those who have given their permit wait for the others, in milliseconds.
        pub deadline_ms: u32,
        /// How many sealed eras of writers that have gone stay readable; up to the slots of the generation ring, less 2.
        pub keep_eras: u32,
        /// The least history of each lane in bytes: its ring is made to hold so much beside what is new.
        pub keep_bytes: u64,
    }
}

record! {
    /// The shape of a zone to be made. 0: the default, or what the zone has. Anything else must be what it has.
    #[derive(Copy, Default)]
    pub struct ZoneOptions {
        /// The most writers at a time: `1 ..= MAX_WRITERS`.
        pub writers: u32,
        /// Slots of the generation ring: a power of two, `MIN_ERAS ..= MAX_ERAS`.
        pub eras: u32,
        /// Reader entries (reader x lane): `1 ..= MAX_ENTRIES`.
        pub entries: u32,
        /// What its edges wait for; `None`: for nobody, or what the zone has.
        pub pace: Option<Pace>,
        /// Its edges and its past.
        pub policy: Policy,
    }
}

record! {
    /// What the writers of a channel do when a reader is behind.
    #[derive(Copy, Default)]
    pub struct Delivery {
        /// They pass it: it loses what it has not read in time, and is told how much. Else they wait for it, or say that there is no room.
        pub lossy: bool,
        /// They evict a reader that holds them up and takes nothing for so long, in milliseconds; 0: never. Not if lossy.
        pub evict_ms: u32,
    }
}

record! {
    /// A channel that a reader subscribes to.
    pub struct Wanted {
        /// Its name.
        pub channel: String,
        /// Its type; `None`: whatever it is.
        pub ty: Option<TypeDesc>,
    }
}

choice! {
    /// Whose name a lock's is: each kind has a name space of its own in each zone.
    #[derive(PartialOrd, Ord)]
    pub enum LockKind {
        /// A lock that the application has named.
        Named = 1,
        /// The write ownership of the table of that name.
        Table = 2,
    }
}

messages! {
    /// What a client asks. Every answer has the request's id; [`Tell::Refused`](super::Tell::Refused) may stand for any.
    pub enum Ask {
        /// First, and only once. Answered by [`Welcome`](super::Tell::Welcome).
        Hello = 1 {
            /// The client's [`PROTOCOL`](super::PROTOCOL).
            protocol: u32,
            /// The client's [`LAYOUT_HASH`](crate::layout::LAYOUT_HASH).
            layout_hash: u64,
            /// The client's name, for people.
            name: String,
        },
        /// Takes a row of a zone, which is made if it is not there. Answered by [`Writer`](super::Tell::Writer).
        OpenWriter = 2 {
            /// The zone.
            zone: String,
            /// Its shape.
            options: ZoneOptions,
            /// The writer's name, for people.
            name: String,
        },
        /// Makes a lane. Answered by [`LaneMade`](super::Tell::LaneMade), once its memory is there.
        OpenLane = 3 {
            /// The writer: its serial. (Rows are numbered by zone, and a client may write in several.)
            writer: u64,
            /// The channel, made if it is not there.
            channel: String,
            /// What it carries.
            ty: TypeDesc,
            /// Bytes of the ring; 0: the default, or what `max_payload` needs.
            capacity: u64,
            /// The largest payload in bytes; 0: the largest that the ring takes.
            max_payload: u64,
            /// What the channel's writers do when a reader is behind; `None`: what the channel has, or else the default.
            delivery: Option<Delivery>,
        },
        /// The client has mapped its lane writable: the broker seals it and gives it to the readers that are there. Answered by
        /// [`LaneOpen`](super::Tell::LaneOpen): what is published from then on, none of them misses.
        LaneMapped = 4 {
            /// The lane.
            lane: u64,
        },
        /// Subscribes to channels. Answered by [`Reader`](super::Tell::Reader), then one [`LaneAdded`](super::Tell::LaneAdded) for each lane
        /// that is there, then [`ReaderOpen`](super::Tell::ReaderOpen): what is published from then on is not missed.
        OpenReader = 5 {
            /// The zone.
            zone: String,
            /// Its shape.
            options: ZoneOptions,
            /// The reader's name, for people.
            name: String,
            /// The channels, made if they are not there.
            channels: Vec<Wanted>,
            /// Refuse if a channel has no writer yet.
            must_exist: bool,
            /// The reader wants what is kept of writers that have gone, too.
            past: bool,
            /// The reader takes whole eras.
            synced: bool,
            /// The reader is live and is handed the edges among the messages.
            marked: bool,
        },
        /// A reader has drained a lane that has ended, or gives one up: the entry is free. Not answered.
        LaneDone = 6 {
            /// The reader.
            reader: u64,
            /// Its entry for the lane.
            entry: u32,
        },
        /// A writer leaves, and with it its lanes. Answered by [`Done`](super::Tell::Done).
        CloseWriter = 7 {
            /// The writer: its serial.
            writer: u64,
        },
        /// A reader leaves. Answered by [`Done`](super::Tell::Done).
        CloseReader = 8 {
            /// The reader.
            reader: u64,
        },
        /// Waits for readers of a channel, which need not exist yet. Answered by [`Readers`](super::Tell::Readers), as soon as
        /// there are as many.
        WaitReaders = 9 {
            /// The zone.
            zone: String,
            /// The channel.
            channel: String,
            /// How many.
            count: u32,
        },
        /// Asks for presence events. Answered by [`Done`](super::Tell::Done); then [`Presence`](super::Tell::Presence) with id 0, first of
        /// all that is there already.
        Watch = 10 {
            /// The zone; empty: all.
            zone: String,
        },
        /// Forgets a pending [`Ask::WaitReaders`] or [`Ask::WatchLock`]. Not answered.
        Cancel = 11 {
            /// Its id.
            id: u32,
        },
        /// What is there? Answered by [`Listing`](super::Tell::Listing) packets until the `last`.
        List = 12,
        /// Answered by [`Done`](super::Tell::Done), after all that the broker told this client before.
        Sync = 13,
        /// Makes a zone that stays when nobody is in it. Answered by [`Done`](super::Tell::Done).
        CreateZone = 14 {
            /// The zone.
            zone: String,
            /// Its shape.
            options: ZoneOptions,
        },
        /// A zone goes with the last who is in it, whatever it keeps. Answered by [`Done`](super::Tell::Done).
        RemoveZone = 15 {
            /// The zone.
            zone: String,
        },
        /// The broker runs an exact edge; in a lockstep zone, one that does not wait any longer. Answered by [`Sealed`](super::Tell::Sealed).
        Edge = 16 {
            /// The zone.
            zone: String,
            /// Its tag.
            tag: Option<u64>,
        },
        /// Asks for a zone's segments without a row. Answered by [`Attached`](super::Tell::Attached).
        Attach = 17 {
            /// The zone.
            zone: String,
        },
        /// This client has halted a zone: the broker renews that while the client's process lives. Not answered.
        HaltHeld = 18 {
            /// The zone's number.
            zone: u64,
            /// The halt's token.
            token: u64,
        },
        /// The halt is over. Not answered.
        HaltReleased = 19 {
            /// The zone's number.
            zone: u64,
            /// The halt's token.
            token: u64,
        },
        /// A memory barrier on every process that is registered for it, for a client that may not call that itself. Answered by
        /// [`Done`](super::Tell::Done).
        Barrier = 20,
        /// Asks everybody in a zone to finish and commit now, on behalf of a reader. Answered by [`Done`](super::Tell::Done).
        Early = 21 {
            /// The zone's number.
            zone: u64,
        },
        /// Asks for all that a zone's counters are in, to be read. Answered by [`ZoneShown`](super::Tell::ZoneShown), then one
        /// [`LaneShown`](super::Tell::LaneShown) for each lane that can be read, then [`Done`](super::Tell::Done).
        Inspect = 22 {
            /// The zone.
            zone: String,
        },
        /// Asks for a lock, which need not exist yet, nor its zone. Answered by [`LockGranted`](super::Tell::LockGranted), at once or when all who
        /// asked before have had it; or by [`LockHeld`](super::Tell::LockHeld).
        AcquireLock = 23 {
            /// The zone.
            zone: String,
            /// Whose name it is.
            kind: LockKind,
            /// The lock.
            name: String,
            /// Wait for it if somebody holds it.
            wait: bool,
        },
        /// Takes back an [`Ask::AcquireLock`] that waits. Answered by [`Done`](super::Tell::Done), after a grant that crossed it: who has that
        /// holds the lock.
        CancelLock = 24 {
            /// Its id.
            id: u32,
        },
        /// Gives a lock back; with the ownership of a table, the table as its writer has left it. Answered by [`Done`](super::Tell::Done).
        ReleaseLock = 25 {
            /// The number of its grant.
            fence: u64,
        },
        /// Said before a commit: should this process die, the lock counts as given back if the commit came about, that is, if the writer's row
        /// has reached a version. While it lives, nothing changes. Not answered.
        ReleaseLockAfter = 26 {
            /// The number of its grant.
            fence: u64,
            /// The writer, of the same connection: its serial.
            writer: u64,
            /// The version of the commit.
            version: u64,
        },
        /// Asks who holds a lock. Answered by [`LockState`](super::Tell::LockState), and by another with the same id at each change, until
        /// [`Ask::Cancel`].
        WatchLock = 27 {
            /// The zone.
            zone: String,
            /// Whose name it is.
            kind: LockKind,
            /// The lock.
            name: String,
        },
        /// Declares more items of the table that a writer is going to open. Answered by [`Done`](super::Tell::Done).
        TableItems = 30 {
            /// The writer: its serial.
            writer: u64,
            /// The items.
            items: Vec<TableItem>,
        },
        /// Opens a table for writing, with the items declared before; if there were none, with those that it has. Answered by
        /// [`TableMade`](super::Tell::TableMade), once its memory is there.
        OpenTable = 31 {
            /// The writer: its serial.
            writer: u64,
            /// The table, made if it is not there.
            table: String,
            /// The number of its ownership, which this connection holds.
            fence: u64,
        },
        /// The client has mapped its table writable: the broker seals it and gives it to the readers that are there. Answered by
        /// [`TableOpen`](super::Tell::TableOpen).
        TableMapped = 32 {
            /// The incarnation.
            incarnation: u64,
        },
        /// Opens a table for reading. Answered by [`TableShown`](super::Tell::TableShown), then one [`TableAdded`](super::Tell::TableAdded) for
        /// each incarnation that is to be read, then [`TableReady`](super::Tell::TableReady).
        ReadTable = 33 {
            /// The zone.
            zone: String,
            /// The table.
            table: String,
            /// If it is not there, waits until it is.
            wait: bool,
        },
        /// A table's reader leaves. Answered by [`Done`](super::Tell::Done).
        CloseTableReader = 34 {
            /// The reader.
            reader: u64,
        },
        /// What tables are there? Answered by [`TableListed`](super::Tell::TableListed) until the `last`.
        ListTables = 35 {
            /// The zone; empty: all.
            zone: String,
        },
    }
}
