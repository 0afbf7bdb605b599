//! What ends a check, or is its result.

use std::path::{Path, PathBuf};

use miette::Diagnostic;

use crate::exit::Exit;
use crate::git::RelPath;
use crate::text;

/// A check that cannot be made, or hosts that failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// There is no Nix.
    #[error("`nix` is not in the search path")]
    #[diagnostic(
        code(hyper_sync::check::no_nix),
        help(
            "install Nix first (in GitHub Actions, by an action that does it), or run this on a machine that has it; nothing was written"
        )
    )]
    NoNix,
    /// Nothing says which repository is meant.
    #[error("no repository is set, and `{}` is in no work tree of git", text::path(.directory))]
    #[diagnostic(
        code(hyper_sync::check::no_repository),
        help(
            "run it in a clone of the configuration, or name a repository, such as `--repo owner/name`; nothing was written"
        )
    )]
    NoRepository {
        /// The working directory.
        directory: PathBuf,
    },
    /// The commit has no flake where one is expected.
    #[error("the commit has no {}", flake(.directory))]
    #[diagnostic(
        code(hyper_sync::check::no_flake),
        help("`--flake DIR` names the directory of the commit that has it; nothing was written")
    )]
    NoFlake {
        /// The directory in the commit.
        directory: PathBuf,
    },
    /// The commit lacks a required file.
    #[error(
        "the commit has no regular file `{path}`, nor a symlink to one of its files, and `require` lists it"
    )]
    #[diagnostic(
        code(hyper_sync::check::required),
        help("add it to the commit, or take it out of `require`; nothing was written")
    )]
    Required {
        /// The file.
        path: RelPath,
    },
    /// The names of the hosts cannot be evaluated.
    #[error("the hosts of the flake cannot be evaluated: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::check::hosts),
        help("correct `flake.nix` in the repository; nothing was written")
    )]
    Hosts {
        /// Why, in the words of Nix.
        cause: String,
    },
    /// It has no hosts.
    #[error("the flake has no hosts: `nixosConfigurations` is empty")]
    #[diagnostic(
        code(hyper_sync::check::no_hosts),
        help("add the machines to `nixosConfigurations`; nothing was written")
    )]
    NoHosts,
    /// A host that was named is not there.
    #[error("the flake has no host `{}`", text::name(.host))]
    #[diagnostic(
        code(hyper_sync::check::unknown_host),
        help("it has {}; nothing was written", text::list(.names.iter().map(|name| format!("`{}`", text::name(name)))))
    )]
    UnknownHost {
        /// The name.
        host: String,
        /// The hosts that there are.
        names: Vec<String>,
    },
    /// The commit cannot be written into a scratch directory.
    #[error("the files of the commit cannot be written into a temporary directory")]
    #[diagnostic(
        code(hyper_sync::check::scratch),
        help("`TMPDIR` names another directory for it; nothing was written elsewhere")
    )]
    Scratch(#[source] std::io::Error),
    /// A signal.
    #[error("the check was interrupted")]
    #[diagnostic(
        code(hyper_sync::check::interrupted),
        help("run it again; nothing was written but into the store of Nix")
    )]
    Interrupted,
    /// Hosts that cannot be evaluated or built.
    #[error(
        "{} of {hosts} {}: {}",
        .failed.len(),
        if *.hosts == 1 { "host failed" } else { "hosts failed" },
        text::list(.failed.iter().map(|host| format!("`{}`", text::name(host))))
    )]
    #[diagnostic(
        code(hyper_sync::check::failed),
        help(
            "correct them in the repository; `--host NAME --verbose` shows all that Nix prints; nothing was written but into the store of Nix"
        )
    )]
    Failed {
        /// Their names.
        failed: Vec<String>,
        /// How many were checked.
        hosts: usize,
    },
}

impl Error {
    /// The exit class.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoRepository { .. } | Self::UnknownHost { .. } => Exit::Configuration,
            Self::Required { .. } => Exit::Conflict,
            Self::Scratch(_) => Exit::FileSystem,
            Self::Interrupted => Exit::Interrupted,
            Self::NoNix
            | Self::NoFlake { .. }
            | Self::Hosts { .. }
            | Self::NoHosts
            | Self::Failed { .. } => Exit::Rebuild,
        }
    }
}

fn flake(directory: &Path) -> String {
    if directory.as_os_str().is_empty() {
        return "`flake.nix`".to_owned();
    }
    format!("`flake.nix` in `{}`", text::path(directory))
}
