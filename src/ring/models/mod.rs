//! Loom models of the protocols.
