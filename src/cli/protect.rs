//! `hyper-sync restore --protect`: adds paths to `protect` in the configuration file, and leaves all else in it as it is.
//!
//! Only a file that this user owns is written. A symlink is what NixOS makes of the options of its module, and a variable
//! wins over the file: then the lines to add are printed instead.

use toml_edit::{Array, DocumentMut, Item, Value};

use super::Run;
use crate::exit::Exit;
use crate::fs::{Directory, Faults, FileKind};
use crate::git::RelPath;
use crate::patterns::Patterns;
use crate::settings::{DEFAULT_FILE, Settings, variable};
use crate::state;
use crate::text;

/// The name of the setting.
const PROTECT: &str = "protect";

/// What became of the patterns.
pub(super) struct Protected {
    /// The patterns that were added, or are to be added.
    pub(super) patterns: Vec<String>,
    /// Whether the next sync knows them.
    pub(super) is_set: bool,
}

impl Protected {
    /// Not being able to write the file is an error in the configuration, although the edits are back.
    pub(super) fn exit(&self) -> Exit {
        if self.is_set {
            Exit::Done
        } else {
            Exit::Configuration
        }
    }
}

/// Adds the paths that no pattern matches yet, and prints where, or what is to be added by hand.
pub(super) fn protect(paths: &[RelPath], settings: &Settings, run: &mut Run<'_>) -> Protected {
    let is_new = |path: &&RelPath| !settings.protect.matches(path);
    let patterns: Vec<String> = paths.iter().filter(is_new).map(pattern).collect();
    let listed = patterns.join("`, `");
    if patterns.is_empty() {
        run.report.note("`protect` matches already");
        return Protected {
            patterns,
            is_set: true,
        };
    }
    let known = settings.protect.as_written();
    let all: Vec<&str> = known.iter().chain(&patterns).map(String::as_str).collect();
    let is_set = match write(&patterns, &all, settings, run) {
        Ok(file) => {
            run.report
                .note(&format!("`{listed}` is in `protect` of `{file}` now"));
            true
        }
        Err(why) => {
            let array: Array = all.iter().copied().collect();
            let options: Vec<String> = all.iter().map(|text| format!("{text:?}")).collect();
            run.report.warning(&format!(
                "`{listed}` is not protected yet, because {why}; add it by hand\n  in a configuration file:  protect = {array}\n  in a NixOS module:        services.hyper-sync.protect = [ {} ];",
                options.join(" ")
            ));
            false
        }
    };
    Protected { patterns, is_set }
}

/// The pattern of one path from the top of the tree.
fn pattern(path: &RelPath) -> String {
    let mut pattern = String::from("/");
    for character in path.as_str().chars() {
        if "\\*?[]{}".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    if pattern.ends_with(' ') {
        pattern.insert(pattern.len() - 1, '\\');
    }
    pattern
}

/// Writes the patterns into the configuration file, and names it; or why not.
fn write(
    added: &[String],
    all: &[&str],
    settings: &Settings,
    run: &Run<'_>,
) -> Result<String, String> {
    Patterns::new(all).map_err(|fault| fault.to_string())?;
    let variable = variable(PROTECT);
    if run.env.get(&variable).is_some() {
        return Err(format!("the variable `{variable}` is set and wins"));
    }
    let path = settings.config_file.as_ref();
    let path = path.ok_or_else(|| format!("there is no configuration file `{DEFAULT_FILE}`"))?;
    let file = text::path(path);
    let name = path.file_name().and_then(|name| name.to_str());
    let (parent, name) =
        { path.parent().zip(name) }.ok_or_else(|| format!("`{file}` is not a file"))?;
    let open = || {
        let directory = Directory::open_following(parent, Faults::default())?;
        Ok::<_, crate::fs::Failure>((directory.stat(name)?, directory.read(name)?, directory))
    };
    let (stat, content, directory) = open().map_err(|error| text::with_causes(&error))?;
    let (Some(stat), Some(content)) = (stat, content) else {
        return Err(format!("`{file}` is a symlink, as NixOS makes it"));
    };
    if stat.kind != FileKind::File || stat.uid != rustix::process::geteuid().as_raw() {
        return Err(format!("`{file}` is a symlink, or belongs to another user"));
    }
    let content = String::from_utf8(content).map_err(|error| error.to_string())?;
    let content = with_patterns(&content, added, all).map_err(|error| error.to_string())?;
    state::replace(&directory, name, content.as_bytes(), stat.mode & 0o7777)
        .map_err(|error| text::with_causes(&error))?;
    Ok(file)
}

/// The text of a configuration file with the patterns in `protect`: the added ones in a list that is there, else all,
/// because a list of one's own takes the place of the default.
fn with_patterns(
    content: &str,
    added: &[String],
    all: &[&str],
) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = content.parse()?;
    if let Some(list) = document.get_mut(PROTECT).and_then(Item::as_array_mut) {
        for pattern in added {
            push(list, pattern);
        }
    } else {
        let list: Array = all.iter().copied().collect();
        document.insert(PROTECT, Item::Value(list.into()));
    }
    Ok(document.to_string())
}

/// Adds a pattern at the end. A list with one pattern a line stays one, with each comment in its line.
fn push(list: &mut Array, pattern: &str) {
    let above = list.iter().last().and_then(|value| value.decor().prefix());
    let before = above.and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let after = list.trailing().as_str().unwrap_or_default();
    let prefix = match before.rsplit_once('\n') {
        Some((_, indent)) => format!("{}\n{indent}", after.trim_end()),
        None if list.is_empty() => String::new(),
        None => " ".to_owned(),
    };
    if prefix.contains('\n') {
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    }
    list.push_formatted(Value::from(pattern).decorated(prefix, ""));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(content: &str) -> String {
        let all = ["hardware-configuration.nix", "/a.nix"];
        with_patterns(content, &["/a.nix".to_owned()], &all).unwrap()
    }

    #[test]
    fn the_rest_of_the_file_stays() {
        insta::assert_snapshot!(added("# Mine.\nrepo = \"you/config\" # and why\n\n[rebuild]\naction = \"boot\"\n"), @r#"
        # Mine.
        repo = "you/config" # and why
        protect = ["hardware-configuration.nix", "/a.nix"]

        [rebuild]
        action = "boot"
        "#);
        insta::assert_snapshot!(added("protect = ['b'] # more\nref = 'main'\n"), @r#"
        protect = ['b', "/a.nix"] # more
        ref = 'main'
        "#);
        insta::assert_snapshot!(added("protect = [\n  'b',\n  'c', # last\n]\n"), @r#"
        protect = [
          'b',
          'c', # last
          "/a.nix",
        ]
        "#);
        assert_eq!(added("protect = []\n"), "protect = [\"/a.nix\"]\n");
    }

    #[test]
    fn a_pattern_matches_its_path_alone() {
        for name in ["a.nix", "d/[x] *.nix", "d/a{b}?", "#a", "!b", "a b"] {
            let path = RelPath::new(name.as_bytes()).unwrap();
            let patterns = Patterns::new(&[pattern(&path)]).unwrap();
            assert!(patterns.matches(&path), "{name}");
            let other = RelPath::new(format!("x/{name}").as_bytes()).unwrap();
            assert!(!patterns.matches(&other), "{name}");
        }
    }
}
