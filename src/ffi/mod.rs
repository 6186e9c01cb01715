//! The C interface: what `include/syncline.h` promises, over [`crate::client`]. The manual is there; here is how it is kept.
//!
//! Every function is one [`error::guard`]: it turns an error into its negative code, keeps the error for `syncline_detail`, and
//! stops a panic at the boundary. What C passes comes in through [`args`], which checks it for NULL, alignment, size and UTF-8
//! before anything else looks at it. Errors are formatted when C asks for the text, so that `SYNCLINE_EFULL` in a loop costs
//! no allocation; neither does success.
//!
//! What Rust's types rule out is checked at run time: a writer's open batch and loan are states of its handle ([`writer`]), and the
//! message that a reader holds is released by the next call ([`reader`], [`era`]).
//!
//! # Safety
//! All functions share one contract, the header's: a handle comes from the function that opens its kind and was not closed; one thread at
//! a time uses it, but for a bus; other pointers are NULL or valid for what the header says they are for, and nothing else
//! writes there during the call.

mod args;
mod bus;
mod edge;
mod era;
mod error;
mod halt;
mod items;
mod listing;
mod live;
mod lock;
mod message;
mod publish;
mod reader;
mod stats;
mod table;
mod table_list;
mod table_reader;
mod table_watch;
mod types;
mod waiting;
mod watch;
mod writer;
mod zone;

use std::ffi::{CStr, c_char};

/// `SYNCLINE_ABI_VERSION` of the header.
const ABI_VERSION: u32 = 4;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The interface that this library has.
#[unsafe(no_mangle)]
pub extern "C" fn syncline_abi_version() -> u32 {
    ABI_VERSION
}

/// The library's version.
#[unsafe(no_mangle)]
pub extern "C" fn syncline_version() -> *const c_char {
    VERSION.as_ptr()
}
