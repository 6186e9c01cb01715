//! Tables: what one writer sets, others read, live and by eras, and are told of.

mod basic;
mod changes;
mod fire;
mod kill;
mod model;
mod oracle;
mod silent;
#[path = "../support/mod.rs"]
mod support;
