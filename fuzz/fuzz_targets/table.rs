//! Any bytes as the declaration of a table, and the rest as what its hostile writer has left in it: decoding never fails but with a text, and
//! reading stays inside the mapping and ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use syncline::layout::table::{ITEMS_OFFSET, WRITING};
use syncline::layout::zone::Geometry;
use syncline::os::mapping::{Access, TableMap, ZoneMap};
use syncline::os::memfd::Segment;
use syncline::ring::item;
use syncline::ring::order::RELAXED;
use syncline::wire::Schema;

const GEOMETRY: Geometry = Geometry { writers: 1, eras: 4, entries: 1, pace: syncline::Pace::Free };
/// Larger tables are declared and not made.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((&len, rest)) = bytes.split_first() else { return };
    let (declaration, content) = rest.split_at(rest.len().min(len.into()));
    let Ok(schema) = Schema::decode(declaration) else { return };
    assert_eq!(Schema::decode(&schema.encode()).as_ref(), Ok(&schema));
    assert!(schema.encoded_len() >= schema.encode().len() as u64);
    let size = schema.segment_size();
    if size > MOST {
        return;
    }
    match schema.versions() {
        4 => read::<4>(&schema, content),
        _ => read::<5>(&schema, content),
    }
});

fn read<const V: usize>(schema: &Schema, content: &[u8]) {
    let size = schema.segment_size();
    let segment = Segment::create("fuzz:table", size).expect("segment");
    let table = TableMap::create(segment.fd(), size, V, 1).expect("table");
    let zone = Segment::create("fuzz:zone", GEOMETRY.segment_size()).expect("segment");
    ZoneMap::create(zone.fd(), GEOMETRY, 1).expect("zone");
    let zone = ZoneMap::new(zone.fd(), GEOMETRY, Access::ReadWrite).expect("zone");
    let (words, _) = content.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let (bound, row) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    zone.view().header.generation.0.store(words.next().unwrap_or(0) % 4, RELAXED.get());
    zone.view().rows[0].version.store(row, RELAXED.get());
    for index in 0..schema.items() {
        let (group, place) = schema.item(index).expect("as many items as it says");
        assert!(place.offset >= ITEMS_OFFSET && place.end(V) <= size);
        let item = table.item::<V>(place).expect("inside");
        for word in item.versions.iter().chain(item.values) {
            let Some(value) = words.next() else { break };
            word.store(value, RELAXED.get());
        }
        let most = u64::from(group.max_len) + 16;
        let check = |words: &[_]| {
            assert!(words.len() as u64 * 8 >= u64::from(group.max_len) && words.len() as u64 * 8 < most + 8)
        };
        let row = &zone.view().rows[0].version;
        if let Some(version) = item::read_live(item, (row, bound), bound, check) {
            assert!(version <= bound || version == WRITING);
        }
        if let Ok(version) = item::read_synced(item, zone.view(), 1, bound, check) {
            assert!(version <= bound);
        }
        item::read_last(item, bound, check);
    }
}
