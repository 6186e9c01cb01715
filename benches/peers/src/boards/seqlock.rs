//! A bare seqlock: a count that is odd while the value is being written, and the value behind it. What it costs is the machine's.

use super::{Board, Value, look};
use crate::Result;
use crate::arena::Arena;
use crate::peer::Plan;
use std::hint::spin_loop;
use std::sync::atomic::{Ordering, fence};

/// How often a reader looks before it says that its writer has ended in the middle.
const TRIES: u32 = 1 << 28;

pub struct Seqlock;

pub struct Writer {
    arena: Arena,
    count: u64,
}

impl Board for Seqlock {
    const NAME: &'static str = "seqlock";
    const TITLE: &'static str = "bare seqlock";
    const SINGLY: Option<&'static str> = Some("a count for each value");
    type Host = ();
    type Writer = Writer;
    type Reader = Arena;

    fn version() -> String {
        "the least that could be done with shared memory: a count and eight words behind it, no types, no lookup, nobody told, and a reader that \
         waits for its writer"
            .to_owned()
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn writer(plan: &Plan) -> Result<Writer> {
        Ok(Writer { arena: Arena::open(&plan.place)?, count: 0 })
    }

    fn reader(plan: &Plan) -> Result<Arena> {
        Arena::open(&plan.place)
    }

    #[inline(always)]
    fn set(writer: &mut Writer, value: &Value) -> Result<()> {
        let [count, words @ ..] = writer.arena.seqlock();
        count.store(writer.count + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in words.iter().zip(&value.0) {
            word.store(*value, Ordering::Relaxed);
        }
        writer.count += 2;
        count.store(writer.count, Ordering::Release);
        Ok(())
    }

    #[inline(always)]
    fn get(reader: &mut Arena) -> Result<u64> {
        let [count, words @ ..] = reader.seqlock();
        for _ in 0..TRIES {
            let before = count.load(Ordering::Acquire);
            let value = Value(words.each_ref().map(|word| word.load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            if before % 2 == 0 && count.load(Ordering::Relaxed) == before {
                return look(&value);
            }
            spin_loop();
        }
        Err("the seqlock's writer has ended in the middle".into())
    }
}
