//! From Rust's strings to the kernel's, refusing what a C string cannot hold.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use orlop_init::plan::CBytes;

use super::CompileError;

/// Bytes for the kernel; an embedded NUL would silently cut the value short.
pub(super) fn bytes(value: &[u8], at: &str) -> Result<CBytes, CompileError> {
    if value.contains(&0) {
        return Err(CompileError::invalid(at, "contains a NUL byte"));
    }
    Ok(value.to_vec())
}

pub(super) fn string(value: &str, at: &str) -> Result<CBytes, CompileError> {
    bytes(value.as_bytes(), at)
}

/// A path inside the container: absolute.
pub(super) fn target(path: &Path, at: &str) -> Result<CBytes, CompileError> {
    if !path.is_absolute() {
        return Err(CompileError::invalid(
            at,
            format!("{} is not an absolute path", path.display()),
        ));
    }
    bytes(path.as_os_str().as_bytes(), at)
}
