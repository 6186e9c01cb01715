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

/// A figure's percentiles, in order.
#[track_caller]
fn percentiles(found: &Value) {
    let [p50, p90, p99, p999, max] = ["p50", "p90", "p99", "p999", "max"]
        .map(|name| found[name].as_f64().unwrap_or_else(|| panic!("{name}: {found}")));
    assert!(0.0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, "{found}");
}

/// How many rounds were kept, of one asked for: they are discarded while the probes before and after differ.
#[track_caller]
fn kept(result: &Value) -> u64 {
    let (runs, discarded) = (number(result, "runs"), number(result, "discarded"));
    assert!((runs == 1 && discarded < 10) || (runs == 0 && discarded == 10), "{result}");
    assert!(result["placement"].is_string() && result["steal"].is_number(), "{result}");
    runs
}

/// The result of something that was bounced: round trips in hundreds; runs are discarded while their probes differ.
#[track_caller]
fn bounced(result: &Value) {
    let kept = kept(result);
    let messages = number(result, "messages");
    assert!(messages >= 100 * (kept + number(result, "discarded")) && messages.is_multiple_of(100), "{result}");
    if kept == 1 {
        spreads(result, &["bare_ns", "ns", "ratio"]);
        percentiles(&result["percentiles"]);
        percentiles(&result["bare_percentiles"]);
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

/// Somebody sleeps for each message: one after the other, and those who were awake are left out and counted.
#[test]
fn latency_of_readers_that_sleep() {
    let results = results(&["latency", "--block", "--size", "48"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "size")), (&"wake latency".into(), 48));
    let (messages, awake) = (number(result, "messages"), number(result, "awake"));
    assert!(messages > awake, "nobody slept: {result}");
    if kept(result) == 1 {
        spreads(result, &["bare_ns", "ns", "ratio"]);
        percentiles(&result["percentiles"]);
        percentiles(&result["bare_percentiles"]);
    }
}

#[test]
fn one_core_is_enough_for_readers_that_sleep() {
    let mut command = syncline();
    let [core, _] = cores();
    command.args(["bench", "latency", "--block", "--size", "8", "--repeat", "1", "--millis", "10", "--json"]);
    let results = Running::new(command.args(["--cores", &core, &core])).wait().succeeded().json();
    assert_eq!(results[0]["placement"], "both processes on one core", "{results:?}");
}

#[test]
fn plots_of_latency() {
    let directory = tempfile::tempdir().unwrap();
    for (name, more) in [("spin.svg", None), ("sleep.SVG", Some("--block"))] {
        let file = directory.path().join(name);
        let mut arguments = vec!["latency", "--size", "8", "--size", "48", "--plot", file.to_str().unwrap()];
        arguments.extend(more);
        let results = results(&arguments);
        assert_eq!(results.len(), 2);
        let drawn = std::fs::read_to_string(&file).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
        for text in ["Syncline, 8 bytes", "bare, beside 8 bytes", "Syncline, 48 bytes", "90 %", "50 %", "one way, ns"] {
            assert!(drawn.contains(text), "{text}: {drawn}");
        }
        // Axes and ticks are of two points; a curve has many. Two for each result, of what was not discarded.
        let lines = drawn.lines().filter(|line| line.starts_with("<polyline"));
        let curves = lines.filter(|line| line.matches(',').count() > 2).count() as u64;
        assert_eq!(curves, 2 * results.iter().map(kept).sum::<u64>(), "{drawn}");
    }
}

#[test]
fn a_plot_that_can_not_be_is_refused() {
    for name in ["plot.png", "plot", ".svg"] {
        let mut command = syncline();
        command.args(["bench", "latency", "--plot", name]);
        Running::new(&mut command).wait().failed(2, &["--plot", ".svg"]);
    }
    let mut command = syncline();
    command.args(["bench", "latency", "--size", "8", "--repeat", "1", "--millis", "10", "--plot", "/nowhere/plot.svg"]);
    Running::new(command.arg("--cores").args(cores())).wait().failed(1, &["/nowhere/plot.svg"]);
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
    spreads(result, &["ratio"]);
    for name in ["batch_of_8_lanes", "one_reader", "readers_32"] {
        spreads(&result[name], &["ns"]);
        percentiles(&result[name]["percentiles"]);
    }
}

/// Figures of 1, 2, 4 ... 64 of something, each against one; whether there are any.
#[track_caller]
fn doubled(result: &Value, what: &str) -> bool {
    let list = result[what].as_array().unwrap();
    let counts: Vec<u64> = list.iter().map(|with| number(with, what)).collect();
    assert_eq!(counts[..7], [1, 2, 4, 8, 16, 32, 64]);
    if kept(result) == 0 {
        return false;
    }
    for with in list {
        spreads(with, &["ns", "ratio"]);
        percentiles(&with["percentiles"]);
    }
    assert_eq!(list[0]["ratio"]["median"], 1.0);
    true
}

#[test]
fn fan_out() {
    let results = results(&["fanout"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "size")), (&"fanout".into(), 48));
    let (messages, taken) = (number(result, "messages"), number(result, "taken"));
    assert!(messages >= 7 * 256 && messages.is_multiple_of(256), "{result}");
    // To between one and 64 readers each.
    assert!((messages..=64 * messages).contains(&taken) && taken.is_multiple_of(256), "{result}");
    assert!(taken >= 256 * (1 + 2 + 4 + 8 + 16 + 32 + 64), "{result}");
    assert_eq!(result["readers"].as_array().unwrap().len(), 7);
    doubled(result, "readers");
}

#[test]
fn fan_in() {
    let results = results(&["fanin"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "size")), (&"fanin".into(), 48));
    let messages = number(result, "messages");
    assert!(messages >= 8 * 512 && messages.is_multiple_of(512), "{result}");
    let with = result["writers"].as_array().unwrap();
    let busy: Vec<u64> = with.iter().map(|with| number(with, "busy")).collect();
    assert_eq!(busy, [1, 2, 4, 8, 16, 32, 64, 1], "the last: one of 64");
    assert_eq!(number(&with[7], "writers"), 64);
    doubled(result, "writers");
}

#[test]
fn lossy() {
    let results = results(&["lossy"]);
    let [result] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&result["benchmark"], number(result, "size"), number(result, "runs")), (&"lossy".into(), 48, 1));
    assert!(number(result, "messages") >= 6 * 256, "{result}");
    let states = result["states"].as_array().unwrap();
    let names: Vec<&str> = states.iter().map(|state| state["reader"].as_str().unwrap()).collect();
    assert_eq!(names, ["reads", "sleeps elsewhere", "reads again", "is stopped", "goes on", "was killed"]);
    for state in states {
        spreads(&state["ratio"], &[]);
        percentiles(&state["percentiles"]);
    }
}

/// Into a zone that is there, and into one that is made for it.
#[test]
fn joining() {
    let results = results(&["join"]);
    let zones: Vec<&Value> = results.iter().map(|result| &result["zone"]).collect();
    assert_eq!(zones, ["there", "new"]);
    for result in &results {
        assert_eq!((&result["benchmark"], number(result, "runs")), (&"join".into(), 1));
        assert!(number(result, "pairs") > 0 && result["steal"].is_number(), "{result}");
        for name in ["writer", "reader", "first_message", "pair"] {
            spreads(&result[name], &["ns"]);
            percentiles(&result[name]["percentiles"]);
        }
        let max = |name: &str| result[name]["percentiles"]["max"].as_f64().unwrap();
        assert!(max("pair") >= max("writer") && max("pair") >= max("reader"), "a pair has all of it: {result}");
    }
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
    for benchmark in ["edge", "commit", "fanout", "fanin", "join"] {
        let mut command = syncline();
        command.args(["bench", benchmark, "--size", "8"]);
        Running::new(&mut command).wait().failed(2, &["--size"]);
    }
}

#[test]
fn arguments_that_can_not_be_are_refused() {
    let refused: [(&[&str], &str); 7] = [
        (&["latency", "--block", "--plot"], "--plot"),
        (&["throughput", "--block"], "--block"),
        (&["fanout", "--plot", "a.svg"], "--plot"),
        (&["fanin", "--repeat", "0"], "--repeat"),
        (&["join", "--millis", "9"], "--millis"),
        (&["join", "--cores", "0"], "--cores"),
        (&["fanin", "all"], "all"),
    ];
    for (arguments, named) in refused {
        let mut command = syncline();
        command.arg("bench").args(arguments);
        Running::new(&mut command).wait().failed(2, &[named]);
    }
    for benchmark in ["latency", "fanout", "fanin", "join"] {
        let mut command = syncline();
        command.args(["bench", benchmark, "--cores", "0", "1000000"]);
        Running::new(&mut command).wait().failed(1, &["core 1000000"]);
    }
    for size in ["0", "12", "67108872"] {
        let mut command = syncline();
        command.args(["bench", "latency", "--block", "--size", size]);
        Running::new(&mut command).wait().failed(1, &["--size", "multiple of 8"]);
    }
}
