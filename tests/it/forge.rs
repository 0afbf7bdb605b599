//! The forge and its repositories against real git: what every other test stands on.

mod api;
mod client;
mod faults;
mod git;
mod link;
mod objects;
mod repo;
mod sandbox;
mod tls;
