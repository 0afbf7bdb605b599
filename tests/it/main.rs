//! The integration tests: one binary, one module an area.
//!
//! Where to add a test: beside the code when it is pure; here, in the module of its area, when it touches files,
//! a server or the real binary. What several areas need lives in `tests/common`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]
