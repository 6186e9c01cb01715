//! The lock-free core. It takes references to shared words; it knows no descriptors, clocks or system calls.
//!
//! Read in this order: [`frame`] (what a message looks like in a lane), [`lane`] (publish and read), [`floor`] (how the ring is
//! reclaimed without waiting for anybody), [`hold`] (what a reader keeps though its writer passes it), [`sequencer`] (the SYNC edge, and what
//! a sealed era says), [`lockstep`] (an edge that waits for permits), [`bell`] (sleeping and waking), [`relay`] (leaving the sleeping to
//! another thread), [`halt`] (bringing all to rest), [`recovery`] (what is done for a dead writer), [`count`] (what onlookers count), [`item`] (a table's
//! values, of several eras). [`order`] names
//! every memory ordering and what it pairs with; [`view`] is what a segment looks like from here. The loom models are in `models`.

pub mod bell;
pub mod count;
pub mod floor;
pub mod frame;
pub mod halt;
pub mod hold;
pub mod item;
pub mod lane;
pub mod lockstep;
pub mod order;
pub mod recovery;
pub mod relay;
pub mod sequencer;
pub mod view;

#[cfg(all(test, loom))]
mod models;
