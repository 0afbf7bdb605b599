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

/// What several areas share. A function that no area uses yet is no mistake here.
#[path = "../common"]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each area uses its part"
)]
mod common {
    pub mod env;
    pub mod forge;
    pub mod git;
    pub mod link;
    pub mod machine;
    pub mod repo;
    pub mod snapshot;
}

mod above;
mod apply;
mod contents;
mod damage;
mod defects;
mod diff;
mod docs;
mod errors;
mod forge;
mod help;
mod hostile;
mod http;
mod kill;
mod lock;
mod metrics;
mod modes;
mod module;
mod names;
mod notices;
mod objects;
mod older_state;
mod overdue;
mod parallel;
mod patterns;
mod policies;
mod power;
mod programs;
mod reads;
mod rebuild;
mod recover;
mod reference;
mod rollback;
mod routes;
mod scan;
mod search;
mod settings;
mod signals;
mod signature;
mod source_git;
mod source_github;
mod state;
mod status;
mod sync;
mod targets;
mod tidy;
mod token;
mod validate;
