//! Builds the program of the embedded `hello` image with the compiler that builds the crate, whatever flags and profile the crate is
//! built with: the same source gives the same image.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: &[&str] = &[
    "--crate-name=orlop_hello",
    "--crate-type=bin",
    "--edition=2024",
    "-Copt-level=s",
    "-Cpanic=abort",
    "-Cdebuginfo=0",
    "-Cdebug-assertions=off",
    "-Coverflow-checks=off",
    "-Ccodegen-units=1",
    "-Cstrip=symbols",
    "-Crelocation-model=static",
    "-Ctarget-feature=+crt-static",
    "-Cforce-unwind-tables=no",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,--build-id=none,--gc-sections,-z,norelro,-z,noexecstack",
];

fn main() {
    println!("cargo::rerun-if-changed=hello");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let known = target.starts_with("x86_64-") || target.starts_with("aarch64-");
    assert!(
        target.contains("-linux-") && known,
        "orlop-engine runs on Linux, on x86_64 and aarch64; there is no hello program for {target} yet"
    );
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("hello");
    compile(&root, &out, &target);
    println!("cargo::rustc-env=ORLOP_HELLO_PROGRAM={}", out.display());
}

fn compile(root: &Path, out: &Path, target: &str) {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc
        .arg(root.join("hello/main.rs"))
        .arg("-o")
        .arg(out)
        .arg("--target")
        .arg(target)
        .args(FLAGS)
        .arg(format!("--remap-path-prefix={}=engine", root.display()));
    if target.contains("musl") {
        // Else the target's own start-up files come along.
        rustc.arg("-Clink-self-contained=no");
    }
    let mut linker = std::ffi::OsString::from("-Clinker=");
    linker.push(env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into()));
    rustc.arg(linker);
    let built = rustc.output().expect("the compiler cannot be run");
    assert!(
        built.status.success(),
        "the hello program does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    for line in String::from_utf8_lossy(&built.stderr).lines() {
        println!("cargo::warning={line}");
    }
}
