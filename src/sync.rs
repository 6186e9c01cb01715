//! The atomics of the core: those of `std`, or loom's when the models run (`--cfg loom`). The only file that names either.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Whether this build checks models: constants shrink, and asymmetric fences become full ones.
pub const MODEL: bool = cfg!(loom);
