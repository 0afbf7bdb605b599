//! Commands in messages, with the options of this run that they need to mean the same.
//!
//! A message writes a command as `` `hyper-sync restore flake.nix` ``, wherever it is made. On its way out each gets the
//! options that say where: pasted into the same shell, it is then about the same target and its state, and where it
//! reaches the repository, about the same one. How the run was to work (`--local-edits`, `--allow-rewind`) is not
//! repeated: that is a choice for one run. Nor are variables, which the shell still has.

use std::borrow::Cow;
use std::path::Path;

use crate::settings::{Env, Overrides};
use crate::text::shell_word;

/// How a command begins in a message.
const BEGIN: &str = "`hyper-sync";

/// The options of a run that are repeated.
#[derive(Debug, Clone, Default)]
pub struct RepeatedOptions {
    /// Whether the run was started by `sudo`.
    sudo: bool,
    /// As they are written, each with the commands that need it.
    options: Vec<(Needed, String)>,
    /// The target, if the working directory is a directory in it: a path in a command would be relative to that.
    outside: Option<String>,
}

/// Which commands need an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// All that are about a state directory.
    State,
    /// All that are about one target.
    Target,
    /// Those that reach the repository.
    Remote,
    /// The sync and the update.
    Sync,
    /// Those that bring or show what a name refers to.
    Reference,
    /// Those that build a system.
    Build,
}

impl Needed {
    /// For a setting; `None`: it is not repeated.
    fn of(setting: &str) -> Option<Self> {
        match setting {
            "state_dir" => Some(Self::State),
            "target" => Some(Self::Target),
            "repo" | "token_file" | "ssh_key_file" | "known_hosts_file" | "api_url" => {
                Some(Self::Remote)
            }
            "rebuild.flake" | "rebuild.host" => Some(Self::Build),
            "ref" => Some(Self::Reference),
            "transport" | "state_file" => Some(Self::Sync),
            _ => None,
        }
    }

    fn by(self, command: &[&str]) -> bool {
        let name = command.iter().find(|word| !word.starts_with('-'));
        let is_update = name.is_none();
        let is_sync = is_update || name == Some(&"sync");
        match self {
            Self::Sync => is_sync,
            Self::Reference => is_sync || name == Some(&"diff") && command.contains(&"--remote"),
            Self::Build => is_update || name == Some(&"rebuild"),
            Self::Remote => {
                let reaches = matches!(name, Some(&("validate" | "health")));
                is_sync || reaches || command.contains(&"--remote")
            }
            Self::Target => !matches!(name, Some(&("targets" | "forget"))),
            Self::State => true,
        }
    }
}

impl RepeatedOptions {
    /// Those of this run: `config` is the option of that name, `given` the settings that the command line gives.
    #[must_use]
    pub fn new(config: Option<&Path>, given: &Overrides, env: &Env) -> Self {
        let config = config.and_then(Path::to_str);
        let config = config.map(|path| (Needed::State, written("--config", path)));
        let given = given.iter().filter_map(|(setting, flag, value)| {
            Some((Needed::of(setting)?, written(flag, value.to_str()?)))
        });
        Self {
            sudo: env.is_root() && env.get("SUDO_USER").is_some(),
            options: config.into_iter().chain(given).collect(),
            outside: None,
        }
    }

    /// Those of a run about this target: where it is run in a directory of it, paths in commands become absolute.
    #[must_use]
    pub fn about(self, target: &Path, env: &Env) -> Self {
        let is_below = |here: &Path| here != target && here.starts_with(target);
        let target = { target.to_str() }.filter(|_| env.current_dir().is_some_and(is_below));
        Self {
            outside: target.map(str::to_owned),
            ..self
        }
    }

    /// The text with the options in each of its commands.
    #[must_use]
    pub fn in_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !text.contains(BEGIN)
            || (self.options.is_empty() && !self.sudo && self.outside.is_none())
        {
            return text.into();
        }
        let mut completed = String::with_capacity(text.len() + 40);
        let mut rest = text;
        while let Some(at) = rest.find(BEGIN) {
            let (before, command) = rest.split_at(at + 1);
            let end = command.find('`').unwrap_or(command.len());
            let (command, after) = command.split_at(end);
            completed.push_str(before);
            completed.push_str(&self.complete(command));
            rest = after;
        }
        completed.push_str(rest);
        completed.into()
    }

    fn complete<'a>(&self, command: &'a str) -> Cow<'a, str> {
        let words: Vec<&str> = command.split(' ').collect();
        let is_whole = words[0] == "hyper-sync" && words.len() > 1;
        // Not a command, or one that needs none.
        let is_other = matches!(
            words.get(1),
            Some(&("help" | "--help" | "man" | "completions"))
        );
        if !is_whole || is_other {
            return command.into();
        }
        let sudo = if self.sudo { "sudo " } else { "" };
        let absolute = self.absolute(command);
        let mut completed = format!("{sudo}{absolute}");
        for (needed, option) in &self.options {
            let flag = option.split([' ', '=']).next().unwrap_or_default();
            if needed.by(&words[1..]) && !words.contains(&flag) {
                completed.push(' ');
                completed.push_str(option);
            }
        }
        completed.into()
    }
}

impl RepeatedOptions {
    /// The command with its path in the target made absolute, if that is needed.
    fn absolute<'a>(&self, command: &'a str) -> Cow<'a, str> {
        let begins = [
            "hyper-sync restore ",
            "hyper-sync diff --remote ",
            "hyper-sync diff ",
        ];
        let found =
            { begins.into_iter() }.find_map(|begin| Some((begin, command.strip_prefix(begin)?)));
        let (Some(target), Some((begin, path))) = (&self.outside, found) else {
            return command.into();
        };
        // The word without its quotes is the path, unless it has quotes itself.
        let word = path
            .strip_prefix('\'')
            .and_then(|path| path.strip_suffix('\''));
        let is_option = path.starts_with('-');
        let path = word.unwrap_or(path);
        // An option, a path that is absolute already, or the name of the argument.
        if is_option || path.starts_with('/') || path == "PATH" {
            return command.into();
        }
        let path = path.strip_prefix("./").unwrap_or(path);
        let whole = if path == "." {
            target.clone()
        } else {
            format!("{target}/{}", path.replace(r"'\''", "'"))
        };
        format!("{begin}{}", shell_word(&whole)).into()
    }
}

/// An option as a shell takes it.
fn written(flag: &str, value: &str) -> String {
    let equals = if value.starts_with('-') { '=' } else { ' ' };
    format!("{flag}{equals}{}", shell_word(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(given: &[(&'static str, &'static str, &str)], env: &Env) -> RepeatedOptions {
        let mut overrides = Overrides::none();
        for (setting, flag, value) in given {
            overrides = overrides.with(setting, flag, Some(value));
        }
        RepeatedOptions::new(None, &overrides, env)
    }

    #[test]
    fn a_command_gets_what_it_needs() {
        let options = repeated(
            &[
                ("target", "--target", "/srv/my site"),
                ("repo", "--repo", "you/config"),
                ("ref", "--ref", "next"),
                ("local_edits", "--local-edits", "replace"),
            ],
            &Env::empty(),
        );
        for (text, completed) in [
            ("nothing to do", "nothing to do"),
            (
                "`hyper-sync restore a.nix` puts it back",
                "`hyper-sync restore a.nix --target '/srv/my site'` puts it back",
            ),
            (
                "`hyper-sync sync --ref abc`",
                "`hyper-sync sync --ref abc --repo you/config --target '/srv/my site'`",
            ),
            (
                "`hyper-sync sync --resume` and `hyper-sync rebuild`",
                "`hyper-sync sync --resume --ref next --repo you/config --target '/srv/my site'` and `hyper-sync rebuild --target '/srv/my site'`",
            ),
            (
                "`hyper-sync diff --remote`",
                "`hyper-sync diff --remote --ref next --repo you/config --target '/srv/my site'`",
            ),
            (
                "`hyper-sync targets` and `hyper-sync --help`",
                "`hyper-sync targets` and `hyper-sync --help`",
            ),
            (
                "`hyper-sync.timer` and `hyper-sync`",
                "`hyper-sync.timer` and `hyper-sync`",
            ),
            (
                "cut off `hyper-sync status",
                "cut off `hyper-sync status --target '/srv/my site'",
            ),
        ] {
            assert_eq!(options.in_text(text), completed);
            assert_eq!(options.in_text(completed), completed, "twice is as once");
        }
    }

    #[test]
    fn a_path_is_absolute_where_it_would_be_relative_to_another_directory() {
        let in_docs = Env::empty().in_dir("/etc/nixos/docs");
        let of = |env: &Env| repeated(&[], env).about(Path::new("/etc/nixos"), env);
        for (text, completed) in [
            (
                "`hyper-sync restore a.nix`",
                "`hyper-sync restore /etc/nixos/a.nix`",
            ),
            (
                "`hyper-sync diff --remote a.nix`",
                "`hyper-sync diff --remote /etc/nixos/a.nix`",
            ),
            (
                "`hyper-sync diff 'it'\\''s'`",
                "`hyper-sync diff '/etc/nixos/it'\\''s'`",
            ),
            (
                "`hyper-sync restore './-a b'`",
                "`hyper-sync restore '/etc/nixos/-a b'`",
            ),
            ("`hyper-sync restore .`", "`hyper-sync restore /etc/nixos`"),
            ("`hyper-sync diff --remote`", "`hyper-sync diff --remote`"),
            ("`hyper-sync restore PATH`", "`hyper-sync restore PATH`"),
        ] {
            assert_eq!(of(&in_docs).in_text(text), completed);
            assert_eq!(of(&in_docs).in_text(completed), completed);
            assert_eq!(of(&Env::empty().in_dir("/etc/nixos")).in_text(text), text);
        }
    }

    #[test]
    fn a_command_for_root_is_run_by_sudo_where_the_run_was() {
        let text = "`hyper-sync rebuild`";
        let sudo = Env::empty().with("SUDO_USER", "alice");
        assert_eq!(repeated(&[], &sudo).in_text(text), text);
        let sudo = sudo.as_root(true);
        assert_eq!(
            repeated(&[], &sudo).in_text(text),
            "`sudo hyper-sync rebuild`"
        );
        assert_eq!(
            repeated(&[], &Env::empty().as_root(true)).in_text(text),
            text
        );
    }
}
