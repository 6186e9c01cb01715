use super::*;
use crate::wire::tests::Source;
use crate::wire::{Field, MAX_FIELDS, MAX_NAME, Scalar};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// A record that owns its payload.
type Owned = (Head, Vec<u8>);

/// A sound stream out of random bytes: its records.
fn records(entropy: Vec<u8>) -> Vec<Owned> {
    let source = &mut Source::new(entropy);
    let mut all = Vec::new();
    let mut channels = 0;
    for _ in 0..source.number() % 6 {
        for _ in 0..source.number() % 3 {
            all.push((Head::Channel(channel(channels, source)), Vec::new()));
            channels += 1;
        }
        for _ in 0..(source.number() % 4).min(channels.into()) {
            let head = Head::Message { channel: source.number() as u32 % channels };
            let payload = (0..source.number() % 50).map(|_| source.number() as u8);
            all.push((head, payload.collect()));
        }
        all.push((Head::Edge(Edge::make(source)), Vec::new()));
    }
    all
}

/// A channel whose type can be.
fn channel(index: u32, source: &mut Source) -> Channel {
    let scalar = Scalar::make(source);
    let count = source.number() as u32 % 8;
    let field = Field { name: format!("field {index}"), offset: 0, count, scalar };
    let ty = match source.number() % 3 {
        0 => TypeDesc { align: 1 << (source.number() % 13), ..TypeDesc::bytes() },
        rest => TypeDesc {
            name: "x".repeat(1 + index as usize),
            size: 64,
            align: 8,
            variable: rest == 1,
            fields: vec![field],
        },
    };
    Channel { index, name: format!("channel {index}"), ty, max_len: source.number(), rings: source.number() }
}

fn encode(records: &[Owned]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(&mut bytes);
    for (head, payload) in records {
        Record { head: head.clone(), payload }.encode(&mut bytes);
    }
    bytes
}

/// All records, and how it ended.
fn decode(bytes: &[u8]) -> (Vec<Owned>, Option<Flaw>) {
    decode_from(&mut Reader::new(bytes))
}

fn decode_from(reader: &mut Reader<impl std::io::Read>) -> (Vec<Owned>, Option<Flaw>) {
    let mut all = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(record)) => all.push((record.head, record.payload.to_vec())),
            Ok(None) => return (all, None),
            Err(ReadError::Flaw { flaw, .. }) => return (all, Some(flaw)),
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Whatever the bytes: no panic, and what they decode to encodes to them.
fn check_any(bytes: &[u8]) {
    let (records, flaw) = decode(bytes);
    let again = encode(&records);
    match flaw {
        None => assert_eq!(again, bytes),
        Some(_) => assert!(records.is_empty() || bytes.starts_with(&again)),
    }
}

/// Input that comes in pieces, with interruptions.
struct Dribble<'a> {
    left: &'a [u8],
    piece: usize,
    interrupted: bool,
}

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let (now, later) = self.left.split_at(self.piece.min(buffer.len()).min(self.left.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.left = later;
        Ok(now.len())
    }
}

proptest! {
    #[test]
    fn every_stream_comes_back(entropy in vec(any::<u8>(), 0..2000), piece in 1..40usize) {
        let records = records(entropy);
        let bytes = encode(&records);
        prop_assert_eq!(decode(&bytes), (records.clone(), None));
        let mut reader = Reader::new(Dribble { left: &bytes, piece, interrupted: false });
        prop_assert_eq!(decode_from(&mut reader), (records, None));
    }

    #[test]
    fn a_stream_ends_between_eras_only(entropy in vec(any::<u8>(), 0..1000), cut in any::<Index>()) {
        let records = records(entropy);
        let bytes = encode(&records);
        let cut = &bytes[..cut.index(bytes.len() + 1)];
        let (found, flaw) = decode(cut);
        // What was whole is handed out, and nothing else.
        prop_assert_eq!(&found[..], &records[..found.len()]);
        let whole = (PREFIX..=cut.len()).contains(&encode(&found).len());
        prop_assert!(whole || found.is_empty());
        let in_era = matches!(found.last(), Some((Head::Message { .. }, _)));
        let ends = cut.len() >= PREFIX && encode(&found) == cut && !in_era;
        prop_assert_eq!(flaw.is_none(), ends, "{:?}", flaw);
    }

    #[test]
    fn no_record_is_longer_or_shorter_than_itself(entropy in vec(any::<u8>(), 0..1000), cut in any::<Index>()) {
        for head in Head::make_all(&mut Source::new(entropy)) {
            let mut bytes = Vec::new();
            head.encode(0, &mut bytes);
            let (Some(first), body) = (bytes.first_chunk(), &bytes[RECORD_HEAD..]) else { panic!() };
            let shape = Shape::decode(*first).unwrap();
            prop_assert_eq!(shape.body(), body.len());
            match shape.record(body) {
                Ok(record) => prop_assert_eq!(record, Record { head: head.clone(), payload: &[] }),
                // Its names and its type are any.
                Err(flaw) => prop_assert!(matches!((&head, &flaw), (Head::Channel(_), Flaw::Channel(_))), "{}", flaw),
            }
            let short = shape.record(&body[..cut.index(body.len())]);
            prop_assert!(matches!(short, Err(Flaw::Body { .. })), "{:?}", short);
            let longer = [body, &[0]].concat();
            match (shape.record(&longer), head) {
                (Ok(record), Head::Message { .. }) => prop_assert_eq!(record.payload, &[0]),
                (long, _) => prop_assert!(matches!(long, Err(Flaw::Body { error: DecodeError::Trailing(1), .. })), "{:?}", long),
            }
        }
    }

    #[test]
    fn decode_never_panics(mut bytes in vec(any::<u8>(), 0..300), kind in 0..5u8, begins in any::<bool>()) {
        if begins {
            let mut stream = encode(&[]);
            if bytes.len() > RECORD_HEAD {
                let len = bytes.len() - RECORD_HEAD;
                bytes[..4].copy_from_slice(&[kind, 0, len as u8, (len >> 8) as u8]);
                bytes[4..6].fill(0);
            }
            stream.append(&mut bytes);
            bytes = stream;
        }
        check_any(&bytes);
    }

    #[test]
    fn a_damaged_stream_does_no_harm(entropy in vec(any::<u8>(), 0..1000), at in any::<Index>(), with in any::<u8>()) {
        let mut bytes = encode(&records(entropy));
        let at = at.index(bytes.len());
        bytes[at] = with;
        check_any(&bytes);
    }
}

fn bytes_channel(index: u32) -> Owned {
    let channel = Channel { index, name: format!("c{index}"), ty: TypeDesc::bytes(), max_len: 0, rings: 0 };
    (Head::Channel(channel), Vec::new())
}

fn message(channel: u32) -> Owned {
    (Head::Message { channel }, b"payload".to_vec())
}

fn edge(era: u64) -> Owned {
    (Head::Edge(Edge { era, merged: false, tag: None, reason: 0 }), Vec::new())
}

#[test]
fn what_it_looks_like() {
    let tagged = (Head::Edge(Edge { era: 7, merged: true, tag: Some(0x1234), reason: 2 }), Vec::new());
    let expected = [
        &b"\x8bSYNCFRM\x01\0\0\0"[..],
        // Index, name, type (name, size, alignment, variable, fields), longest message, rings.
        b"\x01\0\x25\0\0\0\0\0\0\0\x02\0c0",
        b"\0\0\0\0\0\0\x01\0\0\0\x01\0\0",
        &[0; 16],
        b"\x02\0\x0b\0\0\0\0\0\0\0payload",
        b"\x03\0\x13\0\0\0\x07\0\0\0\0\0\0\0\x01\x01\x34\x12\0\0\0\0\0\0\x02",
    ];
    assert_eq!(encode(&[bytes_channel(0), message(0), tagged]), expected.concat());
}

#[test]
fn what_is_wrong_is_said() {
    let stream = |records: &[Owned]| encode(records);
    let with = |mut bytes: Vec<u8>, more: &[u8]| {
        bytes.extend_from_slice(more);
        bytes
    };
    let named = |name: &str| {
        let (Head::Channel(channel), none) = bytes_channel(0) else { panic!() };
        (Head::Channel(Channel { name: name.to_owned(), ..channel }), none)
    };
    for (bytes, at, said) in [
        (b"".to_vec(), 0, "expected a stream of frames, found ``"),
        (b"\x8bSYNC".to_vec(), 0, "expected a stream of frames, found `\\x8bSYNC`"),
        (b"1\n2\n\x1b[31mred".to_vec(), 0, "found `1\\n2\\n\\x1b[31`; feed it what `syncline sub --frames` writes"),
        (b"\x8bSYNCFRM\x01\0".to_vec(), 0, "expected 12 bytes of the beginning, found the end after 10"),
        (b"\x8bSYNCFRM\x02\0\0\0".to_vec(), 0, "expected version 1 of the format, found 2"),
        (
            with(stream(&[]), b"\x04\0\0\0\0\0"),
            12,
            "expected a record of kind 1 (channel), 2 (message) or 3 (edge), found kind 4",
        ),
        (with(stream(&[]), b"\x01\0\0"), 12, "expected 6 bytes of a record's head, found the end after 3"),
        (
            with(stream(&[]), b"\x01\0\x01\0\x01\0"),
            12,
            "a channel: expected at most 65536 bytes, found a length of 65537",
        ),
        (with(stream(&[]), b"\x03\0\x41\0\0\0"), 12, "an edge: expected at most 64 bytes, found a length of 65"),
        (
            with(stream(&[]), b"\x02\0\x05\0\0\x40"),
            12,
            "a message: expected at most 1073741828 bytes, found a length of 1073741829",
        ),
        (with(stream(&[]), b"\x02\0\x03\0\0\0\0\0\0"), 12, "a message: expected 4 bytes more, found 3"),
        (with(stream(&[]), b"\x03\0\x0b\0\0\0\x07\0\0\0\0\0\0\0\x02\0\0"), 12, "an edge: expected 0 or 1, found 2"),
        (
            with(stream(&[]), b"\x03\0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0"),
            12,
            "an edge: expected the end, found 1 bytes more",
        ),
        (
            stream(&[message(0)]),
            12,
            "expected a message in one of the 0 channels declared so far, found one in channel 0",
        ),
        (stream(&[bytes_channel(1)]), 12, "expected channel 0 to be declared next, found 1"),
        (stream(&[named("a\nb")]), 12, "name of a channel: expected no control characters"),
        (
            stream(&[bytes_channel(0), edge(1), message(1)]),
            72,
            "one of the 1 channels declared so far, found one in channel 1",
        ),
        (stream(&[bytes_channel(0), message(0), bytes_channel(1)]), 72, "between eras, found `c1` inside one"),
        (stream(&[bytes_channel(0), message(0)]), 72, "expected a message or the edge of the era, found the end"),
    ] {
        let mut reader = Reader::new(&bytes[..]);
        let told = loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing wrong, expected: {said}"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(told.starts_with(&format!("frames, byte {at}: ")) && told.contains(said), "{said}: {told}");
        assert!(told.chars().all(|c| !c.is_control()), "{told:?}");
    }
}

#[test]
fn memory_grows_with_what_is_there() {
    let announce = |len: u32| [&encode(&[bytes_channel(0)])[..], &[2, 0], &len.to_le_bytes(), &[0; 4]].concat();
    let bytes = announce(MESSAGE_HEAD + MAX_PAYLOAD);
    let mut reader = Reader::new(&bytes[..]);
    let (_, flaw) = decode_from(&mut reader);
    assert_eq!(flaw, Some(Flaw::Cut { what: "a message", needed: u64::from(MESSAGE_HEAD + MAX_PAYLOAD), found: 4 }));
    assert!(reader.held() < 100, "{}", reader.held());

    // And not beyond what is announced.
    let len = 700_000;
    let bytes = [announce(MESSAGE_HEAD + len), vec![1; len as usize], encode(&[edge(1)])[PREFIX..].to_vec()].concat();
    let mut reader = Reader::new(&bytes[..]);
    let (records, flaw) = decode_from(&mut reader);
    assert_eq!((records[1].1.len(), flaw), (len as usize, None));
    assert_eq!(reader.held(), len as usize + 4);
}

#[test]
fn the_largest_channel_fits() {
    let name = || "x".repeat(MAX_NAME);
    let field = Field { name: name(), offset: 0, count: 1, scalar: Scalar::U8 };
    let ty = TypeDesc { name: name(), size: 8, align: 8, variable: true, fields: vec![field; MAX_FIELDS] };
    let channel = Channel { index: 0, name: name(), ty, max_len: u64::MAX, rings: u64::MAX };
    let records = [(Head::Channel(channel), Vec::new())];
    assert_eq!(decode(&encode(&records)), (records.to_vec(), None));
}

#[test]
fn channels_have_an_end() {
    let all: Vec<_> = (0..=MAX_CHANNELS).map(bytes_channel).collect();
    let (records, flaw) = decode(&encode(&all));
    assert_eq!((records.len(), flaw), (MAX_CHANNELS as usize, Some(Flaw::Channels)));
}
