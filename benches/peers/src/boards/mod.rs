//! Values that one process sets and another gets: Syncline's tables, iceoryx2's blackboard, and a bare seqlock. One value of 64 bytes, all of whose
//! words are the same, of a hundred (of one, for the seqlock).
//!
//! **No side is favoured.** What is set has been in memory for long, in a row of values that are used in turn; each side is handed a reference to
//! one that went through `black_box`, and what it copies is its own business. So nothing is set from registers, and nothing waits for a store
//! just before it. What was got is looked at where the side's own call has left it, by a reference that went through `black_box`: the value has to be
//! in memory, whole. It is checked in words of 8 bytes, by volatile loads: the compiler can not make wider ones of them, which would have to wait for
//! the stores of a side that copies in words, but not for those of one that copies in vectors. Of the hundred it is one whose two cells in the
//! blackboard are each a whole cache line, as a table's versions always are: others of its entries lie across two. (A value that is aligned so would
//! make all of them lie well, but iceoryx2 0.10 can not create a blackboard of such.)

mod case;
mod measure;
pub mod report;
mod seqlock;
mod syncline;

#[cfg(feature = "iceoryx2")]
mod iceoryx2;

use crate::Result;
use crate::peer::{Entry, Plan, Work};
pub use case::{CASES, Case, Side};
use std::hint::black_box;

/// All that were built, in the order of the tables.
pub const ALL: &[Entry] = &[
    entry::<seqlock::Seqlock>(),
    entry::<syncline::Syncline>(),
    #[cfg(feature = "iceoryx2")]
    entry::<iceoryx2::Blackboard>(),
];

/// Bytes of a value.
pub const SIZE: usize = size_of::<Value>();
/// Values that are there to be set and got, where there can be more than one.
const COUNT: u32 = 100;
/// The one that is, where it is one: see above.
const INDEX: u32 = 6;

/// All of its words are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Value([u64; 8]);

// SAFETY: zeros are a value.
unsafe impl bytemuck::Zeroable for Value {}
// SAFETY: words, as many as their alignment has room for, so nothing behind them.
unsafe impl bytemuck::Pod for Value {}

impl ::syncline::Described for Value {
    const NAME: &'static str = "peers.value";
}

impl Value {
    fn of(word: u64) -> Value {
        Value([word; 8])
    }

    /// Its word, if it is whole.
    #[inline(always)]
    fn word(&self) -> Result<u64> {
        // SAFETY: a reference to an aligned word. Volatile, so that it is read as a word.
        let word = |word: &u64| unsafe { std::ptr::from_ref(word).read_volatile() };
        let first = word(&self.0[0]);
        let differs = self.0[1..].iter().fold(0, |differs, other| differs | (word(other) ^ first));
        if differs == 0 { Ok(first) } else { Err(torn(self)) }
    }
}

#[cold]
fn torn(value: &Value) -> crate::Failure {
    format!("a torn value: {:x?}", value.0).into()
}

/// Looks at what was got.
#[inline(always)]
fn look(value: &Value) -> Result<u64> {
    black_box(value).word()
}

/// What is compared.
trait Board {
    /// What the command line calls it.
    const NAME: &'static str;
    /// What the tables call it.
    const TITLE: &'static str;
    /// Why it can not get several values as they were at one moment.
    const SINGLY: Option<&'static str>;
    /// What must be there beside its two ends; the first process has it while a run lasts.
    type Host;
    type Writer;
    type Reader;

    /// The version that is measured, with what is said about it.
    fn version() -> String;

    /// Makes what must be there.
    fn host(plan: &Plan) -> Result<Self::Host>;

    /// Opens the end that sets: first.
    fn writer(plan: &Plan) -> Result<Self::Writer>;

    /// Opens the end that gets.
    fn reader(plan: &Plan) -> Result<Self::Reader>;

    /// Sets the value.
    fn set(writer: &mut Self::Writer, value: &Value) -> Result<()>;

    /// Gets it, again and again until it has it, and says its word ([`look`]).
    fn get(reader: &mut Self::Reader) -> Result<u64>;

    /// Sets that one of all values.
    fn set_of(writer: &mut Self::Writer, index: u32, value: &Value) -> Result<()> {
        let _ = (writer, index, value);
        Err(Self::SINGLY.unwrap_or_default().into())
    }

    /// Gets all values as they were at one moment, again and again until it has them; their words, and how often it tried.
    fn get_all(reader: &mut Self::Reader, words: &mut [u64; COUNT as usize]) -> Result<u64> {
        let _ = (reader, words);
        Err(Self::SINGLY.unwrap_or_default().into())
    }
}

const fn entry<B: Board>() -> Entry {
    Entry {
        name: B::NAME,
        title: B::TITLE,
        works: &[Work::Table],
        singly: B::SINGLY,
        version: B::version,
        room: |_| String::new(),
        lead: measure::lead::<B>,
        follow: measure::follow::<B>,
    }
}
