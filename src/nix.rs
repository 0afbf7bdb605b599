//! What is specific to Nix.
//!
//! Everything here reads files as data: nothing is evaluated and no Nix is run. What cannot be told without evaluating
//! is said to be unknown, never guessed.

mod attrs;
pub mod flake;
pub mod layout;
pub mod nar;
pub mod syntax;

pub use flake::Flake;
pub use layout::Layout;
pub use nar::NarHash;
pub use syntax::SyntaxError;
