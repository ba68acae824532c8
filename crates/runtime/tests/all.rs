//! The runtime against the real kernel. `support.rs` says what a test needs.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod all {
    mod support;

    mod basics;
}
