//! Text as values, by the declared type of the item that they are for.

use super::show::scalar;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::input::Input;
use crate::cli::interrupt::Interrupt;
use crate::wire::{Field, Group, Scalar, TypeDesc};
use serde_json::{Map, Value as Json};
use std::io::Read;

/// How values are written; for the help of `table set`.
pub(super) const HELP: &str = "\
VALUE is what the item's type takes: a number (0x... too; NaN, inf), true or false; [1,2,3] for any number of them; a JSON object for fields, \
of which those that are not named keep what they have; text for bytes. @FILE is a file's bytes (@- standard input's), hex:00ff bytes in \
hexadecimal digits, text:... the text as it is, for any that begins like these.";

/// A value for an item, of which parts may be left as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Patch {
    Whole(Vec<u8>),
    /// Elements, by the fields that are named: where, and what.
    Fields(Vec<Vec<(usize, Vec<u8>)>>),
}

impl Patch {
    /// What `now`, of a type with elements of this size, becomes.
    pub(super) fn apply(&self, size: usize, mut now: Vec<u8>) -> Vec<u8> {
        let elements = match self {
            Patch::Whole(bytes) => return bytes.clone(),
            Patch::Fields(elements) => elements,
        };
        now.resize(elements.len() * size, 0);
        for (element, fields) in now.chunks_exact_mut(size).zip(elements) {
            for (offset, bytes) in fields {
                element[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        now
    }
}

/// The value that a text is, for an item of this group.
pub(super) fn parse(group: &Group, text: &str, interrupt: &Interrupt) -> Outcome<Patch> {
    let limit = group.max_len as usize;
    if let Some(path) = text.strip_prefix('@') {
        return Ok(Patch::Whole(fitting(group, file(path, limit, interrupt)?).map_err(Exit::Failed)?));
    }
    of_text(group, text).map_err(Exit::Failed)
}

fn of_text(group: &Group, text: &str) -> Result<Patch, String> {
    let ty = &*group.ty;
    if let Some(digits) = text.strip_prefix("hex:") {
        return fitting(group, hex(digits)?).map(Patch::Whole);
    }
    if ty.is_bytes() {
        let text = text.strip_prefix("text:").unwrap_or(text);
        return fitting(group, text.as_bytes().to_vec()).map(Patch::Whole);
    }
    match (scalar(ty), ty.variable) {
        (Some(scalar), false) => number(scalar, text).map(Patch::Whole),
        (Some(scalar), true) => {
            let Json::Array(numbers) = json(text)? else {
                return Err(format!("expected numbers such as [1,2,3], found `{text}`"));
            };
            let bytes = numbers.iter().map(|value| json_number(scalar, value)).collect::<Result<Vec<_>, _>>()?.concat();
            fitting(group, bytes).map(Patch::Whole)
        }
        (None, _) if ty.fields.is_empty() => {
            Err(format!("expected {ty}, of which no fields are declared, as hex: or @FILE, found `{text}`"))
        }
        (None, false) => Ok(Patch::Fields(vec![element(ty, &json(text)?)?])),
        (None, true) => {
            let Json::Array(elements) = json(text)? else {
                return Err(format!("expected a list of objects, found `{text}`"));
            };
            let (most, found) = (group.max_len / ty.size, elements.len());
            if found > most as usize {
                return Err(format!("expected at most {most} elements, found {found}"));
            }
            elements.iter().map(|object| element(ty, object)).collect::<Result<_, _>>().map(Patch::Fields)
        }
    }
}

/// The bytes of a file, or of standard input; one more than can be, if it has more.
fn file(path: &str, limit: usize, interrupt: &Interrupt) -> Outcome<Vec<u8>> {
    let doing = if path == "-" { "reading standard input".to_owned() } else { format!("reading `{path}`") };
    let mut bytes = Vec::new();
    let mut take = |input: &mut dyn Read| input.take(limit as u64 + 1).read_to_end(&mut bytes).map(drop);
    let read = match path {
        "-" => take(&mut Input::open(interrupt)?),
        path => std::fs::File::open(path).and_then(|mut file| take(&mut file)),
    };
    interrupt.check()?;
    read.map_err(Exit::io(&doing))?;
    Ok(bytes)
}

/// Bytes, if an item of this group can have them.
fn fitting(group: &Group, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let (limit, size, found) = (group.max_len as usize, group.ty.size.max(1) as usize, bytes.len());
    let many = if found > limit { format!("more than {limit}") } else { found.to_string() };
    match group.is_variable() {
        false if found != limit => Err(format!("expected {limit} bytes, found {many}")),
        true if found > limit => Err(format!("expected at most {limit} bytes, found {found}")),
        true if !found.is_multiple_of(size) => Err(format!("expected a multiple of {size} bytes, found {found}")),
        _ => Ok(bytes),
    }
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        }
    };
    pairs
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected pairs of hexadecimal digits, found `{digits}`"))
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON, found `{text}`: {error}"))
}

/// The fields that an object names.
fn element(ty: &TypeDesc, object: &Json) -> Result<Vec<(usize, Vec<u8>)>, String> {
    let names = || ty.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    let Json::Object(object) = object else {
        return Err(format!("expected an object with {}, found `{object}`", names()));
    };
    let object: &Map<String, Json> = object;
    let mut fields = Vec::new();
    for (name, value) in object {
        let of_name = ty.fields.iter().find(|field| field.name == *name);
        let field = of_name.ok_or_else(|| format!("expected the fields {}, found `{name}`", names()))?;
        let bytes = of_field(field, value).map_err(|error| format!("field `{name}`: {error}"))?;
        fields.push((field.offset as usize, bytes));
    }
    Ok(fields)
}

fn of_field(field: &Field, value: &Json) -> Result<Vec<u8>, String> {
    let count = field.count as usize;
    match (field.scalar, value) {
        (Scalar::Char8, Json::String(text)) if text.len() <= count && !text.contains('\0') => {
            let mut bytes = text.clone().into_bytes();
            bytes.resize(count, 0);
            Ok(bytes)
        }
        (Scalar::Char8, value) => Err(format!("expected a text of at most {count} bytes without NUL, found {value}")),
        (scalar, value) if count == 1 => json_number(scalar, value),
        (scalar, Json::Array(numbers)) if numbers.len() == count => {
            Ok(numbers.iter().map(|value| json_number(scalar, value)).collect::<Result<Vec<_>, _>>()?.concat())
        }
        (_, value) => Err(format!("expected a list of {count}, found {value}")),
    }
}

fn json_number(scalar: Scalar, value: &Json) -> Result<Vec<u8>, String> {
    match value {
        Json::Number(found) => number(scalar, &found.to_string()),
        Json::Bool(truth) => number(scalar, &truth.to_string()),
        // What JSON has no numbers for.
        Json::String(text) => number(scalar, text),
        other => number(scalar, &other.to_string()),
    }
}

/// A number as the bytes of its scalar.
fn number(scalar: Scalar, text: &str) -> Result<Vec<u8>, String> {
    macro_rules! whole {
        ($type:ty) => {
            integer(text)
                .and_then(|number| <$type>::try_from(number).ok())
                .map(|number| number.to_ne_bytes().to_vec())
                .ok_or_else(|| {
                    format!("expected a whole number from {} to {}, found `{text}`", <$type>::MIN, <$type>::MAX)
                })
        };
    }
    macro_rules! floating {
        ($type:ty) => {{
            // What is too large is parsed as infinite.
            let is_said = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
            let number = text.parse::<$type>().ok().filter(|number| is_said || !number.is_infinite());
            number.map(|number| number.to_ne_bytes().to_vec()).ok_or_else(|| {
                format!(
                    "expected a number from {:e} to {:e}, NaN, inf or -inf, found `{text}`",
                    <$type>::MIN,
                    <$type>::MAX
                )
            })
        }};
    }
    match scalar {
        Scalar::U8 => whole!(u8),
        Scalar::U16 => whole!(u16),
        Scalar::U32 => whole!(u32),
        Scalar::U64 => whole!(u64),
        Scalar::I8 => whole!(i8),
        Scalar::I16 => whole!(i16),
        Scalar::I32 => whole!(i32),
        Scalar::I64 => whole!(i64),
        Scalar::F32 => floating!(f32),
        Scalar::F64 => floating!(f64),
        Scalar::Bool => match text {
            "true" => Ok(vec![1]),
            "false" => Ok(vec![0]),
            _ => Err(format!("expected true or false, found `{text}`")),
        },
        Scalar::Char8 => Err(format!("expected a text, found `{text}`")),
    }
}

/// Decimal, or hexadecimal.
fn integer(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(i128::from),
        None => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Schema, TableItem};

    fn group(ty: TypeDesc, max_len: u32) -> Group {
        let mut schema = Schema::new(4);
        schema.push(TableItem { name: "x".to_owned(), count: 1, max_len, ty: Some(ty) }).unwrap();
        schema.groups()[0].clone()
    }

    fn ty(name: &str, size: u32, variable: bool, fields: Vec<Field>) -> TypeDesc {
        TypeDesc { name: name.to_owned(), size, align: size.min(4), variable, fields }
    }

    fn whole(group: &Group, text: &str) -> Result<Vec<u8>, String> {
        of_text(group, text).map(|patch| patch.apply(group.ty.size as usize, vec![0xee; group.max_len as usize]))
    }

    #[test]
    fn numbers_are_those_of_their_type() {
        let byte = group(ty("u8", 1, false, Vec::new()), 0);
        assert_eq!(
            [whole(&byte, "255"), whole(&byte, "0x1f"), whole(&byte, "hex:0a")],
            [Ok(vec![255]), Ok(vec![31]), Ok(vec![10])]
        );
        for wrong in ["256", "-1", "+1", "1.0", "", "0x", "true", "hex:", "hex:000", "hex:0g", "hex:0102"] {
            assert!(whole(&byte, wrong).is_err(), "{wrong}");
        }
        let single = group(ty("f32", 4, false, Vec::new()), 0);
        assert_eq!(whole(&single, "-inf"), Ok(f32::NEG_INFINITY.to_ne_bytes().to_vec()));
        assert!(whole(&single, "1e39").unwrap_err().contains("found `1e39`"));
        let singles = group(ty("f32", 4, true, Vec::new()), 8);
        assert_eq!(whole(&singles, "[1, \"NaN\"]").unwrap().len(), 8);
        assert_eq!(whole(&singles, "[]"), Ok(Vec::new()));
        for (wrong, said) in
            [("[1,2,3]", "at most 8 bytes"), ("1", "[1,2,3]"), ("[null]", "`null`"), ("hex:00", "multiple of 4")]
        {
            assert!(whole(&singles, wrong).unwrap_err().contains(said), "{wrong}");
        }
        let truth = group(ty("bool", 1, false, Vec::new()), 0);
        assert_eq!(whole(&truth, "true"), Ok(vec![1]));
        assert!(whole(&truth, "1").is_err());
    }

    #[test]
    fn bytes_are_text_or_digits() {
        let bytes = group(TypeDesc::bytes(), 6);
        for (text, found) in
            [("grüß", "grüß".as_bytes()), ("", b""), ("hex:00ff", &[0, 255]), ("text:@a", b"@a"), ("text:", b"")]
        {
            assert_eq!(whole(&bytes, text), Ok(found.to_vec()), "{text}");
        }
        assert!(whole(&bytes, "1234567").unwrap_err().contains("at most 6 bytes, found 7"));
    }

    #[test]
    fn fields_that_are_not_named_keep_what_they_have() {
        let field = |name: &str, offset, count, scalar| Field { name: name.to_owned(), offset, count, scalar };
        let fields =
            vec![field("n", 0, 1, Scalar::I16), field("pair", 2, 2, Scalar::U8), field("label", 4, 4, Scalar::Char8)];
        let one = group(ty("test", 8, false, fields.clone()), 0);
        let (minus, rest) = ((-2i16).to_ne_bytes(), [0xee; 6]);
        assert_eq!(whole(&one, r#"{"n":-2}"#), Ok([&minus[..], &rest].concat()));
        assert_eq!(whole(&one, r#"{"label":"ab","pair":[1,2]}"#), Ok(vec![0xee, 0xee, 1, 2, b'a', b'b', 0, 0]));
        for (wrong, said) in [
            ("5", "n, pair, label"),
            (r#"{"m":1}"#, "found `m`"),
            (r#"{"n":40000}"#, "field `n`: expected a whole number from -32768 to 32767"),
            (r#"{"pair":[1]}"#, "a list of 2"),
            (r#"{"label":"abcde"}"#, "at most 4 bytes"),
            ("{", "expected JSON"),
        ] {
            let error = whole(&one, wrong).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let many = group(ty("test", 8, true, fields), 16);
        let patch = of_text(&many, r#"[{"n":-2},{"pair":[1,2]}]"#).unwrap();
        assert_eq!(patch.apply(8, vec![0xee; 8]), [&minus[..], &rest, &[0, 0, 1, 2, 0, 0, 0, 0]].concat());
        assert_eq!(patch.apply(8, vec![0xee; 16])[8..10], [0xee, 0xee]);
        assert!(of_text(&many, "[{},{},{}]").unwrap_err().contains("at most 2 elements, found 3"));
        let opaque = group(ty("test", 8, false, Vec::new()), 0);
        assert!(whole(&opaque, "1").unwrap_err().contains("hex:"));
    }
}
