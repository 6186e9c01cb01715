//! Values as text: numbers as they are, fields by name, bytes as text where they can be.

use super::item::label;
use crate::cli::exit::Outcome;
use crate::cli::output::Output;
use crate::cli::render::{self, Value};
use crate::client::TableReader;
use crate::wire::{Field, Group, Scalar, TypeDesc};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How values are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing but the bytes.
    Raw,
    /// The value alone.
    Alone,
    /// With the item before it.
    Labelled,
    Json,
}

/// The scalar that a type is, if it is one, or any number of one.
pub(super) fn scalar(ty: &TypeDesc) -> Option<Scalar> {
    let scalar = match ty.name.as_str() {
        "u8" => Scalar::U8,
        "u16" => Scalar::U16,
        "u32" => Scalar::U32,
        "u64" => Scalar::U64,
        "i8" => Scalar::I8,
        "i16" => Scalar::I16,
        "i32" => Scalar::I32,
        "i64" => Scalar::I64,
        "f32" => Scalar::F32,
        "f64" => Scalar::F64,
        "bool" => Scalar::Bool,
        _ => return None,
    };
    (ty.fields.is_empty() && ty.size == scalar.size()).then_some(scalar)
}

/// The numbers that a value is, if it is numbers.
fn numbers<'a>(ty: &TypeDesc, bytes: &'a [u8]) -> Option<impl Iterator<Item = Value<'a>>> {
    let scalar = scalar(ty)?;
    let size = scalar.size() as usize;
    let fits = if ty.variable { bytes.len().is_multiple_of(size) } else { bytes.len() == size };
    let field = Field { name: String::new(), offset: 0, count: 1, scalar };
    fits.then(|| bytes.chunks_exact(size).filter_map(move |one| render::value(&field, 0, one)))
}

/// Prints items of one table.
pub(super) struct Printer {
    pub(super) output: Output,
    pub(super) zone: String,
    pub(super) form: Form,
    line: Vec<u8>,
}

impl Printer {
    pub(super) fn new(zone: &str, form: Form) -> Outcome<Printer> {
        Ok(Printer { output: Output::open()?, zone: zone.to_owned(), form, line: Vec::new() })
    }

    /// Prints a value of an item, as of an era; those of a watch, which has more than one, say which.
    pub(super) fn print(
        &mut self,
        table: &TableReader,
        (era, says): (Option<u64>, bool),
        index: u32,
        bytes: &[u8],
    ) -> Outcome {
        let finder = table.finder();
        let (_, group) = finder.at(index)?;
        let line = &mut self.line;
        line.clear();
        match self.form {
            Form::Raw => return self.output.write(bytes),
            Form::Json => {
                return self.output.json(&Json { zone: &self.zone, table: table.name(), era, index, group, bytes });
            }
            Form::Alone if group.ty.is_bytes() => line.extend_from_slice(bytes),
            Form::Alone => plain(line, &group.ty, bytes),
            Form::Labelled => {
                if let Some(era) = era.filter(|_| says) {
                    line.extend_from_slice(format!("era {era}  ").as_bytes());
                }
                line.extend_from_slice(format!("{}: ", label(group, index)).as_bytes());
                plain(line, &group.ty, bytes);
            }
        }
        line.push(b'\n');
        self.output.write(line)
    }
}

/// A value on a line of its own.
fn plain(line: &mut Vec<u8>, ty: &TypeDesc, bytes: &[u8]) {
    if let Some(numbers) = numbers(ty, bytes) {
        if ty.variable {
            line.push(b'[');
        }
        for (place, number) in numbers.enumerate() {
            if place > 0 {
                line.push(b',');
            }
            render::plain_value(line, Some(number));
        }
        if ty.variable {
            line.push(b']');
        }
        return;
    }
    match render::printable(bytes).filter(|_| ty.is_bytes()) {
        Some(text) => line.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes()),
        None => render::plain(line, ty, bytes),
    }
}

/// An item with its value, as a JSON object.
struct Json<'a> {
    zone: &'a str,
    table: &'a str,
    era: Option<u64>,
    index: u32,
    group: &'a Group,
    bytes: &'a [u8],
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Json { zone, table, era, index, group, bytes } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("zone", zone)?;
        map.serialize_entry("table", table)?;
        map.serialize_entry("era", &era)?;
        map.serialize_entry("item", &label(group, index))?;
        map.serialize_entry("index", &index)?;
        map.serialize_entry("name", &Some(&group.name).filter(|name| !name.is_empty()))?;
        map.serialize_entry("n", &(index - group.first))?;
        map.serialize_entry("len", &bytes.len())?;
        match numbers(&group.ty, bytes) {
            Some(numbers) if group.ty.variable => map.serialize_entry("value", &numbers.collect::<Vec<_>>())?,
            Some(mut numbers) => map.serialize_entry("value", &numbers.next())?,
            None => render::payload_entry(&mut map, &group.ty, bytes)?,
        }
        map.end()
    }
}
