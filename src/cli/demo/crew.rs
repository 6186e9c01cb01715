//! The processes of a demo, as the one that started them sees them.

use super::super::exit::{Exit, Outcome};
use super::part::Role;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// What a process says when it has opened what it needs.
const READY: &str = "ready";

/// Processes that end with us: when this is dropped, and (they ask the kernel for that) when we die.
pub(super) struct Crew {
    members: Vec<Member>,
}

struct Member {
    role: Role,
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Crew {
    /// Starts a process of this program for each role.
    pub(super) fn start(roles: &[Role], socket: &Path) -> Outcome<Crew> {
        let program = std::env::current_exe().map_err(Exit::io("finding this program"))?;
        let mut crew = Crew { members: Vec::new() };
        for &role in roles {
            let mut child = Command::new(&program)
                .arg("--socket")
                .arg(socket)
                .args(["demo-part", role.name(), &std::process::id().to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(Exit::io("starting a process"))?;
            let output = child.stdout.take().map(BufReader::new);
            crew.members.push(Member { role, child, output });
        }
        Ok(crew)
    }

    /// Waits until every process is ready.
    pub(super) fn wait_until_ready(&mut self) -> Outcome {
        for member in &mut self.members {
            if member.line()? != READY {
                return Err(Exit::Failed(format!("the {} process could not start", member.role.name())));
            }
        }
        Ok(())
    }

    /// Tells every process a line: it begins.
    pub(super) fn tell(&mut self, line: &str) -> Outcome {
        for Member { role, child, .. } in &mut self.members {
            if let Some(input) = &mut child.stdin {
                writeln!(input, "{line}").map_err(Exit::io(&format!("telling the {} process", role.name())))?;
            }
        }
        Ok(())
    }

    /// Whether all have ended; an error if one has failed.
    pub(super) fn have_ended(&mut self) -> Outcome<bool> {
        let mut all = true;
        for Member { role, child, .. } in &mut self.members {
            match child.try_wait().map_err(Exit::io("waiting for a process"))? {
                Some(status) if !status.success() => {
                    return Err(Exit::Failed(format!("the {} process ended with {status}", role.name())));
                }
                ended => all &= ended.is_some(),
            }
        }
        Ok(all)
    }

    /// The next line that a process wrote to its standard output.
    pub(super) fn line_of(&mut self, role: Role) -> Outcome<String> {
        match self.members.iter_mut().find(|member| member.role == role) {
            Some(member) => member.line(),
            None => Ok(String::new()),
        }
    }
}

impl Member {
    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output.read_line(&mut line).map_err(Exit::io("reading from a process"))?;
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for Member { child, .. } in &mut self.members {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for Member { child, .. } in &mut self.members {
            let _ = child.wait();
        }
    }
}

/// In a process of the crew: says that it is ready; the line that it is then told.
pub(super) fn ready() -> Outcome<String> {
    say(READY)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(Exit::io("waiting for the start"))?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(Exit::Failed("the demo ended before it began".to_owned())),
    }
}

/// In a process of the crew: writes a line for the process that started it.
pub(super) fn say(line: &str) -> Outcome {
    let mut output = io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(Exit::output)
}

/// In a process of the crew: a part of what it was told is not as expected.
pub(super) fn misunderstood(line: &str) -> Exit {
    Exit::Failed(format!("`{line}` is not what a process of the demo expects to be told"))
}
