//! What makes edges pass, policy by policy, between processes; and what happens when one of them is killed or stopped: a writer, a reader,
//! whoever runs the edges, the broker.

mod click;
mod counted;
mod free;
mod kills;
mod lockstep;
mod markers;
mod puppets;
mod records;
mod revocable;
mod stage;
mod straddlers;
#[path = "../support/mod.rs"]
mod support;
