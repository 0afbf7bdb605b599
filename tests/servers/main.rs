//! All that may happen to a repository, on git servers of other makes: `.ci/server-tests`.
//!
//! The forge of the other suites is written by us, and could share a mistake with the program. Here the same binary
//! fetches from nginx with fcgiwrap, Apache, HAProxy, OpenSSH, git-shell, gitolite, dulwich and JGit as Debian packages
//! them, each set up as its documentation says, and each listening on loopback only. After every step the target is
//! equal to git's tree.
//!
//! - [`life`]: the steps.
//! - [`daemon`]: a server process that ends with its test.
//! - [`http`] and [`ssh`]: the servers and their configuration files; [`java`] has what JGit needs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod http;
mod java;
mod life;
mod ssh;
