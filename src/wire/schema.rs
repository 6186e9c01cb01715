//! What a table is declared to have: its items, with names and types, and where each is in the table's segments.

use super::codec::{DecodeError, Input, Wire, record};
use super::types::{TypeDesc, check_name};
use crate::layout::table::{self, ITEMS_OFFSET, MAX_ITEMS, MAX_VALUE, Place, Run};
use std::collections::HashMap;
use std::sync::Arc;

record! {
    /// Items that are declared together: one, or several of one type.
    pub struct TableItem {
        /// Their name, which no others of the table have; may be empty.
        pub name: String,
        /// How many they are.
        pub count: u32,
        /// The longest value in bytes, if the type leaves the length open; else 0.
        pub max_len: u32,
        /// What each holds; `None`: what those declared before them hold.
        pub ty: Option<TypeDesc>,
    }
}

/// Items that were declared together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their name; may be empty.
    pub name: String,
    /// The index of the first.
    pub first: u32,
    /// What each holds.
    pub ty: Arc<TypeDesc>,
    /// The longest value in bytes, the only one if the type does not leave the length open.
    pub max_len: u32,
    /// Where they are.
    pub run: Run,
}

impl Group {
    /// Whether a value has any length up to the longest: it begins with a word that says which.
    pub fn is_variable(&self) -> bool {
        self.ty.variable
    }
}

/// The declaration of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    groups: Vec<Group>,
    names: HashMap<String, u32>,
    items: u32,
    versions: usize,
    /// Where the last item ends, in bytes.
    end: u64,
}

impl Schema {
    /// A table without items yet, which have so many versions.
    pub fn new(versions: usize) -> Schema {
        Schema { groups: Vec::new(), names: HashMap::new(), items: 0, versions, end: ITEMS_OFFSET }
    }

    /// Declares more items.
    ///
    /// # Errors
    /// They can not be; the text says why.
    pub fn push(&mut self, item: TableItem) -> Result<(), String> {
        let TableItem { name, count, max_len, ty } = item;
        let what = || if name.is_empty() { format!("item {}", self.items) } else { format!("item `{name}`") };
        if !name.is_empty() {
            check_name("table's item", &name)?;
            if self.names.contains_key(&name) {
                return Err(format!("{}: expected one of that name, found two; choose another", what()));
            }
        }
        let ty = match (ty, self.groups.last()) {
            (Some(ty), Some(last)) if *last.ty == ty => last.ty.clone(),
            (Some(ty), _) => {
                ty.check()?;
                Arc::new(ty)
            }
            (None, Some(last)) => last.ty.clone(),
            (None, None) => return Err(format!("{}: expected its type, found none; declare it", what())),
        };
        if count == 0 || count > MAX_ITEMS - self.items {
            let left = MAX_ITEMS - self.items;
            return Err(format!(
                "{}: expected 1 to {left} of them, since a table has {MAX_ITEMS} items at most, found {count}",
                what()
            ));
        }
        let max_len = match (ty.variable, max_len) {
            (true, 0) => {
                return Err(format!("{}: expected the longest value's length, found none; declare it", what()));
            }
            (true, max_len) => max_len,
            (false, 0) => ty.size,
            (false, max_len) if max_len == ty.size => max_len,
            (false, found) => {
                return Err(format!("{}: expected {ty}, found a length of {found}; leave it out", what()));
            }
        };
        if max_len > MAX_VALUE {
            return Err(format!("{}: expected at most {MAX_VALUE} bytes, found {max_len}; use a channel", what()));
        }
        let bytes = if ty.variable { max_len + 8 } else { max_len };
        let run = Run::new(self.end, count, bytes, self.versions)
            .ok_or_else(|| format!("{}: expected a table of fewer bytes; declare less", what()))?;
        if !name.is_empty() {
            self.names.insert(name.clone(), self.groups.len() as u32);
        }
        self.groups.push(Group { name, first: self.items, ty, max_len, run });
        self.items += count;
        self.end = run.end();
        Ok(())
    }

    /// Items declared together, in the order of their indices.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many items there are.
    pub fn items(&self) -> u32 {
        self.items
    }

    /// How many versions each has.
    pub fn versions(&self) -> usize {
        self.versions
    }

    /// Size of the table's segment in bytes.
    pub fn segment_size(&self) -> u64 {
        table::segment_size(self.end)
    }

    /// The items of this name.
    pub fn find(&self, name: &str) -> Option<&Group> {
        self.groups.get(*self.names.get(name)? as usize)
    }

    /// The item of this index, and where it is.
    pub fn item(&self, index: u32) -> Option<(&Group, Place)> {
        let after = self.groups.partition_point(|group| group.first <= index);
        let group = self.groups.get(after.checked_sub(1)?)?;
        Some((group, group.run.place(index - group.first)?))
    }

    /// How many bytes [`Schema::encode`] makes at most.
    pub fn encoded_len(&self) -> u64 {
        let of_type = |ty: &TypeDesc| {
            20 + ty.name.len() as u64 + ty.fields.iter().map(|field| 16 + field.name.len() as u64).sum::<u64>()
        };
        let mut last = None;
        let group = |group: &Group| {
            let is_new = last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &group.ty));
            last = Some(group.ty.clone());
            16 + group.name.len() as u64 + if is_new { of_type(&group.ty) } else { 0 }
        };
        8 + self.groups.iter().map(group).sum::<u64>()
    }

    /// What [`Schema::push`] was told, for [`Schema::decode`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        (self.versions as u32).put(&mut out);
        (self.groups.len() as u32).put(&mut out);
        self.declared().for_each(|item| item.put(&mut out));
        out
    }

    /// What was declared.
    pub fn declared(&self) -> impl Iterator<Item = TableItem> + '_ {
        let before = std::iter::once(None).chain(self.groups.iter().map(|group| Some(&group.ty)));
        self.groups.iter().zip(before).map(|(group, before)| TableItem {
            name: group.name.clone(),
            count: group.run.count,
            max_len: if group.ty.variable { group.max_len } else { 0 },
            ty: (before != Some(&group.ty)).then(|| (*group.ty).clone()),
        })
    }

    /// The declaration in `bytes`.
    ///
    /// # Errors
    /// They are none; the text says why.
    pub fn decode(bytes: &[u8]) -> Result<Schema, String> {
        let text = |error: DecodeError| format!("declaration of a table: {error}");
        let mut input = Input::new(bytes);
        let versions = u32::take(&mut input).map_err(text)? as usize;
        if !(table::MAX_VERSIONS - 1..=table::MAX_VERSIONS).contains(&versions) {
            return Err(format!("declaration of a table: expected 4 or 5 versions, found {versions}"));
        }
        let groups = u32::take(&mut input).map_err(text)?;
        let mut schema = Schema::new(versions);
        for _ in 0..groups {
            schema.push(TableItem::take(&mut input).map_err(text)?)?;
        }
        input.finish().map_err(text)?;
        Ok(schema)
    }

    /// What `other` has that differs from this, in a few words; `None` if nothing does.
    pub fn difference(&self, other: &Schema) -> Option<String> {
        let text = |group: &Group| {
            let many = if group.run.count == 1 { String::new() } else { format!("{} of ", group.run.count) };
            let most = if group.ty.variable { format!(" up to {} bytes", group.max_len) } else { String::new() };
            format!("`{}`: {many}{}{most}", group.name, group.ty)
        };
        if self == other {
            return None;
        }
        let differing = self.groups.iter().zip(&other.groups).find(|(ours, theirs)| ours != theirs);
        Some(match differing {
            Some((ours, theirs)) if text(ours) != text(theirs) => {
                format!("expected item {} to be {}, found {}", ours.first, text(ours), text(theirs))
            }
            Some((ours, theirs)) => match ours.ty.difference(&theirs.ty) {
                Some(difference) => format!("item {}: {difference}", ours.first),
                None => format!("expected item {} at {:?}, found {:?}", ours.first, ours.run, theirs.run),
            },
            None => format!("expected {} items, found {}", self.items, other.items),
        })
    }
}

record! {
    /// A table, as the broker knows it.
    pub struct TableInfo {
        /// Its zone.
        pub zone: String,
        /// Its name.
        pub name: String,
        /// How many items it has.
        pub items: u32,
        /// Bytes of its segment.
        pub bytes: u64,
        /// Its writer's name; empty while it has none.
        pub writer: String,
        /// Its writer's process; 0 while it has none.
        pub pid: u32,
        /// The number of the ownership: grows with each owner.
        pub fence: u64,
        /// How many readers it has.
        pub readers: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(name: &str, count: u32) -> TableItem {
        let ty = TypeDesc { name: "u64".to_owned(), size: 8, align: 8, variable: false, fields: Vec::new() };
        TableItem { name: name.to_owned(), count, max_len: 0, ty: Some(ty) }
    }

    fn bytes(name: &str, max_len: u32) -> TableItem {
        TableItem { name: name.to_owned(), count: 1, max_len, ty: Some(TypeDesc::bytes()) }
    }

    #[test]
    fn items_are_found_by_name_and_index() {
        let mut schema = Schema::new(4);
        schema.push(number("a", 3)).unwrap();
        schema.push(bytes("b", 100)).unwrap();
        schema.push(number("", 2)).unwrap();
        assert_eq!((schema.items(), schema.find("b").unwrap().first), (6, 3));
        assert_eq!(schema.item(5).unwrap().0.first, 4);
        assert_eq!(schema.item(6), None);
        assert_eq!(schema.item(3).unwrap().1.words, 14);
        assert_eq!(schema.find(""), None);
    }

    #[test]
    fn bad_declarations_say_what_to_do() {
        let mut schema = Schema::new(4);
        schema.push(number("a", 3)).unwrap();
        for (item, text) in [
            (number("a", 1), "found two"),
            (number("b", 0), "1 to"),
            (number("b", MAX_ITEMS), "1 to"),
            (bytes("b", 0), "the longest value"),
            (bytes("b", MAX_VALUE + 1), "use a channel"),
            (number("b\n", 1), "control"),
            (TableItem { max_len: 9, ..number("b", 1) }, "leave it out"),
        ] {
            let error = schema.push(item).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        let error = Schema::new(4).push(TableItem { ty: None, ..number("a", 1) }).unwrap_err();
        assert!(error.contains("expected its type"), "{error}");
        assert_eq!(schema.items(), 3);
    }

    #[test]
    fn differences_are_named() {
        let of = |items: Vec<TableItem>| {
            let mut schema = Schema::new(4);
            items.into_iter().for_each(|item| schema.push(item).unwrap());
            schema
        };
        let ours = of(vec![number("a", 3), bytes("b", 10)]);
        assert_eq!(ours.difference(&ours.clone()), None);
        for (theirs, text) in [
            (of(vec![number("a", 3)]), "expected 4 items, found 3"),
            (of(vec![number("a", 2), bytes("b", 10)]), "3 of"),
            (of(vec![number("a", 3), bytes("b", 11)]), "up to 10 bytes, found"),
        ] {
            let difference = ours.difference(&theirs).unwrap();
            assert!(difference.contains(text), "{difference}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(counts in prop::collection::vec((0..3u8, 1..50u32), 0..20)) {
            let mut schema = Schema::new(4);
            for (n, (kind, count)) in counts.into_iter().enumerate() {
                let name = format!("item{n}");
                let item = match kind {
                    0 => number(&name, count),
                    1 => bytes(&name, count),
                    _ => TableItem { ty: None, ..number("", count) },
                };
                if schema.push(item).is_err() {
                    prop_assert!(n == 0 || kind == 2);
                }
            }
            let encoded = schema.encode();
            prop_assert!(encoded.len() as u64 <= schema.encoded_len());
            prop_assert_eq!(Schema::decode(&encoded), Ok(schema));
        }

        #[test]
        fn any_bytes_are_a_declaration_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(schema) = Schema::decode(&bytes) {
                prop_assert!(schema.items() <= MAX_ITEMS);
            }
        }
    }
}
