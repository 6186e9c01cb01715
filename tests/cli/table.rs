//! Tables on the command line.

use crate::harness::{Broker, Done, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline::{Bus, TypeDesc, Writer, Zone, describe};

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    quality: [u16; 3],
    gear: i8,
    valid: u8,
}

describe!(Pose as "robot.pose" { x: f64, quality: [u16; 3], gear: i8, valid: u8 });

/// A broker with a zone that stays, and the zone.
pub fn start() -> (Broker, Zone) {
    let broker = Broker::start();
    let zone = Bus::connect_to(&broker.socket()).unwrap().zone("z");
    zone.create().unwrap();
    (broker, zone)
}

/// A command of `table` about the table `t`.
pub fn table(broker: &Broker, command: &str, more: &[&str]) -> Done {
    broker.run(&[&["table", command, "z", "t"], more].concat(), b"")
}

fn get(broker: &Broker, more: &[&str]) -> String {
    table(broker, "get", more).succeeded().text().to_owned()
}

/// Would break: a type that is printed or parsed as another; limits of a type that are not its own.
#[test]
fn every_number_there_and_back() {
    let (broker, _) = start();
    let types = [
        ("u8", "0", "255", "256"),
        ("u16", "0", "65535", "65536"),
        ("u32", "0", "4294967295", "-1"),
        ("u64", "0", "18446744073709551615", "18446744073709551616"),
        ("i8", "-128", "127", "128"),
        ("i16", "-32768", "32767", "1.5"),
        ("i32", "-2147483648", "2147483647", "2147483648"),
        ("i64", "-9223372036854775808", "9223372036854775807", "9223372036854775808"),
        ("f32", "-0.1", "16777216", "1e39"),
        ("f64", "0.30000000000000004", "-1.5", "1e999"),
        ("bool", "true", "false", "1"),
    ];
    let creates: Vec<String> = types.iter().map(|(ty, ..)| format!("--create={ty}:{ty}:2")).collect();
    table(&broker, "set", &creates.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
    assert_eq!(table(&broker, "dump", &[]).succeeded().text(), "", "nothing was set yet");
    for (ty, one, other, wrong) in types {
        table(&broker, "set", &[&format!("{ty}[0]={one}"), &format!("{ty}[1]={other}")]).succeeded();
        assert_eq!(get(&broker, &[ty]), format!("{ty}[0]: {one}\n{ty}[1]: {other}\n"));
        assert_eq!(get(&broker, &[&format!("{ty}[1]")]), format!("{other}\n"));
        let read = table(&broker, "get", &[ty, "--json"]).succeeded().json();
        let values: Vec<String> = read.iter().map(|item| item["value"].to_string()).collect();
        let expected: Vec<Value> = [one, other].map(|text| serde_json::from_str(text).unwrap()).to_vec();
        let same = values.iter().zip(&expected).all(|(found, expected)| match expected.as_f64() {
            Some(number) => found.parse::<f64>().unwrap() == number,
            None => *expected == (found == "true"),
        });
        assert!(same, "{values:?}");
        table(&broker, "set", &[&format!("{ty}[0]={wrong}")])
            .failed(1, &[&format!("item `{ty}[0]` of table `t`: expected"), &format!("found `{wrong}`")]);
        assert_eq!(get(&broker, &[&format!("{ty}[0]")]), format!("{one}\n"));
    }
    table(&broker, "set", &["f64[0]=NaN", "f32[0]=-inf", "u8[0]=0x2a", "i8=hex:ff"]).succeeded();
    assert_eq!(get(&broker, &["f64[0]", "f32[0]", "u8[0]"]), "f64[0]: NaN\nf32[0]: -inf\nu8[0]: 42\n");
    // One assignment, each of several items.
    assert_eq!(get(&broker, &["i8"]), "i8[0]: -1\ni8[1]: -1\n");
    assert_eq!(table(&broker, "get", &["u16", "--raw"]).succeeded().out, [0, 0, 255, 255]);
}

/// A table with every shape of type that a program can declare.
fn shapes(zone: &Zone) -> Writer {
    let mut writer = zone.writer("w").unwrap();
    let opaque = TypeDesc { name: "opaque".to_owned(), size: 3, align: 1, variable: false, fields: Vec::new() };
    let table = writer.table("t").item::<Pose>("pose").slices::<f64>("row", 1, 4).slices::<Pose>("path", 1, 2);
    let table = table.bytes("note", 12).items::<u32>("", 2).described("opaque", 1, 0, opaque).open().unwrap();
    writer.close_table(table).unwrap();
    writer
}

/// Would break: fields, lists and bytes that are printed or parsed as something else; fields that lose what they had.
#[test]
fn every_shape_there_and_back() {
    let (broker, zone) = start();
    drop(shapes(&zone));
    let set = |more: &[&str]| table(&broker, "set", more);
    set(&[r#"pose={"x":1.5,"quality":[1,2,65535],"gear":-3}"#, "row=[1,0.30000000000000004,\"NaN\"]"]).succeeded();
    set(&[r#"path=[{"x":1},{"gear":7}]"#, "note=grüße\t1", "5=7", "opaque=hex:00ff10"]).succeeded();
    set(&[r#"pose={"gear":4}"#, r#"pose={"valid":1}"#]).succeeded();
    let expected = "pose: x=1.5 quality=[1,2,65535] gear=4 valid=1\nrow: [1,0.30000000000000004,NaN]\n\
        path: x=1 quality=[0,0,0] gear=0 valid=0; x=0 quality=[0,0,0] gear=7 valid=0\nnote: \"grüße\\t1\"\n5: 7\nopaque: 00ff10\n";
    assert_eq!(table(&broker, "dump", &[]).succeeded().text(), expected);
    let all = table(&broker, "dump", &["--all"]).succeeded();
    assert_eq!(all.text(), expected.replace("5: 7\n", "4: 0\n5: 7\n"));
    assert_eq!(get(&broker, &["note"]), "grüße\t1\n");
    assert_eq!(get(&broker, &["note", "--raw"]), "grüße\t1");
    assert_eq!(get(&broker, &["pose"]), "x=1.5 quality=[1,2,65535] gear=4 valid=1\n");

    let mut reader = zone.table("t").unwrap();
    let pose = reader.item::<Pose>("pose").unwrap();
    assert_eq!(reader.get(pose).unwrap(), Pose { x: 1.5, quality: [1, 2, 65535], gear: 4, valid: 1 });
    let row = reader.item::<[f64]>("row").unwrap();
    assert_eq!(reader.get_slice(row).unwrap()[..2], [1.0, 0.1 + 0.2]);

    let read = table(&broker, "get", &["--json"]).succeeded().json();
    let of = |item: &str| read.iter().find(|found| found["item"] == item).unwrap();
    let expected = json!({ "zone": "z", "table": "t", "era": null, "item": "pose", "index": 0, "name": "pose", "n": 0, "len": 16,
        "fields": { "x": 1.5, "quality": [1, 2, 65535], "gear": 4, "valid": 1 } });
    assert_eq!(*of("pose"), expected);
    assert_eq!((&of("row")["value"], &of("path")["fields"][1]["gear"]), (&json!([1.0, 0.1 + 0.2, null]), &json!(7)));
    assert_eq!((&of("note")["text"], &of("opaque")["hex"]), (&json!("grüße\t1"), &json!("00ff10")));
    assert_eq!((&of("5")["name"], &of("5")["n"], &of("5")["value"]), (&json!(null), &json!(1), &json!(7)));

    // What was read as JSON can be set.
    let (fields, value) = (of("pose")["fields"].to_string(), json!([2.5, -0.1]).to_string());
    set(&[r#"pose={"x":0,"quality":[0,0,0]}"#]).succeeded();
    set(&[&format!("pose={fields}"), &format!("row={value}")]).succeeded();
    assert_eq!(get(&broker, &["pose", "row"]), "pose: x=1.5 quality=[1,2,65535] gear=4 valid=1\nrow: [2.5,-0.1]\n");

    // Bytes from a file, from standard input, as digits, and text that begins like these.
    let path = broker.directory.path().join("bytes");
    std::fs::write(&path, b"\x00\xff\n").unwrap();
    set(&[&format!("note=@{}", path.display())]).succeeded();
    assert_eq!(get(&broker, &["note", "4"]), "note: 00ff0a\n4: 0\n");
    assert_eq!(table(&broker, "get", &["note", "--raw"]).succeeded().out, b"\x00\xff\n");
    broker.run(&["table", "set", "z", "t", "note=@-"], b"from input").succeeded();
    assert_eq!(get(&broker, &["note"]), "from input\n");
    for text in ["@x", "hex:zz", "text:", ""] {
        set(&[&format!("note=text:{text}")]).succeeded();
        assert_eq!(get(&broker, &["note"]), format!("{text}\n"));
    }
}

/// Would break: a bad value beside good ones of which some are set.
#[test]
fn bad_values_set_nothing() {
    let (broker, zone) = start();
    drop(shapes(&zone));
    let path = broker.directory.path().join("long");
    std::fs::write(&path, [b'x'; 1000]).unwrap();
    let file = format!("note=@{}", path.display());
    let cases: &[(&str, &[&str])] = &[
        ("pose=5", &["item `pose`", "expected an object with x, quality, gear, valid, found `5`"]),
        (r#"pose={"y":5}"#, &["expected the fields x, quality, gear, valid, found `y`"]),
        (r#"pose={"quality":[1,2]}"#, &["field `quality`: expected a list of 3, found [1,2]"]),
        (r#"pose={"gear":200}"#, &["field `gear`", "from -128 to 127, found `200`"]),
        ("row=[1,2,3,4,5]", &["at most 32 bytes, found 40"]),
        ("path=[{},{},{}]", &["at most 2 elements, found 3"]),
        ("note=1234567890123", &["at most 12 bytes, found 13"]),
        (&file, &["at most 12 bytes, found 13"]),
        ("note=@/nowhere/at/all", &["/nowhere/at/all"]),
        ("note=hex:0", &["pairs of hexadecimal digits"]),
        ("opaque=1", &["no fields are declared"]),
        ("opaque=hex:00", &["expected 3 bytes, found 1"]),
        ("99=1", &["item 99 of table `t`: expected one of its 7 items"]),
        ("4..8=1", &["item 7 of table `t`"]),
        ("nothing=1", &["item `nothing` of table `t`"]),
        ("pose[1]=1", &["item `pose[1]` of table `t`"]),
        ("4", &["expected ITEM=VALUE, found `4`"]),
    ];
    for (wrong, said) in cases {
        table(&broker, "set", &["4=1", wrong, "5=1"]).failed(1, said);
    }
    assert_eq!(table(&broker, "dump", &[]).succeeded().text(), "");
    table(&broker, "set", &[]).failed(2, &["ITEM=VALUE"]);
    table(&broker, "get", &["7..3"]).failed(2, &["a range such as 3..7, found `7..3`"]);
    table(&broker, "get", &["nothing"]).failed(1, &["item `nothing` of table `t`"]);
    broker.run(&["table", "set", "z", "u", "x=1"], b"").failed(1, &["table `u` of zone `z`", "--create NAME:TYPE"]);
    for command in ["get", "dump", "ls"] {
        broker.run(&["table", command, "z", "u"], b"").failed(1, &["table `u` of zone `z`: expected it to exist"]);
    }
    broker.run(&["table", "ls", "nowhere"], b"").failed(1, &["zone `nowhere`: expected it to exist"]);
    table(&broker, "set", &["4=1", "--create", "other:u8"]).failed(1, &["expected item 0 to be `pose`"]);
    broker.run(&["table", "set", "z", "u", "a=300", "--create", "a:u8"], b"").failed(1, &["found `300`"]);
    broker.run(&["table", "set", "z", "u", "--create", "a:u8", "--create", "a:u8"], b"").failed(1, &["found two"]);
    broker.run(&["table", "set", "z", "u", "--create", "a:u7"], b"").failed(2, &["found `u7`"]);
    assert!(broker.run(&["table", "ls"], b"").succeeded().text().lines().count() == 2, "only `t` was made");
    broker.run(&["zone", "create", "back", "--revocable", "50"], b"").succeeded();
    broker.run(&["table", "set", "back", "t", "a=1", "--create", "a:u8"], b"").failed(1, &["can not be rolled back"]);
}

/// Would break: eras that are mixed up with each other or with what is there now.
#[test]
fn eras_are_read() {
    let (broker, zone) = start();
    let mut writer = zone.writer("w").unwrap();
    let t = writer.table("t").items::<u64>("n", 3).open().unwrap();
    let [first, second] = [0, 1].map(|n| writer.item_of::<u64>(t, "n", n).unwrap());
    table(&broker, "get", &["--era", "current"]).failed(5, &["era 0 is not to be had"]);
    for value in 1..=3 {
        writer.set(first, &value).unwrap();
        if value == 2 {
            writer.set(second, &20).unwrap();
        }
        writer.edge().unwrap();
    }
    writer.set(first, &4).unwrap();
    let all = |more: &[&str]| table(&broker, "dump", more).succeeded().text().to_owned();
    assert_eq!(all(&[]), "n[0]: 4\nn[1]: 20\n");
    assert_eq!([all(&["--era", "current"]), all(&["--era", "3"])], ["n[0]: 3\nn[1]: 20\n"; 2]);
    assert_eq!([all(&["--era", "previous"]), all(&["--era", "2"])], ["n[0]: 2\nn[1]: 20\n"; 2]);
    assert_eq!(get(&broker, &["1", "0", "--era", "previous"]), "n[1]: 20\nn[0]: 2\n", "in the order asked for");
    let read = table(&broker, "get", &["0", "--era", "previous", "--json"]).succeeded().json().remove(0);
    assert_eq!((&read["era"], &read["value"]), (&json!(2), &json!(2)));
    for gone in ["1", "4"] {
        table(&broker, "get", &["0", "--era", gone]).failed(5, &[&format!("era {gone} is not to be had")]);
    }
    table(&broker, "get", &["0", "--era", "never"]).failed(2, &["`current`, `previous` or the number"]);
    // The command's own edge.
    writer.close_table(t).unwrap();
    table(&broker, "set", &["n[2]=5", "--edge"]).succeeded();
    let read = table(&broker, "get", &["2", "--era", "current", "--json"]).succeeded().json().remove(0);
    assert_eq!((&read["era"], &read["value"]), (&json!(4), &json!(5)));
    table(&broker, "set", &["n[2]=6"]).succeeded();
    assert_eq!(get(&broker, &["2"]), "6\n");
}

/// Would break: items read one by one.
#[test]
fn what_is_read_together_belongs_together() {
    const ITEMS: u32 = 2000;
    let (broker, zone) = start();
    let mut writer = zone.writer("w").unwrap();
    let t = writer.table("t").items::<u64>("n", ITEMS).open().unwrap();
    let items: Vec<_> = (0..ITEMS).map(|index| writer.item_at::<u64>(t, index).unwrap()).collect();
    let ends = AtomicBool::new(false);
    let (mut seen, mut commits) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                commits += 1;
                let mut batch = writer.batch().unwrap();
                items.iter().for_each(|&item| batch.set(item, &commits).unwrap());
                batch.commit().unwrap();
            }
        });
        for _ in 0..20 {
            let done = table(&broker, "get", &["--raw"]);
            if done.status == 0 {
                let (values, _) = done.out.as_chunks::<8>();
                seen.push(values.iter().map(|value| u64::from_ne_bytes(*value)).collect::<Vec<_>>());
            } else {
                done.failed(1, &["the table's writer was faster at every try"]);
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert!(seen.iter().all(|values| values.len() == ITEMS as usize && values.iter().all(|value| *value == values[0])));
    let mut different: Vec<u64> = seen.iter().map(|values| values[0]).collect();
    different.dedup();
    println!("{} looks, {} different states, {commits} commits", seen.len(), different.len());
    assert!(different.len() > 1, "nothing was written meanwhile");
}

/// Would break: a set beside the owner, or one that does not say who that is, or gives up what it was about to get.
#[test]
fn a_table_that_others_own() {
    let (broker, zone) = start();
    let mut writer = zone.writer("holder").unwrap();
    let t = writer.table("t").item::<u32>("n").open().unwrap();
    let n = writer.item::<u32>(t, "n").unwrap();
    writer.set(n, &1).unwrap();
    let holder = format!("writer `holder` (process {})", std::process::id());
    table(&broker, "set", &["n=2", "--wait", "0.1"])
        .failed(3, &["table `t` of zone `z`", &holder, "within 0.1 s", "--wait"]);
    assert_eq!(get(&broker, &["n"]), "1\n");
    let waiting = broker.spawn(&["table", "set", "z", "t", "n=3", "--wait", "60"]);
    let stopped = broker.spawn(&["table", "set", "z", "t", "n=4", "--wait", "60"]);
    eventually("both wait", || broker.show("z")["writers"].as_array().unwrap().len() == 3);
    stopped.signal(Signal::SIGINT);
    stopped.wait().failed(130, &[]);
    writer.set(n, &5).unwrap();
    assert_eq!(get(&broker, &["n"]), "5\n");
    writer.close_table(t).unwrap();
    waiting.wait().succeeded();
    assert_eq!(get(&broker, &["n"]), "3\n");
}

/// Would break: a list that leaves out who writes and reads, or counts itself.
#[test]
fn tables_are_listed() {
    let (broker, zone) = start();
    let listed = |more: &[&str]| broker.run(&[&["table", "ls"], more, &["--json"]].concat(), b"").succeeded().json();
    assert_eq!(listed(&["z"]), [] as [Value; 0]);
    let mut writer = zone.writer("w").unwrap();
    let pid = std::process::id();
    let t = writer.table("t").item::<Pose>("pose").items::<u8>("", 3).bytes("a b", 9).open().unwrap();
    let reader = zone.table("t").unwrap();
    let found = listed(&[]).remove(0);
    assert_eq!((&found["zone"], &found["table"], &found["items"]), (&json!("z"), &json!("t"), &json!(5)));
    assert_eq!((&found["writer"], &found["pid"], &found["readers"]), (&json!("w"), &json!(pid), &json!(1)));
    assert!(found["fence"].is_u64() && found["bytes"].as_u64().unwrap() >= 4096 && found.get("groups").is_none());
    let groups = listed(&["z", "t"]).remove(0)["groups"].take();
    let group = |n: usize| {
        [&groups[n]["first"], &groups[n]["count"], &groups[n]["name"], &groups[n]["max_len"]].map(Value::clone)
    };
    assert_eq!(group(0), [json!(0), json!(1), json!("pose"), json!(16)]);
    assert_eq!(group(1), [json!(1), json!(3), json!(null), json!(1)]);
    assert_eq!(group(2), [json!(4), json!(1), json!("a b"), json!(9)]);
    assert_eq!(
        (&groups[0]["type"]["name"], &groups[0]["type"]["fields"][1]["count"]),
        (&json!("robot.pose"), &json!(3))
    );
    let text = broker.run(&["table", "ls", "z", "t"], b"").succeeded();
    for said in ["WRITER", "1..4", "\"a b\"", "robot.pose", "x: f64, quality: u16[3], gear: i8, valid: u8"] {
        assert!(text.text().contains(said), "{said}: {}", text.text());
    }
    drop(reader);
    writer.close_table(t).unwrap();
    let found = listed(&["z"]).remove(0);
    assert_eq!([&found["writer"], &found["pid"], &found["readers"]], [&json!(null), &json!(null), &json!(0)]);
    broker.run(&["zone", "create", "a"], b"").succeeded();
    broker.run(&["table", "set", "a", "u", "x=1", "--create", "x:u8"], b"").succeeded();
    let zones: Vec<Value> = listed(&[]).iter().map(|found| found["zone"].clone()).collect();
    assert_eq!((zones, listed(&["z"]).len()), (vec![json!("a"), json!("z")], 1));
}

/// Would break: an item that is printed so that it can not be said again.
#[test]
fn items_are_named_as_they_are_printed() {
    let (broker, zone) = start();
    let names = ["level", "3", "0..2", "a[1]", "a b=c:d", "-x", "\"", "größe", "@f", "{}"];
    let mut writer = zone.writer("w").unwrap();
    let builder = names.iter().fold(writer.table("t"), |builder, name| builder.items::<u8>(name, 2));
    let t = builder.open().unwrap();
    writer.close_table(t).unwrap();
    let items: Vec<String> = table(&broker, "dump", &["--all", "--json"])
        .succeeded()
        .json()
        .iter()
        .map(|found| found["item"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((items.len(), items[0].as_str(), items[2].as_str()), (20, "level[0]", "\"3\"[0]"));
    let assignments: Vec<String> = items.iter().enumerate().map(|(value, item)| format!("{item}={value}")).collect();
    table(&broker, "set", &assignments.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
    let lines: String = items.iter().enumerate().map(|(value, item)| format!("{item}: {value}\n")).collect();
    assert_eq!(get(&broker, &items.iter().map(String::as_str).collect::<Vec<_>>()), lines);
    assert_eq!(get(&broker, &["--raw"]).into_bytes(), (0..20).collect::<Vec<u8>>());
}

/// Would break: a table that goes silently; a watch that waits on for nobody.
#[test]
fn what_ends_and_what_stays() {
    let broker = Broker::start();
    let done = broker.run(&["table", "set", "gone", "t", "x=1", "--create", "x:u8"], b"").succeeded();
    assert!(done.err.contains("`syncline zone create gone` makes one that stays"), "{}", done.err);
    broker.run(&["table", "get", "gone", "t", "x"], b"").failed(1, &["expected it to exist"]);
    broker.run(&["zone", "create", "z"], b"").succeeded();
    let done = table(&broker, "set", &["x=1", "--create", "x:u8:3000"]).succeeded();
    assert_eq!((done.err.as_str(), get(&broker, &["0"])), ("", "1\n".to_owned()));
    // The same again goes on from there.
    table(&broker, "set", &["x[1]=2", "--create", "x:u8:3000"]).succeeded();
    assert_eq!(get(&broker, &["0..2"]), "x[0]: 1\nx[1]: 2\n");
    broker
        .run(&["table", "watch", "z", "none", "--wait", "0.05"], b"")
        .failed(3, &["table `none` of zone `z`", "in time"]);
    for arguments in [&["table", "watch", "z", "none"][..], &["table", "watch", "z", "t"]] {
        let (watch, output) = crate::harness::Running::with_output(&mut broker.command(arguments));
        drop(output);
        watch.wait().succeeded();
    }
    let (dump, mut output) =
        crate::harness::Running::with_output(&mut broker.command(&["table", "dump", "z", "t", "--all", "--json"]));
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    dump.wait().succeeded();
}

/// Would break: a set that a halt makes fail, or that no signal ends.
#[test]
fn a_halted_zone() {
    let (broker, zone) = start();
    table(&broker, "set", &["x=1", "--create", "x:u8"]).succeeded();
    let halt = zone.halt(Duration::from_secs(10)).unwrap();
    let waiting = broker.spawn(&["table", "set", "z", "t", "x=2", "--edge"]);
    let stopped = broker.spawn(&["table", "set", "z", "t", "x=3", "--wait", "60"]);
    eventually("both are there", || broker.show("z")["writers"].as_array().unwrap().len() == 2);
    assert_eq!(get(&broker, &["x"]), "1\n");
    stopped.signal(Signal::SIGTERM);
    stopped.wait().failed(130, &[]);
    halt.release();
    waiting.wait().succeeded();
    assert_eq!(get(&broker, &["x", "--era", "current"]), "2\n");
}
