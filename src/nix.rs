//! The formats of Nix.
//!
//! Files are read as data: nothing is evaluated and Nix is not run. What only an evaluation can determine is reported as
//! unknown.

mod attrs;
pub mod conf;
pub mod flake;
mod hardware;
pub mod lock;
mod log;
pub mod names;
pub mod nar;
pub mod syntax;

pub use flake::{Flake, Layout};
pub use hardware::OtherHardware;
pub use lock::FlakeLock;
pub use log::{JsonLog, LogLine};
pub use names::Names;
pub use nar::NarHash;
pub use syntax::SyntaxError;
