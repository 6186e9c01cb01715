//! The other process: this executable once more, which does what it reads from its standard input, line by line.

use crate::arena::Arena;
use crate::boards::Case;
use crate::peer::{Plan, Work};
use crate::{Result, boards, peers};
use clap::ValueEnum;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The name of the job that is the bare cache line.
const BARE: &str = "bare";

/// Pins this thread, and those that it starts from now on, to a core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Does jobs.
pub fn serve(place: &Path) -> Result<()> {
    // A killed parent would leave this process spinning.
    set_pdeathsig(Signal::SIGKILL)?;
    let arena = Arena::open(place)?;
    for line in std::io::stdin().lock().lines() {
        match job(&line?, place, &arena) {
            Ok(count) => say(&format!("done {count}"))?,
            Err(error) => {
                // Nobody waits for what is not going to be sent.
                arena.tell_sent(0);
                say(&format!("failed {}", error.to_string().replace('\n', " ")))?;
            }
        }
    }
    Ok(())
}

fn job(line: &str, place: &Path, arena: &Arena) -> Result<u64> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, work, size, number, core, case] = words[..] else { return Err(format!("no such job: {line}").into()) };
    pin(core.parse()?)?;
    let mut ready = || say("ready");
    if name == BARE {
        ready()?;
        arena.answer();
        return Ok(0);
    }
    let work = Work::from_str(work, false)?;
    let entry = peers::of(work).iter().find(|entry| entry.name == name).ok_or("no such peer")?;
    let case = case.parse().ok().and_then(|case: usize| boards::CASES.get(case));
    let plan = Plan { work, case, size: size.parse()?, place: place.to_owned(), number: number.parse()? };
    (entry.follow)(&plan, arena, &mut ready)
}

fn say(what: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{what}")?;
    Ok(output.flush()?)
}

/// The first process's handle on it.
pub struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it.
    pub fn start(place: &Path) -> Result<Other> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--child").arg(place).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a child without pipes".into()) };
        Ok(Other { child, input, output: BufReader::new(output) })
    }

    /// What it is going to do next, on a core.
    pub fn turn(&mut self, core: usize) -> Turn<'_> {
        Turn { other: self, core }
    }

    /// The next line with that tag; others are not from us but from a library.
    fn line(&mut self, tag: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(format!("the other process ended: {:?}", self.child.wait()?).into());
            }
            match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
                (found, rest) if found == tag => return Ok(rest.to_owned()),
                ("failed", why) => return Err(format!("the other process: {why}").into()),
                _ => eprint!("{line}"),
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One job of the other process.
pub struct Turn<'o> {
    other: &'o mut Other,
    core: usize,
}

impl Turn<'_> {
    /// Gives it the other side of the bare cache line and waits until it is at it.
    pub fn begin_bare(&mut self) -> Result<()> {
        self.job(BARE, Work::Latency, 8, 0, None)
    }

    /// Gives it the other end of a peer's link and waits until it is at it.
    pub fn begin(&mut self, name: &str, plan: &Plan) -> Result<()> {
        self.job(name, plan.work, plan.size, plan.number, plan.case)
    }

    fn job(&mut self, name: &str, work: Work, size: usize, number: u64, case: Option<&'static Case>) -> Result<()> {
        let case = case.and_then(|case| boards::CASES.iter().position(|other| std::ptr::eq(other, case)));
        let case = case.map_or("-".to_owned(), |case| case.to_string());
        let work = work.to_possible_value().ok_or("work without a name")?;
        writeln!(self.other.input, "{name} {} {size} {number} {} {case}", work.get_name(), self.core)?;
        self.other.line("ready").map(|_| ())
    }

    /// Waits until the job is done; how many messages.
    pub fn end(&mut self) -> Result<u64> {
        Ok(self.other.line("done")?.trim().parse()?)
    }
}
