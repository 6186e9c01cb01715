//! For tests that compile and run programs in C: linked with the library that was built beside the test.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use syncline::Bus;
use tempfile::TempDir;

/// The library that cargo built along with this test: (shared, static).
static LIBRARY: LazyLock<(PathBuf, PathBuf)> = LazyLock::new(|| {
    let newest = |extension: &str| {
        let own = std::env::current_exe().expect("own path");
        let deps = own.parent().expect("its directory");
        let files = std::fs::read_dir(deps).expect("its directory").filter_map(Result::ok);
        let named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libsyncline") && name.ends_with(extension)
        };
        let found = files.filter(|file| named(&file.path()));
        let found = found.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
        found.unwrap_or_else(|| panic!("no libsyncline*{extension} in {}", deps.display())).path()
    };
    (newest(".so"), newest(".a"))
});

#[derive(Clone, Copy)]
pub enum Link {
    Shared,
    Static,
}

/// A compiled program in a directory of its own, which goes with it.
pub struct Program {
    directory: TempDir,
}

impl Program {
    /// Compiles a source, given from the top of the project.
    pub fn compile(source: &str, link: Link) -> Program {
        let directory = tempfile::tempdir().unwrap();
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (compiler, standard) = if source.ends_with(".cpp") { ("c++", "-std=c++17") } else { ("cc", "-std=c11") };
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-I"]).arg(top.join("include"));
        command.arg(top.join(source)).arg("-o").arg(directory.path().join("program"));
        match link {
            Link::Shared => {
                // The names that an installed library has.
                for name in ["libsyncline.so", "libsyncline.so.0"] {
                    std::os::unix::fs::symlink(&LIBRARY.0, directory.path().join(name)).unwrap();
                }
                command.arg("-L").arg(directory.path()).arg("-lsyncline");
                command.arg(format!("-Wl,-rpath,{}", directory.path().display()));
            }
            Link::Static => {
                command.arg(&LIBRARY.1).args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"]);
            }
        }
        let output = command.output().expect("start the C compiler");
        assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
        Program { directory }
    }

    pub fn start(&self, bus: &Bus, arguments: &[&str]) -> Child {
        let mut command = Command::new(self.directory.path().join("program"));
        command.args(arguments).env("SYNCLINE_SOCKET", bus.socket());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the program")
    }
}

/// What it printed; it must have succeeded.
pub fn finish(child: Child) -> String {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("wait for the program");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}
