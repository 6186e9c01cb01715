//! The `syncline` program, as processes.

mod bad_input;
mod bench;
mod broker;
mod demo;
mod frames;
mod frames_damaged;
mod harness;
mod publish_subscribe;
mod typed;
