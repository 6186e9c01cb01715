//! The operating system: memory, wakes, sockets, processes. The only layer with `unsafe` for it.
//!
//! | module | what it wraps |
//! | --- | --- |
//! | [`memfd`] | segments: `memfd_create`, seals |
//! | [`mapping`] | mapped segments as the core's views; over `region`, the raw mapping |
//! | [`futex`], [`membarrier`] | sleeping, waking, and the fence that the sleeper pays for |
//! | [`clock`] | the monotonic clock |
//! | [`fork`] | telling a forked child from the process that made a handle |
//! | [`socket`] | `SOCK_SEQPACKET` sockets that carry descriptors and credentials; over `listener`, the bound side |
//! | [`paths`] | where the socket is, and whom it may belong to |
//! | [`process`] | start times, pidfds, limits |
//!
//! Errors are [`std::io::Error`]; what was checked here (and not by the kernel) says what was expected, what was found and
//! what to do. Nothing panics on what a peer or the kernel does.

pub mod clock;
pub mod fork;
pub mod futex;
mod listener;
pub mod mapping;
pub mod membarrier;
pub mod memfd;
pub mod paths;
pub mod process;
mod region;
pub mod socket;

#[cfg(test)]
pub(crate) mod testing;
