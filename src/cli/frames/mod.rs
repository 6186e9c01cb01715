//! Whole eras of a zone through a pipe: `sub --frames` ([`source`]) writes them, `pub --frames` ([`sink`]) publishes them in
//! another zone. The format is in [`crate::wire::frames`].

pub(super) mod sink;
pub(super) mod source;
