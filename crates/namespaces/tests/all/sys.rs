//! What the tests need that is not safe.

/// Installs a signal action for this process.
pub(crate) fn handle(signal: nix::sys::signal::Signal, action: &nix::sys::signal::SigAction) {
    // SAFETY: the handlers of these tests only count.
    unsafe { nix::sys::signal::sigaction(signal, action) }.unwrap();
}
