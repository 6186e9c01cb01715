//! Channels whose writers do not wait: what a reader loses is said exactly, what it holds stays, and nothing of it holds anybody up.

mod fire;
mod held;
mod model;
#[path = "../support/mod.rs"]
mod support;

use syncline::{Bus, Lane, Message, Writer};

/// The smallest ring there is: a page of it is 256 bytes.
const CAPACITY: u64 = 4096;

/// The payload of message `n` of a lane: its length and each of its bytes follow from `n`.
fn payload(n: u64, most: usize) -> Vec<u8> {
    let len = 8 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % (most - 7);
    let mut bytes = vec![(n * 31 % 251) as u8; len];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

/// Whether these bytes are message `n`.
fn check(bytes: &[u8], n: u64, most: usize) {
    assert_eq!(bytes, payload(n, most), "message {n} is torn, or another");
}

/// What a message says it is; it must be whole.
fn whole(message: &Message<'_>, most: usize) -> u64 {
    let bytes = message.to_vec().unwrap();
    let n = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    check(&bytes, n, most);
    // SAFETY: the writer is this test's, and keeps what is held.
    check(unsafe { message.bytes_in_place() }, n, most);
    n
}

/// A writer with a lossy lane in channel `a` of zone `z`.
fn lossy(bus: &Bus) -> (Writer, Lane<[u8]>) {
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lane = writer.channel("a").capacity(CAPACITY).lossy().open::<[u8]>().unwrap();
    (writer, lane)
}
