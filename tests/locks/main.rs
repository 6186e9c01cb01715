//! Locks between processes that are killed and stopped: one holder at a time, in the order of asking; the next is told of a death, and of nothing
//! else; and a commit that gives back the lock is never half of that.

#[path = "../support/mod.rs"]
mod support;

mod contention;
mod order;
mod step;
