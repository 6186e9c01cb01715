//! The floor against joining readers.
