//! `hyper-sync rollback`: an earlier commit, from what past updates replaced.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};

use super::{CliCommand, Run};
use crate::Error;
use crate::apply::TxId;
use crate::apply::undo::Back;
use crate::exit::Exit;
use crate::report::{OutputFormat, sync as render};
use crate::settings::{LocalEdits, Overrides, Settings};
use crate::sync::{self, Options, SyncMode};

/// Bring the target back to an earlier commit, without the network
///
/// Local edits that the undone updates had replaced are put back. The commit that is left is held: a sync takes it
/// again only with `--resume`, or when the branch has moved on. Rebuild afterwards with `hyper-sync rebuild`. A
/// rollback is an update itself: a second one undoes it, and to go further back, name the commit.
#[derive(Args)]
pub(super) struct Arguments {
    /// How many commits back; or the commit to go back to (the beginning of its id is enough); or the number of an update
    /// in `hyper-sync history`, to what was there before it
    #[arg(value_name = "N|COMMIT|UPDATE", default_value = "1", value_parser = parse_back, value_hint = ValueHint::Other)]
    back: Back,
    /// List every file that would be written or deleted; the target stays as it is
    #[arg(long)]
    dry_run: bool,
    /// What happens to files edited since the last sync [setting: `local_edits`]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(LocalEdits::WORDS))]
    local_edits: Option<String>,
}

/// A small number counts commits; six digits are the number of an update; anything else is the beginning of a commit id.
fn parse_back(text: &str) -> Result<Back, String> {
    match text.parse() {
        Ok(0) => Err("0 updates back is where it is".to_owned()),
        Ok(count) if text.len() < 4 => Ok(Back::Updates(count)),
        Ok(number) if text.len() == 6 => Ok(Back::Before(TxId(number), text.to_owned())),
        _ if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(Back::Commit(text.to_ascii_lowercase()))
        }
        _ => Err("it is neither a number of commits, nor that of an update, nor the beginning of a commit id".to_owned()),
    }
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        global.with("local_edits", "--local-edits", self.local_edits.as_ref())
    }

    fn may_change(&self) -> bool {
        !self.dry_run
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let options = Options::unguarded(if self.dry_run {
            SyncMode::DryRun
        } else {
            SyncMode::Apply
        });
        super::status::warn_of_other_owner(true, settings, run);
        let outcome = run.watched(settings, |context| {
            sync::rollback(context, &options, &self.back)
        })?;
        let document = render::Document::new(&outcome, run.report);
        if outcome.mode == SyncMode::Apply && outcome.has_changes() {
            run.has_changed(settings, &document);
        }
        match run.report.format() {
            OutputFormat::Json => run.report.json(&document),
            OutputFormat::Human => {
                render::human(run.report, &outcome);
                if let Some(left) = outcome
                    .before
                    .filter(|left| *left != outcome.commit.id && !self.dry_run)
                {
                    run.report.note(&format!(
                        "{} is held until the branch moves on or `hyper-sync sync --resume`; `hyper-sync rebuild` builds what is here now",
                        left.short()
                    ));
                }
            }
        }
        Ok(super::sync::late(&outcome))
    }
}
