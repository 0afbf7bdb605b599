//! The `hyper-sync` binary.
fn main() {}
