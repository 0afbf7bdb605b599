//! `hyper-sync suspend` and `hyper-sync resume`, and what a suspension means for a run.

use std::fmt;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::rebuild::{RebuildPolicy, with_request};
use super::{CliCommand, Run, metrics, status};
use crate::Error;
use crate::exit::Exit;
use crate::git::CommitId;
use crate::lock::RunLock;
use crate::rebuild::{self, Reboot};
use crate::report::OutputFormat;
use crate::settings::{self, Settings};
use crate::state::{self, Damage, StateDir, Suspended, Suspension};
use crate::sync::Hold;
use crate::text;

/// Let the timer and the units of this machine do nothing for a while
///
/// They end at once with exit code 0, reach no network, and neither rebuild nor reboot, until `hyper-sync resume` or
/// the end of `--for`. What a person runs goes on, with a note. A run that is active is not stopped. A second
/// suspension takes the place of the first.
#[derive(Args)]
pub(super) struct Arguments {
    /// How long, such as `2h` or `3 days`, at most a year [default: until `hyper-sync resume`]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_length)]
    length: Option<Duration>,
    /// Why, for those who read `hyper-sync status`
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: Option<String>,
}

/// Let the timer and the units work again after `hyper-sync suspend`
///
/// A commit that a rollback left stays held: the next commit ends that, or `hyper-sync sync --resume`.
#[derive(Args)]
pub(super) struct ResumeArguments {}

/// 365 days; to stop updates for longer, disable the timer.
const LENGTH_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn parse_length(text: &str) -> Result<Duration, String> {
    let length = settings::duration(text).map_err(|problem| format!("it {problem}"))?;
    if length > LENGTH_MAX {
        return Err("it is more than a year".to_owned());
    }
    Ok(length)
}

fn parse_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text if text.chars().count() > text::WORDS_MAX => {
            Err(format!("it has more than {} characters", text::WORDS_MAX))
        }
        text => Ok(text.to_owned()),
    }
}

/// A suspension, for JSON and as text on one line.
#[derive(Serialize)]
pub(super) struct Shown {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    reason: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// Its record cannot be read, so nothing else of it is known.
    damaged: bool,
    #[serde(skip)]
    damage: Option<Damage>,
}

impl From<Suspended> for Shown {
    fn from(found: Suspended) -> Self {
        match found {
            Suspended::Known(Suspension {
                since,
                until,
                reason,
                reference,
            }) => Self {
                since: Some(since),
                until,
                reason: reason.map(text::words),
                reference: reference.map(text::words),
                damaged: false,
                damage: None,
            },
            Suspended::Damaged(damage) => Self {
                since: None,
                until: None,
                reason: None,
                reference: None,
                damaged: true,
                damage: Some(damage),
            },
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, output: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(since) = self.since {
            write!(output, "since {since:.0}")?;
            separator = ", ";
        }
        if let Some(until) = self.until {
            write!(output, "{separator}until {until:.0}")?;
        }
        if let Some(reason) = &self.reason {
            write!(output, ": {reason}")?;
        }
        if let Some(reference) = &self.reference {
            write!(
                output,
                ": `{}` was chosen in place of the configured name",
                text::name(reference)
            )?;
        }
        if let Some(damage) = self.damage {
            write!(output, "without an end: its record is damaged ({damage})")?;
        }
        Ok(())
    }
}

/// What `suspend --json` prints, and a run that a suspension ends.
#[derive(Serialize)]
struct Document {
    suspended: Option<Shown>,
    /// The suspension before it.
    replaced: Option<Shown>,
    /// Whether a run is active, which goes on.
    active: bool,
    /// Whether a reboot was scheduled, and is no more.
    reboot_cancelled: bool,
}

/// What `resume --json` prints.
#[derive(Serialize)]
struct ResumeDocument {
    /// Always null, because there is no suspension any more.
    suspended: Option<Shown>,
    /// The suspension that was ended; null if there was none.
    ended: Option<Shown>,
    /// The commits that stay held after a rollback.
    held: Vec<CommitId>,
}

impl CliCommand for Arguments {
    /// Writes the metrics itself, because otherwise it would wait for their lock.
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        status::warn_of_other_owner(false, settings, run);
        let state = StateDir::open(&settings.state_dir)?;
        state.refuse_other(&settings.target)?;
        let since = state::now();
        let suspension = Suspension {
            since,
            // A year from now is a time that the clock has.
            until: self
                .length
                .and_then(|length| since.checked_add(length).ok()),
            reason: self.reason.clone(),
            reference: None,
        };
        let replaced = Suspended::set(&state, suspension)?.map(Shown::from);
        let suspended = Suspended::load(&state)?.map(Shown::from);
        let active = RunLock::is_held(&state)?;
        let reboot_cancelled = cancel_reboot(settings, &state, run)?;
        match run.report.format() {
            OutputFormat::Json => run.report.json(&Document {
                suspended,
                replaced,
                active,
                reboot_cancelled,
            }),
            OutputFormat::Human => {
                if let Some(shown) = suspended {
                    run.report.text(format!(
                        "suspended {shown}; `hyper-sync resume` ends that\n"
                    ));
                }
                if reboot_cancelled {
                    run.report
                        .note("the reboot that was scheduled is cancelled");
                }
                if active {
                    run.report.note(
                        "a run is active and goes on; the next one of the timer does nothing",
                    );
                }
            }
        }
        write_metrics(active, settings, run);
        Ok(Exit::Done)
    }
}

impl CliCommand for ResumeArguments {
    /// As with `suspend`.
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        status::warn_of_other_owner(false, settings, run);
        let state = StateDir::find(&settings.state_dir, &settings.target)?;
        let now = Timestamp::now();
        let (mut ended, mut held, mut active) = (None, Vec::new(), false);
        if let Some(state) = &state {
            let found = Suspended::end(state)?;
            ended = found
                .filter(|found| found.ended(now).is_none())
                .map(Shown::from);
            let mark = Hold::load(state)?;
            held.extend(mark.into_iter().flat_map(|mark| mark.commits));
            active = RunLock::is_held(state)?;
        }
        match run.report.format() {
            OutputFormat::Json => run.report.json(&ResumeDocument {
                suspended: None,
                ended,
                held,
            }),
            OutputFormat::Human => {
                run.report.text(&match ended {
                    Some(ended) => format!("updates go on; they were suspended {ended}\n"),
                    None => "updates were not suspended\n".to_owned(),
                });
                for commit in held {
                    run.report.note(&format!(
                        "{} is still held after a rollback; the next commit ends that, or `hyper-sync sync --resume`",
                        commit.short()
                    ));
                }
            }
        }
        if state.is_some() {
            write_metrics(active, settings, run);
        }
        Ok(Exit::Done)
    }
}

/// A run that is active writes the metrics when it ends.
fn write_metrics(active: bool, settings: &Settings, run: &mut Run<'_>) {
    if !active {
        metrics::write(&Ok(Exit::Done), settings, run);
    }
}

/// Cancels the reboot that an earlier run has scheduled.
fn cancel_reboot(settings: &Settings, state: &StateDir, run: &Run<'_>) -> Result<bool, Error> {
    if Reboot::load(state)?.is_none() {
        return Ok(false);
    }
    let policy = RebuildPolicy::of_revert();
    Ok(with_request(
        policy,
        settings,
        state,
        run,
        rebuild::cancel_reboot,
    )??)
}

/// How a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starter {
    /// A unit, on its timer or by hand.
    Unit,
    /// A user.
    Person,
}

impl Starter {
    /// Determined by the option that the units pass.
    pub(super) const fn unit_if(option: bool) -> Self {
        if option { Self::Unit } else { Self::Person }
    }
}

/// Whether a suspension ends this run before it does anything, which is printed; a run that a user started continues,
/// with a note. An expired suspension is removed.
pub(super) fn ends_run(
    starter: Starter,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<bool, Error> {
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(false);
    };
    let Some(found) = Suspended::remove_ended(&state, Timestamp::now())?.map(Shown::from) else {
        return Ok(false);
    };
    match starter {
        Starter::Unit => print_ended(found, run),
        // The run itself says what it means.
        Starter::Person if found.reference.is_some() => {}
        Starter::Person => run.report.note(&format!(
            "updates are suspended {found}; this run goes on, and `hyper-sync resume` lets the timer go on"
        )),
    }
    Ok(starter == Starter::Unit)
}

fn print_ended(found: Shown, run: &mut Run<'_>) {
    match run.report.format() {
        OutputFormat::Human => run.report.message(&format!(
            "nothing is done: updates are suspended {found}; `hyper-sync resume` ends that"
        )),
        OutputFormat::Json => run.report.json(&Document {
            suspended: Some(found),
            replaced: None,
            active: false,
            reboot_cancelled: false,
        }),
    }
}
