//! Gives `libsyncline.so` its soname, so that programs linked against it name the ABI and not a path.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsyncline.so.0");
}
