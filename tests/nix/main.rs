//! The rebuild with real Nix: that what was synced is what is built and activated, in every layout.
//!
//! Not part of `cargo test`, for it needs Nix, root and a `/nix` that may be written: `.ci/nix-tests` runs it. All of
//! it is offline; a system is a small derivation whose `switch-to-configuration` notes what it was called with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

mod activation;
mod check;
mod cost;
mod layouts;
mod locks;
mod revision;
mod update;
mod world;
