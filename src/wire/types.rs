//! Names, and what a channel carries.

use super::codec::{choice, record};
use crate::layout::lane::MAX_ALIGN;
use std::fmt;

/// The longest name of a zone, channel, writer, reader, type or field, in bytes.
pub const MAX_NAME: usize = 128;
/// The most fields that a type can declare.
pub const MAX_FIELDS: usize = 256;

/// Whether `name` can be a name: 1 to 128 bytes, no control characters. `what` it is the name of begins the complaint.
///
/// # Errors
/// It can not; the text says why.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        let len = name.len();
        return Err(format!("name of a {what}: expected 1 to {MAX_NAME} bytes, found {len}; choose another"));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("name of a {what}: expected no control characters, found {name:?}; choose another"));
    }
    Ok(())
}

choice! {
    /// What a field consists of.
    pub enum Scalar {
        /// Unsigned, 8 bits.
        U8 = 1,
        /// Unsigned, 16 bits.
        U16 = 2,
        /// Unsigned, 32 bits.
        U32 = 3,
        /// Unsigned, 64 bits.
        U64 = 4,
        /// Signed, 8 bits.
        I8 = 5,
        /// Signed, 16 bits.
        I16 = 6,
        /// Signed, 32 bits.
        I32 = 7,
        /// Signed, 64 bits.
        I64 = 8,
        /// Floating point, 32 bits.
        F32 = 9,
        /// Floating point, 64 bits.
        F64 = 10,
        /// One byte, 0 or 1.
        Bool = 11,
        /// One byte of a text; the field is as many as it has bytes.
        Char8 = 12,
    }
}

impl Scalar {
    /// Size in bytes.
    pub const fn size(self) -> u32 {
        match self {
            Scalar::U8 | Scalar::I8 | Scalar::Bool | Scalar::Char8 => 1,
            Scalar::U16 | Scalar::I16 => 2,
            Scalar::U32 | Scalar::I32 | Scalar::F32 => 4,
            Scalar::U64 | Scalar::I64 | Scalar::F64 => 8,
        }
    }
}

record! {
    /// A named part of a type: for tools that print messages, and checked like the type's size.
    pub struct Field {
        /// Its name.
        pub name: String,
        /// Where it begins, in bytes.
        pub offset: u32,
        /// How many of its scalar it has: 1, or the length of an array.
        pub count: u32,
        /// What it consists of.
        pub scalar: Scalar,
    }
}

record! {
    /// What a channel carries. All who open the channel must mean the same.
    pub struct TypeDesc {
        /// Its name, the same in every process; empty for plain bytes.
        pub name: String,
        /// Size of one element, in bytes; 0 for plain bytes.
        pub size: u32,
        /// Alignment of one element, in bytes: a power of two, at most 4096.
        pub align: u32,
        /// Whether a message is any number of elements, or exactly one.
        pub variable: bool,
        /// Its declared fields; may be none.
        pub fields: Vec<Field>,
    }
}

impl TypeDesc {
    /// Plain bytes, any number of them.
    pub fn bytes() -> TypeDesc {
        TypeDesc { name: String::new(), size: 0, align: 1, variable: true, fields: Vec::new() }
    }

    /// Whether this is plain bytes.
    pub fn is_bytes(&self) -> bool {
        self.name.is_empty()
    }

    /// Whether the parts fit together.
    ///
    /// # Errors
    /// They do not; the text says what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        if self.is_bytes() {
            let fits = self.size == 0 && self.variable && self.align.is_power_of_two() && self.fields.is_empty();
            if fits && u64::from(self.align) <= MAX_ALIGN {
                return Ok(());
            }
            return Err(format!(
                "type without a name: expected plain bytes (size 0, variable, no fields), found {self}; name the type"
            ));
        }
        check_name("type", &self.name)?;
        if !self.align.is_power_of_two() || u64::from(self.align) > MAX_ALIGN {
            let found = self.align;
            return Err(format!(
                "alignment of `{}`: expected a power of two up to {MAX_ALIGN}, found {found}",
                self.name
            ));
        }
        if !self.size.is_multiple_of(self.align) || (self.variable && self.size == 0) {
            return Err(format!("size of {self}: expected a multiple of the alignment, not 0 if there can be many"));
        }
        if self.fields.len() > MAX_FIELDS {
            let found = self.fields.len();
            return Err(format!(
                "fields of `{}`: expected at most {MAX_FIELDS}, found {found}; declare fewer",
                self.name
            ));
        }
        self.fields.iter().try_for_each(|field| self.check_field(field))
    }

    fn check_field(&self, field: &Field) -> Result<(), String> {
        check_name("field", &field.name)?;
        let end = u64::from(field.offset) + u64::from(field.count) * u64::from(field.scalar.size());
        if end <= u64::from(self.size) {
            return Ok(());
        }
        let Field { name, offset, .. } = field;
        Err(format!("field `{name}` of {self}: expected it inside the type, found it from {offset} to {end}"))
    }

    /// What `other` has that differs from this, in a few words; `None` if nothing does.
    pub fn difference(&self, other: &TypeDesc) -> Option<String> {
        if self == other {
            return None;
        }
        let (expected, found) = (self.to_string(), other.to_string());
        if expected != found {
            return Some(format!("expected {expected}, found {found}"));
        }
        let differing = self.fields.iter().zip(&other.fields).find(|(ours, theirs)| ours != theirs);
        Some(match differing {
            Some((ours, theirs)) => format!("expected {expected} with the field {ours}, found {theirs}"),
            None => {
                format!("expected {expected} with {} fields, found {}", self.fields.len(), other.fields.len())
            }
        })
    }
}

impl fmt::Display for TypeDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.variable { "any number of " } else { "" };
        match (self.is_bytes(), self.align) {
            (true, 1) => f.write_str("plain bytes"),
            (true, align) => write!(f, "plain bytes aligned to {align}"),
            (false, align) => write!(f, "{many}`{}` ({} bytes, aligned to {align})", self.name, self.size),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { name, offset, count, scalar } = self;
        write!(f, "`{name}` ({count} x {scalar:?} at {offset})")
    }
}
