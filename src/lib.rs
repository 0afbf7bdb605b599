//! Keeps a NixOS configuration directory equal to a commit of a git repository, and rebuilds the system from it.
//!
//! ```text
//! cli → settings ─┐
//!                 ▼
//!   source.resolve → source.obtain(commit, need) ─► Staged ─┐   proven from the commit's id, needed blobs in the store
//!   scan(target) ─────────────────────────────────► Local  ─┼─► plan ─► Plan ─► apply ─► Applied ─► state ─► rebuild
//!   state.index ──────────────────────────────────► base   ─┘   pure
//! ```
//!
//! [`sync`] puts the stages together, [`cli`] the commands; no stage uses them. Only [`source::prove`] makes a
//! [`source::Staged`] and only [`plan`] a [`plan::Plan`], so nothing that was not proven can be applied.
//!
//! `docs/architecture.md` has the layers, the formats on disk, the apply protocol and the reasons for all this.
//!
//! # Guarantees
//!
//! - Nothing unverified reaches the target, and nothing at all is written to it before everything needed is durable.
//! - After a crash at any point the target is at the old commit or the new one, once any command has run again.
//! - Files it did not write are never deleted, and every edit it replaces is kept.
//! - The token goes to its own origin only, and into no argument, log or file.
//!
//! # Limitations
//!
//! Linux only; SHA-1 repositories only; submodules and LFS objects are not followed. A program that walks the target
//! while it is being written may see files of both commits: builds read a snapshot instead.

pub mod apply;
pub mod check;
pub mod cli;
mod error;
pub mod exit;
pub mod fs;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
pub mod git_dir;
pub mod health;
pub mod hooks;
pub mod lock;
mod lookup;
pub mod memory;
pub mod metrics;
pub mod nix;
pub mod objects;
pub mod patterns;
pub mod plan;
pub mod process;
pub mod rebuild;
pub mod report;
pub mod scan;

pub mod settings;
pub mod signals;
pub mod signature;
pub mod source;
pub mod state;
pub mod sync;
pub mod text;
mod threads;
pub mod token;
pub mod validate;
pub mod vetted;

pub use error::{Error, SyncError, UsageError};
