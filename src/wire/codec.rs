//! Encoding and decoding, in one place per type: records and messages are declared through the macros here, which write both
//! directions (and, for the tests, a third: a value out of random bytes).

use crate::layout::zone::{Geometry, Pace};

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends too early.
    #[error("expected {needed} bytes more, found {left}")]
    Truncated {
        /// What the next value takes.
        needed: usize,
        /// What is left.
        left: usize,
    },
    /// No such message.
    #[error("expected the tag of a message, found {0}")]
    UnknownTag(u16),
    /// A value that is out of its range.
    #[error("expected {what}, found {found}")]
    BadValue {
        /// What was to be there.
        what: &'static str,
        /// What is there.
        found: u32,
    },
    /// A text that is not UTF-8.
    #[error("expected UTF-8, found other bytes")]
    Text,
    /// It goes on after its end.
    #[error("expected the end, found {0} bytes more")]
    Trailing(usize),
}

/// What is left of a packet.
pub(super) struct Input<'a> {
    left: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Input { left: bytes }
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Truncated { needed: len, left: self.left.len() };
        let (taken, left) = self.left.split_at_checked(len).ok_or(short)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = DecodeError::Truncated { needed: N, left: self.left.len() };
        let (taken, left) = self.left.split_first_chunk().ok_or(short)?;
        self.left = left;
        Ok(*taken)
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.left
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.left.len())) }
    }
}

/// What can stand in a packet. Takes at least one byte there.
pub(super) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError>;
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self;
}

macro_rules! numbers {
    ($($type:ty),*) => { $(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(input.array()?))
            }
            #[cfg(test)]
            fn make(source: &mut super::tests::Source) -> Self {
                source.number() as $type
            }
        }
    )* };
}
numbers!(u8, u16, u32, u64, i32);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::BadValue { what: "0 or 1", found: other.into() }),
        }
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        source.number() % 2 == 1
    }
}

/// The length of a text or list. One that does not fit makes a packet over the limit in any case, so it is never sent.
fn put_len(len: usize, out: &mut Vec<u8>) {
    u16::try_from(len).unwrap_or(u16::MAX).put(out);
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let len = u16::take(input)?;
        let bytes = input.slice(len.into())?;
        Ok(std::str::from_utf8(bytes).map_err(|_| DecodeError::Text)?.to_owned())
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        let len = source.number() % 20;
        (0..len).map(|_| char::from_u32(source.number() as u32 % 0x900).unwrap_or('x')).collect()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_len(self.len(), out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let len = u16::take(input)?;
        // Grows with what is there, not with what is announced.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        let len = source.number() % 5;
        (0..len).map(|_| T::make(source)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        if bool::take(input)? { T::take(input).map(Some) } else { Ok(None) }
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        bool::make(source).then(|| T::make(source))
    }
}

impl Wire for Geometry {
    fn put(&self, out: &mut Vec<u8>) {
        let Geometry { writers, eras, entries, pace } = *self;
        [writers, eras, entries].iter().for_each(|number| number.put(out));
        pace.put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let [writers, eras, entries] = [u32::take(input)?, u32::take(input)?, u32::take(input)?];
        Ok(Geometry { writers, eras, entries, pace: Pace::take(input)? })
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        let [writers, eras, entries] = [u32::make(source), u32::make(source), u32::make(source)];
        Geometry { writers, eras, entries, pace: Pace::make(source) }
    }
}

impl Wire for Pace {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u8).put(out);
    }
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match u8::take(input)? {
            1 => Ok(Pace::Free),
            2 => Ok(Pace::Lockstep),
            3 => Ok(Pace::Revocable),
            other => Err(DecodeError::BadValue { what: "Pace", found: other.into() }),
        }
    }
    #[cfg(test)]
    fn make(source: &mut super::tests::Source) -> Self {
        [Pace::Free, Pace::Lockstep, Pace::Revocable][source.number() as usize % 3]
    }
}

/// Declares a struct that travels: its fields, in order.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl $crate::wire::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn take(input: &mut $crate::wire::codec::Input<'_>) -> Result<Self, $crate::wire::DecodeError> {
                Ok($name { $($field: $crate::wire::codec::Wire::take(input)?,)* })
            }
            #[cfg(test)]
            fn make(source: &mut $crate::wire::tests::Source) -> Self {
                $name { $($field: $crate::wire::codec::Wire::make(source),)* }
            }
        }
    };
}
pub(super) use record;

/// Declares an enum without data that travels as a byte.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant = $number,)* }

        impl $crate::wire::codec::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as u8).put(out);
            }
            fn take(input: &mut $crate::wire::codec::Input<'_>) -> Result<Self, $crate::wire::DecodeError> {
                match u8::take(input)? {
                    $($number => Ok($name::$variant),)*
                    other => Err($crate::wire::DecodeError::BadValue { what: stringify!($name), found: other.into() }),
                }
            }
            #[cfg(test)]
            fn make(source: &mut $crate::wire::tests::Source) -> Self {
                let all = [$($name::$variant),*];
                all[source.number() as usize % all.len()]
            }
        }
    };
}
pub(super) use choice;

/// Declares the messages of one direction, each with its tag.
macro_rules! messages {
    ($(#[$meta:meta])* pub enum $name:ident { $(
        $(#[$doc:meta])* $variant:ident = $tag:literal
            $({ $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })? $(($inner:ident: $inner_type:ty))?,
    )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "messages are made, sent and dropped one at a time")]
        pub enum $name { $(
            $(#[$doc])* $variant $({ $($(#[$field_doc])* $field: $type,)* })? $(($inner_type))?,
        )* }

        impl $name {
            pub(super) fn tag(&self) -> u16 {
                match self { $($name::$variant { .. } => $tag,)* }
            }
            pub(super) fn put_body(&self, out: &mut Vec<u8>) {
                let _ = &out;
                match self { $(
                    $name::$variant $({ $($field),* })? $(($inner))? => {
                        $($($crate::wire::codec::Wire::put($field, out);)*)?
                        $($crate::wire::codec::Wire::put($inner, out);)?
                    }
                )* }
            }
            pub(super) fn take_body(
                tag: u16,
                input: &mut $crate::wire::codec::Input<'_>,
            ) -> Result<Self, $crate::wire::DecodeError> {
                match tag {
                    $($tag => Ok($name::$variant
                        $({ $($field: $crate::wire::codec::Wire::take(input)?,)* })?
                        $((<$inner_type as $crate::wire::codec::Wire>::take(input)?))?
                    ),)*
                    other => Err($crate::wire::DecodeError::UnknownTag(other)),
                }
            }
            /// One of each.
            #[cfg(test)]
            pub(super) fn make_all(source: &mut $crate::wire::tests::Source) -> Vec<Self> {
                vec![$($name::$variant
                    $({ $($field: $crate::wire::codec::Wire::make(source),)* })?
                    $((<$inner_type as $crate::wire::codec::Wire>::make(source)))?
                ),*]
            }
        }
    };
}
pub(super) use messages;
