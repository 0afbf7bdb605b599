//! `config show`, `config check` and `config explain`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory as _, Subcommand, ValueHint};
use serde::Serialize;

use super::args::{Cli, Global};
use super::resolve;
use crate::Error;
use crate::exit::Exit;
use crate::report::styled::{Style, Styled};
use crate::report::{Layout, OutputFormat, Report, paragraphs};
use crate::settings::{
    ConfigFile, Env, MEANINGS, Origin, Overrides, ResolvedSetting, ResolvedSettings, Settings,
    variable,
};
use crate::text;
use crate::token::TokenSearch;

/// Show or check the settings
#[derive(Subcommand)]
pub(super) enum Arguments {
    /// Print every setting, with where its value comes from
    ///
    /// The output is a configuration file that says the same. The precedence is: option, `HYPER_SYNC_*` variable,
    /// file, default. The variable of `rebuild.action` is `HYPER_SYNC_REBUILD_ACTION`, a list has one item a line.
    Show,
    /// Check a configuration file
    ///
    /// Needs no network, no root and no target: the NixOS module runs it when the system is built. Exit code 0: the
    /// file is valid; 2: it is not, and each mistake is shown with its line.
    Check {
        /// The file to check, in place of the one a run would read
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Explain a setting, or all
    ///
    /// What it means and takes, its default, its value here and where that comes from, and the variable and the option
    /// that set it.
    Explain {
        /// The setting, as it is written in the file: `ref`, or `rebuild.action`
        #[arg(value_name = "KEY", value_parser = PossibleValuesParser::new(MEANINGS.iter().map(|(name, _)| *name)))]
        key: Option<String>,
    },
}

impl Arguments {
    /// Runs the command; `check` also where the settings of this machine are not valid.
    pub(super) fn run(
        &self,
        global: &Global,
        env: &Env,
        report: &mut Report,
    ) -> Result<Exit, Error> {
        match self {
            Self::Show => show(
                &resolve(global, &global.overrides(), env, report)?,
                env,
                report,
            ),
            Self::Check { file } => {
                check(file.as_deref().or(global.config.as_deref()), env, report)?;
            }
            Self::Explain { key } => {
                let resolved = match resolve(global, &global.overrides(), env, report) {
                    Ok(resolved) => resolved,
                    // A setting is looked up above all when the file has a mistake.
                    Err(_) => Settings::resolve(&Overrides::none(), &machine(), None)?,
                };
                explain(key.as_deref(), &resolved, report);
            }
        }
        Ok(Exit::Done)
    }
}

/// The column of the origins, unless a value is longer.
const COLUMN: usize = 44;

/// Every setting with its origin, and where the token is.
fn show(resolved: &ResolvedSettings, env: &Env, report: &mut Report) {
    let token = token(&resolved.settings, env);
    match report.format() {
        OutputFormat::Human => {
            report.result(to_toml(&resolved.entries));
            report.result(format!("\n# token: {}\n", token.replace('\n', " ")));
        }
        OutputFormat::Json => report.json(&to_json(&resolved.entries, &token)),
    }
}

/// A description of where the token is read from; never the token itself.
fn token(settings: &Settings, env: &Env) -> String {
    if settings.repo.is_none() {
        return "none is used, no repository is set".to_owned();
    }
    let Some(search) = TokenSearch::of(settings, env) else {
        return "none is used, the repository is not read over HTTP".to_owned();
    };
    match search.run() {
        Ok(Some(token)) => format!("{}, for {}", token.origin(), search.host),
        Ok(None) => format!("none was found for {}", search.host),
        Err(error) => format!("{error}"),
    }
}

/// Checks a file as root would read it, because updates run as root, and without the environment, because the file may
/// be checked on another machine than the one that uses it.
fn check(path: Option<&Path>, env: &Env, report: &mut Report) -> Result<(), Error> {
    let file = match path {
        Some(path) => Some(ConfigFile::read(path, env, Origin::Flag("FILE"))?),
        None => ConfigFile::find(None, env)?,
    };
    Settings::resolve(&Overrides::none(), &machine(), file.as_ref())?;
    let path = file.as_ref().map(ConfigFile::path);
    match (report.format(), path) {
        (OutputFormat::Json, path) => {
            report.json(&serde_json::json!({ "file": path, "valid": true }));
        }
        (OutputFormat::Human, Some(path)) => {
            report.message(&format!("`{}` is valid", text::path(path)));
        }
        (OutputFormat::Human, None) => {
            report.note("there is no configuration file, the defaults apply");
        }
    }
    Ok(())
}

/// The environment of a run that systemd starts.
fn machine() -> Env {
    Env::empty().as_root(true).with("HOME", "/root")
}

/// A setting with its meaning.
#[derive(Serialize)]
struct Explanation<'a> {
    name: &'static str,
    meaning: &'static str,
    takes: Option<String>,
    default: Option<&'a toml::Value>,
    value: Option<&'a toml::Value>,
    origin: Option<String>,
    variable: Option<String>,
    option: Option<String>,
}

#[derive(Serialize)]
struct Explanations<'a> {
    settings: Vec<Explanation<'a>>,
}

fn explain(key: Option<&str>, resolved: &ResolvedSettings, report: &mut Report) {
    let command = Cli::command();
    let settings: Vec<Explanation<'_>> = MEANINGS
        .iter()
        .filter(|(name, _)| key.is_none_or(|key| key == *name))
        .map(|(name, meaning)| explanation(name, meaning, &resolved.entries, &command))
        .collect();
    match report.format() {
        OutputFormat::Json => report.json(&Explanations { settings }),
        OutputFormat::Human => {
            let layout = report.layout();
            let mut text = Styled::default();
            for (number, setting) in settings.iter().enumerate() {
                if number > 0 {
                    text.push("\n");
                }
                text.push(setting.text(&layout));
            }
            report.result(text);
        }
    }
}

fn explanation<'a>(
    name: &'static str,
    meaning: &'static str,
    entries: &'a [ResolvedSetting],
    command: &clap::Command,
) -> Explanation<'a> {
    // A key of a table with a name of the user's own is in the file only.
    let entry = entries.iter().find(|entry| entry.name == name);
    Explanation {
        name,
        meaning,
        takes: entry.map(takes),
        default: entry.and_then(|entry| entry.default.as_ref()),
        value: entry.and_then(|entry| entry.value.as_ref()),
        origin: entry.map(|entry| entry.origin.to_string()),
        variable: entry.map(|_| variable(name)),
        option: option(name, command),
    }
}

fn takes(entry: &ResolvedSetting) -> String {
    match entry.choices {
        [] => entry.takes.to_owned(),
        choices => {
            let words: Vec<String> = choices.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
    }
}

/// The option of the command line that sets it.
fn option(name: &str, command: &clap::Command) -> Option<String> {
    let long = name.replace(['.', '_'], "-");
    let commands = [command].into_iter().chain(command.get_subcommands());
    let mut options = commands.flat_map(clap::Command::get_arguments);
    let is_there = options.any(|option| option.get_long() == Some(&long));
    is_there.then(|| format!("--{long}"))
}

impl Explanation<'_> {
    fn text(&self, layout: &Layout) -> Styled {
        let shown = |value: Option<&toml::Value>| match value {
            Some(value) => value.to_string(),
            None => "not set".to_owned(),
        };
        let mut text = Styled::new(Style::Strong, self.name).plain("\n");
        text.push(paragraphs(format!("  {}", self.meaning), 0, layout));
        let Some(takes) = &self.takes else {
            text.push("  in the configuration file only\n");
            return text;
        };
        let here = self.origin.as_ref();
        let facts = [
            ("takes", Some(takes.clone())),
            ("default", Some(shown(self.default))),
            (
                "here",
                here.map(|origin| format!("{}  # {origin}", shown(self.value))),
            ),
            ("variable", self.variable.clone()),
            ("option", self.option.clone()),
        ];
        for (name, value) in facts {
            if let Some(value) = value {
                text.push(paragraphs(format!("  {name:<9} {value}"), 10, layout));
            }
        }
        text
    }
}

/// A configuration file with the same settings; what is not set is a comment.
fn to_toml(entries: &[ResolvedSetting]) -> String {
    let mut text = String::new();
    let mut section = "";
    // In TOML the keys without a section come first.
    let (top, rest): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| !entry.name.contains('.'));
    for entry in top.into_iter().chain(rest) {
        let (in_section, key) = entry.name.split_once('.').unwrap_or(("", &entry.name));
        if in_section != section {
            section = in_section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let line = match &entry.value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} is not set"),
        };
        let _ = writeln!(text, "{line:COLUMN$}  # {}", entry.origin);
    }
    text
}

fn to_json(entries: &[ResolvedSetting], token: &str) -> serde_json::Value {
    let settings = entries.iter().map(|entry| {
        let value = serde_json::json!({ "value": entry.value, "origin": entry.origin.to_string() });
        (entry.name.to_string(), value)
    });
    let settings: serde_json::Map<_, _> = settings.collect();
    serde_json::json!({ "settings": settings, "token": token })
}
