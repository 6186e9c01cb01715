//! The proof of the proof: every memory ordering of `src/ring` is weakened, one at a time, and some loom model has to fail.
//!
//! The orderings have names (`src/ring/order.rs`), and the model binary weakens the one that `SYNCLINE_MUTANT` names. So it
//! is built once. A model that fails kills the mutant; one that runs into the time limit proves nothing.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many models run at a time.
const WORKERS: usize = 2;
/// What a model may take under a mutant, beside ten times what it takes without.
const LIMIT: Duration = Duration::from_secs(60);
const RESULT: &str = "docs/mutants.md";

/// One ordering, and what it is weakened to.
struct Mutant {
    site: String,
    kind: String,
    order: String,
    weakened: &'static str,
}

/// A model and what it takes.
struct Model {
    name: String,
    takes: Duration,
}

#[derive(PartialEq)]
enum Outcome {
    Passed,
    Failed,
    TimedOut,
}

/// What became of a mutant.
struct Verdict {
    killer: Option<String>,
    timed_out: bool,
    takes: Duration,
}

pub fn run(args: Vec<String>) -> Result<(), String> {
    let write = args.iter().any(|arg| arg == "--write");
    let wanted: Vec<&String> = args.iter().filter(|arg| *arg != "--write").collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the project");

    bare_orderings(&root.join("src/ring"))?;
    let binary = build(root)?;
    let mutants: Vec<Mutant> = mutants(&binary)?
        .into_iter()
        .filter(|mutant| wanted.is_empty() || wanted.iter().any(|name| mutant.site.starts_with(*name)))
        .collect();
    let models = baseline(&binary)?;
    // What killed a mutant last time is tried first.
    let last = std::fs::read_to_string(root.join(RESULT)).unwrap_or_default();

    let verdicts = in_parallel(&mutants, |mutant| {
        let verdict = try_out(&binary, &likeliest_first(&models, mutant, &last), mutant);
        let Mutant { site, weakened, .. } = mutant;
        let killer = verdict.killer.as_deref().unwrap_or("SURVIVED");
        println!("{site:20} -> {weakened:8} {:6.1} s  {killer}", verdict.takes.as_secs_f64());
        verdict
    });

    let survivors = verdicts.iter().filter(|verdict| verdict.killer.is_none()).count();
    println!("\n{} mutants, {survivors} survived", mutants.len());
    if write {
        let path = root.join(RESULT);
        std::fs::create_dir_all(path.parent().expect("a folder")).map_err(|e| e.to_string())?;
        std::fs::write(&path, table(&models, &mutants, &verdicts)).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if survivors == 0 { Ok(()) } else { Err(format!("{survivors} mutants survived: no model needs these orderings")) }
}

/// Fails if an ordering of `src/ring` has no name.
fn bare_orderings(ring: &Path) -> Result<(), String> {
    let mut found = String::new();
    for entry in std::fs::read_dir(ring).map_err(|e| format!("{}: {e}", ring.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("order.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| ["Ordering", "Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"].contains(&word)) {
                let _ = writeln!(found, "{}:{}: {}", path.display(), number + 1, line.trim());
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("orderings without a name in src/ring/order.rs:\n{found}")) }
}

/// Builds the models; returns their test binary.
fn build(root: &Path) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("loom");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--release", "--no-default-features", "--lib", "--no-run", "--message-format=json"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let path = text.split("\"executable\":\"").nth(1).and_then(|rest| rest.split('"').next());
    match path {
        Some(path) if output.status.success() => Ok(path.into()),
        _ => Err("the models do not build".to_owned()),
    }
}

/// Every weakening of every ordering.
fn mutants(binary: &Path) -> Result<Vec<Mutant>, String> {
    let text = output(binary, &["--exact", "ring::models::sites", "--nocapture"])?;
    let mut mutants = Vec::new();
    for line in text.lines().filter_map(|line| line.split("site ").nth(1)) {
        let words: Vec<&str> = line.split(' ').collect();
        let [site, kind, order] = words[..] else { return Err(format!("not a site: {line}")) };
        let weaker: &[&str] = match (kind, order) {
            ("load", "Acquire") | ("store" | "rmw", "Release") | ("rmw", "Acquire") => &["Relaxed"],
            ("rmw", "AcqRel") => &["Acquire", "Release"],
            ("fence", "SeqCst") => &["AcqRel", "Removed"],
            ("fence", "Acquire" | "Release") | ("step", _) => &["Removed"],
            _ => return Err(format!("no idea how to weaken {line}")),
        };
        let mutant = |&weakened| Mutant { site: site.into(), kind: kind.into(), order: order.into(), weakened };
        mutants.extend(weaker.iter().map(mutant));
    }
    if mutants.is_empty() { Err("the model binary names no sites".to_owned()) } else { Ok(mutants) }
}

/// Runs every model as it is: all pass. The quickest come first.
fn baseline(binary: &Path) -> Result<Vec<Model>, String> {
    let text = output(binary, &["ring::models", "--list"])?;
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let results = in_parallel(&names, |name| {
        let begun = Instant::now();
        (model(binary, name, None, 10 * LIMIT), begun.elapsed())
    });
    let mut models = Vec::new();
    for (name, (outcome, takes)) in names.into_iter().zip(results) {
        println!("{:6.1} s  {name}", takes.as_secs_f64());
        if outcome != Outcome::Passed {
            return Err(format!("{name} fails without any mutant"));
        }
        models.push(Model { name: name.to_owned(), takes });
    }
    models.sort_by_key(|model| model.takes);
    println!();
    Ok(models)
}

/// The models in the order in which to try them: quick ones first, but the one that killed this mutant last time before all.
fn likeliest_first<'m>(models: &'m [Model], mutant: &Mutant, last: &str) -> Vec<&'m Model> {
    let row = last.lines().find(|line| line.starts_with(&row(mutant))).unwrap_or_default();
    let mut models: Vec<&Model> = models.iter().collect();
    models.sort_by_key(|model| !row.contains(&format!("`{}`", short(&model.name))));
    models
}

/// How the row of a mutant in the table begins.
fn row(mutant: &Mutant) -> String {
    let Mutant { site, kind, order, weakened } = mutant;
    format!("| `{site}` | {kind} | {order} | {weakened} |")
}

/// A model's name without where they all are.
fn short(name: &str) -> &str {
    name.trim_start_matches("ring::models::")
}

/// Runs the models under a mutant until one fails.
fn try_out(binary: &Path, models: &[&Model], mutant: &Mutant) -> Verdict {
    let begun = Instant::now();
    let mut timed_out = false;
    for Model { name, takes } in models {
        let weakening = format!("{}:{}", mutant.site, mutant.weakened);
        match model(binary, name, Some(&weakening), LIMIT + 10 * *takes) {
            Outcome::Failed => return Verdict { killer: Some(name.clone()), timed_out, takes: begun.elapsed() },
            Outcome::TimedOut => timed_out = true,
            Outcome::Passed => {}
        }
    }
    Verdict { killer: None, timed_out, takes: begun.elapsed() }
}

/// Runs one model.
fn model(binary: &Path, name: &str, mutant: Option<&str>, limit: Duration) -> Outcome {
    let mut command = Command::new(binary);
    command.args(["--exact", name, "--test-threads", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_remove("SYNCLINE_MUTANT").env("RUST_BACKTRACE", "0");
    if let Some(mutant) = mutant {
        command.env("SYNCLINE_MUTANT", mutant);
    }
    let mut child = command.spawn().expect("the model binary runs");
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait().expect("our own child") {
            Some(status) if status.success() => return Outcome::Passed,
            Some(_) => return Outcome::Failed,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Outcome::TimedOut;
            }
        }
    }
}

fn output(binary: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(binary).args(args).env_remove("SYNCLINE_MUTANT").output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Maps in parallel; the results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(index) = { queue.lock().expect("no panics").pop_front() } {
                    let result = work(&items[index]);
                    results.lock().expect("no panics").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panics");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The result as a page of the documentation.
fn table(models: &[Model], mutants: &[Mutant], verdicts: &[Verdict]) -> String {
    let killed = verdicts.iter().filter(|verdict| verdict.killer.is_some()).count();
    let mut text = format!(
        "# Mutants\n\n\
         Every memory ordering of the lock-free core has a name in `src/ring/order.rs`. `cargo xtask mutants` weakens them one at a\n\
         time and runs the loom models of `src/ring/models`: one has to fail, or nobody knows that the ordering is needed.\n\
         This page is written by `cargo xtask mutants --write`.\n\n\
         {killed} of {} mutants were killed.\n\n\
         | site | kind | ordering | weakened to | killed by |\n| --- | --- | --- | --- | --- |\n",
        mutants.len()
    );
    for (mutant, verdict) in mutants.iter().zip(verdicts) {
        let fate = match (&verdict.killer, verdict.timed_out) {
            (Some(killer), _) => format!("`{}`", short(killer)),
            (None, false) => "**survived**".to_owned(),
            (None, true) => "**survived**, some models ran out of time".to_owned(),
        };
        let _ = writeln!(text, "{} {fate} |", row(mutant));
    }
    text += "\n## Models\n\n| model | seconds |\n| --- | ---: |\n";
    for Model { name, takes } in models.iter().filter(|model| !model.name.ends_with("::sites")) {
        let _ = writeln!(text, "| `{}` | {:.1} |", short(name), takes.as_secs_f64());
    }
    text
}
