//! Client to broker.

use super::codec::{messages, record};
use super::types::TypeDesc;

/// The tag of [`Ask::Hello`], in every version.
pub(super) const HELLO: u16 = 1;

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
            /// The reader starts with what comes after it has joined (it skips the rest itself).
            latest: bool,
            /// The reader takes whole eras.
            synced: bool,
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
        /// Forgets a pending [`Ask::WaitReaders`]. Not answered.
        Cancel = 11 {
            /// Its id.
            id: u32,
        },
        /// What is there? Answered by [`Listing`](super::Tell::Listing) packets until the `last`.
        List = 12,
        /// Answered by [`Done`](super::Tell::Done), after all that the broker told this client before.
        Sync = 13,
    }
}
