//! Activates exactly the system that was built.
//!
//! `nixos-rebuild ACTION --store-path SYSTEM` where it knows that (nixpkgs of 2026), else what `nixos-rebuild` does
//! itself: the profile is set, then `switch-to-configuration` runs in a transient unit of a fixed name, so that it goes
//! on when we die and that two never run at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::session::RebuildContext;
use super::units::{self, ACTIVATION};
use super::verdict::Verdict;
use crate::process::{Command, Finished, Output};
use crate::settings::Action;

/// A way to activate a system.
#[derive(Debug)]
pub(super) enum Activator {
    /// `nixos-rebuild --store-path`.
    StorePath { nixos_rebuild: PathBuf },
    /// By its own `switch-to-configuration`.
    Own {
        nix_env: PathBuf,
        /// Where systemd runs.
        systemd_run: Option<PathBuf>,
    },
}

impl Activator {
    /// Finds one.
    pub(super) fn find(session: &RebuildContext<'_>) -> Result<Self, Error> {
        if let Ok(nixos_rebuild) = session.find("nixos-rebuild") {
            // Unknown options are refused before anything is done, known ones make `--help` succeed.
            let probe = ["--store-path", "/nix/store", "--no-reexec", "--help"].map(OsString::from);
            let probe = session.command(&nixos_rebuild, probe.to_vec());
            let known = session.runner.run(&probe.output(Output::Quiet));
            if known.is_ok_and(|finished| finished.end.is_success()) {
                return Ok(Self::StorePath { nixos_rebuild });
            }
        }
        let systemd_run = if session.machine.has_systemd() {
            Some(session.find("systemd-run")?)
        } else {
            None
        };
        Ok(Self::Own {
            nix_env: session.find("nix-env")?,
            systemd_run,
        })
    }

    /// Activates, and says what the end means.
    pub(super) fn activate(
        &self,
        session: &RebuildContext<'_>,
        system: &Path,
    ) -> Result<(Verdict, Finished), Error> {
        let action = session.request.settings.action;
        match self {
            Self::StorePath { nixos_rebuild } => {
                let mut args: Vec<OsString> = vec![action.as_str().into(), "--store-path".into()];
                args.push(system.into());
                // It would evaluate the flake to find a newer version of itself.
                args.push("--no-reexec".into());
                let command = session
                    .command(nixos_rebuild, args)
                    .unless(units::is_activating);
                let (code, finished) = session.run(&command)?;
                let verdict = match Verdict::of_rebuild(code, &finished.tail) {
                    // There was nothing to build.
                    Verdict::NotBuilt => Verdict::NotActivated,
                    end => end,
                };
                Ok((verdict, finished))
            }
            Self::Own {
                nix_env,
                systemd_run,
            } => {
                if matches!(action, Action::Switch | Action::Boot) {
                    let (code, finished) = session.run(&set_profile(session, nix_env, system))?;
                    if code != 0 {
                        return Ok((Verdict::NotActivated, finished));
                    }
                }
                let command = switch(session, systemd_run.as_deref(), system, action);
                let (code, finished) = session.run(&command)?;
                Ok((Verdict::of_activation(code, &finished.tail), finished))
            }
        }
    }
}

/// Makes the former system the boot default again, after an activation that did not even begin: a boot loader that
/// could not be written (a full `/boot`) leaves a profile that names a system nobody can boot.
pub(super) fn take_back(session: &RebuildContext<'_>, former: &Path) {
    if let Ok(nix_env) = session.find("nix-env") {
        // The error that led here is the one to report; `status` shows the profile as it is.
        let _ = session.runner.run(&set_profile(session, &nix_env, former));
    }
}

fn set_profile<'a>(session: &'a RebuildContext<'_>, nix_env: &Path, system: &Path) -> Command<'a> {
    let args: Vec<OsString> = vec![
        "--profile".into(),
        session.machine.profile.clone().into(),
        "--set".into(),
        system.into(),
    ];
    session.command(nix_env, args)
}

fn switch<'a>(
    session: &'a RebuildContext<'_>,
    systemd_run: Option<&Path>,
    system: &Path,
    action: Action,
) -> Command<'a> {
    let program = system.join("bin/switch-to-configuration");
    let Some(systemd_run) = systemd_run else {
        return session
            .command(&program, vec![action.as_str().into()])
            .unless(units::is_activating);
    };
    let unit = format!("--unit={ACTIVATION}");
    let options = [
        "--collect",
        "--no-ask-password",
        "--pipe",
        "--quiet",
        "--wait",
        "--service-type=exec",
        "--setenv=LOCALE_ARCHIVE",
        "--setenv=NIXOS_INSTALL_BOOTLOADER",
        "--setenv=NIXOS_NO_CHECK",
        unit.as_str(),
        "--",
    ];
    let mut args: Vec<OsString> = options
        .into_iter()
        .filter(|option| {
            // A variable that is not set is an error to some versions.
            option
                .strip_prefix("--setenv=")
                .is_none_or(|name| session.environment.get(name).is_some())
        })
        .map(Into::into)
        .collect();
    args.push(program.into());
    args.push(action.as_str().into());
    session
        .command(systemd_run, args)
        .unless(units::is_activating)
}
