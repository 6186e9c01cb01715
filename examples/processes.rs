//! The processes of this host as a live table: `cargo run --example processes` shows it, and ends after some seconds.
//!
//! One process is the table's writer: it looks at `/proc/*/stat` ten times a second, has a slot for each process, sets those that have changed
//! in one batch, and makes an edge. Readers cost it nothing: one lists who is the busiest, from a whole era, so that no process is missing or
//! there twice, whatever is written meanwhile; another watches a single process and sleeps until that one has changed.
//!
//! With a broker (`syncline broker`), the parts run on their own:
//!
//!     processes write [PASSES]     the writer; for ever by default
//!     processes top [TIMES]        a list at each edge that has changed something; for ever by default
//!     processes watch PID          a line whenever that process has changed, until it is gone
//!
//! and `syncline table watch host processes --synced` prints all there is to see.

use std::collections::{BTreeSet, HashMap};
use std::error::Error as Failure;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use syncline::{Bus, Described, Error, Field, Item, Result, Scalar, TableReader, View, Writer, Zone, field};

/// How many processes have room. More than these are left out.
const SLOTS: u32 = 4096;
const PAUSE: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(60);
/// How many processes a list has.
const BUSIEST: usize = 5;

/// A process, or none where `pid` is 0.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Process {
    /// Time in user mode and in the kernel, in ticks of 10 ms.
    utime: u64,
    stime: u64,
    /// Memory, in pages.
    rss: u64,
    pid: u32,
    parent: u32,
    threads: u32,
    state: [u8; 4],
    name: [u8; 16],
}

impl Described for Process {
    const NAME: &'static str = "host.process";

    // As `describe!` would say, but that tools print the last two as text.
    fn fields() -> Vec<Field> {
        let text = |name: &str, offset: usize, count| Field {
            name: name.to_owned(),
            offset: offset as u32,
            count,
            scalar: Scalar::Char8,
        };
        vec![
            field::<u64>("utime", std::mem::offset_of!(Process, utime)),
            field::<u64>("stime", std::mem::offset_of!(Process, stime)),
            field::<u64>("rss", std::mem::offset_of!(Process, rss)),
            field::<u32>("pid", std::mem::offset_of!(Process, pid)),
            field::<u32>("parent", std::mem::offset_of!(Process, parent)),
            field::<u32>("threads", std::mem::offset_of!(Process, threads)),
            text("state", std::mem::offset_of!(Process, state), 4),
            text("name", std::mem::offset_of!(Process, name), 16),
        ]
    }
}

const NOBODY: Process =
    Process { utime: 0, stime: 0, rss: 0, pid: 0, parent: 0, threads: 0, state: [0; 4], name: [0; 16] };

fn main() -> Result<(), Box<dyn Failure>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: Option<&str>| text.map(str::parse::<u32>).transpose();
    let (role, argument) = (arguments.first().map(String::as_str), arguments.get(1).map(String::as_str));
    let zone = || Ok::<_, Error>(Bus::connect()?.zone("host"));
    match (role, number(argument)?) {
        (None, _) => demo()?,
        (Some("write"), passes) => write(&zone()?, passes)?,
        (Some("top"), times) => top(&zone()?, times)?,
        (Some("watch"), Some(pid)) => watch(&zone()?, pid)?,
        (Some("work"), bursts) => work(bursts.unwrap_or(10)),
        _ => {
            eprintln!("usage: processes [write [PASSES] | top [TIMES] | watch PID]");
            std::process::exit(2);
        }
    }
    Ok(())
}

// ---- the writer ----

/// Which process has which slot.
struct Slots {
    items: Vec<Item<Process>>,
    /// Where each process is, and what was set last.
    taken: HashMap<u32, (u32, Process)>,
    free: BTreeSet<u32>,
}

fn write(zone: &Zone, passes: Option<u32>) -> Result<()> {
    let mut writer = zone.writer("processes")?;
    let table = writer.table("processes").items::<Process>("slot", SLOTS).wait(LONG).open()?;
    let items = (0..SLOTS).map(|slot| writer.item_at(table, slot)).collect::<Result<Vec<_>>>()?;
    let mut slots = Slots { items, taken: HashMap::new(), free: BTreeSet::new() };
    // A writer before this one may have left some: they are found again, or set to nobody in the first pass.
    for slot in 0..SLOTS {
        let process: Process = writer.get(slots.items[slot as usize])?;
        match process.pid {
            0 => drop(slots.free.insert(slot)),
            pid => drop(slots.taken.insert(pid, (slot, process))),
        }
    }
    let mut pass = 0;
    while passes.is_none_or(|passes| pass < passes) {
        let next = Instant::now() + PAUSE;
        slots.pass(&mut writer, &processes())?;
        writer.edge()?;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        pass += 1;
    }
    Ok(())
}

impl Slots {
    /// Sets what has changed, all at once.
    fn pass(&mut self, writer: &mut Writer, processes: &[Process]) -> Result<()> {
        let mut batch = writer.batch()?;
        let there: BTreeSet<u32> = processes.iter().map(|process| process.pid).collect();
        let mut freed = Vec::new();
        for (&pid, &(slot, _)) in self.taken.iter().filter(|(pid, _)| !there.contains(pid)) {
            batch.set(self.items[slot as usize], &NOBODY)?;
            freed.push((pid, slot));
        }
        for process in processes {
            let slot = match self.taken.get(&process.pid) {
                Some((_, before)) if before == process => continue,
                Some((slot, _)) => *slot,
                None => match self.free.pop_first() {
                    Some(slot) => slot,
                    None => continue,
                },
            };
            batch.set(self.items[slot as usize], process)?;
            self.taken.insert(process.pid, (slot, *process));
        }
        batch.commit()?;
        // Only now: in each era a slot has one process, or none, after another.
        for (pid, slot) in freed {
            self.taken.remove(&pid);
            self.free.insert(slot);
        }
        Ok(())
    }
}

/// All processes that are there.
fn processes() -> Vec<Process> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    // One may end between the two looks.
    numbers.filter_map(|pid| parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// A line of `/proc/PID/stat`: `PID (NAME) STATE PARENT ...`, where the name may have anything in it.
fn parse(pid: u32, line: &[u8]) -> Option<Process> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(line.get(close + 1..)?).ok()?.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let text = |to: &mut [u8], from: &[u8]| to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    let (mut state, mut name) = ([0; 4], [0; 16]);
    text(&mut state, fields.first()?.as_bytes());
    text(&mut name, line.get(open + 1..close)?);
    let (parent, threads) = (number(1)? as u32, number(17)? as u32);
    Some(Process { utime: number(11)?, stime: number(12)?, rss: number(21)?, pid, parent, threads, state, name })
}

// ---- readers ----

/// What all slots had in the last era, and in the one before.
fn last_two(table: &mut TableReader, items: &[Item<Process>]) -> Result<(u64, Vec<Process>, Vec<Process>)> {
    let of = |view: &View<'_>| items.iter().map(|&item| view.get(item)).collect::<Result<Vec<Process>>>();
    loop {
        let current = table.current()?;
        let before = match current.previous().and_then(|previous| of(&previous)) {
            // There is none yet, or it is too long ago by now.
            Err(Error::Gone { .. }) => Vec::new(),
            other => other?,
        };
        match of(&current) {
            Err(Error::Gone { .. }) => {}
            now => return Ok((current.era().unwrap_or_default(), now?, before)),
        }
    }
}

fn top(zone: &Zone, times: Option<u32>) -> Result<()> {
    let mut table = zone.wait_table("processes", LONG)?;
    let items = (0..table.len()).map(|slot| table.item_at(slot)).collect::<Result<Vec<_>>>()?;
    let mut watch = table.watch("top").synced().open()?;
    let mut time = 0;
    while times.is_none_or(|times| time < times) {
        watch.next(LONG)?;
        let (era, now, before) = last_two(&mut table, &items)?;
        // The time that each has run in that era: slots stay with their processes.
        let ran = |slot: usize| match before.get(slot) {
            Some(before) if before.pid == now[slot].pid => ticks(&now[slot]).saturating_sub(ticks(before)),
            _ => 0,
        };
        let mut there: Vec<usize> = (0..now.len()).filter(|&slot| now[slot].pid != 0).collect();
        there.sort_by_key(|&slot| std::cmp::Reverse((ran(slot), now[slot].rss)));
        let threads: u32 = there.iter().map(|&slot| now[slot].threads).sum();
        println!("era {era}: {} processes, {threads} threads", there.len());
        for slot in there.into_iter().take(BUSIEST) {
            println!("  {}, {} ms of it", text(&now[slot]), 10 * ran(slot));
        }
        time += 1;
    }
    Ok(())
}

fn watch(zone: &Zone, pid: u32) -> Result<(), Box<dyn Failure>> {
    let mut table = zone.wait_table("processes", LONG)?;
    let items = (0..table.len()).map(|slot| table.item_at::<Process>(slot)).collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + LONG;
    let (item, mut watch) = loop {
        let slot = match last_two(&mut table, &items) {
            Ok((_, now, _)) => now.iter().position(|process| process.pid == pid),
            // Before the first edge.
            Err(Error::Gone { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(slot) = slot {
            break (items[slot], table.watch("watch").index(slot as u32).synced().open()?);
        }
        if Instant::now() > deadline {
            return Err(format!("no process {pid}").into());
        }
        std::thread::sleep(PAUSE);
    };
    // From here on every change is told; what it is now comes first.
    let mut told = 0;
    loop {
        let now: Process = match table.current().and_then(|view| view.get(item)) {
            Err(Error::Gone { .. } | Error::Overtaken) => continue,
            now => now?,
        };
        if now.pid != pid {
            println!("{pid} is gone: told {told} times, and not told of {} eras' changes of others", watch.ignored());
            return Ok(());
        }
        println!("{}", text(&now));
        loop {
            match watch.next(LONG) {
                Ok(_) => break,
                Err(Error::Timeout) => {}
                Err(error) => return Err(error.into()),
            }
        }
        told += 1;
    }
}

fn ticks(process: &Process) -> u64 {
    process.utime.saturating_add(process.stime)
}

fn text(process: &Process) -> String {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).escape_debug().to_string()
    };
    let Process { pid, parent, threads, rss, state, name, .. } = process;
    let (state, name, ran) = (text(state), text(name), 10 * ticks(process));
    format!("{pid} {name} {state}, child of {parent}, {threads} threads, {rss} pages, ran {ran} ms")
}

// ---- the demonstration ----

/// A process that ends with this one's part.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn demo() -> Result<(), Box<dyn Failure>> {
    let bus = Bus::embedded()?;
    let program = std::env::current_exe()?;
    let start = |arguments: &[&str]| {
        Command::new(&program).args(arguments).env("SYNCLINE_SOCKET", bus.socket()).spawn().map(Part)
    };
    let _writer = start(&["write", "300"])?;
    println!("The busiest, from whole eras:");
    start(&["top", "3"])?.0.wait()?;
    let mut worker = start(&["work", "6"])?;
    println!("One process, whenever it changes:");
    let mut watch = start(&["watch", &worker.0.id().to_string()])?;
    // It is gone only when somebody has asked how it ended.
    worker.0.wait()?;
    watch.0.wait()?;
    Ok(())
}

/// Something to watch: works and sleeps in turn.
fn work(bursts: u32) {
    for _ in 0..bursts {
        let end = Instant::now() + PAUSE / 2;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        std::thread::sleep(3 * PAUSE);
    }
}
