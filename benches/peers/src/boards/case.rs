//! Who does what meanwhile.

use std::time::Duration;

/// What the first process does, and is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Get,
    Set,
    /// Gets all values as they were at one moment.
    GetAll,
}

/// How fast somebody does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    Never,
    Full,
    /// Nanoseconds from one to the next.
    Every(u64),
}

impl Speed {
    /// From one to the next.
    pub fn pace(self) -> Duration {
        match self {
            Speed::Never | Speed::Full => Duration::ZERO,
            Speed::Every(nanoseconds) => Duration::from_nanos(nanoseconds),
        }
    }
}

/// One of them.
#[derive(Debug)]
pub struct Case {
    pub title: &'static str,
    pub side: Side,
    pub own: Speed,
    /// What the other process does the other thing at.
    pub other: Speed,
}

impl Case {
    /// Whether all set the same number of values a second.
    pub fn is_even(&self) -> bool {
        matches!((self.own, self.other), (Speed::Every(_), _) | (_, Speed::Every(_)))
    }

    /// What Syncline promises, compared with that other: its time over the other's, at most.
    pub fn limit(&self, other: &str) -> Option<f64> {
        match (other, self.side) {
            ("seqlock", Side::Get) => Some(2.0),
            ("iceoryx2", Side::Get) if self.other == Speed::Never => Some(2.5),
            ("iceoryx2", Side::Get | Side::Set) if self.is_even() => Some(1.0),
            _ => None,
        }
    }
}

/// All of them, in the order of the table.
pub const CASES: &[Case] = &[
    Case { title: "get, nobody sets", side: Side::Get, own: Speed::Full, other: Speed::Never },
    Case { title: "set, nobody gets", side: Side::Set, own: Speed::Full, other: Speed::Never },
    Case { title: "get, set at full speed", side: Side::Get, own: Speed::Full, other: Speed::Full },
    Case { title: "set, got at full speed", side: Side::Set, own: Speed::Full, other: Speed::Full },
    Case { title: "get, set 1 million times a second", side: Side::Get, own: Speed::Full, other: Speed::Every(1000) },
    Case {
        title: "set 1 million times a second, got at full speed",
        side: Side::Set,
        own: Speed::Every(1000),
        other: Speed::Full,
    },
    Case { title: "get, set 5 million times a second", side: Side::Get, own: Speed::Full, other: Speed::Every(200) },
    Case {
        title: "set 5 million times a second, got at full speed",
        side: Side::Set,
        own: Speed::Every(200),
        other: Speed::Full,
    },
    Case { title: "get 100 together, set at full speed", side: Side::GetAll, own: Speed::Full, other: Speed::Full },
];
