//! `hyper-sync complete`: what the completions of a shell offer from the state of a target.
//!
//! The scripts of `hyper-sync completions` hand over the words that are typed so far, and take what is printed for the
//! last one; where nothing is, they complete by themselves. Nothing is written and no network is used. An error prints
//! nothing, because a shell has no place for it.

use std::collections::BTreeSet;

use clap::{Args, Command};

use super::args::{self, Global};
use super::targets;
use crate::exit::Exit;
use crate::report::Report;
use crate::settings::{ConfigFile, Env, Settings};
use crate::state::{Index, StateDir, StateRecords};
use crate::{Error, sync, text};

/// Print what the last word may be
#[derive(Args)]
pub(super) struct Arguments {
    /// What was typed after the name of the program
    #[arg(value_name = "WORD", last = true)]
    words: Vec<String>,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A branch, tag or commit.
    Ref,
    /// A known target.
    Target,
    /// A commit or an update to go back to.
    Back,
    /// A file whose local edit was replaced.
    Edit,
}

impl Arguments {
    /// Prints the values, each on a line.
    pub(super) fn run(&self, env: &Env, report: &mut Report) -> Exit {
        let Some((last, before)) = self.words.split_last() else {
            return Exit::Done;
        };
        let values = expected(before, last).and_then(|expected| values(expected, before, env).ok());
        let lines: Vec<String> = values
            .unwrap_or_default()
            .into_iter()
            .filter(|value| value.starts_with(last.as_str()))
            .map(|value| format!("{value}\n"))
            .collect();
        report.result(lines.concat());
        Exit::Done
    }
}

/// What the word after these is, if it is something of a target's state.
fn expected(before: &[String], last: &str) -> Option<Expected> {
    let mut root = args::command();
    root.build();
    let mut command = &root;
    let mut option = None;
    for word in before {
        // bash has it as a word of its own.
        if word == "=" {
            continue;
        }
        if option.take().is_some() {
        } else if let Some(name) = word.strip_prefix("--") {
            option = (!name.contains('='))
                .then(|| takes_value(command, name))
                .flatten();
        } else if let Some(below) = command.find_subcommand(word) {
            command = below;
        }
    }
    match option {
        Some("ref") => Some(Expected::Ref),
        Some("target") => Some(Expected::Target),
        Some(_) => None,
        None if last.starts_with('-') => None,
        None => match command.get_name() {
            "sync" => Some(Expected::Ref),
            "rollback" => Some(Expected::Back),
            "restore" => Some(Expected::Edit),
            "forget" => Some(Expected::Target),
            _ => None,
        },
    }
}

/// The name of an option, if the next word is its value.
fn takes_value<'a>(command: &Command, name: &'a str) -> Option<&'a str> {
    let mut options = command.get_arguments();
    let option = options.find(|option| option.get_long() == Some(name))?;
    option.get_action().takes_values().then_some(name)
}

fn values(expected: Expected, before: &[String], env: &Env) -> Result<BTreeSet<String>, Error> {
    let global = Global::of_words(before);
    if expected == Expected::Target {
        let known = targets::known(&global, env)?.known.into_iter();
        return Ok(known.map(|known| text::path(known.record.target)).collect());
    }
    let file = ConfigFile::find(global.config.as_deref(), env)?;
    let settings = Settings::resolve_with(&global.overrides(), env, file.as_ref(), &StateRecords)?;
    let settings = settings.settings;
    let Some(state) = StateDir::find(&settings.state_dir, &settings.target)? else {
        return Ok(BTreeSet::new());
    };
    let mut values = BTreeSet::new();
    if expected == Expected::Ref {
        let index = Index::load(&state)?.whole();
        values.extend(index.map(|index| index.point.reference));
        values.extend(sync::followed_names(&state)?);
        return Ok(values);
    }
    let (updates, _) = sync::history(&state)?;
    for update in updates {
        if expected == Expected::Edit {
            let edited = update.changes.iter().filter(|change| change.edited);
            values.extend(edited.map(|change| change.path.to_string()));
        } else {
            values.insert(update.id.to_string());
            values.extend(update.before.map(|point| point.commit.short()));
            values.insert(update.after.commit.short());
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_by_the_words_before_it() {
        for (words, found) in [
            ("--ref ", Some(Expected::Ref)),
            ("--ref = ma", Some(Expected::Ref)),
            ("sync --ref m", Some(Expected::Ref)),
            ("sync ", Some(Expected::Ref)),
            ("sync --dry-run m", Some(Expected::Ref)),
            ("sync --transport ", None),
            ("sync --ref=main ", Some(Expected::Ref)),
            ("sync -", None),
            ("status --target /etc", Some(Expected::Target)),
            ("status ", None),
            ("--target /etc/nixos restore ", Some(Expected::Edit)),
            ("--target restore ", None),
            ("rollback ", Some(Expected::Back)),
            ("forget ", Some(Expected::Target)),
            ("config ", None),
            ("sy", None),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let (last, before) = words.split_last().unwrap();
            assert_eq!(expected(before, last), found, "{words:?}");
        }
    }
}
