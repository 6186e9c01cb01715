//! The lock-free core. It takes references to shared words; it knows no descriptors, clocks or system calls.

pub mod order;
pub mod view;
