//! Changes of tables on the command line.

use crate::harness::{Tail, eventually};
use crate::table::{start, table};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use syncline::{Item, Writer};

/// Lets watches print the item `go` until all do: from then on they print what changes.
fn begin(writer: &mut Writer, go: Item<u8>, watches: &[&Tail]) {
    eventually("the watches", || {
        writer.set(go, &1).unwrap();
        writer.edge().unwrap();
        watches.iter().all(|watch| !watch.lines().is_empty())
    });
}

/// What a watch has printed beside that.
fn printed(watch: &Tail) -> Vec<String> {
    watch.lines().into_iter().filter(|line| !line.contains("go")).collect()
}

/// Would break: a change that is not printed, printed twice, of another item, or with another value than it got.
#[test]
fn watches_print_exactly_the_changes() {
    let (broker, zone) = start();
    // They wait for the table.
    let watch = |more: &[&str]| broker.tail(&[&["table", "watch", "z", "t"], more].concat());
    let (some, some_lines) = watch(&["go", "n[1..3]", "note", "--json"]);
    let (all, all_lines) = watch(&[]);
    let (synced, synced_lines) = watch(&["go", "n[1]", "n[2]", "--synced"]);
    let mut writer = zone.writer("w").unwrap();
    let t = writer.table("t").items::<i32>("n", 4).bytes("note", 20).item::<u8>("go").open().unwrap();
    let n: Vec<_> = (0..4).map(|index| writer.item_at::<i32>(t, index).unwrap()).collect();
    let note = writer.item::<[u8]>(t, "note").unwrap();
    let go = writer.item::<u8>(t, "go").unwrap();
    begin(&mut writer, go, &[&some_lines, &all_lines, &synced_lines]);
    let wait = |watch: &Tail, count| eventually("what has changed", || printed(watch).len() >= count);
    writer.set(n[0], &-1).unwrap();
    wait(&all_lines, 1);
    writer.set(n[2], &5).unwrap();
    wait(&all_lines, 2);
    wait(&some_lines, 1);
    let mut batch = writer.batch().unwrap();
    batch.set(n[1], &7).unwrap();
    batch.set(n[3], &9).unwrap();
    batch.set(note, b"a\nb").unwrap();
    batch.commit().unwrap();
    wait(&all_lines, 5);
    wait(&some_lines, 3);
    let mut batch = writer.batch().unwrap();
    batch.set(n[1], &100).unwrap();
    batch.roll_back();
    let era = writer.edge().unwrap();
    wait(&synced_lines, 2);
    // The same value is a change, too.
    writer.set(n[2], &5).unwrap();
    wait(&all_lines, 6);
    wait(&some_lines, 4);
    writer.set(n[0], &-2).unwrap();
    wait(&all_lines, 7);
    assert_eq!(writer.edge().unwrap(), era + 1);
    wait(&synced_lines, 3);
    // Another owner: the command itself.
    writer.close_table(t).unwrap();
    table(&broker, "set", &["n[1]=11", "n[3]=12", "--edge"]).succeeded();
    wait(&synced_lines, 4);
    wait(&some_lines, 5);
    wait(&all_lines, 9);
    table(&broker, "set", &["n[0]=13", "--edge"]).succeeded();
    wait(&all_lines, 10);
    for watch in [some, all, synced] {
        watch.signal(Signal::SIGINT);
        watch.wait().failed(130, &[]);
    }
    let text = "note: \"a\\nb\"";
    let all =
        ["n[0]: -1", "n[2]: 5", "n[1]: 7", "n[3]: 9", text, "n[2]: 5", "n[0]: -2", "n[1]: 11", "n[3]: 12", "n[0]: 13"];
    assert_eq!(printed(&all_lines), all);
    let synced = [(era, "n[1]: 7"), (era, "n[2]: 5"), (era + 1, "n[2]: 5"), (era + 2, "n[1]: 11")];
    assert_eq!(printed(&synced_lines), synced.map(|(era, line)| format!("era {era}  {line}")));
    let item = |line: &String| {
        let found: Value = serde_json::from_str(line).unwrap();
        assert!(found["era"].is_null() && found["zone"] == "z", "{found}");
        (found["item"].clone(), found.get("value").or(found.get("text")).cloned().unwrap())
    };
    let expected =
        [("n[2]", json!(5)), ("n[1]", json!(7)), ("note", json!("a\nb")), ("n[2]", json!(5)), ("n[1]", json!(11))];
    let some: Vec<_> = printed(&some_lines).iter().map(item).collect();
    assert_eq!(some, expected.map(|(item, value)| (json!(item), value)));
}

/// Would break: changes between that are printed one by one, or a last one that is lost.
#[test]
fn a_watch_that_is_told_seldom() {
    let (broker, zone) = start();
    let mut writer = zone.writer("w").unwrap();
    let t = writer.table("t").item::<u32>("n").item::<u8>("go").open().unwrap();
    let n = writer.item::<u32>(t, "n").unwrap();
    let go = writer.item::<u8>(t, "go").unwrap();
    let (watch, lines) = broker.tail(&["table", "watch", "z", "t", "--every", "300"]);
    let (counting, counted) = broker.tail(&["table", "watch", "z", "t", "n", "go", "--count", "5"]);
    let (never, once) = broker.tail(&["table", "watch", "z", "t", "--every", "600000"]);
    begin(&mut writer, go, &[&lines, &counted, &once]);
    eventually("as many as were asked for", || {
        writer.set(n, &0).unwrap();
        counted.lines().len() >= 5
    });
    counting.wait().succeeded();
    assert_eq!(counted.lines().len(), 5);
    for value in 1..=1000 {
        writer.set(n, &value).unwrap();
    }
    eventually("the last change", || printed(&lines).last().is_some_and(|line| line == "n: 1000"));
    let count = printed(&lines).len();
    assert!(count < 500, "{count} lines of 1000 changes");
    assert_eq!(once.lines(), ["go: 1"], "not before it is time");
    for watch in [watch, never] {
        watch.signal(Signal::SIGTERM);
        watch.wait().failed(130, &[]);
    }
}
