//! The host flake: its path, its layout, and which of its hosts this machine is.
//!
//! All symlinks on the way to `flake.nix` are followed, as Nix does; the file is then read from its directory, and only
//! if it is a regular file of bounded size. A `flake.nix` of the target must be in the target.
//!
//! The host is the one that is set, else the only one, else the one with this machine's host name. The host name comes
//! last because a configuration may change it: after the first switch a Hyper-NixOS host has another name than the
//! attribute it was installed from.
#![expect(
    clippy::disallowed_methods,
    reason = "links of the administrator on the way to the flake are followed; no file is opened by this"
)]

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

use super::context::RebuildContext;
use super::error::ErrorKind;
use super::machine::Machine;
use super::pinned::Pin;
use super::revision::Revision;
use crate::fs::{Directory, Faults, content};
use crate::nix::{Flake, Layout};
use crate::process::Output;
use crate::text;

pub(super) const FLAKE: &str = "flake.nix";
pub(super) const LOCK: &str = "flake.lock";
/// The maximum size of `flake.nix` and of its lock file; real ones are far smaller.
pub(super) const TEXT_MAX: u64 = 16 << 20;

/// The host flake and the target, with paths free of symlinks.
#[derive(Debug, Clone)]
pub(super) struct HostFlake {
    /// The directory of the real `flake.nix`; the one in `rebuild.flake` may be a symlink.
    pub(super) directory: PathBuf,
    /// The target.
    pub(super) target: PathBuf,
    /// `flake.nix`, if it can be parsed.
    pub(super) parsed: Option<Flake>,
    /// How the flake reaches the target; `None` if its text does not show it.
    pub(super) layout: Option<Layout>,
    /// Whether the flake is in a git repository; Nix then reads only the files that git tracks.
    pub(super) in_git: bool,
}

impl HostFlake {
    /// Finds it for a rebuild.
    pub(super) fn of(context: &RebuildContext<'_>) -> Result<Self, ErrorKind> {
        let set = &context.request.settings.flake;
        Self::find(set, context.request.target).map_err(|error| error.at(set))
    }

    /// Finds it by the settings `rebuild.flake` and `target`.
    pub(super) fn find(set_flake: &Path, set_target: &Path) -> Result<Self, FlakeError> {
        let refuse = |cause| FlakeError::Unreadable { name: FLAKE, cause };
        let file = match std::fs::canonicalize(set_flake.join(FLAKE)) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Err(FlakeError::Missing),
            Err(error) => return Err(refuse(error.to_string())),
        };
        let directory = file.parent().unwrap_or(&file).to_owned();
        // A missing target is left to the build to report.
        let target = std::fs::canonicalize(set_target).unwrap_or_else(|_| set_target.to_owned());
        let is_in_target =
            std::fs::canonicalize(set_flake).is_ok_and(|set| set.starts_with(&target));
        if is_in_target && !file.starts_with(&target) {
            return Err(refuse("it leads out of the target".to_owned()));
        }
        let source = read(&file).map_err(refuse)?;
        let source = source.ok_or(FlakeError::Missing)?;
        let parsed = Flake::parse(&source).ok();
        let layout = if directory.starts_with(&target) {
            Some(Layout::Own)
        } else {
            // The text may name the real paths or the configured ones.
            parsed.as_ref().and_then(|flake| {
                Layout::of(flake, &directory, &target)
                    .or_else(|| Layout::of(flake, set_flake, set_target))
            })
        };
        let in_git = directory.ancestors().any(|path| path.join(".git").exists());
        let flake = Self {
            directory,
            target,
            parsed,
            layout,
            in_git,
        };
        // Nix would read the lock file at once, and block on a FIFO.
        flake
            .lock()
            .map_err(|cause| FlakeError::Unreadable { name: LOCK, cause })?;
        Ok(flake)
    }

    /// Finds it where the tree of the target is to be the one at `tree`: a flake in the target is read there.
    pub(super) fn of_tree(context: &RebuildContext<'_>, tree: &Path) -> Result<Self, ErrorKind> {
        let request = context.request;
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let target = real(request.target);
        let set = &request.settings.flake;
        let file = real(&set.join(FLAKE));
        let directory = file.parent().unwrap_or(&file);
        let inside =
            { directory.strip_prefix(&target) }.or_else(|_| set.strip_prefix(request.target));
        let Ok(inside) = inside else {
            return Self::of(context);
        };
        let mut flake = Self::find(&tree.join(inside), tree).map_err(|error| error.at(set))?;
        let inside = { flake.directory.strip_prefix(tree) }.unwrap_or(inside);
        flake.directory = target.join(inside);
        flake.target = target;
        Ok(flake)
    }

    /// The text of the lock file beside the flake; `None` if there is none.
    pub(super) fn lock(&self) -> Result<Option<String>, String> {
        match std::fs::canonicalize(self.directory.join(LOCK)) {
            Ok(file) if self.is_own() && !file.starts_with(&self.target) => {
                Err("it leads out of the target".to_owned())
            }
            Ok(file) => read(&file),
            // Also a dangling symlink.
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the flake is in the target.
    pub(super) fn is_own(&self) -> bool {
        self.layout == Some(Layout::Own)
    }

    /// The flake reference for Nix, with the target's content, which is exactly `revision`, at `target`.
    pub(super) fn reference(&self, target: &Path, revision: Option<&Revision>) -> String {
        if let Ok(inside) = self.directory.strip_prefix(&self.target)
            && self.is_own()
        {
            let directory = (!inside.as_os_str().is_empty()).then_some(inside);
            return path_reference(target, directory, revision);
        }
        if self.in_git {
            return self.directory.display().to_string();
        }
        format!("path:{}", encoded(&self.directory))
    }
}

/// The reference of a directory for Nix, with the flake in a directory inside it.
pub(super) fn path_reference(
    path: &Path,
    inside: Option<&Path>,
    revision: Option<&Revision>,
) -> String {
    let inside = inside.map(|inside| format!("dir={}", encoded(inside)));
    let revision = revision.map(Revision::query);
    let parameters: Vec<String> = inside.into_iter().chain(revision).collect();
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("path:{}{mark}{}", encoded(path), parameters.join("&"))
}

/// The host flake cannot be used.
#[derive(Debug)]
pub(super) enum FlakeError {
    /// `flake.nix` is missing.
    Missing,
    /// `flake.nix` or `flake.lock` must not be read.
    Unreadable { name: &'static str, cause: String },
}

impl FlakeError {
    /// The error of a rebuild with this setting `rebuild.flake`.
    fn at(self, set: &Path) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::FlakeMissing {
                path: set.join(FLAKE),
            },
            Self::Unreadable { name, cause } => ErrorKind::FlakeUnreadable {
                path: set.join(name),
                cause,
            },
        }
    }
}

/// The text of a file at a path without symlinks; `None` if it is missing.
fn read(path: &Path) -> Result<Option<String>, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("it is a directory".to_owned());
    };
    let directory = Directory::open(directory, Faults::default());
    let directory = directory.map_err(|failure| failure.source.to_string())?;
    let opened = directory.open_file(name);
    match opened.map_err(|failure| failure.source.to_string())? {
        Some((file, _)) => content::text(&file, TEXT_MAX)
            .map(Some)
            .map_err(|error| error.to_string()),
        None if directory.stat(name).is_ok_and(|stat| stat.is_none()) => Ok(None),
        None => Err("it is not a regular file".to_owned()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What is escaped in the path of a URL: everything except RFC 3986's unreserved characters, the slash between names,
/// and the plus, which Nix does not escape.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+');

/// A path, encoded for a URL.
fn encoded(path: &Path) -> PercentEncode<'_> {
    percent_encode(path.as_os_str().as_encoded_bytes(), ESCAPED)
}

/// The host to build: from the text of the flake if that is enough, else by evaluation, pinned as the build will be.
pub(super) fn resolve_host(
    context: &RebuildContext<'_>,
    flake: &HostFlake,
    pin: Option<&Pin<'_>>,
) -> Result<String, ErrorKind> {
    let written = flake.parsed.as_ref().and_then(|flake| flake.hosts.clone());
    let names = written.or_else(|| evaluate_hosts(context, flake, pin));
    let settings = &context.request.settings;
    let hostname = &context.machine.hostname;
    match (&settings.host, names) {
        (Some(host), Some(names)) if !names.contains(host) => Err(ErrorKind::HostUnknown {
            flake: settings.flake.clone(),
            host: host.clone(),
            names,
        }),
        (Some(host), _) => Ok(host.clone()),
        (None, Some(names)) => choose(&names, hostname).ok_or_else(|| ErrorKind::HostUnclear {
            flake: settings.flake.clone(),
            names,
            hostname: hostname.clone(),
        }),
        // The build fails for the same reason as the evaluation, and reports it.
        (None, None) => Ok(short(hostname).to_owned()),
    }
}

/// The host that a rebuild would build, as far as that is known without an evaluation: the one that is set, else the one
/// that is chosen by the text of `flake.nix`, else the host name.
#[must_use]
pub fn likely_host(set: Option<&str>, flake: Option<&[u8]>, machine: &Machine) -> String {
    let named = || {
        let source = text::decode(flake?);
        let names = Flake::parse(&source).ok()?.hosts?;
        choose(&names, &machine.hostname)
    };
    { set.map(str::to_owned) }
        .or_else(named)
        .unwrap_or_else(|| short(&machine.hostname).to_owned())
}

/// The attribute of the outputs that contains the hosts.
pub(super) const HOSTS: &str = "nixosConfigurations";

/// The names in `nixosConfigurations`, by evaluation.
fn evaluate_hosts(
    context: &RebuildContext<'_>,
    flake: &HostFlake,
    pin: Option<&Pin<'_>>,
) -> Option<Vec<String>> {
    let mut args: Vec<OsString> = ["eval", "--json", "--apply", "builtins.attrNames"]
        .map(Into::into)
        .to_vec();
    let command = if let Some(pin) = pin {
        args.extend(pin.evaluation());
        args.push(format!("{}#{HOSTS}", pin.reference()).into());
        pin.command(args)
    } else {
        args.push("--no-write-lock-file".into());
        args.extend(context.is_impure().then(|| "--impure".into()));
        args.push(format!("{}#{HOSTS}", flake.reference(&flake.target, None)).into());
        context.command(&context.find("nix").ok()?, args)
    };
    let finished = context.runner.run(&command.output(Output::Quiet)).ok()?;
    if !finished.end.is_success() {
        return None;
    }
    serde_json::from_slice(&finished.answer).ok()
}

fn choose(names: &[String], hostname: &str) -> Option<String> {
    if let [only] = names {
        return Some(only.clone());
    }
    [hostname, short(hostname)]
        .iter()
        .find(|name| names.iter().any(|known| known == *name))
        .map(|name| (*name).to_owned())
}

fn short(hostname: &str) -> &str {
    hostname.split('.').next().unwrap_or(hostname)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_of_a_path_are_escaped_in_a_url() {
        let encode = |path: &str| encoded(Path::new(path)).to_string();
        assert_eq!(encode("/etc/a-b_c.d~e+f/1"), "/etc/a-b_c.d~e+f/1");
        assert_eq!(
            encode("/a b?c#d&e%20:@=\u{fc}"),
            "/a%20b%3Fc%23d%26e%2520%3A%40%3D%C3%BC"
        );
    }

    fn chosen(names: &[&str], hostname: &str) -> Option<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        choose(&names, hostname)
    }

    #[test]
    fn the_only_host_is_chosen_under_any_host_name() {
        assert_eq!(chosen(&["vm"], "hyper-nixos").as_deref(), Some("vm"));
    }

    #[test]
    fn of_several_hosts_the_one_with_the_host_name_is_chosen() {
        let names = ["a", "b", "b.example.org"];
        assert_eq!(chosen(&names, "a").as_deref(), Some("a"));
        assert_eq!(chosen(&names, "a.example.org").as_deref(), Some("a"));
        assert_eq!(
            chosen(&names, "b.example.org").as_deref(),
            Some("b.example.org")
        );
        assert_eq!(chosen(&names, "c"), None);
        assert_eq!(chosen(&[], "c"), None);
    }
}
