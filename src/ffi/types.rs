//! `struct syncline_type`: read from C and checked, and made for C to read.

use super::args::{self, Growing, array, invalid, text};
use super::error::c_text;
use crate::error::Result;
use crate::wire::{Field, Scalar, TypeDesc};
use std::ffi::{CString, c_char};
use std::mem::{offset_of, size_of};
use std::ptr;

/// The most fields of a type.
const MOST_FIELDS: u32 = 256;

/// `struct syncline_type`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CType {
    size: usize,
    name: *const c_char,
    element_size: u32,
    align: u32,
    variable: u32,
    field_count: u32,
    fields: *const CField,
}

/// `struct syncline_field`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CField {
    name: *const c_char,
    offset: u32,
    count: u32,
    scalar: u32,
    zero: u32,
}

const _: () = {
    assert!(size_of::<CType>() == 40 && offset_of!(CType, fields) == 32);
    assert!(size_of::<CField>() == 24 && offset_of!(CField, scalar) == 16);
};

// SAFETY: `repr(C)`, the size first, no padding, pointers and integers.
unsafe impl Growing for CType {
    const NAME: &'static str = "struct syncline_type";
}

/// The scalars by their number in the header, from 1.
const SCALARS: [Scalar; 12] = [
    Scalar::U8,
    Scalar::U16,
    Scalar::U32,
    Scalar::U64,
    Scalar::I8,
    Scalar::I16,
    Scalar::I32,
    Scalar::I64,
    Scalar::F32,
    Scalar::F64,
    Scalar::Bool,
    Scalar::Char8,
];

/// A type as C describes it; `None` for NULL.
///
/// # Safety
/// `ty` is NULL or what the header says of a `struct syncline_type`.
pub(super) unsafe fn describe(ty: *const CType) -> Result<Option<TypeDesc>> {
    if ty.is_null() {
        return Ok(None);
    }
    // SAFETY: passed on to our caller.
    let ty = unsafe { args::sized(ty)? };
    // SAFETY: as above; NULL is the same as no name.
    let name = if ty.name.is_null() { "" } else { unsafe { text(ty.name, "type name")? } };
    if name.is_empty() && ty.element_size == 0 {
        return Ok(Some(TypeDesc::bytes()));
    }
    // SAFETY: as above.
    let fields = unsafe { array(ty.fields, ty.field_count, MOST_FIELDS, "fields")? };
    // SAFETY: as above.
    let fields = fields.iter().map(|field| unsafe { describe_field(field) }).collect::<Result<_>>()?;
    let described =
        TypeDesc { name: name.to_owned(), size: ty.element_size, align: ty.align, variable: ty.variable != 0, fields };
    described.check().map_err(invalid)?;
    Ok(Some(described))
}

/// # Safety
/// The field's name is NULL or a C string.
unsafe fn describe_field(field: &CField) -> Result<Field> {
    // SAFETY: passed on to our caller.
    let name = unsafe { text(field.name, "field name")? };
    let Some(&scalar) = (field.scalar as usize).checked_sub(1).and_then(|index| SCALARS.get(index)) else {
        return Err(invalid(format!("field `{name}`: no scalar has the number {}", field.scalar)));
    };
    if field.zero != 0 {
        return Err(invalid(format!("field `{name}`: its last member must be 0, found {}", field.zero)));
    }
    Ok(Field { name: name.to_owned(), offset: field.offset, count: field.count, scalar })
}

/// A type for C to read, with all that it points to.
pub(super) struct OwnedType {
    shown: Box<CType>,
    _name: CString,
    _fields: Vec<CField>,
    _field_names: Vec<CString>,
}

impl OwnedType {
    pub(super) fn new(ty: &TypeDesc) -> Self {
        let name = c_text(&ty.name);
        let field_names: Vec<CString> = ty.fields.iter().map(|field| c_text(&field.name)).collect();
        let show = |(field, name): (&Field, &CString)| CField {
            name: name.as_ptr(),
            offset: field.offset,
            count: field.count,
            scalar: SCALARS.iter().position(|scalar| *scalar == field.scalar).map_or(0, |index| index as u32 + 1),
            zero: 0,
        };
        let fields: Vec<CField> = ty.fields.iter().zip(&field_names).map(show).collect();
        let shown = Box::new(CType {
            size: size_of::<CType>(),
            name: name.as_ptr(),
            element_size: ty.size,
            align: ty.align,
            variable: u32::from(ty.variable),
            field_count: fields.len() as u32,
            fields: if fields.is_empty() { ptr::null() } else { fields.as_ptr() },
        });
        OwnedType { shown, _name: name, _fields: fields, _field_names: field_names }
    }

    /// Valid as long as this is.
    pub(super) fn as_ptr(&self) -> *const CType {
        &raw const *self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pose() -> TypeDesc {
        let field = |name: &str, offset, count, scalar| Field { name: name.to_owned(), offset, count, scalar };
        TypeDesc {
            name: "robot.pose".to_owned(),
            size: 24,
            align: 8,
            variable: true,
            fields: vec![field("x", 0, 1, Scalar::F64), field("tag", 8, 16, Scalar::Char8)],
        }
    }

    fn round_trip(ty: &TypeDesc) -> Result<Option<TypeDesc>> {
        // SAFETY: the type and all it points to live until the end of the call.
        unsafe { describe(OwnedType::new(ty).as_ptr()) }
    }

    #[test]
    fn goes_to_c_and_back() {
        assert_eq!(round_trip(&pose()).unwrap(), Some(pose()));
        assert_eq!(round_trip(&TypeDesc::bytes()).unwrap(), Some(TypeDesc::bytes()));
        // SAFETY: NULL is no type.
        assert_eq!(unsafe { describe(ptr::null()) }.unwrap(), None);
    }

    #[test]
    fn what_is_unsound_is_refused() {
        let wrong = |change: fn(&mut TypeDesc)| {
            let mut ty = pose();
            change(&mut ty);
            round_trip(&ty).unwrap_err().to_string()
        };
        assert!(wrong(|ty| ty.align = 3).contains("align"));
        assert!(wrong(|ty| ty.name = "a\u{7}".to_owned()).contains("control"));
        wrong(|ty| ty.fields[1].offset = 20);
        wrong(|ty| ty.fields[1].count = u32::MAX);
    }

    #[test]
    fn unknown_scalars_are_refused() {
        for scalar in [0, 13, u32::MAX] {
            let field = CField { name: c"x".as_ptr(), offset: 0, count: 1, scalar, zero: 0 };
            // SAFETY: the name is a C string.
            assert!(unsafe { describe_field(&field) }.unwrap_err().to_string().contains(&scalar.to_string()));
        }
    }
}
