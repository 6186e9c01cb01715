use super::deaths::Victim;
use super::*;
use crate::os::mapping::TableMap;
use crate::os::memfd::Segment;
use crate::ring::item;
use crate::wire::{LockKind, Schema, TableInfo, TableItem};

fn numbers(name: &str, count: u32) -> TableItem {
    let ty = TypeDesc { name: "u64".to_owned(), size: 8, align: 8, variable: false, fields: Vec::new() };
    TableItem { name: name.to_owned(), count, max_len: 0, ty: Some(ty) }
}

fn schema(items: Vec<TableItem>) -> Schema {
    let mut schema = Schema::new(4);
    items.into_iter().for_each(|item| schema.push(item).unwrap());
    schema
}

fn open_table(writer: &Writer, table: &str, fence: u64) -> Ask {
    Ask::OpenTable { writer: writer.serial, table: table.to_owned(), fence }
}

fn read_table(table: &str, wait: bool) -> Ask {
    Ask::ReadTable { zone: "z".to_owned(), table: table.to_owned(), wait }
}

/// A table that a client by hand writes.
struct Out {
    incarnation: u64,
    fence: u64,
    map: TableMap,
    before: Option<u64>,
}

/// What a client that reads a table was given.
struct In {
    number: u64,
    added: Vec<(u64, Option<u64>)>,
}

impl Client {
    fn declare(&mut self, writer: &Writer, items: Vec<TableItem>) {
        self.done(Ask::TableItems { writer: writer.serial, items });
    }

    /// The number of a table's ownership, which is this client's or is not.
    fn own(&mut self, zone: &str, table: &str) -> u64 {
        let (zone, name) = (zone.to_owned(), table.to_owned());
        match self.call(Ask::AcquireLock { zone, kind: LockKind::Table, name, wait: false }).0 {
            Tell::LockGranted { fence, .. } | Tell::LockHeld { fence, .. } => fence,
            other => panic!("{other:?}"),
        }
    }

    /// Gives a table up.
    fn give_up(&mut self, table: &Out) {
        self.done(Ask::ReleaseLock { fence: table.fence });
    }

    /// Opens a table up to its memory.
    fn make_table(&mut self, writer: &Writer, table: &str) -> Out {
        let fence = self.own("z", table);
        let (Tell::TableMade { incarnation, before }, mut fds) = self.call(open_table(writer, table, fence)) else {
            panic!("no table")
        };
        assert_eq!(fds.len(), if before.is_some() { 3 } else { 2 });
        let declaration = Segment::read_bytes(fds.remove(1), MAX_DECLARATION).unwrap();
        let schema = Schema::decode(&declaration).unwrap();
        let size = schema.segment_size();
        let map = TableMap::new(fds[0].as_fd(), size, schema.versions(), Access::ReadWrite).unwrap();
        if let Some(fd) = fds.get(1) {
            let denied = TableMap::new(fd.as_fd(), size, schema.versions(), Access::ReadWrite);
            assert!(denied.is_err(), "the table of the owner before can be written");
            TableMap::new(fd.as_fd(), size, schema.versions(), Access::ReadOnly).unwrap();
        }
        Out { incarnation, fence, map, before }
    }

    fn table(&mut self, writer: &Writer, table: &str) -> Out {
        let out = self.make_table(writer, table);
        let incarnation = out.incarnation;
        assert_eq!(self.call(Ask::TableMapped { incarnation }).0, Tell::TableOpen { incarnation });
        out
    }

    fn table_reader(&mut self, table: &str, wait: bool) -> In {
        let id = self.send(read_table(table, wait));
        self.shown(id)
    }

    fn shown(&mut self, id: u32) -> In {
        let (Tell::TableShown { reader: number, .. }, fds) = self.answer(id) else { panic!("no table") };
        assert_eq!(fds.len(), 2);
        let mut added = Vec::new();
        loop {
            match self.answer(id) {
                (Tell::TableAdded { reader, incarnation, end, .. }, fds) => {
                    assert_eq!((reader, fds.len()), (number, 1));
                    added.push((incarnation, end));
                }
                (Tell::TableReady { reader }, _) => {
                    assert_eq!(reader, number);
                    return In { number, added };
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    fn tables(&mut self) -> Vec<TableInfo> {
        let id = self.send(Ask::ListTables { zone: "z".to_owned() });
        let mut tables = Vec::new();
        loop {
            match self.answer(id) {
                (Tell::TableListed { table, last: false }, _) => tables.extend(table),
                (Tell::TableListed { table: None, last: true }, _) => return tables,
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

impl Writer {
    /// A commit.
    fn commit(&mut self) -> u64 {
        self.version += 1;
        self.store_version();
        self.version
    }

    /// The commit that begins a table.
    fn begin(&mut self, table: &Out) -> u64 {
        item::set_first(table.map.header(), self.version + 1);
        self.commit()
    }
}

fn ended(told: Told) -> (u64, u64, bool) {
    match told.0 {
        Tell::TableEnded { incarnation, end, died, .. } => (incarnation, end, died),
        other => panic!("{other:?}"),
    }
}

fn added(told: Told) -> (u64, Option<u64>) {
    match told.0 {
        Tell::TableAdded { incarnation, end, .. } => (incarnation, end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_for_wrongly_is_refused() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let serial = writer.serial;
        let refused = |client: &mut Client, ask: Ask, code: Code, says: &str| {
            let (found, text) = client.refused(ask);
            assert!(found == code && text.contains(says), "{found:?}: {text}");
        };
        // Names.
        for name in ["", "a\nb", &"x".repeat(1000)] {
            refused(&mut client, open_table(&writer, name, 0), Code::Invalid, "table");
            refused(&mut client, read_table(name, false), Code::Invalid, "table");
            let items = vec![numbers("a", 1), numbers(if name.is_empty() { "a" } else { name }, 1)];
            refused(&mut client, Ask::TableItems { writer: serial, items }, Code::Invalid, "item");
        }
        // Nothing of a declaration that was refused is left.
        let fence = client.own("z", "t");
        refused(&mut client, open_table(&writer, "t", fence), Code::Unknown, "declare them");
        refused(&mut client, read_table("t", false), Code::Unknown, "wait for it");
        // Others' things, and such that are not there.
        let mut other = place.connect();
        refused(&mut other, open_table(&writer, "t", fence), Code::Unknown, "writer");
        refused(&mut other, Ask::TableItems { writer: serial, items: vec![numbers("a", 1)] }, Code::Unknown, "writer");
        for ask in
            [Ask::TableMapped { incarnation: 99 }, Ask::ReleaseLock { fence: 99 }, Ask::CloseTableReader { reader: 99 }]
        {
            refused(&mut client, ask, Code::Unknown, "99");
        }
        client.declare(&writer, vec![numbers("a", 3), numbers("b", 1)]);
        let table = client.make_table(&writer, "t");
        let incarnation = table.incarnation;
        refused(&mut other, Ask::TableMapped { incarnation }, Code::Unknown, "incarnation");
        refused(&mut other, Ask::ReleaseLock { fence: table.fence }, Code::Unknown, "lock");
        refused(&mut client, read_table("t", false), Code::Unknown, "wait for it");
        assert_eq!(client.call(Ask::TableMapped { incarnation }).0, Tell::TableOpen { incarnation });
        refused(&mut client, Ask::TableMapped { incarnation }, Code::Invalid, "otherwise");
        writer.begin(&table);
        let reader = client.table_reader("t", false);
        refused(&mut other, Ask::CloseTableReader { reader: reader.number }, Code::Unknown, "reader");
        // It has an owner.
        let second = other.writer("z");
        refused(&mut other, open_table(&second, "t", table.fence), Code::Invalid, "acquire it first");
        client.give_up(&table);
        refused(&mut client, Ask::ReleaseLock { fence: table.fence }, Code::Unknown, "lock");
        let fence = other.own("z", "t");
        // It is declared otherwise.
        for (items, says) in [
            (vec![numbers("a", 3)], "expected 4 items, found 3"),
            (vec![numbers("a", 4), numbers("b", 1)], "item 0"),
            (vec![numbers("a", 3), numbers("c", 1)], "item 3"),
            (vec![numbers("a", 3), numbers("b", 1), numbers("c", 1)], "expected 4 items, found 5"),
        ] {
            other.declare(&second, items);
            refused(&mut other, open_table(&second, "t", fence), Code::Mismatch, says);
        }
        // As it is, and not at all.
        other.declare(&second, vec![numbers("a", 3), numbers("b", 1)]);
        let out = other.table(&second, "t");
        other.give_up(&out);
        other.table(&second, "t");
        client.done(Ask::CloseTableReader { reader: reader.number });
        client.done(Ask::CloseWriter { writer: serial });
        other.done(Ask::CloseWriter { writer: second.serial });
        place.until("nothing is left", |stats| (stats.zones, stats.bytes) == (0, 0));
    });
}

#[test]
fn a_zone_that_can_be_rolled_back_has_no_tables() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let options = ZoneOptions { pace: Some(Pace::Revocable), ..NO_OPTIONS };
        let ask = Ask::OpenWriter { zone: "r".to_owned(), options, name: "w".to_owned() };
        let (Tell::Writer { serial, .. }, _) = client.call(ask) else { panic!() };
        client.done(Ask::TableItems { writer: serial, items: vec![numbers("a", 1)] });
        let fence = client.own("r", "t");
        let (code, text) = client.refused(Ask::OpenTable { writer: serial, table: "t".to_owned(), fence });
        assert!(code == Code::Invalid && text.contains("use another zone"), "{text}");
    });
}

#[test]
fn quotas_hold_and_memory_is_given_back() {
    isolated(|| {
        let items = || vec![numbers("a", 100)];
        let size = schema(items()).segment_size();
        let declared = schema(items()).encoded_len() + schema(items()).memory();
        let limits = Limits { tables: 2, table_bytes: size, waits: 2, ..Limits::default() };
        let place = Place::with(limits);
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let mut keeper = place.connect();
        let _keeper = keeper.writer("z");
        place.until("two writers", |stats| stats.rows == 2);
        let at_rest = place.stats().bytes;
        let until = |what: &str, bytes: u64| place.until(what, |stats| stats.bytes == at_rest + bytes);
        // Too large; and too many.
        client.declare(&writer, vec![numbers("a", 10_000)]);
        let fence = client.own("z", "t");
        assert_eq!(client.refused(open_table(&writer, "t", fence)).0, Code::TooLarge);
        until("refused: too large", 0);
        let tables: Vec<Out> = ["t", "u"]
            .map(|name| {
                client.declare(&writer, items());
                client.table(&writer, name)
            })
            .into();
        until("two", 2 * (size + declared));
        client.declare(&writer, items());
        let fence = client.own("z", "v");
        assert_eq!(client.refused(open_table(&writer, "v", fence)).0, Code::Exhausted);
        until("refused: too many", 2 * (size + declared));
        // Never begun: nothing is kept of it.
        client.give_up(&tables[1]);
        until("given up before its first commit", size + declared);
        assert_eq!(client.tables().len(), 1);
        // Kept for the next, which is made beside it and then in its place.
        writer.begin(&tables[0]);
        client.give_up(&tables[0]);
        until("given up", size + declared);
        let second = client.table(&writer, "t");
        until("two of one table", 2 * size + declared);
        client.give_up(&second);
        until("the second was never begun", size + declared);
        let third = client.make_table(&writer, "t");
        until("two of one table, again", 2 * size + declared);
        client.give_up(&third);
        until("not mapped", size + declared);
        let fourth = client.table(&writer, "t");
        writer.begin(&fourth);
        client.done(Ask::CloseWriter { writer: writer.serial });
        until("the writer has left, the first may still be asked for", 2 * size + declared);
        for _ in 0..3 {
            client.call(Ask::Edge { zone: "z".to_owned(), tag: None });
        }
        let reader = client.table_reader("t", false);
        until("the first is not needed any more", size + declared);
        client.done(Ask::CloseTableReader { reader: reader.number });
        // Left before it was mapped.
        let writer = client.writer("z");
        client.declare(&writer, items());
        client.make_table(&writer, "u");
        until("made", 2 * (size + declared));
        client.done(Ask::CloseWriter { writer: writer.serial });
        until("the writer has left before it had it", size + declared);
        // Waits: of each connection.
        let ids = [0, 1].map(|_| client.send(read_table("later", true)));
        assert_eq!(client.refused(read_table("later", true)).0, Code::Exhausted);
        client.send(Ask::Cancel { id: ids[0] });
        client.send(read_table("other", true));
        client.done(Ask::Sync);
        assert_eq!(client.refused(read_table("later", true)).0, Code::Exhausted);
        // The zone, and all.
        drop(keeper);
        client.done(Ask::Sync);
    });
}

#[test]
fn no_memory_is_a_refusal() {
    isolated(|| {
        let items = || vec![numbers("a", 1000)];
        let mut place = Place::new();
        let mut client = place.connect();
        client.writer("z");
        place.until("the zone", |stats| stats.zones == 1);
        let zone = place.stats().bytes;
        // And a small declaration.
        let schema = schema(items());
        let size = schema.segment_size() + schema.encoded_len() + schema.memory() + 1000;
        place = Place::with(Limits { bytes: zone + size, ..Limits::default() });
        let mut client = place.connect();
        let writer = client.writer("z");
        client.declare(&writer, items());
        let table = client.table(&writer, "t");
        client.declare(&writer, vec![numbers("a", 1)]);
        let fence = client.own("z", "u");
        let (code, text) = client.refused(open_table(&writer, "u", fence));
        assert!(code == Code::Exhausted && text.contains("memory"), "{text}");
        client.give_up(&table);
        client.declare(&writer, items());
        client.table(&writer, "u");
    });
}

#[test]
fn readers_are_told_of_owners() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut viewer = place.connect();
        // Two who wait, one of whom thinks better of it.
        let (waits, stops) = (viewer.send(read_table("t", true)), viewer.send(read_table("t", true)));
        viewer.send(Ask::Cancel { id: stops });
        let mut first = client.writer("z");
        client.declare(&first, vec![numbers("a", 1)]);
        let table = client.table(&first, "t");
        let reader = viewer.shown(waits);
        assert_eq!(reader.added, [(table.incarnation, None)]);
        viewer.no_event();
        let info = viewer.tables().remove(0);
        assert_eq!((info.name.as_str(), info.items, info.writer.as_str(), info.readers), ("t", 1, "writer", 1));
        assert_eq!((info.pid, info.zone.as_str()), (std::process::id(), "z"));
        // Given up by its word, after two commits.
        first.begin(&table);
        let end = first.commit();
        client.give_up(&table);
        first.commit();
        assert_eq!(ended(viewer.event()), (table.incarnation, end, false));
        assert_eq!(viewer.tables()[0].pid, 0);
        // Who comes now has the last, and who writes goes on from it.
        let late = viewer.table_reader("t", false);
        assert_eq!(late.added, [(table.incarnation, Some(end))]);
        let mut second = client.writer_named("z", "second");
        let next = client.table(&second, "t");
        assert_eq!(next.before, Some(end));
        for _ in 0..2 {
            assert_eq!(added(viewer.event()), (next.incarnation, None));
        }
        // It leaves before it has begun: as if it had never been there.
        client.done(Ask::CloseWriter { writer: second.serial });
        for _ in 0..2 {
            assert_eq!(ended(viewer.event()), (next.incarnation, 0, false));
        }
        assert_eq!(viewer.table_reader("t", false).added, [(table.incarnation, Some(end))]);
        // The next begins: the first is not shown any more, once it has ended.
        second = client.writer_named("z", "second");
        let next = client.table(&second, "t");
        let end = second.begin(&next);
        let both = viewer.table_reader("t", false).added;
        assert_eq!(both.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [table.incarnation, next.incarnation]);
        client.done(Ask::CloseWriter { writer: second.serial });
        viewer.done(Ask::Sync);
        assert_eq!(viewer.table_reader("t", false).added.len(), 2, "an era may end with the first");
        for _ in 0..2 {
            client.call(Ask::Edge { zone: "z".to_owned(), tag: None });
        }
        assert_eq!(viewer.table_reader("t", false).added, [(next.incarnation, Some(end))]);
    });
}

#[test]
fn the_dead_leave_their_last_commit() {
    isolated(|| {
        let place = Place::new();
        let mut viewer = place.connect();
        let wait = viewer.send(read_table("t", true));
        let victim = Victim::new(|| {
            let mut client = place.connect();
            let mut writer = client.writer("z");
            client.declare(&writer, vec![numbers("a", 1)]);
            let table = client.table(&writer, "t");
            writer.begin(&table);
            writer.commit();
            // In the middle of the next one.
            let (_, place) = schema(vec![numbers("a", 1)]).item(0).map(|(group, place)| (group.first, place)).unwrap();
            let item = table.map.item::<4>(place).unwrap();
            item::write(item, 1, writer.version + 1, |words| words[0].store(7, order::RELAXED.get()));
            (client, writer, table)
        });
        let reader = viewer.shown(wait);
        let (incarnation, _) = reader.added[0];
        victim.kill();
        assert_eq!(ended(viewer.event()), (incarnation, 2, true));
        // The zone stays with the table's reader, and the next owner goes on.
        let mut client = place.connect();
        let writer = client.writer("z");
        assert_eq!(client.table(&writer, "t").before, Some(2));
    });
}

#[test]
fn who_is_only_disconnected_stays_the_owner() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut gone = place.connect();
        let mut writer = gone.writer("z");
        gone.declare(&writer, vec![numbers("a", 1)]);
        let table = gone.table(&writer, "t");
        writer.begin(&table);
        gone.table_reader("t", false);
        let reader = client.table_reader("t", false);
        drop(gone);
        client.done(Ask::Sync);
        let other = client.writer("z");
        assert_eq!(client.refused(open_table(&other, "t", table.fence)).0, Code::Invalid);
        assert_eq!(client.tables()[0].readers, 2);
        client.no_event();
        // It goes on writing; and its waits are nobody's.
        writer.commit();
        client.done(Ask::CloseTableReader { reader: reader.number });
    });
}

#[test]
fn tables_go_with_their_zone() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        client.declare(&writer, vec![numbers("a", 1)]);
        let table = client.table(&writer, "t");
        writer.begin(&table);
        let reader = client.table_reader("t", false);
        client.done(Ask::CloseWriter { writer: writer.serial });
        // Its reader keeps the zone.
        place.until("the writer has gone", |stats| (stats.zones, stats.rows) == (1, 0));
        assert_eq!(client.tables().len(), 1);
        client.done(Ask::CloseTableReader { reader: reader.number });
        place.until("all is gone", |stats| (stats.zones, stats.bytes) == (0, 0));
        assert_eq!(client.tables().len(), 0);
        // The same name is another table now.
        let writer = client.writer("z");
        client.declare(&writer, vec![numbers("b", 7)]);
        assert_eq!(client.table(&writer, "t").before, None);
    });
}

#[test]
fn who_was_held_back_looks_at_its_table_again() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        client.declare(&writer, vec![numbers("a", 1)]);
        let table = client.table(&writer, "t");
        writer.begin(&table);
        let mut slow = place.connect();
        let reader = slow.table_reader("t", false);
        slow.done(Ask::Watch { zone: String::new() });
        // Fills its socket with events, so that what comes next is held back.
        for _ in 0..200 {
            let other = client.reader("y", &["a", "b", "c", "d"]);
            client.done(Ask::CloseReader { reader: other.number });
        }
        client.give_up(&table);
        let roster = || writer.zone.view().header.control.0.roster.load(order::ROSTER_SEE.get());
        let before = roster();
        loop {
            if let (_, (Tell::TableEnded { reader: number, .. }, _)) = slow.receive().unwrap() {
                assert_eq!(number, reader.number);
                break;
            }
        }
        eventually("the roster says so", || roster() > before);
    });
}
