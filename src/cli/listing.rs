//! A zone as `ls` and `zone show` tell of it: the JSON object of both, which their tables are made of.

use super::phrase;
use crate::layout::zone::{Pace, Reason};
use crate::wire::{ChannelInfo, EdgeInfo, LaneUse, Policy, ReaderInfo, TypeDesc, WriterInfo, ZoneInfo};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Zone<'a> {
    pub(super) zone: &'a str,
    /// The last sealed one.
    pub(super) era: u64,
    /// Of all segments.
    pub(super) bytes: u64,
    /// In a few words.
    pub(super) policy: String,
    pub(super) options: Options,
    /// It stays when nobody is in it.
    pub(super) created: bool,
    pub(super) halted: bool,
    pub(super) last_edge: Option<Edge<'a>>,
    /// Subscriptions in use.
    pub(super) subscriptions: u32,
    pub(super) channels: Vec<Channel<'a>>,
    pub(super) writers: Vec<Writer<'a>>,
    pub(super) lanes: Vec<Lane<'a>>,
    pub(super) readers: Vec<Reader<'a>>,
    #[serde(skip)]
    pub(super) pace: Pace,
}

/// What the zone was made with, named as the options of `zone create`.
#[derive(Serialize)]
pub(super) struct Options {
    pace: &'static str,
    click: Option<u32>,
    every_commits: Option<u64>,
    every_bytes: Option<u64>,
    lockstep: Option<u32>,
    revocable: Option<u32>,
    keep_eras: Option<u32>,
    keep_bytes: Option<u64>,
    pub(super) writers: u32,
    pub(super) eras: u32,
    pub(super) subscriptions: u32,
}

#[derive(Serialize)]
pub(super) struct Edge<'a> {
    pub(super) era: u64,
    pub(super) reason: &'static str,
    /// Of the monotonic clock.
    pub(super) time_us: u64,
    pub(super) tag: Option<u64>,
    pub(super) straddlers: Vec<Straddler<'a>>,
}

#[derive(Serialize)]
pub(super) struct Straddler<'a> {
    /// Its row.
    writer: u32,
    /// `None`: it has gone.
    name: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Channel<'a> {
    pub(super) channel: &'a str,
    /// `None` while nobody has declared one.
    pub(super) r#type: Option<Type<'a>>,
    /// `reliable` or `lossy`; `None` while it has had no writer.
    pub(super) delivery: Option<&'static str>,
    /// Reliable: its writers evict a reader that takes nothing for so long, in milliseconds.
    pub(super) evict_after: Option<u32>,
    pub(super) writers: usize,
    pub(super) readers: u32,
    /// Lanes of writers that have gone, which new readers still get.
    pub(super) kept: usize,
    /// Of its writers' rings.
    pub(super) bytes: u64,
}

#[derive(Serialize)]
pub(super) struct Type<'a> {
    name: &'a str,
    size: u32,
    align: u32,
    variable: bool,
    fields: Vec<Field<'a>>,
    #[serde(skip)]
    pub(super) text: String,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    offset: u32,
    count: u32,
    scalar: String,
}

#[derive(Serialize)]
pub(super) struct Writer<'a> {
    /// Its row: the number that its messages carry.
    pub(super) writer: u32,
    pub(super) name: &'a str,
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) commits: u64,
    pub(super) channels: Vec<&'a str>,
    pub(super) bytes: u64,
    pub(super) open_batch: bool,
    /// Over how many edges it has had one open (in lockstep: was late).
    pub(super) straddles: u32,
    /// Lockstep: it has given its permit for the open era.
    pub(super) permits: bool,
}

#[derive(Serialize)]
pub(super) struct Lane<'a> {
    pub(super) channel: &'a str,
    /// Its writer's row; another's by now, if `state` is not `open`.
    pub(super) writer: u32,
    /// `None`: it has gone.
    pub(super) name: Option<&'a str>,
    pub(super) readers: u32,
    /// How many readers can read in place though its writer passes them; others copy.
    pub(super) pins: u32,
    /// The longest message.
    pub(super) max_len: u64,
    pub(super) bytes: u64,
    /// `open`; its writer has gone: `kept` for new readers too, or `ended`, for those that it has.
    pub(super) state: &'static str,
}

#[derive(Serialize)]
pub(super) struct Reader<'a> {
    pub(super) name: &'a str,
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) synced: bool,
    pub(super) channels: Vec<&'a str>,
    /// The last era that it has done with; `None`: it takes no eras.
    pub(super) taken: Option<u64>,
    /// From how many lanes it was evicted.
    pub(super) evicted: u32,
}

impl<'a> Zone<'a> {
    pub(super) fn new(info: &'a ZoneInfo) -> Self {
        let pace = info.geometry.pace;
        Zone {
            zone: &info.name,
            era: info.generation,
            bytes: info.bytes,
            policy: phrase::policy(pace, &info.policy),
            options: Options::new(info),
            created: info.created,
            halted: info.halted,
            last_edge: info.last_edge.as_ref().map(|edge| Edge::new(info, edge)),
            subscriptions: info.entries,
            channels: info.channels.iter().map(|channel| Channel::new(info, channel)).collect(),
            writers: info.writers.iter().map(|writer| Writer::new(info, writer)).collect(),
            lanes: info.lanes.iter().map(|lane| Lane::new(info, lane)).collect(),
            readers: info.readers.iter().map(|reader| Reader::new(info, reader)).collect(),
            pace,
        }
    }
}

impl Options {
    fn new(info: &ZoneInfo) -> Self {
        let Policy { click_ms, commits, bytes, deadline_ms, keep_eras, keep_bytes } = info.policy;
        let pace = info.geometry.pace;
        let small = |number: u32| (number != 0).then_some(number);
        let large = |number: u64| (number != 0).then_some(number);
        Options {
            pace: match pace {
                Pace::Free => "free",
                Pace::Lockstep => "lockstep",
                Pace::Revocable => "revocable",
            },
            click: small(click_ms),
            every_commits: large(commits),
            every_bytes: large(bytes),
            lockstep: small(deadline_ms).filter(|_| pace == Pace::Lockstep),
            revocable: small(deadline_ms).filter(|_| pace == Pace::Revocable),
            keep_eras: small(keep_eras),
            keep_bytes: large(keep_bytes),
            writers: info.geometry.writers,
            eras: info.geometry.eras,
            subscriptions: info.geometry.entries,
        }
    }
}

impl<'a> Edge<'a> {
    fn new(zone: &'a ZoneInfo, info: &EdgeInfo) -> Self {
        let name = |row| zone.writers.iter().find(|writer| writer.row == row).map(|writer| writer.name.as_str());
        let straddlers = info.straddlers.iter().map(|&row| Straddler { writer: row, name: name(row) });
        Edge {
            era: info.era,
            reason: Reason::from_number(info.reason.into()).map_or("unknown", Reason::name),
            time_us: info.time_us,
            tag: info.tag,
            straddlers: straddlers.collect(),
        }
    }

    /// For people; `now_us`: of the monotonic clock.
    pub(super) fn text(&self, now_us: u64) -> String {
        let name = |straddler: &Straddler| match straddler.name {
            Some(name) => name.to_owned(),
            None => format!("writer {}, which has gone", straddler.writer),
        };
        let straddlers: Vec<_> = self.straddlers.iter().map(name).collect();
        let age = std::time::Duration::from_micros(now_us.saturating_sub(self.time_us));
        format!("{}, {}", phrase::edge(self.reason, self.tag, &straddlers), phrase::ago(age))
    }
}

impl<'a> Channel<'a> {
    fn new(zone: &ZoneInfo, info: &'a ChannelInfo) -> Self {
        let lanes = || zone.lanes.iter().filter(|lane| lane.channel == info.index);
        Channel {
            channel: &info.name,
            r#type: info.ty.as_ref().map(Type::new),
            delivery: info.delivery.map(|delivery| if delivery.lossy { "lossy" } else { "reliable" }),
            evict_after: info.delivery.map(|delivery| delivery.evict_ms).filter(|&ms| ms != 0),
            writers: lanes().filter(|lane| !lane.ended).count(),
            readers: info.readers,
            kept: lanes().filter(|lane| lane.kept).count(),
            bytes: lanes().map(|lane| lane.capacity).sum(),
        }
    }
}

impl<'a> Type<'a> {
    pub(super) fn new(ty: &'a TypeDesc) -> Self {
        let fields = ty.fields.iter().map(|field| Field {
            name: &field.name,
            offset: field.offset,
            count: field.count,
            scalar: format!("{:?}", field.scalar).to_lowercase(),
        });
        Type {
            name: &ty.name,
            size: ty.size,
            align: ty.align,
            variable: ty.variable,
            fields: fields.collect(),
            text: ty.to_string(),
        }
    }
}

impl<'a> Writer<'a> {
    fn new(zone: &'a ZoneInfo, info: &'a WriterInfo) -> Self {
        let lanes: Vec<&LaneUse> = zone.lanes.iter().filter(|lane| lane.serial == info.serial).collect();
        Writer {
            writer: info.row,
            name: &info.name,
            pid: info.pid,
            uid: info.uid,
            commits: info.version,
            channels: names(zone, lanes.iter().map(|lane| lane.channel)),
            bytes: lanes.iter().map(|lane| lane.capacity).sum(),
            open_batch: info.open_batch,
            straddles: info.straddles,
            permits: info.permits,
        }
    }
}

impl<'a> Lane<'a> {
    fn new(zone: &'a ZoneInfo, info: &LaneUse) -> Self {
        let writer = zone.writers.iter().find(|writer| writer.serial == info.serial);
        Lane {
            channel: zone.channel(info.channel).map_or("", |channel| &channel.name),
            writer: info.row,
            name: writer.map(|writer| writer.name.as_str()),
            readers: info.readers,
            pins: info.pins,
            max_len: info.max_payload,
            bytes: info.capacity,
            state: match (info.ended, info.kept) {
                (false, _) => "open",
                (true, true) => "kept",
                (true, false) => "ended",
            },
        }
    }
}

impl<'a> Reader<'a> {
    fn new(zone: &'a ZoneInfo, info: &'a ReaderInfo) -> Self {
        Reader {
            name: &info.name,
            pid: info.pid,
            uid: info.uid,
            synced: info.synced,
            channels: names(zone, info.channels.iter().copied()),
            taken: info.taken,
            evicted: info.evicted,
        }
    }
}

/// The names of channels.
fn names(zone: &ZoneInfo, channels: impl Iterator<Item = u32>) -> Vec<&str> {
    channels.filter_map(|index| zone.channel(index)).map(|channel| channel.name.as_str()).collect()
}
