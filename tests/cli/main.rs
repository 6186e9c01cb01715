//! The `syncline` program, as processes.

mod bad_input;
mod broker;
mod demo;
mod halt;
mod harness;
mod lockstep;
mod past;
mod publish_subscribe;
mod typed;
mod zone;
