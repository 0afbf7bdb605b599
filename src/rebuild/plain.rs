//! `nixos-rebuild ACTION --flake FLAKE#HOST`, as a person would type it.
//!
//! It evaluates the live tree, so an edit made meanwhile may be in the system or not, and where the tree is a flake
//! input, a lock file that is older than the tree makes it build the old tree.

use std::path::PathBuf;

use super::error::Error;
use super::outcome::{Status, word};
use super::runner::{Command, Finished};
use super::session::Session;
use super::verdict::Verdict;
use crate::settings::Action;

/// Runs it, and says what its end means.
pub(super) fn run(session: &Session<'_>, host: &str) -> Result<(Verdict, Finished), Error> {
    let program = session.find("nixos-rebuild")?;
    let settings = &session.request.settings;
    let mut args = vec![
        word(settings.action).to_owned(),
        "--flake".to_owned(),
        format!("{}#{host}", settings.flake.display()),
    ];
    args.extend(settings.extra_args.iter().cloned());
    if session.request.verbose {
        args.push("--show-trace".to_owned());
    }
    let command = Command::new(
        program,
        args,
        &session.environment,
        // `nixos-rebuild build` leaves its `result` in the working directory: here it keeps the build from the
        // garbage collector, and is in nobody's way.
        session.request.state.path(),
        session.left(),
    )
    .activating();
    let (code, finished) = session.run(&command)?;
    let verdict = match settings.action {
        Action::Build if code == 0 => Verdict::Done,
        Action::Build => Verdict::NotBuilt,
        Action::Test | Action::Switch | Action::Boot | Action::DryActivate => {
            Verdict::of_rebuild(code, &finished.tail)
        }
    };
    Ok((verdict, finished))
}

/// The system that came out, where the machine's own links tell.
pub(super) fn system(session: &Session<'_>, status: Status) -> Option<PathBuf> {
    let systems = session.machine.systems();
    match session.request.settings.action {
        Action::Switch if status == Status::RebootNeeded => systems.profile,
        Action::Build => super::machine::system(&session.request.state.path().join("result")),
        Action::Test | Action::Switch => systems.current,
        Action::Boot => systems.profile,
        Action::DryActivate => None,
    }
}
