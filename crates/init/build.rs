//! Builds the static program with the compiler that builds the crate, whatever flags and profile the crate is built with: the same
//! source gives the same program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: &[&str] = &[
    "--crate-name=orlop_program",
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
    println!("cargo::rerun-if-changed=program");
    println!("cargo::rerun-if-changed=src/wire.rs");
    println!("cargo::rerun-if-changed=src/protocol.rs");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let linux = target.contains("-linux-");
    assert!(
        linux && (target.starts_with("x86_64-") || target.starts_with("aarch64-")),
        "orlop-init runs on Linux, on x86_64 and aarch64; there is no program for {target} yet"
    );
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("program");
    compile(&root, &out, &target);
    println!("cargo::rustc-env=ORLOP_INIT_PROGRAM={}", out.display());
}

fn compile(root: &Path, out: &Path, target: &str) {
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc
        .arg(root.join("program/main.rs"))
        .arg("-o")
        .arg(out)
        .arg("--target")
        .arg(target)
        .args(FLAGS);
    rustc.arg(format!("--remap-path-prefix={}=init", root.display()));
    if target.contains("musl") {
        // Else the target's own start-up files come along.
        rustc.arg("-Clink-self-contained=no");
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = std::ffi::OsString::from("-Clinker=");
        argument.push(linker);
        rustc.arg(argument);
    } else {
        rustc.arg("-Clinker=cc");
    }
    let built = rustc.output().expect("the compiler cannot be run");
    assert!(
        built.status.success(),
        "the program does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let warnings = String::from_utf8_lossy(&built.stderr);
    for line in warnings.lines() {
        println!("cargo::warning={line}");
    }
}
