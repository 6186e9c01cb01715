//! The operating system: the only layer with `unsafe` for it.
