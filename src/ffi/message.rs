//! `struct syncline_message`, and the texts that it points to: made once for each lane, not for each message.

use super::error::c_text;
use super::types::{CType, OwnedType};
use crate::client::Taken;
use crate::wire::LaneInfo;
use std::ffi::{CString, c_char, c_void};
use std::ptr;

/// `struct syncline_message`.
#[repr(C)]
pub struct CMessage {
    data: *const c_void,
    len: usize,
    ty: *const CType,
    channel: *const c_char,
    writer_name: *const c_char,
    writer: u32,
    pid: i32,
    sequence: u64,
    era: u64,
}

const _: () = assert!(size_of::<CMessage>() == 64);

impl CMessage {
    pub(super) const fn empty() -> Self {
        CMessage {
            data: ptr::null(),
            len: 0,
            ty: ptr::null(),
            channel: ptr::null(),
            writer_name: ptr::null(),
            writer: 0,
            pid: 0,
            sequence: 0,
            era: 0,
        }
    }

    #[inline(always)]
    pub(super) fn new(taken: &Taken, data: *const u8, origin: &Origin) -> Self {
        CMessage {
            data: data.cast(),
            len: taken.frame.len as usize,
            ty: origin.ty.as_ptr(),
            channel: origin.channel.as_ptr(),
            writer_name: origin.writer_name.as_ptr(),
            writer: origin.writer,
            pid: origin.pid,
            sequence: taken.sequence,
            era: taken.era,
        }
    }
}

/// What all messages of a lane have in common.
pub(super) struct Origin {
    /// The lane's number.
    lane: u64,
    ty: OwnedType,
    channel: CString,
    writer_name: CString,
    writer: u32,
    pid: i32,
}

impl Origin {
    fn new(info: &LaneInfo) -> Self {
        Origin {
            lane: info.lane,
            ty: OwnedType::new(&info.ty),
            channel: c_text(&info.channel_name),
            writer_name: c_text(&info.writer_name),
            writer: info.row,
            pid: info.writer_pid as i32,
        }
    }
}

/// The origins of a reader's lanes, in the order of its lanes as far as known: when a lane comes or goes, those after it are made anew.
#[derive(Default)]
pub(super) struct Origins(Vec<Option<Origin>>);

impl Origins {
    #[inline(always)]
    pub(super) fn of(&mut self, index: usize, info: &LaneInfo) -> &Origin {
        if !matches!(self.0.get(index), Some(Some(origin)) if origin.lane == info.lane) {
            self.make(index, info);
        }
        match &self.0[index] {
            Some(origin) => origin,
            None => unreachable!("made above"),
        }
    }

    #[cold]
    #[inline(never)]
    fn make(&mut self, index: usize, info: &LaneInfo) {
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(Origin::new(info));
    }
}
