//! Any bytes as a packet, in both directions: decoding never fails but with an error, and what decodes has one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use syncline::wire::{Reply, Request, hello_version};

fuzz_target!(|bytes: &[u8]| {
    let _ = hello_version(bytes);
    let mut again = Vec::new();
    if let Ok(request) = Request::decode(bytes) {
        request.encode(&mut again);
        assert_eq!(again, bytes);
    }
    again.clear();
    if let Ok(reply) = Reply::decode(bytes) {
        reply.encode(&mut again);
        assert_eq!(again, bytes);
    }
});
