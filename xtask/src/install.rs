//! `cargo xtask install --prefix DIR`: what a C program needs, where its compiler looks for it.
//!
//! ```text
//! DIR/include/syncline.h
//! DIR/lib/libsyncline.so -> libsyncline.so.0 -> libsyncline.so.VERSION
//! DIR/lib/libsyncline.a
//! DIR/lib/pkgconfig/syncline.pc
//! ```

use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The library's name in programs that were linked against it: `build.rs` gives it that. It changes with what breaks them.
const SONAME: &str = "libsyncline.so.0";

/// Builds the library and installs it.
pub fn run(prefix: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(prefix)?;
    // The text in syncline.pc must not depend on where it is read.
    let prefix = fs::canonicalize(prefix)?;
    let root = crate::root();
    let version = version(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let built = build(&root)?;

    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    fs::create_dir_all(&include)?;
    fs::create_dir_all(lib.join("pkgconfig"))?;
    fs::copy(root.join("include/syncline.h"), include.join("syncline.h"))?;
    fs::copy(built.join("libsyncline.a"), lib.join("libsyncline.a"))?;
    let shared = format!("libsyncline.so.{version}");
    // A new file, not new bytes in one that running programs have mapped.
    remove(&lib.join(&shared))?;
    fs::copy(built.join("libsyncline.so"), lib.join(&shared))?;
    link(&shared, &lib.join(SONAME))?;
    link(SONAME, &lib.join("libsyncline.so"))?;
    let template = fs::read_to_string(root.join("dist/syncline.pc.in"))?;
    fs::write(lib.join("pkgconfig/syncline.pc"), pkg_config(&template, &prefix, &version)?)?;

    println!("installed version {version} in {}", prefix.display());
    println!(
        "compile with: cc client.c $(PKG_CONFIG_PATH={}/pkgconfig pkg-config --cflags --libs syncline)",
        lib.display()
    );
    Ok(())
}

/// Builds the library without the command line's dependencies; returns the directory that it is in.
fn build(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    let build = ["build", "--release", "--package", "syncline", "--lib", "--no-default-features", "--features", "capi"];
    crate::succeed(crate::cargo(&build).arg("--target-dir").arg(&target))?;
    Ok(target.join("release"))
}

/// The package's version, from its manifest.
fn version(manifest: &str) -> Result<String, &'static str> {
    let value = |line: &str| line.strip_prefix("version = \"")?.strip_suffix('"').map(str::to_owned);
    let package = manifest.split_once("[package]").ok_or("no [package] in Cargo.toml")?.1;
    package.lines().find_map(value).ok_or("no version in Cargo.toml")
}

fn pkg_config(template: &str, prefix: &Path, version: &str) -> Result<String, &'static str> {
    let prefix = prefix.to_str().ok_or("the prefix is not UTF-8")?;
    Ok(template.replace("@PREFIX@", prefix).replace("@VERSION@", version))
}

fn link(to: &str, at: &Path) -> std::io::Result<()> {
    remove(at)?;
    symlink(to, at)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_packages() {
        let manifest = "[workspace]\nversion = \"9\"\n[package]\nname = \"x\"\nversion = \"1.2.3\"\n[dependencies]\n";
        assert_eq!(version(manifest).unwrap(), "1.2.3");
    }

    #[test]
    fn template_is_filled() {
        let text = pkg_config(include_str!("../../dist/syncline.pc.in"), Path::new("/opt/x"), "1.2.3").unwrap();
        assert!(text.contains("prefix=/opt/x\n") && text.contains("Version: 1.2.3\n") && !text.contains('@'));
    }
}
