//! Messages between client and broker.
