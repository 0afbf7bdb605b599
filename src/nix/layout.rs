//! How a host's flake reaches the directory that is synced.
//!
//! Three ways are in the field, and each needs another treatment to build what was synced and not something older or
//! newer. It is read from the text of `flake.nix` alone: its inputs must be literal, Nix insists.

use std::path::Path;

use serde::{Serialize, Serializer};

use super::Flake;

/// The way from the flake to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// The target is the flake, or holds it.
    Own,
    /// The target is an input of the flake: Nix copies it, and builds the copy that its lock file names.
    Input {
        /// The input's name; two inputs may be the same directory.
        names: Vec<String>,
    },
    /// The flake names paths in the target. Absolute ones are read where they are, which needs `--impure`; the lock
    /// file knows nothing of them.
    Literal,
}

impl Layout {
    /// How `flake`, which lies in `directory`, reaches `target`; `None` where it does not, as far as its text shows.
    #[must_use]
    pub fn of(flake: &Flake, directory: &Path, target: &Path) -> Option<Self> {
        if directory.starts_with(target) {
            return Some(Self::Own);
        }
        let names: Vec<String> = flake
            .inputs_at(directory, target)
            .map(|input| input.name.clone())
            .collect();
        if !names.is_empty() {
            return Some(Self::Input { names });
        }
        flake
            .names_path_in(directory, target)
            .then_some(Self::Literal)
    }

    /// The word for it, in messages and in JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Input { .. } => "input",
            Self::Literal => "literal",
        }
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "/etc/hypervisor/src";

    fn layout(source: &str, directory: &str) -> Option<Layout> {
        let flake = Flake::parse(source).unwrap();
        Layout::of(&flake, Path::new(directory), Path::new(TARGET))
    }

    #[test]
    fn an_older_install_has_the_target_as_an_input_whatever_its_name() {
        let source = r#"{ inputs.hv.url = "path:/etc/hypervisor/src";
            outputs = { self, hv }: { nixosConfigurations.vm = import (hv + "/profiles/minimal.nix"); }; }"#;
        let names = vec!["hv".to_owned()];
        assert_eq!(
            layout(source, "/etc/hypervisor"),
            Some(Layout::Input { names })
        );
    }

    #[test]
    fn an_install_since_october_2025_names_absolute_paths() {
        let source = r"{ inputs.nixpkgs.url = github:NixOS/nixpkgs/nixos-24.05;
            outputs = { self, nixpkgs }: { nixosConfigurations.vm = nixpkgs.lib.nixosSystem {
              modules = [ /etc/nixos/hardware-configuration.nix /etc/hypervisor/src/profiles/minimal.nix ]; }; }; }";
        assert_eq!(layout(source, "/etc/hypervisor"), Some(Layout::Literal));
    }

    #[test]
    fn a_target_that_holds_the_flake_is_its_own() {
        let source = "{ outputs = { self }: { }; }";
        assert_eq!(layout(source, TARGET), Some(Layout::Own));
        assert_eq!(
            layout(source, "/etc/hypervisor/src/hosts/a"),
            Some(Layout::Own)
        );
    }

    #[test]
    fn a_flake_that_goes_elsewhere_has_no_layout() {
        let source = r#"{ inputs.hv.url = "path:/etc/hypervisor/src2"; outputs = { self, hv }: { x = /etc/hypervisor/srcs/a.nix; }; }"#;
        assert_eq!(layout(source, "/etc/hypervisor"), None);
    }
}
