//! Fixtures of several test binaries and of the bench. Each uses its part, so what one leaves unused is not dead.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each binary uses its part"
)]

pub mod env;
pub mod forge;
pub mod git;
pub mod link;
pub mod machine;
pub mod repo;
pub mod schema;
pub mod snapshot;
pub mod sources;
pub mod world;
pub mod written;
