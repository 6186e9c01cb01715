//! Stopped writers.
