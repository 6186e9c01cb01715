//! A frame's head: one word that says whether there is a message here, how long it is, and how to treat it.

use crate::layout::lane::FRAME_HEADER;

const LENGTH: u64 = 0xffff_ffff;
const PRESENT: u64 = 1 << 32;
const PADDING: u64 = 1 << 33;
const JOINT: u64 = 1 << 34;
const SKIP: u64 = 1 << 35;

/// The word of a place where nothing has been published yet.
pub const EMPTY: u64 = 0;

/// The head of a message of `len` bytes.
#[inline(always)]
pub const fn message(len: u32) -> u64 {
    PRESENT | len as u64
}

/// The head of padding: the next head is `8 + len` bytes further on.
#[inline(always)]
pub const fn padding(len: u32) -> u64 {
    PRESENT | PADDING | len as u64
}

/// The head before what the writer goes round: the next head is `8 + len` bytes further on, and there may be nothing yet.
#[inline(always)]
pub const fn skip(len: u32) -> u64 {
    PRESENT | SKIP | len as u64
}

/// The same head, as the first of a lane in a batch over several lanes: valid once the row's version has reached the frame's.
#[inline(always)]
pub const fn joint(head: u64) -> u64 {
    head | JOINT
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing here yet.
    Empty,
    /// A message.
    Message {
        /// Payload bytes.
        len: u32,
    },
    /// Bytes to pass over after this head, to the message that comes with it.
    Padding {
        /// How many; a multiple of 8.
        len: u32,
    },
    /// Bytes to pass over after this head, to wherever the writer has gone on or will.
    Skip {
        /// How many; a multiple of 8.
        len: u32,
    },
    /// No head that a sound writer makes.
    Corrupt,
}

/// Whether this is the head of a message.
#[inline(always)]
pub const fn is_message(word: u64) -> bool {
    word & !LENGTH & !JOINT == PRESENT
}

/// The length of a message with this head, and whether it is joint.
#[inline(always)]
pub const fn of_message(word: u64) -> (u32, bool) {
    ((word & LENGTH) as u32, word & JOINT != 0)
}

/// Takes a head apart; the flag says whether it is joint. Any word is an answer: the writer may be hostile.
pub const fn decode(word: u64) -> (Head, bool) {
    let len = (word & LENGTH) as u32;
    let joint = word & JOINT != 0;
    let head = match word & !LENGTH & !JOINT {
        PRESENT => Head::Message { len },
        flags if flags == PRESENT | PADDING && len.is_multiple_of(8) => Head::Padding { len },
        flags if flags == PRESENT | SKIP && len.is_multiple_of(8) && !joint => Head::Skip { len },
        0 if word == EMPTY => Head::Empty,
        _ => Head::Corrupt,
    };
    (head, joint)
}

/// Bytes that a message of `len` bytes takes in the ring: head, version, payload rounded up to 8.
#[inline(always)]
pub const fn size(len: u32) -> u64 {
    FRAME_HEADER + (len as u64).next_multiple_of(8)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn heads_decode_to_what_was_encoded() {
        for len in [0, 1, 8, 48, u32::MAX] {
            assert_eq!(decode(message(len)), (Head::Message { len }, false));
            assert_eq!(decode(joint(message(len))), (Head::Message { len }, true));
        }
        assert_eq!(decode(joint(padding(16))), (Head::Padding { len: 16 }, true));
        assert_eq!(decode(skip(4096)), (Head::Skip { len: 4096 }, false));
        assert_eq!(decode(EMPTY), (Head::Empty, false));
    }

    #[test]
    fn what_no_writer_makes_is_corrupt() {
        for word in [1, u64::MAX, SKIP, 1 << 36, JOINT, PADDING, padding(4), skip(4), joint(skip(8)), PRESENT | 1 << 63]
        {
            assert_eq!(decode(word).0, Head::Corrupt, "{word:#x}");
        }
    }
}
