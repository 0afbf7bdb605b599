//! `hyper-sync init`: writes a configuration file with what can be found on this machine.
//!
//! The repository is the origin of the clone in the target, the branch the one that the clone follows, the host the one of
//! the flake that has this machine's name. Nothing is asked, and nothing is evaluated: what cannot be found is a comment.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde::Serialize;

use super::args::Global;
use crate::Error;
use crate::exit::Exit;
use crate::fs::{Faults, Target};
use crate::git_dir::GitDir;
use crate::nix::{Flake, Layout};
use crate::rebuild::{Machine, likely_host};
use crate::report::{OutputFormat, Report};
use crate::settings::{
    self, ConfigFile, DEFAULT_FILE, Env, MEANINGS, Origin, Repo, ResolvedSetting, ResolvedSettings,
    Settings,
};
use crate::state::{self, StateRecords};
use crate::text;
use crate::vetted::{self, FileRequirements};

/// Where NixOS has the configuration of a machine.
const NIXOS: &str = "/etc/nixos";
/// Bytes of a `flake.nix`; real ones are far smaller.
const FLAKE_MAX: u64 = 16 << 20;

/// Write a configuration file with what is found here
///
/// Finds the repository and the branch of a clone, the host, and the flake of this machine. A file that is there already stays.
#[derive(Args)]
pub(super) struct Arguments {
    /// Branch, tag or commit to follow [default: the branch of the clone, or main]
    #[arg(long = "ref", value_name = "BRANCH|TAG|COMMIT", value_hint = ValueHint::Other)]
    reference: Option<OsString>,
    /// Print the file instead of writing it
    #[arg(long)]
    print: bool,
    /// Replace a file that is there already
    #[arg(long, conflicts_with = "print")]
    force: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    /// `None`: it was not written.
    file: Option<&'a Path>,
    #[serde(flatten)]
    found: &'a Found,
    text: &'a str,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Found {
    target: PathBuf,
    repo: Option<String>,
    #[serde(rename = "ref")]
    reference: String,
    /// The host's flake, where it is not in the target.
    flake: Option<PathBuf>,
    /// The host, where the flake has several.
    host: Option<String>,
    /// The hosts of the flake, as far as its text names them.
    hosts: Vec<String>,
}

impl Arguments {
    /// Writes or prints it.
    pub(super) fn run(
        &self,
        global: &Global,
        env: &Env,
        report: &mut Report,
    ) -> Result<Exit, Error> {
        let overrides = global
            .overrides()
            .with("ref", "--ref", self.reference.as_ref());
        let resolved = Settings::resolve_with(&overrides, env, None, &StateRecords)?;
        let found = Found::on_machine(&resolved, env)?;
        let text = found.to_toml(&resolved.entries);
        let path = if self.print {
            None
        } else {
            Some(self.write(global, env, &text)?)
        };
        if report.format() == OutputFormat::Json {
            report.json(&Document {
                file: path.as_deref(),
                found: &found,
                text: &text,
            });
            return Ok(Exit::Done);
        }
        match &path {
            None => report.result(&text),
            Some(path) => {
                let shown = text::path(path);
                report.text(format!("`{shown}` was written:\n{}", found.listed()));
                for line in found.next_steps() {
                    report.note(&line);
                }
            }
        }
        Ok(Exit::Done)
    }

    fn write(&self, global: &Global, env: &Env, text: &str) -> Result<PathBuf, Error> {
        let named = global.config.clone();
        let named = named.or_else(|| env.get("HYPER_SYNC_CONFIG").map(PathBuf::from));
        let path = named.unwrap_or_else(|| DEFAULT_FILE.into());
        let path = env
            .current_dir()
            .map_or_else(|| path.clone(), |here| here.join(&path));
        match ConfigFile::read(&path, env, Origin::Default) {
            Err(settings::Error::FileMissing { .. }) => {}
            _ if self.force => {}
            _ => return Err(settings::Error::FileExists { path }.into()),
        }
        state::publish(&path, text.as_bytes(), &Faults::default())?;
        Ok(path)
    }
}

impl Found {
    fn on_machine(resolved: &ResolvedSettings, env: &Env) -> Result<Self, Error> {
        let settings = &resolved.settings;
        let is_given = |name: &str| {
            let mut entries = resolved.entries.iter();
            entries.any(|entry| entry.name == name && entry.origin != Origin::Default)
        };
        let target = if is_given("target") {
            settings.target.clone()
        } else {
            usual_target(env)
        };
        let opened = Target::open_or_absent(&target)?;
        // What is not read of a clone is as if it was not there: a sync says why.
        let clone = GitDir::find(&opened, env).ok().flatten();
        let origin = clone
            .as_ref()
            .and_then(|clone| clone.origin().ok().flatten());
        let branch = || clone.as_ref()?.head().ok()?.branch;
        let repo = if is_given("repo") {
            settings.repo.clone()
        } else {
            origin
                .as_ref()
                .and_then(|origin| Repo::of_clone(&origin.url, &target))
        };
        let reference = if is_given("ref") {
            settings.reference.clone()
        } else {
            let upstream = origin.as_ref().and_then(|origin| origin.branch.clone());
            upstream
                .or_else(branch)
                .unwrap_or_else(|| settings.reference.clone())
        };
        let (flake, source) = host_flake(&target);
        let hosts = source
            .as_deref()
            .and_then(|source| Flake::parse(&text::decode(source)).ok()?.hosts);
        let hosts = hosts.unwrap_or_default();
        let likely = likely_host(None, source.as_deref(), &Machine::here());
        Ok(Self {
            target,
            repo: repo.map(|repo| repo.to_string()),
            reference,
            flake,
            // The only one is taken without a setting.
            host: Some(likely).filter(|host| hosts.len() > 1 && hosts.contains(host)),
            hosts,
        })
    }

    /// A configuration file, with a comment for each setting.
    fn to_toml(&self, entries: &[ResolvedSetting]) -> String {
        let mut text = String::from(
            "# Configuration of hyper-sync. `hyper-sync config explain` prints all settings, `hyper-sync config show` those in use.\n\n",
        );
        let target = quoted(&text::path(&self.target));
        let flake = match &self.flake {
            Some(flake) => format!("flake = {}", quoted(&text::path(flake))),
            None => format!("# flake = {target}"),
        };
        let host = match (&self.host, self.hosts.as_slice()) {
            (Some(host), _) => format!("host = {}", quoted(host)),
            (None, [first, _, ..]) => format!("# host = {}", quoted(first)),
            (None, _) => "# host = \"NAME\"".to_owned(),
        };
        let repo = match &self.repo {
            Some(repo) => format!("repo = {}", quoted(repo)),
            None => "# repo = \"owner/name\"".to_owned(),
        };
        let mut add = |name: &str, line: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}{line}\n", comment(name, entries));
        };
        add("repo", &repo);
        add("ref", &format!("ref = {}", quoted(&self.reference)));
        add("target", &format!("target = {target}"));
        add("local_edits", "# local_edits = \"refuse\"");
        add("token_file", "# token_file = \"/etc/hyper-sync/token\"");
        add(
            "ssh_key_file",
            "# ssh_key_file = \"/etc/hyper-sync/id_ed25519\"",
        );
        text.push_str("[rebuild]\n");
        let mut add = |name: &str, line: &str| {
            let _ = writeln!(text, "{}{line}\n", comment(name, entries));
        };
        add("rebuild.flake", &flake);
        add("rebuild.host", &host);
        add("rebuild.action", "# action = \"switch\"");
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    /// The settings that were found, one a line.
    fn listed(&self) -> String {
        let target = text::path(&self.target);
        let flake = self.flake.as_deref().map(text::path);
        let rows = [
            ("repo", self.repo.as_deref()),
            ("ref", Some(self.reference.as_str())),
            ("target", Some(target.as_str())),
            ("flake", flake.as_deref()),
            ("host", self.host.as_deref()),
        ];
        let found = rows
            .iter()
            .filter_map(|(name, value)| Some((name, (*value)?)));
        let lines = found.map(|(name, value)| format!("  {name:<8}{}\n", text::words(value)));
        lines.collect()
    }

    /// What is left to do.
    fn next_steps(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.repo.is_none() {
            let target = text::path(&self.target);
            lines.push(format!("no repository was found, because `{target}` is no clone with an origin: set `repo` in the file"));
        }
        if self.hosts.len() > 1 && self.host.is_none() {
            let hosts = text::list(&self.hosts);
            lines.push(format!("none of the hosts of the flake has the name of this machine; set `host` to one of: {hosts}"));
        }
        if self.repo.is_some() {
            lines.push(
                "`hyper-sync sync --dry-run` lists what the first sync would change".to_owned(),
            );
        }
        lines
    }
}

/// The working directory if it has a configuration under git, else that of NixOS.
fn usual_target(env: &Env) -> PathBuf {
    let here = env.current_dir().filter(|here| {
        let target = Target::open_or_absent(here);
        target.is_ok_and(|target| {
            let names = target.list(None).unwrap_or_default();
            [&b".git"[..], b"flake.nix"]
                .iter()
                .all(|name| names.iter().any(|known| known == name))
        })
    });
    here.map_or_else(|| NIXOS.into(), Path::to_owned)
}

/// The directory of the host's flake, `None` if it is the target, and the text of its `flake.nix`.
fn host_flake(target: &Path) -> (Option<PathBuf>, Option<Vec<u8>>) {
    let read = |directory: &Path| {
        let terms = FileRequirements::anyone(FLAKE_MAX);
        vetted::read(&directory.join("flake.nix"), &terms)
            .ok()
            .map(|source| source.to_vec())
    };
    if let Some(source) = read(target) {
        return (None, Some(source));
    }
    let nixos = Path::new(NIXOS);
    let reaches_target = |source: &Vec<u8>| {
        let flake = Flake::parse(&text::decode(source)).ok();
        flake.is_some_and(|flake| Layout::of(&flake, nixos, target).is_some())
    };
    match read(nixos).filter(reaches_target) {
        Some(source) => (Some(nixos.to_owned()), Some(source)),
        None => (None, None),
    }
}

/// The columns of a comment.
const COMMENT_WIDTH: usize = 100;

/// What a setting means, and the values that it takes, as lines of a comment.
fn comment(name: &str, entries: &[ResolvedSetting]) -> String {
    let meaning = MEANINGS.iter().find(|(known, _)| *known == name);
    let entry = entries.iter().find(|entry| entry.name == name);
    let choices = entry.map(|entry| entry.choices).unwrap_or_default();
    let choices: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    let choices = match choices.as_slice() {
        [] => String::new(),
        choices => format!(" One of {}.", text::list(choices)),
    };
    let words = meaning.map_or("", |(_, meaning)| meaning);
    let mut lines = String::new();
    let mut room = 0;
    for word in words.split(' ').chain(choices.split_whitespace()) {
        let width = word.chars().count() + 1;
        if width > room {
            lines.push_str(if lines.is_empty() { "#" } else { "\n#" });
            room = COMMENT_WIDTH - 1;
        }
        lines.push(' ');
        lines.push_str(word);
        room -= width.min(room);
    }
    lines + "\n"
}

/// A value as a string of TOML.
fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}
