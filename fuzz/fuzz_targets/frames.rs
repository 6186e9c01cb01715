//! Any bytes as a stream of frames: reading it never fails but with an error, and what comes out has one encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use syncline::wire::frames::{PREFIX, Reader, begin};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The same, begun as it must be.
    let mut stream = Vec::new();
    begin(&mut stream);
    stream.extend_from_slice(bytes);
    check(&stream);
});

fn check(bytes: &[u8]) {
    let mut again = Vec::new();
    begin(&mut again);
    let mut reader = Reader::new(bytes);
    let whole = loop {
        match reader.next() {
            Ok(Some(record)) => record.encode(&mut again),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    if whole {
        assert_eq!(again, bytes);
    } else if again.len() > PREFIX {
        assert!(bytes.starts_with(&again));
    }
}
