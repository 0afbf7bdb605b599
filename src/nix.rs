//! What is specific to Nix.
//!
//! Everything here reads files as data: nothing is evaluated and no Nix is run. What cannot be told without evaluating
//! is said to be unknown, never guessed.

mod attrs;
pub mod conf;
pub mod flake;
pub mod layout;
pub mod lock;
pub mod names;
pub mod nar;
pub mod syntax;

pub use flake::Flake;
pub use layout::Layout;
pub use lock::FlakeLock;
pub use names::Names;
pub use nar::NarHash;
pub use syntax::SyntaxError;
