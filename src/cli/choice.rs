//! A person brings the target to another branch, tag or commit than the configured one: the timer leaves it there.
//!
//! Otherwise the next run of the timer would take the machine back unasked. So the units are suspended, with the name as
//! the reason, until a person runs the sync without it, until `hyper-sync resume`, or until the end that `--for` sets. A
//! suspension that a person has set by `hyper-sync suspend` stays as it is.
//!
//! Limits: without a configuration file there is no configured name, and nothing is suspended.

use std::time::Duration;

use super::args::Global;
use super::suspend::Starter;
use super::{Run, resolve};
use crate::Error;
use crate::report::Report;
use crate::settings::{Env, Origin, Overrides, ResolvedSettings, Settings};
use crate::state::{self, StateDir, Suspended, Suspension};
use crate::sync;
use crate::text;

/// The branch, tag or commit of a run, against the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is the configured one, or none is configured for this target.
    Configured,
    /// An option names another one.
    Other {
        /// The configured one.
        configured: String,
    },
}

impl Choice {
    /// What the options of a run have chosen.
    pub(super) fn of(
        resolved: &ResolvedSettings,
        global: &Global,
        env: &Env,
        report: &mut Report,
    ) -> Result<Self, Error> {
        let settings = &resolved.settings;
        let mut entries = resolved.entries.iter();
        let is_given =
            entries.any(|entry| entry.name == "ref" && matches!(entry.origin, Origin::Flag(_)));
        if !is_given || settings.config_file.is_none() {
            return Ok(Self::Configured);
        }
        let configured = resolve(global, &Overrides::none(), env, report)?.settings;
        let is_other =
            configured.target == settings.target && configured.reference != settings.reference;
        Ok(if is_other {
            Self::Other {
                configured: configured.reference,
            }
        } else {
            Self::Configured
        })
    }
}

/// What becomes of the timer in a run.
pub(super) enum Stay {
    /// Nothing.
    Unchanged,
    /// It is to leave the target at another name than the configured one.
    Begins {
        state: StateDir,
        /// The suspension for another name before it.
        before: Option<Suspension>,
        until: Option<jiff::Timestamp>,
        configured: String,
    },
    /// It is to follow the configured name again.
    Ends(StateDir),
}

impl Stay {
    /// Before a person's run that changes the target: a timer that starts meanwhile does nothing already.
    pub(super) fn begin(
        starter: Starter,
        length: Option<Duration>,
        settings: &Settings,
        run: &mut Run<'_>,
    ) -> Result<Self, Error> {
        if starter == Starter::Unit {
            return Ok(Self::Unchanged);
        }
        let since = state::now();
        let Choice::Other { configured } = &run.choice else {
            if length.is_some() {
                run.report
                    .warning("`--for` has no effect: the timer follows the same name");
            }
            let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
                return Ok(Self::Unchanged);
            };
            let active = Suspended::active(&state, since)?;
            return Ok(match active {
                Some(Suspended::Known(active)) if active.reference.is_some() => Self::Ends(state),
                _ => Self::Unchanged,
            });
        };
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        let before = match Suspended::active(&state, since)? {
            None => None,
            Some(Suspended::Known(active)) if active.reference.is_some() => Some(active),
            // A person has decided for how long.
            Some(_) => return Ok(Self::Unchanged),
        };
        let until = length.and_then(|length| since.checked_add(length).ok());
        let suspension = Suspension {
            since,
            until,
            reason: None,
            reference: Some(settings.reference.clone()),
        };
        let _ = Suspended::set(&state, suspension)?;
        Ok(Self::Begins {
            state,
            before,
            until,
            configured: configured.clone(),
        })
    }

    /// After the sync: a sync that failed has changed nothing.
    pub(super) fn settle<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        match (&done, self) {
            (Err(_), Self::Begins { state, before, .. }) => {
                // The error of the sync matters more.
                let _ = Suspended::put_back(state, before.as_ref());
            }
            (Ok(_), Self::Ends(state)) => {
                let _ = Suspended::end(state)?;
            }
            _ => {}
        }
        done
    }

    /// Says so.
    pub(super) fn print(&self, outcome: &sync::Outcome, settings: &Settings, run: &mut Run<'_>) {
        let reference = text::name(&settings.reference);
        match self {
            Self::Unchanged => {}
            Self::Begins {
                until, configured, ..
            } => {
                let end = until.map_or_else(String::new, |until| format!(" until {until:.0}"));
                run.report.note(&format!(
                    "the timer leaves the target at `{reference}`{end}; a run without `--ref` goes back to `{}`, and `hyper-sync resume` lets the timer do that",
                    text::name(configured)
                ));
            }
            Self::Ends(_) if outcome.is_held() => run.report.warning(&format!(
                "the target is not at `{reference}` yet, because its commit is held: `hyper-sync sync --resume` takes it, and otherwise its next commit comes with the next run"
            )),
            Self::Ends(_) => {
                run.report
                    .note(&format!("the timer follows `{reference}` again"));
            }
        }
    }
}
