//! The benchmarks at their shortest: what they count adds up, and their results have their shape. Not what they measure.

use crate::harness::{Running, syncline};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde_json::Value;

/// The first two cores that this process may run on; where there is one, twice that.
fn cores() -> [String; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap());
    let first = cores.next().unwrap();
    [first, cores.next().unwrap_or(first)].map(|core| core.to_string())
}

/// The results of a benchmark of one short run.
#[track_caller]
fn results(arguments: &[&str]) -> Vec<Value> {
    let mut command = syncline();
    command.arg("bench").args(arguments).args(["--repeat", "1", "--millis", "10", "--json", "--cores"]).args(cores());
    Running::new(&mut command).wait().succeeded().json()
}

/// Each of these is a median with its quartiles, in order.
#[track_caller]
fn spreads(result: &Value, names: &[&str]) {
    for name in names {
        let figure = |which: &str| result[name][which].as_f64().unwrap_or_else(|| panic!("{name}: {result}"));
        assert!(figure("q1") <= figure("median") && figure("median") <= figure("q3"), "{name}: {result}");
    }
}

#[track_caller]
fn number(result: &Value, name: &str) -> u64 {
    result[name].as_u64().unwrap_or_else(|| panic!("{name}: {result}"))
}

/// The result of something that was bounced: round trips in hundreds; runs are discarded while their probes differ.
#[track_caller]
fn bounced(result: &Value) {
    let (runs, discarded) = (number(result, "runs"), number(result, "discarded"));
    assert!(runs == 1 || (runs == 0 && discarded == 10), "{result}");
    let messages = number(result, "messages");
    assert!(messages >= 100 * (runs + discarded) && messages.is_multiple_of(100), "{result}");
    assert!(result["placement"].is_string() && result["steal"].is_number(), "{result}");
    if runs == 1 {
        spreads(result, &["bare_ns", "ns", "ratio"]);
        for percentiles in ["percentiles", "bare_percentiles"] {
            assert!(result[percentiles]["p50"].as_f64() <= result[percentiles]["max"].as_f64(), "{result}");
        }
    }
}

#[test]
fn latency() {
    let results = results(&["latency", "--size", "8", "--size", "1024"]);
    let sizes: Vec<u64> = results.iter().map(|result| number(result, "size")).collect();
    assert_eq!(sizes, [8, 1024]);
    for result in &results {
        assert_eq!(result["benchmark"], "latency");
        bounced(result);
    }
}

#[test]
fn throughput() {
    let results = results(&["throughput", "--size", "48"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "size"), number(result, "runs")), (&"throughput".into(), 48, 1));
    assert!(number(result, "messages") > 0, "{result}");
    spreads(result, &["bare", "single", "batches_of_64", "single_ratio", "batches_ratio", "batches_to_single"]);
}

#[test]
fn commit() {
    let results = results(&["commit"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "runs")), (&"commit".into(), 1));
    spreads(result, &["batch_of_8_lanes_ns", "one_reader_ns", "readers_32_ns", "ratio"]);
}

/// Without a part: all of them, in order.
#[test]
fn edges() {
    let results = results(&["edge"]);
    let [apart, together, apart_of_4, together_of_4, cost, rate, rounds] = &results[..] else { panic!("{results:?}") };
    let arrangements = [(apart, "apart", 1), (together, "together", 2), (apart_of_4, "apart", 4)];
    for (result, zones, writers) in arrangements.into_iter().chain([(together_of_4, "together", 4)]) {
        assert_eq!((&result["benchmark"], number(result, "size")), (&"edge latency".into(), 8));
        assert_eq!((&result["zones"], number(result, "writers")), (&zones.into(), writers));
        bounced(result);
    }

    assert_eq!((&rounds["benchmark"], number(rounds, "size")), (&"lockstep round".into(), 8));
    bounced(rounds);

    assert_eq!((&cost["benchmark"], number(cost, "runs")), (&"edge cost".into(), 1));
    assert_eq!(number(cost, "edges"), 3 * 50_000 + 2 * 5_000);
    spreads(cost, &["one_writer_ns", "writers_64_ns", "writers_64_committed_ns"]);
    let channels = cost["channels"].as_array().unwrap();
    assert_eq!(channels.iter().map(|with| number(with, "channels")).collect::<Vec<_>>(), [1, 16, 256]);
    for with in channels {
        spreads(with, &["ns", "ratio"]);
    }
    assert_eq!(channels[0]["ratio"]["median"], 1.0);

    assert_eq!((&rate["benchmark"], number(rate, "runs")), (&"edge rate".into(), 1));
    spreads(rate, &["bare_alone", "bare_competing", "alone", "competing", "competing_eras"]);
    spreads(rate, &["alone_ratio", "competing_ratio", "competing_to_alone", "slower_share"]);
    // Each process looks up after 64.
    let tried = number(rate, "edges") + number(rate, "overtaken");
    assert!(tried >= 2 * 64 && tried.is_multiple_of(64), "{rate}");
    for name in ["cuts_helped", "flips_lost", "retries"] {
        number(rate, name);
    }
}

#[test]
fn only_the_parts_asked_for_in_their_order() {
    let results = results(&["edge", "rate", "cost"]);
    let names: Vec<&Value> = results.iter().map(|result| &result["benchmark"]).collect();
    assert_eq!(names, ["edge rate", "edge cost"]);
    let mut unknown = syncline();
    unknown.args(["bench", "edge", "colour"]);
    Running::new(&mut unknown).wait().failed(2, &["colour", "latency", "cost", "rate"]);
}

#[test]
fn a_size_where_there_is_none_to_choose_is_refused() {
    for benchmark in ["edge", "commit"] {
        let mut command = syncline();
        command.args(["bench", benchmark, "--size", "8"]);
        Running::new(&mut command).wait().failed(2, &["--size"]);
    }
}
