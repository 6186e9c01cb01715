//! `struct syncline_edge`: what is on record of a sealed era.

use super::args::{handle, out};
use super::error::guard;
use super::reader::ReaderHandle;
use super::writer::WriterHandle;
use crate::client::Edge;
use crate::error::Result;
use crate::layout::zone::Reason;
use crate::wire::EdgeInfo;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

/// `struct syncline_edge`.
#[repr(C)]
pub struct CEdge {
    era: u64,
    time_ns: u64,
    tag: u64,
    has_tag: u32,
    reason: u32,
    straddlers: *const u32,
    straddler_count: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CEdge>() == 48);

/// An edge, with the rows that it points to.
pub(super) struct OwnedEdge {
    shown: Box<CEdge>,
    _straddlers: Vec<u32>,
}

impl OwnedEdge {
    pub(super) fn new(edge: Edge) -> Self {
        let Edge { era, reason, time, tag, straddlers } = edge;
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self::of(era, reason as u32, time_ns, tag, straddlers)
    }

    pub(super) fn listed(edge: &EdgeInfo) -> Self {
        let time_ns = edge.time_us.saturating_mul(1000);
        Self::of(edge.era, edge.reason.into(), time_ns, edge.tag, edge.straddlers.clone())
    }

    fn of(era: u64, reason: u32, time_ns: u64, tag: Option<u64>, straddlers: Vec<u32>) -> Self {
        let shown = Box::new(CEdge {
            era,
            time_ns,
            tag: tag.unwrap_or(0),
            has_tag: u32::from(tag.is_some()),
            reason,
            straddlers: if straddlers.is_empty() { ptr::null() } else { straddlers.as_ptr() },
            straddler_count: straddlers.len() as u32,
            zero: 0,
        });
        OwnedEdge { shown, _straddlers: straddlers }
    }

    /// Valid as long as this is.
    pub(super) fn as_ptr(&self) -> *const CEdge {
        &raw const *self.shown
    }
}

/// Keeps an edge that was looked for in its handle, and gives C a pointer to it: 1, or 0 if there is none.
pub(super) fn show(kept: &mut Option<OwnedEdge>, edge: &mut *const CEdge, found: Option<Edge>) -> c_int {
    let Some(found) = found else { return 0 };
    *edge = kept.insert(OwnedEdge::new(found)).as_ptr();
    1
}

/// What is on record of an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_edge_info(
    writer: *mut WriterHandle,
    era: u64,
    edge: *mut *const CEdge,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (edge, writer) = unsafe { (out(edge, ptr::null(), "edge")?, handle(writer, "writer")?) };
        let found = writer.writer.edge_info(era)?;
        Ok(show(&mut writer.edge, edge, found))
    })
}

/// What is on record of an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_edge_info(
    reader: *mut ReaderHandle,
    era: u64,
    edge: *mut *const CEdge,
) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { look(reader, edge, |_| Ok(era)) }
}

/// What is on record of the era that is being read.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_era_edge(reader: *mut ReaderHandle, edge: *mut *const CEdge) -> c_int {
    // SAFETY: passed on to our caller.
    unsafe { look(reader, edge, ReaderHandle::begun) }
}

/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn look(
    reader: *mut ReaderHandle,
    edge: *mut *const CEdge,
    era: impl FnOnce(&ReaderHandle) -> Result<u64>,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (edge, reader) = unsafe { (out(edge, ptr::null(), "edge")?, handle(reader, "reader")?) };
        let found = reader.reader.edge_info(era(reader)?)?;
        Ok(show(&mut reader.edge, edge, found))
    })
}

/// One word for a reason.
#[unsafe(no_mangle)]
pub extern "C" fn syncline_reason_name(reason: u32) -> *const c_char {
    name(Reason::from_number(reason.into())).as_ptr()
}

fn name(reason: Option<Reason>) -> &'static CStr {
    match reason {
        Some(Reason::Exact) => c"exact",
        Some(Reason::Commits) => c"commits",
        Some(Reason::Bytes) => c"bytes",
        Some(Reason::Click) => c"click",
        Some(Reason::Permits) => c"permits",
        Some(Reason::Deadline) => c"deadline",
        Some(Reason::Rest) => c"rest",
        None => c"unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = include_str!("../../include/syncline.h");

    #[test]
    fn header_has_every_reason_in_its_place() {
        let (_, reasons) = HEADER.split_once("enum syncline_reason {").unwrap();
        let (reasons, _) = reasons.split_once("};").unwrap();
        let named: Vec<&str> = reasons
            .lines()
            .filter_map(|line| line.trim().strip_prefix("SYNCLINE_REASON_"))
            .map(|line| line.split([',', ' ']).next().unwrap())
            .collect();
        assert!(reasons.contains("SYNCLINE_REASON_EXACT = 1,"));
        let expected: Vec<String> = Reason::ALL.iter().map(|reason| reason.name().to_uppercase()).collect();
        assert_eq!(named, expected);
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index + 1, "the header counts");
            assert_eq!(name(Some(*reason)).to_str().unwrap(), reason.name());
        }
    }

    #[test]
    fn an_edge_has_all_that_is_on_record() {
        let edge = EdgeInfo { era: 7, reason: 6, time_us: 5, tag: Some(0), straddlers: vec![3, 9] };
        let OwnedEdge { shown, _straddlers: rows } = OwnedEdge::listed(&edge);
        assert_eq!((shown.era, shown.reason, shown.time_ns, shown.tag, shown.has_tag), (7, 6, 5000, 0, 1));
        assert_eq!((shown.straddlers, shown.straddler_count), (rows.as_ptr(), 2));
        let plain = OwnedEdge::listed(&EdgeInfo { tag: None, straddlers: Vec::new(), ..edge });
        assert!(plain.shown.has_tag == 0 && plain.shown.straddlers.is_null());
    }
}
