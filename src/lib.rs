//! Keeps a NixOS configuration directory equal to a commit of a git repository.
pub mod apply;
pub mod cli;
mod error;
pub mod exit;
pub mod fs;
pub mod git;
pub mod lock;
pub mod nix;
pub mod objects;
pub mod patterns;
pub mod plan;
pub mod rebuild;
pub mod report;
pub mod scan;
pub mod settings;
pub mod signals;
pub mod signature;
pub mod source;
pub mod state;
pub mod sync;
pub mod token;
pub mod validate;

pub use error::Error;
