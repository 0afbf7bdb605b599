//! A pager: a program that shows on the terminal what it is given, page by page.
//!
//! It is the one program that works with the terminal, so it stays in our process group, and gets the environment of the
//! caller: it runs as who calls us, with what that user has set.
#![expect(
    clippy::disallowed_methods,
    reason = "a pager needs the terminal and the environment of the caller"
)]

use std::process::{Child, ChildStdin, Command, Stdio};

use super::SearchPath;
use crate::settings::Env;

/// What a pager is told where the caller has not said so: to end where all fits on one screen, to pass colours on, and
/// not to clear the screen. The same as git does.
const DEFAULTS: &[(&str, &str)] = &[("LESS", "FRX"), ("LV", "-c")];

/// Which pager the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted<'a> {
    /// None.
    Nothing,
    /// `less`, because nothing is set.
    Less,
    /// This command.
    Command(&'a str),
}

fn wanted(env: &Env) -> Wanted<'_> {
    let set = env.get("HYPER_SYNC_PAGER").or_else(|| env.get("PAGER"));
    match set.map(|command| command.to_str().unwrap_or("cat").trim()) {
        None => Wanted::Less,
        Some("cat") => Wanted::Nothing,
        Some(command) => Wanted::Command(command),
    }
}

/// A running pager.
#[derive(Debug)]
pub struct Pager(Child);

impl Pager {
    /// Starts the user's pager, and returns where to write; `None` if there is none, or if it cannot be started.
    #[must_use]
    pub fn start(env: &Env) -> Option<(Self, ChildStdin)> {
        let search = SearchPath::of(env);
        let mut pager = match wanted(env) {
            Wanted::Nothing => return None,
            Wanted::Less => Command::new(search.find("less")?),
            // By a shell, as git does: it may have arguments.
            Wanted::Command(command) => {
                let mut shell = Command::new(search.find("sh")?);
                shell.arg("-c").arg(command);
                shell
            }
        };
        for (name, value) in DEFAULTS {
            if env.get(name).is_none() {
                pager.env(name, value);
            }
        }
        let mut child = pager.stdin(Stdio::piped()).spawn().ok()?;
        let stdin = child.stdin.take()?;
        Some((Self(child), stdin))
    }

    /// Waits until the reader has left it. What it is given must be closed before.
    pub fn wait(mut self) {
        // How it ended is of no use to anybody.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_that_of_the_user() {
        let env = Env::empty();
        assert_eq!(wanted(&env), Wanted::Less);
        let env = env.with("PAGER", "more");
        assert_eq!(wanted(&env), Wanted::Command("more"));
        let env = env.with("HYPER_SYNC_PAGER", " less -S ");
        assert_eq!(wanted(&env), Wanted::Command("less -S"));
        let env = env.with("HYPER_SYNC_PAGER", "cat");
        assert_eq!(wanted(&env), Wanted::Nothing);
    }
}
