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
use super::{Run, settings_of};
use crate::Error;
use crate::exit::Exit;
use crate::settings::{self, Env, Origin, Overrides, ResolvedSetting, ResolvedSettings, Settings};
use crate::state::{self, StateDir, Suspended, Suspension};
use crate::sync;
use crate::text;

/// What the options of a run set otherwise than the configuration of its target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The configured branch, tag or commit, where an option names another one.
    pub(super) configured: Option<String>,
    /// Whether an option sets any setting otherwise.
    pub(super) is_own: bool,
}

impl Choice {
    /// What the options of a run have chosen.
    pub(super) fn of(
        resolved: &ResolvedSettings,
        global: &Global,
        env: &Env,
    ) -> Result<Self, Error> {
        let settings = &resolved.settings;
        let is_given = |entry: &ResolvedSetting| matches!(entry.origin, Origin::Flag(_));
        if settings.config_file.is_none() || !resolved.entries.iter().any(is_given) {
            return Ok(Self::default());
        }
        let configured = settings_of(global, &Overrides::none(), env)?;
        if configured.settings.target != settings.target {
            return Ok(Self::default());
        }
        let is_set_so = |entry: &ResolvedSetting| {
            let mut entries = configured.entries.iter();
            entries.any(|known| known.name == entry.name && known.value == entry.value)
        };
        let mut given = resolved.entries.iter().filter(|entry| is_given(entry));
        let reference = configured.settings.reference;
        Ok(Self {
            is_own: given.any(|entry| !is_set_so(entry)),
            configured: Some(reference).filter(|reference| *reference != settings.reference),
        })
    }

    /// Whether a run failed because of what its command line asked for, and says nothing about the machine: the next run
    /// of the timer does not meet it. `rebuilds`: it was in the rebuild.
    ///
    /// A wrong setting of the configuration file is no such mistake, whoever started the run.
    pub(super) fn is_mistaken(&self, error: &Error, rebuilds: bool) -> bool {
        if matches!(error, Error::Settings(settings::Error::NoRebuild)) {
            return true;
        }
        match Exit::from(error) {
            Exit::Usage => true,
            Exit::Configuration => self.is_own,
            // About the commit of the other branch.
            Exit::Verification | Exit::UnsafeTree | Exit::Conflict => {
                self.configured.is_some() && !rebuilds
            }
            _ => false,
        }
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
        let Some(configured) = &run.choice.configured else {
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

    /// After the sync: one that failed, or whose commit is held, has left the target where it was.
    pub(super) fn settle(
        &self,
        done: Result<sync::Outcome, Error>,
    ) -> Result<sync::Outcome, Error> {
        match (&done, self) {
            (Err(_), Self::Begins { state, before, .. }) => {
                // The error of the sync matters more.
                let _ = Suspended::put_back(state, before.as_ref());
            }
            (Ok(outcome), Self::Begins { state, before, .. }) if outcome.is_held() => {
                Suspended::put_back(state, before.as_ref())?;
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
            // A warning names the way to it.
            Self::Begins { .. } if outcome.is_held() => {}
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
