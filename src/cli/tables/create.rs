//! Declaring a table on the command line.

use super::item::name;
use crate::client::Payload;
use crate::wire::{TableItem, TypeDesc};
use std::str::FromStr;

/// Items to be declared: NAME:TYPE[:COUNT].
#[derive(Clone, Debug)]
pub(super) struct Create(pub(super) TableItem);

impl FromStr for Create {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = name(text, ':')?;
        let mut parts = rest.strip_prefix(':').unwrap_or_default().split(':');
        let ty = parts.next().unwrap_or_default();
        let ty = scalar(ty)
            .ok_or_else(|| format!("expected a type such as NAME:f64, NAME:u8:4 or NAME:bytes:100, found `{ty}`"))?;
        let number = |what: &str, text: &str| {
            let number = text.parse::<u32>().ok().filter(|&number| number > 0);
            number.ok_or_else(|| format!("{what}: expected a number from 1 on, found `{text}`"))
        };
        let max_len = match ty.is_bytes() {
            true => number("bytes of the longest value", parts.next().unwrap_or_default())?,
            false => 0,
        };
        let count = parts.next().map_or(Ok(1), |count| number("count of items", count))?;
        match parts.next() {
            None => Ok(Create(TableItem { name, count, max_len, ty: Some(ty) })),
            Some(more) => Err(format!("expected NAME:TYPE or NAME:TYPE:COUNT, found `{more}` behind that")),
        }
    }
}

fn scalar(name: &str) -> Option<TypeDesc> {
    Some(match name {
        "u8" => u8::type_desc(),
        "u16" => u16::type_desc(),
        "u32" => u32::type_desc(),
        "u64" => u64::type_desc(),
        "i8" => i8::type_desc(),
        "i16" => i16::type_desc(),
        "i32" => i32::type_desc(),
        "i64" => i64::type_desc(),
        "f32" => f32::type_desc(),
        "f64" => f64::type_desc(),
        "bool" => bool::type_desc(),
        "bytes" => TypeDesc::bytes(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_parsed() {
        for (text, name, count, max_len) in
            [("a:u8", "a", 1, 0), ("a:f64:7", "a", 7, 0), ("a:bytes:9", "a", 1, 9), ("\"a:b\":bytes:9:3", "a:b", 3, 9)]
        {
            let Create(item) = text.parse().unwrap();
            assert_eq!((item.name.as_str(), item.count, item.max_len), (name, count, max_len), "{text}");
        }
        for wrong in
            ["", "a", "a:", ":u8", "a:u7", "a:u8:", "a:u8:0", "a:u8:1:1", "a:bytes", "a:bytes:0", "a:bytes:1:1:1"]
        {
            assert!(wrong.parse::<Create>().is_err(), "{wrong}");
        }
    }
}
