//! Items as people and scripts name them: what is printed can be said again.

use crate::client::Finder;
use crate::error::Error;
use crate::wire::Group;
use std::ops::Range;
use std::str::FromStr;

/// How items are named; for the help of the commands that take them.
pub(super) const HELP: &str = "\
ITEM is an index, a range of them (3..7, without 7), a name, `name[2]` or `name[2..5]`. A name that could be taken for something else, \
or has other characters than letters, digits and `_-./`, is written as a JSON string: '\"a name\"[2]'. That is how items are printed, too.";

/// Items of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Items {
    Indices(Range<u32>),
    /// Those of a name, or some of them.
    Named(String, Option<Range<u32>>),
}

impl FromStr for Items {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok(Items::Indices(range(text)?));
        }
        let (name, rest) = name(text, '[')?;
        let some = match (rest.strip_prefix('['), rest) {
            (_, "") => None,
            (Some(rest), _) => {
                let inside = rest.strip_suffix(']');
                Some(range(inside.ok_or_else(|| format!("expected `]` at the end, found `{text}`"))?)?)
            }
            (None, rest) => {
                return Err(format!("expected an item such as 3, 3..7, level or valve[2], found `{rest}` behind one"));
            }
        };
        Ok(Items::Named(name, some))
    }
}

impl Items {
    /// The indices, if the table has all of these.
    pub(super) fn resolve(&self, finder: &Finder<'_>) -> Result<Range<u32>, Error> {
        match self {
            Items::Indices(range) => {
                finder.at(range.end - 1)?;
                Ok(range.clone())
            }
            Items::Named(name, some) => {
                let (_, group) = finder.named(name, some.as_ref().map_or(0, |some| some.end - 1))?;
                let Range { start, end } = some.clone().unwrap_or(0..group.run.count);
                Ok(group.first + start..group.first + end)
            }
        }
    }
}

/// An index, or several: not empty.
fn range(text: &str) -> Result<Range<u32>, String> {
    // `parse` takes a sign, too.
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number < u32::MAX && !text.starts_with('+'));
    let range = match text.split_once("..") {
        Some((start, end)) => number(start).zip(number(end)).map(|(start, end)| start..end),
        None => number(text).map(|index| index..index + 1),
    };
    let range = range.filter(|range| !range.is_empty());
    range.ok_or_else(|| format!("expected an index such as 3 or a range such as 3..7, found `{text}`"))
}

/// The name that a text begins with, up to `end`, or as a JSON string; and what comes behind it.
pub(super) fn name(text: &str, end: char) -> Result<(String, &str), String> {
    let at = quoted(text)?;
    if at > 0 {
        let name = serde_json::from_str(&text[..at]).map_err(|error| format!("name in `{text}`: {error}"))?;
        return Ok((name, &text[at..]));
    }
    let at = text.find(end).unwrap_or(text.len());
    if at == 0 { Err(format!("expected a name, found `{text}`")) } else { Ok((text[..at].to_owned(), &text[at..])) }
}

/// How many bytes the JSON string has that a text begins with; 0: it begins otherwise.
fn quoted(text: &str) -> Result<usize, String> {
    if !text.starts_with('"') {
        return Ok(0);
    }
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    match strings.next() {
        Some(Ok(_)) => Ok(strings.byte_offset()),
        _ => Err(format!("expected a JSON string, found `{text}`")),
    }
}

/// What is before and behind the `=` of an assignment.
pub(super) fn assignment(text: &str) -> Result<(Items, &str), String> {
    let after = quoted(text)?;
    let at = text[after..].find('=').ok_or_else(|| format!("expected ITEM=VALUE, found `{text}`"))? + after;
    Ok((text[..at].parse()?, &text[at + 1..]))
}

/// A name as it is written among others.
pub(super) fn written(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    // Neither an index, nor an option of a command.
    if name.chars().all(is_plain) && name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        return name.to_owned();
    }
    serde_json::Value::from(name).to_string()
}

/// How an item is named.
pub(super) fn label(group: &Group, index: u32) -> String {
    match (group.name.as_str(), group.run.count) {
        ("", _) => index.to_string(),
        (name, 1) => written(name),
        (name, _) => format!("{}[{}]", written(name), index - group.first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_parsed() {
        let named = |name: &str, some| Ok(Items::Named(name.to_owned(), some));
        assert_eq!("3".parse(), Ok(Items::Indices(3..4)));
        assert_eq!("3..7".parse(), Ok(Items::Indices(3..7)));
        assert_eq!("level".parse(), named("level", None));
        assert_eq!("valve[2]".parse(), named("valve", Some(2..3)));
        assert_eq!("valve[2..5]".parse(), named("valve", Some(2..5)));
        assert_eq!(r#""3..7""#.parse(), named("3..7", None));
        assert_eq!(r#""a[1]=\"b\""[2]"#.parse(), named("a[1]=\"b\"", Some(2..3)));
        for wrong in [
            "",
            "3.",
            "7..3",
            "3..3",
            "1..+3",
            "1..-2",
            "4294967295",
            "a[",
            "a[]",
            "a[x]",
            "a[1]b",
            "[1]",
            "\"a",
            "\"a\"b",
            "1a",
        ] {
            assert!(wrong.parse::<Items>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for name in
            ["level", "größe", "3", "-x", "a[1]", "a=b", "a b", "\"", "a..b", "a:b", "\\", "[", "@x", "{\"x\":1}"]
        {
            assert_eq!(written(name).parse(), Ok(Items::Named(name.to_owned(), None)));
            let text = format!("{}[7]=a=b", written(name));
            assert_eq!(assignment(&text), Ok((Items::Named(name.to_owned(), Some(7..8)), "a=b")));
            let text = format!("{}:u8", written(name));
            assert_eq!(super::name(&text, ':'), Ok((name.to_owned(), ":u8")));
        }
        assert_eq!([written("level"), written("3")], ["level".to_owned(), "\"3\"".to_owned()]);
    }

    #[test]
    fn assignments_have_a_sign() {
        assert_eq!(assignment("3="), Ok((Items::Indices(3..4), "")));
        assert!(assignment("3").is_err() && assignment("\"a=b\"").is_err());
    }
}
