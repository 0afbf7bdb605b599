//! `nixos-rebuild ACTION --flake FLAKE#HOST`, as a person would type it.
//!
//! It evaluates the live tree, so an edit made meanwhile may be in the system or not, and where the tree is a flake
//! input, a lock file that is older than the tree makes it build the old tree.

use std::path::PathBuf;

use super::error::Error;
use super::outcome::RebuildStatus;
use super::session::RebuildContext;
use super::units;
use super::verdict::Verdict;
use crate::process::Finished;
use crate::settings::Action;

/// Runs it, and says what its end means.
pub(super) fn run(
    session: &RebuildContext<'_>,
    host: &str,
    action: Action,
) -> Result<(Verdict, Finished), Error> {
    let program = session.find("nixos-rebuild")?;
    let settings = &session.request.settings;
    let mut args = vec![
        action.as_str().to_owned(),
        "--flake".to_owned(),
        format!("{}#{host}", settings.flake.display()),
    ];
    args.extend(settings.extra_args.iter().cloned());
    if session.request.verbose {
        args.push("--show-trace".to_owned());
    }
    let args = args.into_iter().map(Into::into).collect();
    let command = session.command(&program, args).unless(units::is_activating);
    let (code, finished) = session.run(&command)?;
    let verdict = match action {
        Action::Build if code == 0 => Verdict::Done,
        Action::Build => Verdict::NotBuilt,
        Action::Test | Action::Switch | Action::Boot | Action::DryActivate => {
            Verdict::of_rebuild(code, &finished.tail)
        }
    };
    Ok((verdict, finished))
}

/// The system that came out, where the machine's own links show it.
pub(super) fn system(
    session: &RebuildContext<'_>,
    action: Action,
    status: RebuildStatus,
) -> Option<PathBuf> {
    let systems = session.machine.systems();
    match action {
        Action::Switch if status == RebuildStatus::RebootNeeded => systems.profile,
        Action::Build => super::machine::system(&session.request.state.path().join("result")),
        Action::Test | Action::Switch => systems.current,
        Action::Boot => systems.profile,
        Action::DryActivate => None,
    }
}
