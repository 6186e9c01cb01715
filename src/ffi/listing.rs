//! `syncline_listing`: what there is, item by item.

use super::args::{handle, out};
use super::edge::{CEdge, OwnedEdge};
use super::error::{c_text, free, guard};
use super::types::{CType, OwnedType};
use super::zone::CZoneOptions;
use crate::wire::{ChannelInfo, LaneUse, ReaderInfo, WriterInfo, ZoneInfo};
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What is behind a `syncline_listing`.
pub struct ListingHandle {
    items: std::vec::IntoIter<Item>,
    last: Option<Item>,
}

/// `enum syncline_kind`.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Channel = 1,
    Writer = 2,
    Reader = 3,
    Zone = 4,
}

/// `struct syncline_item`.
#[repr(C)]
pub struct CItem {
    kind: u32,
    uid: u32,
    pid: i32,
    writer: u32,
    zone: *const c_char,
    name: *const c_char,
    ty: *const CType,
    channels: *const *const c_char,
    channel_count: u32,
    lanes: u32,
    subscribers: u32,
    synced: u32,
    bytes: u64,
    generation: u64,
    last_edge: *const CEdge,
    options: *const CZoneOptions,
    taken: u64,
    takes_eras: u32,
    created: u32,
    halted: u32,
    kept: u32,
    open_batch: u32,
    straddles: u32,
    permits: u32,
    delivery: u32,
    evict_ms: u32,
    evicted: u32,
}

const _: () = assert!(size_of::<CItem>() == 144);

/// An item, with all that it points to.
struct Item {
    shown: CItem,
    _texts: [CString; 2],
    _type: Option<OwnedType>,
    _edge: Option<OwnedEdge>,
    _options: Option<Box<CZoneOptions>>,
    _channel_names: Vec<CString>,
    _channels: Vec<*const c_char>,
}

impl Item {
    fn new(kind: Kind, zone: &str, name: &str) -> Self {
        let texts = [c_text(zone), c_text(name)];
        let shown = CItem {
            kind: kind as u32,
            uid: 0,
            pid: 0,
            writer: 0,
            zone: texts[0].as_ptr(),
            name: texts[1].as_ptr(),
            ty: ptr::null(),
            channels: ptr::null(),
            channel_count: 0,
            lanes: 0,
            subscribers: 0,
            synced: 0,
            bytes: 0,
            generation: 0,
            last_edge: ptr::null(),
            options: ptr::null(),
            taken: 0,
            takes_eras: 0,
            created: 0,
            halted: 0,
            kept: 0,
            open_batch: 0,
            straddles: 0,
            permits: 0,
            delivery: 0,
            evict_ms: 0,
            evicted: 0,
        };
        Item {
            shown,
            _texts: texts,
            _type: None,
            _edge: None,
            _options: None,
            _channel_names: Vec::new(),
            _channels: Vec::new(),
        }
    }

    fn zone(zone: &ZoneInfo) -> Self {
        let mut item = Item::new(Kind::Zone, &zone.name, &zone.name);
        (item.shown.bytes, item.shown.generation) = (zone.bytes, zone.generation);
        (item.shown.created, item.shown.halted) = (zone.created.into(), zone.halted.into());
        item.shown.options = &raw const **item._options.insert(Box::new(CZoneOptions::of(zone)));
        item._edge = zone.last_edge.as_ref().map(OwnedEdge::listed);
        item.shown.last_edge = item._edge.as_ref().map_or(ptr::null(), OwnedEdge::as_ptr);
        item
    }

    fn channel(zone: &ZoneInfo, channel: &ChannelInfo) -> Self {
        let mut item = Item::new(Kind::Channel, &zone.name, &channel.name);
        let lanes = || zone.lanes.iter().filter(|lane| lane.channel == channel.index);
        item.shown.lanes = lanes().filter(|lane| !lane.ended).count() as u32;
        item.shown.kept = lanes().filter(|lane| lane.kept).count() as u32;
        item.shown.bytes = lanes().map(|lane| lane.capacity).sum();
        item.shown.subscribers = channel.readers;
        if let Some(delivery) = channel.delivery {
            (item.shown.delivery, item.shown.evict_ms) = (1 + u32::from(delivery.lossy), delivery.evict_ms);
        }
        item._type = channel.ty.as_ref().map(OwnedType::new);
        item.shown.ty = item._type.as_ref().map_or(ptr::null(), OwnedType::as_ptr);
        item
    }

    fn writer(zone: &ZoneInfo, writer: &WriterInfo) -> Self {
        let lanes: Vec<&LaneUse> = zone.lanes.iter().filter(|l| l.serial == writer.serial && !l.ended).collect();
        let channels: Vec<u32> = lanes.iter().map(|lane| lane.channel).collect();
        let mut item = Item::new(Kind::Writer, &zone.name, &writer.name).in_channels(zone, &channels);
        item.shown.writer = writer.row;
        (item.shown.open_batch, item.shown.straddles) = (writer.open_batch.into(), writer.straddles);
        item.shown.permits = writer.permits.into();
        (item.shown.pid, item.shown.uid) = (writer.pid as i32, writer.uid);
        item.shown.lanes = lanes.len() as u32;
        item.shown.bytes = lanes.iter().map(|lane| lane.capacity).sum();
        item
    }

    fn reader(zone: &ZoneInfo, reader: &ReaderInfo) -> Self {
        let mut item = Item::new(Kind::Reader, &zone.name, &reader.name).in_channels(zone, &reader.channels);
        (item.shown.pid, item.shown.uid) = (reader.pid as i32, reader.uid);
        item.shown.synced = u32::from(reader.synced);
        (item.shown.lanes, item.shown.evicted) = (reader.lanes, reader.evicted);
        (item.shown.takes_eras, item.shown.taken) = (reader.taken.is_some().into(), reader.taken.unwrap_or(0));
        item
    }

    fn in_channels(mut self, zone: &ZoneInfo, channels: &[u32]) -> Self {
        let name = |index: &u32| zone.channel(*index).map(|channel| c_text(&channel.name));
        self._channel_names = channels.iter().filter_map(name).collect();
        self._channels = self._channel_names.iter().map(|name| name.as_ptr()).collect();
        if !self._channels.is_empty() {
            self.shown.channels = self._channels.as_ptr();
            self.shown.channel_count = self._channels.len() as u32;
        }
        self
    }
}

impl ListingHandle {
    pub(super) fn new(zones: &[ZoneInfo]) -> Self {
        let mut items = Vec::new();
        for zone in zones {
            items.push(Item::zone(zone));
            items.extend(zone.channels.iter().map(|channel| Item::channel(zone, channel)));
            items.extend(zone.writers.iter().map(|writer| Item::writer(zone, writer)));
            items.extend(zone.readers.iter().map(|reader| Item::reader(zone, reader)));
        }
        ListingHandle { items: items.into_iter(), last: None }
    }
}

/// The next item.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_listing_next(listing: *mut ListingHandle, item: *mut *const CItem) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (item, listing) = unsafe { (out(item, ptr::null(), "item")?, handle(listing, "listing")?) };
        listing.last = listing.items.next();
        let Some(last) = &listing.last else { return Ok(0) };
        *item = &raw const last.shown;
        Ok(1)
    })
}

/// Frees the list.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_listing_close(listing: *mut ListingHandle) {
    // SAFETY: it came from `syncline_bus_list`, which boxed it.
    unsafe { free(listing) }
}
