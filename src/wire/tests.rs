use super::codec::Wire;
use super::*;
use crate::os::socket::MAX_PACKET;
use proptest::collection::vec;
use proptest::prelude::*;

/// Values out of random bytes; zeroes once they are used up.
pub(super) struct Source {
    bytes: std::vec::IntoIter<u8>,
}

impl Source {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Source { bytes: bytes.into_iter() }
    }

    pub(super) fn number(&mut self) -> u64 {
        // Small numbers often, so that lengths and options vary.
        let wide = self.byte().is_multiple_of(4);
        let count = if wide { 8 } else { 1 };
        (0..count).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }
}

fn requests(bytes: Vec<u8>) -> Vec<Request> {
    let source = &mut Source::new(bytes);
    let id = u32::make(source);
    Ask::make_all(source).into_iter().map(|body| Request { id, body }).collect()
}

fn replies(bytes: Vec<u8>) -> Vec<Reply> {
    let source = &mut Source::new(bytes);
    let id = u32::make(source);
    Tell::make_all(source).into_iter().map(|body| Reply { id, body }).collect()
}

fn request_bytes(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}

fn reply_bytes(reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    bytes
}

/// Whatever the bytes: no panic, and what they decode to encodes to them.
fn check_any(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request_bytes(&request), bytes);
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(reply_bytes(&reply), bytes);
    }
    hello_version(bytes);
}

proptest! {
    #[test]
    fn every_message_comes_back(entropy in vec(any::<u8>(), 0..3000)) {
        for request in requests(entropy.clone()) {
            prop_assert_eq!(Request::decode(&request_bytes(&request)), Ok(request));
        }
        for reply in replies(entropy) {
            prop_assert_eq!(Reply::decode(&reply_bytes(&reply)), Ok(reply));
        }
    }

    #[test]
    fn no_message_is_longer_or_shorter_than_itself(entropy in vec(any::<u8>(), 0..1000), cut in any::<prop::sample::Index>()) {
        for request in requests(entropy.clone()) {
            let mut bytes = request_bytes(&request);
            prop_assert!(Request::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert_eq!(Request::decode(&bytes), Err(DecodeError::Trailing(1)));
        }
        for reply in replies(entropy) {
            let mut bytes = reply_bytes(&reply);
            prop_assert!(Reply::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert_eq!(Reply::decode(&bytes), Err(DecodeError::Trailing(1)));
        }
    }

    #[test]
    fn decode_never_panics(mut bytes in vec(any::<u8>(), 0..300), tag in 0..40u8) {
        check_any(&bytes);
        if bytes.len() >= 2 {
            bytes[..2].copy_from_slice(&[tag, 0]);
            check_any(&bytes);
        }
    }

    #[test]
    fn a_damaged_message_does_no_harm(entropy in vec(any::<u8>(), 0..1000), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let packets = requests(entropy.clone()).iter().map(request_bytes).collect::<Vec<_>>();
        for mut bytes in packets.into_iter().chain(replies(entropy).iter().map(reply_bytes)) {
            let at = at.index(bytes.len());
            bytes[at] = with;
            check_any(&bytes);
        }
    }

    #[test]
    fn a_split_zone_fits_and_is_whole(entropy in vec(any::<u8>(), 0..20_000), limit in 1000..3000usize) {
        let source = &mut Source::new(entropy);
        let mut zone = ZoneInfo::make(source);
        for _ in 0..20 {
            zone.append(ZoneInfo::make(source));
        }
        let parts = zone.clone().split(limit);
        let mut whole: Option<ZoneInfo> = None;
        for part in parts {
            let mut bytes = Vec::new();
            part.put(&mut bytes);
            prop_assert!(bytes.len() <= limit, "{} of {limit}", bytes.len());
            match &mut whole {
                Some(whole) => whole.append(part),
                None => whole = Some(part),
            }
        }
        prop_assert_eq!(whole, Some(zone));
    }
}

#[test]
fn hello_is_known_whatever_follows() {
    let hello = Ask::Hello { protocol: 7, layout_hash: 1, name: "x".to_owned() };
    let mut bytes = request_bytes(&Request { id: 5, body: hello });
    bytes.truncate(10);
    assert!(Request::decode(&bytes).is_err());
    assert_eq!(hello_version(&bytes), Some((5, 7)));
    assert_eq!(hello_version(&bytes[..9]), None);
    assert_eq!(hello_version(&request_bytes(&Request { id: 5, body: Ask::List })), None);
    let done = request_bytes(&Request { id: 5, body: Ask::Cancel { id: 5 } });
    assert_eq!(hello_version(&done), None);
}

#[test]
fn what_is_too_long_is_too_long_for_a_packet() {
    let body = Ask::Watch { zone: "x".repeat(usize::from(u16::MAX) + 1) };
    assert!(request_bytes(&Request { id: 1, body }).len() > MAX_PACKET);
}

#[test]
fn the_largest_type_fits_into_a_packet() {
    let name = || "x".repeat(MAX_NAME);
    let field = Field { name: name(), offset: 0, count: 1, scalar: Scalar::U8 };
    let ty = TypeDesc { name: name(), size: 8, align: 8, variable: true, fields: vec![field; MAX_FIELDS] };
    ty.check().unwrap();
    let mut lane = LaneInfo::make(&mut Source::new(Vec::new()));
    (lane.ty, lane.channel_name, lane.writer_name) = (ty, name(), name());
    let body = Tell::LaneAdded { reader: 1, entry: 1, lane, version: 1, ended: None };
    assert!(reply_bytes(&Reply { id: 1, body }).len() <= MAX_PACKET);
}

#[test]
fn names() {
    check_name("zone", "a").unwrap();
    check_name("zone", &"ä".repeat(64)).unwrap();
    for bad in ["", &"x".repeat(129), "a\nb", "nul\0", "\u{7f}"] {
        let text = check_name("zone", bad).unwrap_err();
        assert!(text.contains("name of a zone: expected") && text.contains("found"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

#[test]
fn types() {
    let pose = || TypeDesc { name: "pose".to_owned(), size: 16, align: 8, variable: false, fields: Vec::new() };
    let field = |offset, count| Field { name: "x".to_owned(), offset, count, scalar: Scalar::F32 };
    pose().check().unwrap();
    TypeDesc::bytes().check().unwrap();
    TypeDesc { fields: vec![field(0, 1), field(12, 1), field(0, 4)], ..pose() }.check().unwrap();
    TypeDesc { size: 0, ..pose() }.check().unwrap();
    for bad in [
        TypeDesc { align: 0, ..pose() },
        TypeDesc { align: 3, ..pose() },
        TypeDesc { align: 8192, size: 8192, ..pose() },
        TypeDesc { size: 12, ..pose() },
        TypeDesc { size: 0, variable: true, ..pose() },
        TypeDesc { name: "\n".to_owned(), ..pose() },
        TypeDesc { fields: vec![field(13, 1)], ..pose() },
        TypeDesc { fields: vec![field(u32::MAX, u32::MAX)], ..pose() },
        TypeDesc { fields: vec![field(0, 1); 257], ..pose() },
        TypeDesc { size: 1, ..TypeDesc::bytes() },
        TypeDesc { variable: false, ..TypeDesc::bytes() },
        TypeDesc { align: 0, ..TypeDesc::bytes() },
    ] {
        let text = bad.check().unwrap_err();
        assert!(text.contains("expected"), "{text}");
    }
}

#[test]
fn what_differs_is_said() {
    let pose = || TypeDesc { name: "pose".to_owned(), size: 16, align: 8, variable: false, fields: Vec::new() };
    let with = |offset| {
        let fields = vec![Field { name: "x".to_owned(), offset, count: 1, scalar: Scalar::F32 }];
        TypeDesc { fields, ..pose() }
    };
    assert_eq!(pose().difference(&pose()), None);
    assert_eq!(
        pose().difference(&TypeDesc::bytes()).unwrap(),
        "expected `pose` (16 bytes, aligned to 8), found plain bytes"
    );
    assert!(pose().difference(&TypeDesc { variable: true, ..pose() }).unwrap().contains("any number of"));
    assert!(with(0).difference(&with(4)).unwrap().ends_with("field `x` (1 x F32 at 0), found `x` (1 x F32 at 4)"));
    assert!(with(0).difference(&pose()).unwrap().ends_with("with 1 fields, found 0"));
}
