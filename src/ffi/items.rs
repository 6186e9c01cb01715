//! Items of tables by their indices: C has no more of them, and what an index stands for is kept by the handle.

use super::args::{self, array_mut, text};
use super::error::{c_text, coded};
use super::types::{self, CType, OwnedType};
use super::zone::check_zero;
use crate::client::{Finder, Spot};
use crate::error::{Code, Error, Result};
use crate::wire::Group;
use std::ffi::{CString, c_char, c_void};
use std::ptr;

/// How many items a handle keeps at a time.
const KEPT: usize = 64;

/// An item, with what its values may be.
#[derive(Clone, Copy)]
pub(super) struct Resolved {
    pub(super) spot: Spot,
    element: u32,
}

impl Resolved {
    #[inline(always)]
    fn is(&self, index: u32, tag: u32, table: u32) -> bool {
        (self.spot.index, self.spot.tag, self.spot.table) == (index, tag, table)
    }

    /// Whether the item takes so many bytes.
    #[inline(always)]
    pub(super) fn check_len(&self, len: usize) -> Result<()> {
        let whole = match self.spot.variable {
            true => self.element <= 1 || len.is_multiple_of(self.element as usize),
            false => len == self.element as usize,
        };
        if whole { Ok(()) } else { Err(self.refuse(len)) }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, len: usize) -> Error {
        let expected = if self.spot.variable { "a whole number of elements" } else { "one element" };
        let (index, element) = (self.spot.index, self.element);
        let text =
            format!("value of {len} bytes: expected {expected} of the type of item {index}, {element} bytes each");
        coded(Code::BadValue, text)
    }
}

/// The items of one handle that were used last, by index; and the group that was looked at last.
pub(super) struct Items {
    kept: [Option<Resolved>; KEPT],
    group: Option<OwnedGroup>,
}

impl Default for Items {
    fn default() -> Self {
        Items { kept: [None; KEPT], group: None }
    }
}

impl Items {
    /// The item of this index, of the table of this number whose items have this tag; any numbers may be asked for.
    #[inline(always)]
    pub(super) fn at<'a>(
        &mut self,
        (tag, table): (u32, u32),
        index: u32,
        finder: impl FnOnce() -> Result<Finder<'a>>,
    ) -> Result<Resolved> {
        let place = &mut self.kept[index as usize % KEPT];
        match place {
            Some(kept) if kept.is(index, tag, table) => Ok(*kept),
            _ => {
                let finder = finder()?;
                let (spot, group) = finder.at(index)?;
                Ok(*place.insert(Resolved { spot, element: group.ty.size }))
            }
        }
    }

    /// Shows the group of this number.
    pub(super) fn show(&mut self, groups: &[Group], index: usize) -> Option<*const CGroup> {
        let found = OwnedGroup::new(groups.get(index)?);
        Some(&raw const *self.group.insert(found).shown)
    }
}

/// The index of the item that C looks up: the `n`-th of a name, or with NULL of all; of this type, unless that is NULL.
///
/// # Safety
/// `name` and `ty` are NULL or what the header says of them.
pub(super) unsafe fn find(finder: &Finder<'_>, name: *const c_char, n: u32, ty: *const CType) -> Result<u32> {
    // SAFETY: passed on to our caller.
    let (name, ty) =
        unsafe { (if name.is_null() { None } else { Some(text(name, "item's name")?) }, types::describe(ty)?) };
    let (spot, group) = match name {
        Some(name) => finder.named(name, n)?,
        None => finder.at(n)?,
    };
    match ty.and_then(|ty| group.ty.difference(&ty)) {
        None => Ok(spot.index),
        Some(difference) => {
            let text = format!("item {} of table `{}`: {difference}; use the type it has", spot.index, finder.name);
            Err(coded(Code::Mismatch, text))
        }
    }
}

/// Where the value of an item goes. The place has no more bytes than a value can have.
///
/// # Safety
/// `buffer` is NULL or valid for writes of `size` bytes, and nothing else uses them during the call.
#[inline(always)]
pub(super) unsafe fn room<'a>(spot: Spot, buffer: *mut c_void, size: usize) -> Result<&'a mut [u8]> {
    if size == 0 {
        return Ok(&mut []);
    }
    // SAFETY: passed on to our caller.
    unsafe { args::buffer(buffer, size.min(spot.max_len as usize)) }
}

/// Whether a value of `len` bytes was read whole.
#[inline(always)]
pub(super) fn check_whole(spot: Spot, len: usize, size: usize) -> Result<()> {
    if len <= size { Ok(()) } else { Err(cut_short(spot, len, size)) }
}

#[cold]
#[inline(never)]
fn cut_short(spot: Spot, len: usize, size: usize) -> Error {
    coded(Code::TooLarge, format!("value of item {}, {len} bytes: the buffer has {size}", spot.index))
}

/// `struct syncline_read`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CRead {
    pub(super) item: u32,
    zero: u32,
    pub(super) buffer: *mut c_void,
    pub(super) size: usize,
    pub(super) len: usize,
}

const _: () = assert!(size_of::<CRead>() == 32);

/// What C wants to read.
///
/// # Safety
/// `reads` is NULL or what the header says of it.
pub(super) unsafe fn wanted_reads<'a>(reads: *mut CRead, count: u32) -> Result<&'a mut [CRead]> {
    // SAFETY: integers and a pointer, which any bits are good for; passed on to our caller.
    let reads = unsafe { array_mut(reads, count, "reads")? };
    reads.iter().try_for_each(|read| check_zero(read.zero, "struct syncline_read"))?;
    reads.iter_mut().for_each(|read| read.len = 0);
    Ok(reads)
}

/// `struct syncline_group`.
#[repr(C)]
pub struct CGroup {
    name: *const c_char,
    ty: *const CType,
    first: u32,
    count: u32,
    max_len: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CGroup>() == 32);

/// A group, with what it points to.
struct OwnedGroup {
    shown: Box<CGroup>,
    _name: CString,
    _type: OwnedType,
}

impl OwnedGroup {
    fn new(group: &Group) -> Self {
        let (name, ty) = (c_text(&group.name), OwnedType::new(&group.ty));
        let shown = Box::new(CGroup {
            name: name.as_ptr(),
            ty: ty.as_ptr(),
            first: group.first,
            count: group.run.count,
            max_len: group.max_len,
            zero: 0,
        });
        OwnedGroup { shown, _name: name, _type: ty }
    }
}

/// Puts a group where C wants it: 1; 0 if there is none.
pub(super) fn give(place: &mut *const CGroup, found: Option<*const CGroup>) -> i32 {
    *place = found.unwrap_or(ptr::null());
    i32::from(found.is_some())
}
