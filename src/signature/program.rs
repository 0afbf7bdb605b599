//! `ssh-keygen` and `gpgv`: started with a fixed environment, in a directory that only we can enter.
//!
//! They see files that we laid down, never the caller's home, agent or configuration. The time zone is the system's,
//! by which `allowed_signers` is written, whatever the caller's is.

#![expect(
    clippy::disallowed_methods,
    reason = "starts the programs that check signatures, with a fixed environment, and lays down what they read in a private directory"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::settings::Env;

use super::Error;

/// Where programs are on NixOS, and then elsewhere, for a caller without a search path.
const SEARCH: &str = "/run/current-system/sw/bin:/usr/bin:/bin";

/// The caller's search path without relative entries, which would run whatever lies in some working directory.
pub(super) fn search(env: &Env) -> OsString {
    let given = env.get("PATH").unwrap_or(OsStr::new(SEARCH));
    let absolute: Vec<&[u8]> = given
        .as_bytes()
        .split(|&byte| byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .collect();
    OsString::from_vec(absolute.join(&b':'))
}

/// What to install for a program.
pub(super) fn package(program: &str) -> &'static str {
    match program {
        "gpgv" => "part of GnuPG",
        _ => "part of OpenSSH",
    }
}

/// Where the programs work.
pub(super) struct Workplace<'a> {
    /// The directory with their files.
    pub(super) directory: &'a Path,
    /// Where they are.
    pub(super) search: &'a OsStr,
}

impl Workplace<'_> {
    /// Lays down a file.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(|source| Error::Scratch { path, source })
    }

    /// Runs a program to its end, the file `input` of the directory as its standard input.
    pub(super) fn run(
        &self,
        program: &'static str,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Output, Error> {
        let stdin = match input {
            None => Stdio::null(),
            Some(name) => {
                let path = self.directory.join(name);
                let opened = File::open(&path);
                opened
                    .map_err(|source| Error::Scratch { path, source })?
                    .into()
            }
        };
        Command::new(program)
            .args(args)
            .env_clear()
            .env("PATH", self.search)
            .env("HOME", self.directory)
            .env("GNUPGHOME", self.directory)
            .env("LC_ALL", "C")
            .current_dir(self.directory)
            .stdin(stdin)
            // The terminal's Ctrl-C is for us; these take milliseconds.
            .process_group(0)
            .output()
            .map_err(|source| Error::Program { program, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_directories_are_not_searched() {
        let of = |path: &str| search(&Env::empty().with("PATH", path));
        assert_eq!(of("/a/bin:.::bin:/usr/bin"), "/a/bin:/usr/bin");
        assert_eq!(search(&Env::empty()), SEARCH);
    }
}
