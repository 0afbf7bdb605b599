//! The forge and its repositories against real git: every other test depends on them.

mod api;
mod client;
mod faults;
mod git;
mod link;
mod objects;
mod repo;
mod sandbox;
mod tls;
