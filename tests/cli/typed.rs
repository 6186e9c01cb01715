//! Typed messages of the Rust interface, and the command line.

use crate::harness::Broker;
use std::time::Duration;
use syncline::{Bus, describe};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    quality: [u32; 2],
}

describe!(Pose as "robot.pose" { x: f64, quality: [u32; 2] });

const WAIT: Duration = Duration::from_secs(20);

#[test]
fn fields_are_printed_by_name() {
    let broker = Broker::start();
    let plain = broker.spawn(&["sub", "pose", "--count", "1"]);
    let json = broker.spawn(&["sub", "pose", "--count", "1", "--json"]);
    let zone = Bus::connect_to(&broker.socket()).unwrap().zone("pose");
    let mut writer = zone.writer("robot").unwrap();
    let lane = writer.channel("pose").open::<Pose>().unwrap();
    zone.wait_readers("pose", 2, WAIT).unwrap();
    writer.publish(lane, &Pose { x: -0.5, quality: [7, 8] }).unwrap();
    assert_eq!(plain.wait().succeeded().text(), "x=-0.5 quality=[7,8]\n");
    let message = &json.wait().succeeded().json()[0];
    assert_eq!(message["fields"], serde_json::json!({ "x": -0.5, "quality": [7, 8] }));
    assert_eq!((&message["len"], &message["era"]), (&16.into(), &serde_json::Value::Null));
    let ty = &broker.list()[0]["channels"][0]["type"];
    assert_eq!((&ty["name"], &ty["fields"][1]["scalar"]), (&"robot.pose".into(), &"u32".into()));
}

#[test]
fn hex_without_fields_and_lists_of_elements() {
    let broker = Broker::start();
    let zone = Bus::connect_to(&broker.socket()).unwrap().zone("z");
    let mut writer = zone.writer("w").unwrap();
    let number = writer.channel("number").open::<u16>().unwrap();
    let poses = writer.channel("poses").open::<[Pose]>().unwrap();
    let reader = broker.spawn(&["sub", "number", "poses", "--zone", "z", "--synced", "--count", "2"]);
    zone.wait_readers("poses", 1, WAIT).unwrap();
    writer.publish(poses, &[Pose { x: 1.0, quality: [0, 0] }, Pose { x: 2.5, quality: [1, 2] }][..]).unwrap();
    writer.publish(number, &u16::from_be_bytes([0xab, 0xcd]).to_be()).unwrap();
    writer.edge().unwrap();
    assert_eq!(reader.wait().succeeded().text(), "abcd\nx=1 quality=[0,0]; x=2.5 quality=[1,2]\n");
}

#[test]
fn a_channel_of_another_type_is_refused() {
    let broker = Broker::start();
    let zone = Bus::connect_to(&broker.socket()).unwrap().zone("temperature");
    let mut writer = zone.writer("sensor").unwrap();
    writer.channel("temperature").open::<f64>().unwrap();
    let done = broker.run(&["pub", "temperature"], b"21.5\n");
    done.failed(1, &["temperature", "`f64` (8 bytes, aligned to 8)", "plain bytes"]);
}
