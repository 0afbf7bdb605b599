//! Activates a system.
//!
//! [`Activator`] activates exactly the system that was built: by `nixos-rebuild ACTION --store-path SYSTEM` if that is
//! supported (nixpkgs of 2026), else as `nixos-rebuild` does it: the profile is set, then `switch-to-configuration`
//! runs in a transient unit with a fixed name, so that it continues if we die, and never runs twice at once.
//!
//! [`nixos_rebuild`] builds and activates the live tree, as by hand, if a build cannot be pinned. An edit made
//! meanwhile may be in the system or not, and if the tree is a flake input, an outdated lock file makes it build the
//! old tree.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine;
use super::outcome::RebuildStatus;
use super::output::Verdict;
use crate::health::systemd::ACTIVATION;
use crate::process::{Command, Finished, Output};
use crate::settings::Action;

/// The least time that setting the profile may take.
const PROFILE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much longer the unit of an activation may run than this process waits for it.
const UNIT_GRACE: Duration = Duration::from_secs(60);

/// Whether a system makes its pre-switch checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
    Made,
    Skipped,
}

/// A way to activate a system.
#[derive(Debug)]
pub(super) enum Activator {
    /// `nixos-rebuild --store-path`.
    StorePath { nixos_rebuild: PathBuf },
    /// `switch-to-configuration` of the system.
    SwitchToConfiguration {
        nix_env: PathBuf,
        /// `None` without systemd.
        systemd_run: Option<PathBuf>,
    },
}

impl Activator {
    /// Chooses the first that this machine supports.
    pub(super) fn find(context: &RebuildContext<'_>) -> Result<Self, ErrorKind> {
        if let Ok(nixos_rebuild) = context.find("nixos-rebuild") {
            // An unknown option is an error before anything is done; with known ones `--help` succeeds.
            let probe = ["--store-path", "/nix/store", "--no-reexec", "--help"].map(OsString::from);
            let probe = context.command(&nixos_rebuild, probe.to_vec());
            let known = context.runner.run(&probe.output(Output::Quiet));
            if known.is_ok_and(|finished| finished.end.is_success()) {
                return Ok(Self::StorePath { nixos_rebuild });
            }
        }
        let systemd_run = if context.machine.has_systemd() {
            Some(context.find("systemd-run")?)
        } else {
            None
        };
        Ok(Self::SwitchToConfiguration {
            nix_env: context.find("nix-env")?,
            systemd_run,
        })
    }

    /// Activates a system.
    pub(super) fn activate(
        &self,
        context: &RebuildContext<'_>,
        system: &Path,
        action: Action,
    ) -> Result<(Verdict, Finished), ErrorKind> {
        match self {
            Self::StorePath { nixos_rebuild } => {
                let mut args: Vec<OsString> = vec![action.as_str().into(), "--store-path".into()];
                args.push(system.into());
                // Otherwise it would evaluate the flake to find a newer version of itself.
                args.push("--no-reexec".into());
                let (code, finished) = context.activate(context.command(nixos_rebuild, args))?;
                let verdict = match Verdict::of_rebuild(code, &finished.tail) {
                    // Nothing was to be built.
                    Verdict::NotBuilt => Verdict::NotActivated,
                    verdict => verdict,
                };
                Ok((verdict, finished))
            }
            Self::SwitchToConfiguration {
                nix_env,
                systemd_run,
            } => {
                if matches!(action, Action::Switch | Action::Boot) {
                    let set = profile_command(context, nix_env, "--set", system.as_ref());
                    let (code, finished) = context.run(&set)?;
                    if code != 0 {
                        return Ok((Verdict::NotActivated, finished));
                    }
                }
                switch(
                    context,
                    systemd_run.as_deref(),
                    system,
                    action,
                    Checks::Made,
                )
            }
        }
    }
}

/// Makes the former system the boot default again after an activation that did not begin: if the boot loader cannot be
/// written (a full `/boot`), the profile names a system that cannot be booted.
///
/// If the `generation` before the activation is known, the one that the activation made is deleted: a run that fails
/// every half hour would fill the boot menu, and `configurationLimit` would remove the systems that do boot.
pub(super) fn restore_profile(
    context: &RebuildContext<'_>,
    former: &Path,
    generation_before: Option<u64>,
) {
    let Ok(nix_env) = context.find("nix-env") else {
        return;
    };
    let run = |option: &str, value: &OsStr| {
        let command = profile_command(context, &nix_env, option, value);
        let finished = context.runner.run(&command);
        finished.is_ok_and(|finished| finished.end.is_success())
    };
    // The error of the activation is the one to report; `status` shows the profile as it is.
    match (generation_before, context.machine.generation()) {
        (Some(before), Some(made)) if made > before => {
            if run("--switch-generation", before.to_string().as_ref()) {
                run("--delete-generations", made.to_string().as_ref());
            }
        }
        _ => {
            run("--set", former.as_ref());
        }
    }
}

/// `nix-env` on the profile of the system.
pub(super) fn profile_command<'a>(
    context: &'a RebuildContext<'_>,
    nix_env: &Path,
    option: &str,
    value: &OsStr,
) -> Command<'a> {
    let args: Vec<OsString> = vec![
        "--profile".into(),
        context.machine.profile.clone().into(),
        option.into(),
        value.into(),
    ];
    let mut command = context.command(nix_env, args);
    // After a long build, too.
    command.timeout = command.timeout.max(PROFILE_TIMEOUT);
    command
}

/// Runs `switch-to-configuration` of a system, with systemd in a unit of its own.
pub(super) fn switch(
    context: &RebuildContext<'_>,
    systemd_run: Option<&Path>,
    system: &Path,
    action: Action,
    checks: Checks,
) -> Result<(Verdict, Finished), ErrorKind> {
    let program = system.join("bin/switch-to-configuration");
    let command = match systemd_run {
        Some(systemd_run) => in_unit(context, systemd_run, &program, action, checks),
        None => context.command(&program, vec![action.as_str().into()]),
    };
    let (code, finished) = context.activate(command)?;
    Ok((Verdict::of_activation(code, &finished.tail), finished))
}

fn in_unit<'a>(
    context: &'a RebuildContext<'_>,
    systemd_run: &Path,
    program: &Path,
    action: Action,
    checks: Checks,
) -> Command<'a> {
    let unit = format!("--unit={ACTIVATION}");
    // Ends an activation that hangs also when this process has died.
    let limit = context.request.settings.activation_timeout + UNIT_GRACE;
    let limit = format!("--property=RuntimeMaxSec={}", limit.as_secs());
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
        limit.as_str(),
    ];
    let mut args: Vec<OsString> = options
        .into_iter()
        .filter(|option| {
            // An unset variable is an error for some versions.
            option
                .strip_prefix("--setenv=")
                .is_none_or(|name| context.environment.get(name).is_some())
        })
        .map(Into::into)
        .collect();
    if checks == Checks::Skipped {
        args.push("--setenv=NIXOS_NO_CHECK=1".into());
    }
    args.push("--".into());
    args.push(program.into());
    args.push(action.as_str().into());
    context.command(systemd_run, args)
}

/// Runs `nixos-rebuild ACTION --flake FLAKE#HOST`.
pub(super) fn nixos_rebuild(
    context: &RebuildContext<'_>,
    host: &str,
    action: Action,
) -> Result<(Verdict, Finished), ErrorKind> {
    let program = context.find("nixos-rebuild")?;
    let settings = &context.request.settings;
    let mut args = vec![
        action.as_str().to_owned(),
        "--flake".to_owned(),
        format!("{}#{host}", settings.flake.display()),
    ];
    args.extend(settings.extra_args.iter().cloned());
    if context.request.verbose {
        args.push("--show-trace".to_owned());
    }
    let args = args.into_iter().map(Into::into).collect();
    let command = context
        .command(&program, args)
        .unless(machine::is_activating);
    let (code, finished) = context.run(&command)?;
    let verdict = match action {
        Action::Build if code == 0 => Verdict::Done,
        Action::Build => Verdict::NotBuilt,
        Action::Test | Action::Switch | Action::Boot | Action::DryActivate => {
            Verdict::of_rebuild(code, &finished.tail)
        }
    };
    Ok((verdict, finished))
}

/// The system that [`nixos_rebuild`] built, if a link of the machine shows it.
pub(super) fn live_system(
    context: &RebuildContext<'_>,
    action: Action,
    status: RebuildStatus,
) -> Option<PathBuf> {
    let systems = context.machine.systems();
    match action {
        Action::Switch if status == RebuildStatus::RebootNeeded => systems.profile,
        Action::Build => machine::system(&context.request.state.path().join("result")),
        Action::Test | Action::Switch => systems.current,
        Action::Boot => systems.profile,
        Action::DryActivate => None,
    }
}
