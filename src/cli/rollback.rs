//! `hyper-sync rollback`: an earlier commit, from what past updates replaced.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::rebuild::{self, RebuildPolicy};
use super::{CliCommand, Run};
use crate::Error;
use crate::apply::TxId;
use crate::apply::undo::Back;
use crate::exit::Exit;
use crate::rebuild::Outcome as Rebuilt;
use crate::report::{OutputFormat, sync as render};
use crate::settings::{self, LocalEdits, Overrides, Settings};
use crate::state::{self, StateDir, Suspended};
use crate::sync::{self, Hold, Options, Outcome, SyncMode};
use crate::text;

/// Bring the target back to an earlier commit, without the network
///
/// Local edits that the undone updates had replaced are put back. The commit that is left is held: a sync takes it
/// again only with `--resume`, or when the branch has moved on. Rebuild afterwards with `hyper-sync rebuild`, or at once
/// with `--rebuild`. A rollback is an update itself: a second one undoes it, and to go further back, name the commit.
#[derive(Args)]
pub(super) struct Arguments {
    /// How many commits back; or the commit to go back to (the beginning of its id is enough); or the number of an update
    /// in `hyper-sync history`, to what was there before it; or a time, to what was there then: `2026-11-28`,
    /// `"2026-11-28 18:00"`, `"2h ago"`
    #[arg(value_name = "N|COMMIT|UPDATE|TIME", default_value = "1", value_parser = parse_back, value_hint = ValueHint::Other)]
    back: Back,
    /// List every file that would be written or deleted; the target stays as it is
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Rebuild the system from the files as they are then
    #[arg(long, conflicts_with = "dry_run")]
    rebuild: bool,
    /// What happens to files edited since the last sync [setting: `local_edits`]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(LocalEdits::WORDS))]
    local_edits: Option<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    sync: render::Document<'a>,
    /// None if none was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<Rebuilt>,
}

/// A small number counts commits; six digits are the number of an update; hex digits are the beginning of a commit id;
/// anything else is a time.
fn parse_back(text: &str) -> Result<Back, String> {
    match text.parse() {
        Ok(0) => Err("0 updates back is where it is".to_owned()),
        Ok(count) if text.len() < 4 => Ok(Back::Updates(count)),
        Ok(number) if text.len() == 6 => Ok(Back::Before(TxId(number), text.to_owned())),
        _ if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(Back::Commit(text.to_ascii_lowercase()))
        }
        _ => parse_time(text).map(Back::At).ok_or_else(|| {
            "it is neither a number of commits, nor that of an update, nor the beginning of a commit id, nor a time such as `2026-11-28 18:00` or `2h ago`".to_owned()
        }),
    }
}

/// A time of this machine's time zone; of a date, its beginning.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Some(length) = text.strip_suffix(" ago") {
        let length = SignedDuration::try_from(settings::duration(length).ok()?).ok()?;
        return Timestamp::now().checked_sub(length).ok();
    }
    let local = |time: DateTime| Some(time.to_zoned(TimeZone::system()).ok()?.timestamp());
    { text.parse().ok() }.or_else(|| local(text.parse().ok()?))
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        global.with("local_edits", "--local-edits", self.local_edits.as_ref())
    }

    fn may_change(&self) -> bool {
        !self.dry_run
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let mode = if self.dry_run {
            SyncMode::DryRun
        } else {
            SyncMode::Apply
        };
        let options = Options {
            command: self.command(),
            ..Options::unguarded(mode)
        };
        super::status::warn_of_other_owner(true, settings, run);
        let policy = { self.rebuild }
            .then(|| RebuildPolicy::after_rollback(settings))
            .transpose()?;
        // Checked now, before anything has changed.
        let state = policy.map(|policy| rebuild::preflight(policy, settings, run));
        let state = state.transpose()?;
        let outcome = run.watched(settings, |context| {
            sync::rollback(context, &options, &self.back)
        })?;
        if run.report.format() == OutputFormat::Human {
            let rebuilds = settings.rebuild.action.is_some();
            let rebuild_is_left = rebuilds && !self.rebuild && !outcome.does_nothing();
            render::human(run.report, &outcome, &settings.target, rebuild_is_left);
            self.print_hold(&outcome, settings, run)?;
        }
        super::sync::refused(&outcome, run)?;
        let exit = super::sync::late(&outcome);
        let mut document = Document {
            sync: render::Document::new(&outcome, run.report),
            rebuild: None,
        };
        run.report
            .done(&serde_json::json!({ "sync": document.sync }));
        let rebuild = policy.zip(state).filter(|_| exit == Exit::Done);
        if let Some((policy, state)) = rebuild {
            document.rebuild = Some(rebuild::after_sync(policy, settings, &state, run)?);
        }
        let has_rebuilt = { &document.rebuild }
            .as_ref()
            .is_some_and(|rebuilt| rebuilt.status.changes_system());
        if has_rebuilt || (outcome.mode == SyncMode::Apply && outcome.has_changes()) {
            run.has_changed(settings, &document);
        }
        if run.report.format() == OutputFormat::Json {
            run.report.json(&document);
        }
        Ok(exit)
    }
}

impl Arguments {
    /// The command for advice.
    fn command(&self) -> String {
        let rebuild = if self.rebuild { " --rebuild" } else { "" };
        let back = match &self.back {
            Back::Updates(1) => String::new(),
            Back::Updates(count) => format!(" {count}"),
            Back::Commit(begin) | Back::Before(_, begin) => format!(" {begin}"),
            Back::At(time) => format!(" {time}"),
        };
        format!("hyper-sync rollback{back}{rebuild}")
    }

    /// What becomes of the commit that is left, and of a timer that leaves the target at another branch.
    fn print_hold(
        &self,
        outcome: &Outcome,
        settings: &Settings,
        run: &mut Run<'_>,
    ) -> Result<(), Error> {
        let left = outcome.before.filter(|left| *left != outcome.commit.id);
        let Some(left) = left.filter(|_| !self.dry_run) else {
            return Ok(());
        };
        let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
            return Ok(());
        };
        if let Some(hold) = Hold::load(&state)? {
            run.report.note(&format!(
                "{} is held until the branch moves on or `{}`",
                left.short(),
                hold.resume_command(&settings.reference)
            ));
        }
        if let Some(Suspended::Known(active)) = Suspended::active(&state, state::now())?
            && let Some(chosen) = &active.reference
        {
            run.report.note(&format!(
                "the timer still does nothing, because `{}` was chosen; `hyper-sync resume` lets it follow `{}`",
                text::name(chosen),
                text::name(&settings.reference)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_a_number_a_commit_an_update_or_a_time() {
        assert_eq!(parse_back("2"), Ok(Back::Updates(2)));
        assert_eq!(parse_back("0042ab"), Ok(Back::Commit("0042ab".to_owned())));
        assert_eq!(
            parse_back("000003"),
            Ok(Back::Before(TxId(3), "000003".to_owned()))
        );
        let time = "2026-11-28T18:00:00Z";
        assert_eq!(parse_back(time), Ok(Back::At(time.parse().unwrap())));
        for time in ["2026-11-28", "2026-11-28 18:00", "2h ago", "3 days ago"] {
            assert!(matches!(parse_back(time), Ok(Back::At(_))), "{time}");
        }
        for wrong in ["0", "", "ago", " ago", "yesterday", "2026-13-01", "-1"] {
            assert!(parse_back(wrong).is_err(), "{wrong}");
        }
    }
}
