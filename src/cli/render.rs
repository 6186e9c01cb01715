//! Messages as text: fields by name where the type declares them.

use crate::client::{Edge, Message};
use crate::wire::{Field, Scalar, TypeDesc};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::io::Write;

/// One number, truth value or text of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
    Bool(bool),
    Text(&'a [u8]),
}

/// How many values a field has: text is one.
fn values(field: &Field) -> usize {
    if field.scalar == Scalar::Char8 { 1 } else { field.count as usize }
}

/// The value of a field at `index`; `None` if the element is too short for it.
pub(super) fn value<'a>(field: &Field, index: usize, element: &'a [u8]) -> Option<Value<'a>> {
    let width = field.scalar.size() as usize;
    let offset = field.offset as usize;
    if field.scalar == Scalar::Char8 {
        let text = element.get(offset..offset.checked_add(field.count as usize)?)?;
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        return Some(Value::Text(&text[..end]));
    }
    let at = offset.checked_add(index.checked_mul(width)?)?;
    let bytes = element.get(at..at.checked_add(width)?)?;
    Some(match field.scalar {
        Scalar::U8 => Value::Unsigned(bytes[0].into()),
        Scalar::U16 => Value::Unsigned(u16::from_ne_bytes(bytes.try_into().ok()?).into()),
        Scalar::U32 => Value::Unsigned(u32::from_ne_bytes(bytes.try_into().ok()?).into()),
        Scalar::U64 => Value::Unsigned(u64::from_ne_bytes(bytes.try_into().ok()?)),
        Scalar::I8 => Value::Signed(i8::from_ne_bytes(bytes.try_into().ok()?).into()),
        Scalar::I16 => Value::Signed(i16::from_ne_bytes(bytes.try_into().ok()?).into()),
        Scalar::I32 => Value::Signed(i32::from_ne_bytes(bytes.try_into().ok()?).into()),
        Scalar::I64 => Value::Signed(i64::from_ne_bytes(bytes.try_into().ok()?)),
        Scalar::F32 => Value::Single(f32::from_ne_bytes(bytes.try_into().ok()?)),
        Scalar::F64 => Value::Double(f64::from_ne_bytes(bytes.try_into().ok()?)),
        Scalar::Bool => Value::Bool(bytes[0] != 0),
        Scalar::Char8 => return None,
    })
}

/// The message's elements, if its fields can be printed.
fn elements<'a>(ty: &TypeDesc, payload: &'a [u8]) -> Option<std::slice::ChunksExact<'a, u8>> {
    let size = ty.size as usize;
    let whole = if ty.variable { size > 0 && payload.len().is_multiple_of(size) } else { payload.len() == size };
    let inside = |field: &Field| {
        let len = (field.count as usize).checked_mul(field.scalar.size() as usize);
        len.and_then(|len| len.checked_add(field.offset as usize)).is_some_and(|end| end <= size)
    };
    (size > 0 && whole && !ty.fields.is_empty() && ty.fields.iter().all(inside)).then(|| payload.chunks_exact(size))
}

/// A typed message: `name=value` of each field, elements separated by `; `; hex if there are no fields.
pub(super) fn plain(line: &mut Vec<u8>, ty: &TypeDesc, payload: &[u8]) {
    let Some(elements) = elements(ty, payload) else { return hex(line, payload) };
    for (number, element) in elements.enumerate() {
        if number > 0 {
            line.extend_from_slice(b"; ");
        }
        for (place, field) in ty.fields.iter().enumerate() {
            if place > 0 {
                line.push(b' ');
            }
            plain_field(line, field, element);
        }
    }
}

fn plain_field(line: &mut Vec<u8>, field: &Field, element: &[u8]) {
    line.extend_from_slice(field.name.as_bytes());
    line.push(b'=');
    let list = field.count != 1 && field.scalar != Scalar::Char8;
    if list {
        line.push(b'[');
    }
    for index in 0..values(field) {
        if index > 0 {
            line.push(b',');
        }
        plain_value(line, value(field, index, element));
    }
    if list {
        line.push(b']');
    }
}

pub(super) fn plain_value(line: &mut Vec<u8>, value: Option<Value<'_>>) {
    // Writing to a `Vec` does not fail.
    let _ = match value {
        Some(Value::Unsigned(number)) => write!(line, "{number}"),
        Some(Value::Signed(number)) => write!(line, "{number}"),
        Some(Value::Single(number)) => write!(line, "{number}"),
        Some(Value::Double(number)) => write!(line, "{number}"),
        Some(Value::Bool(truth)) => write!(line, "{truth}"),
        Some(Value::Text(text)) => write!(line, "{:?}", String::from_utf8_lossy(text)),
        None => Ok(()),
    };
}

pub(super) fn hex(line: &mut Vec<u8>, payload: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in payload {
        line.push(DIGITS[usize::from(byte >> 4)]);
        line.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// A message as a JSON object.
pub(super) struct Json<'a> {
    /// The zone's name.
    pub(super) zone: &'a str,
    /// The message.
    pub(super) message: &'a Message<'a>,
    /// A copy of its payload.
    pub(super) payload: &'a [u8],
    /// The sealed era that it is in, and what is on record of that one's edge.
    pub(super) sealed: (Option<u64>, Option<&'a Edge>),
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let origin = self.message.origin();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("zone", self.zone)?;
        map.serialize_entry("channel", origin.channel)?;
        map.serialize_entry("writer", &origin.writer)?;
        map.serialize_entry("writer_name", origin.writer_name)?;
        map.serialize_entry("pid", &origin.pid)?;
        map.serialize_entry("sequence", &self.message.sequence())?;
        let (era, edge) = self.sealed;
        map.serialize_entry("era", &era)?;
        map.serialize_entry("reason", &edge.map(|edge| edge.reason.name()))?;
        map.serialize_entry("tag", &edge.and_then(|edge| edge.tag))?;
        map.serialize_entry("len", &self.payload.len())?;
        payload_entry(&mut map, self.message.type_desc(), self.payload)?;
        map.end()
    }
}

/// `fields`, `text` or `hex`.
pub(super) fn payload_entry<M: SerializeMap>(map: &mut M, ty: &TypeDesc, payload: &[u8]) -> Result<(), M::Error> {
    if let Some(mut elements) = elements(ty, payload) {
        return match elements.next() {
            Some(element) if !ty.variable => map.serialize_entry("fields", &Element(ty, element)),
            _ => map.serialize_entry("fields", &Elements(ty, payload)),
        };
    }
    if ty.is_bytes()
        && let Some(text) = printable(payload)
    {
        return map.serialize_entry("text", text);
    }
    let mut digits = Vec::with_capacity(payload.len() * 2);
    hex(&mut digits, payload);
    map.serialize_entry("hex", &String::from_utf8_lossy(&digits))
}

/// Bytes as text, if they can be.
pub(super) fn printable(bytes: &[u8]) -> Option<&str> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(is_odd))
}

struct Elements<'a>(&'a TypeDesc, &'a [u8]);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(elements(self.0, self.1).into_iter().flatten().map(|element| Element(self.0, element)))
    }
}

struct Element<'a>(&'a TypeDesc, &'a [u8]);

impl Serialize for Element<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.fields.len()))?;
        for field in &self.0.fields {
            map.serialize_entry(&field.name, &FieldOf(field, self.1))?;
        }
        map.end()
    }
}

struct FieldOf<'a>(&'a Field, &'a [u8]);

impl Serialize for FieldOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FieldOf(field, element) = self;
        if field.count == 1 || field.scalar == Scalar::Char8 {
            return value(field, 0, element).serialize(serializer);
        }
        let mut list = serializer.serialize_seq(Some(values(field)))?;
        for index in 0..values(field) {
            list.serialize_element(&value(field, index, element))?;
        }
        list.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Value::Unsigned(number) => serializer.serialize_u64(number),
            Value::Signed(number) => serializer.serialize_i64(number),
            // JSON has no NaN and no infinity: they become null.
            Value::Single(number) => serializer.serialize_f32(number),
            Value::Double(number) => serializer.serialize_f64(number),
            Value::Bool(truth) => serializer.serialize_bool(truth),
            Value::Text(text) => serializer.serialize_str(&String::from_utf8_lossy(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(variable: bool) -> TypeDesc {
        let field = |name: &str, offset, count, scalar| Field { name: name.to_owned(), offset, count, scalar };
        TypeDesc {
            name: "test".to_owned(),
            size: 24,
            align: 8,
            variable,
            fields: vec![
                field("x", 0, 1, Scalar::F64),
                field("pair", 8, 2, Scalar::I16),
                field("ok", 12, 1, Scalar::Bool),
                field("label", 13, 8, Scalar::Char8),
            ],
        }
    }

    fn element(x: f64) -> Vec<u8> {
        let mut bytes = x.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&(-2i16).to_ne_bytes());
        bytes.extend_from_slice(&3i16.to_ne_bytes());
        bytes.push(1);
        bytes.extend_from_slice(b"a\"b\0\0\0\0\0\0\0\0");
        bytes
    }

    fn plainly(ty: &TypeDesc, payload: &[u8]) -> String {
        let mut line = Vec::new();
        plain(&mut line, ty, payload);
        String::from_utf8(line).unwrap()
    }

    fn json(ty: &TypeDesc, payload: &[u8]) -> String {
        struct Payload<'a>(&'a TypeDesc, &'a [u8]);
        impl Serialize for Payload<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                payload_entry(&mut map, self.0, self.1)?;
                map.end()
            }
        }
        serde_json::to_string(&Payload(ty, payload)).unwrap()
    }

    #[test]
    fn fields_by_name() {
        assert_eq!(plainly(&ty(false), &element(1.5)), r#"x=1.5 pair=[-2,3] ok=true label="a\"b""#);
        let fields = r#"{"x":1.5,"pair":[-2,3],"ok":true,"label":"a\"b"}"#;
        assert_eq!(json(&ty(false), &element(1.5)), format!(r#"{{"fields":{fields}}}"#));
        let two = [element(1.5), element(f64::NAN)].concat();
        assert!(plainly(&ty(true), &two).contains(r#"label="a\"b"; x=NaN "#));
        assert!(json(&ty(true), &two).starts_with(&format!(r#"{{"fields":[{fields},{{"x":null,"#)));
        assert_eq!(json(&ty(true), &[]), r#"{"fields":[]}"#);
    }

    #[test]
    fn hex_when_there_are_no_fields_or_they_do_not_fit() {
        assert_eq!(plainly(&ty(false), b"\x00\xfe"), "00fe");
        assert_eq!(json(&ty(false), b"\x00\xfe"), r#"{"hex":"00fe"}"#);
        let bare = TypeDesc { fields: Vec::new(), ..ty(false) };
        assert_eq!(plainly(&bare, &[0xab; 24]), "ab".repeat(24));
        let mut outside = ty(false);
        outside.fields[3].count = 12;
        assert_eq!(plainly(&outside, &[0xab; 24]), "ab".repeat(24));
    }

    #[test]
    fn bytes_are_text_if_they_can_be() {
        let bytes = TypeDesc::bytes();
        assert_eq!(json(&bytes, "grüße\t1".as_bytes()), r#"{"text":"grüße\t1"}"#);
        assert_eq!(json(&bytes, b""), r#"{"text":""}"#);
        assert_eq!(json(&bytes, b"a\x1b[0m"), r#"{"hex":"611b5b306d"}"#);
        assert_eq!(json(&bytes, b"\xff"), r#"{"hex":"ff"}"#);
    }
}
