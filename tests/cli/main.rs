//! The `syncline` program, as processes.

mod bad_input;
mod bench;
mod broker;
mod demo;
mod frames;
mod frames_damaged;
mod halt;
mod harness;
mod lock;
mod lockstep;
mod lossy;
mod past;
mod publish_subscribe;
mod stat;
mod table;
mod table_watch;
mod typed;
mod zone;
