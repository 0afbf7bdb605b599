//! `hardware-configuration.nix`, which `nixos-generate-config` writes for one machine: its disks and its kernel modules.
//!
//! It lies beside `configuration.nix` at first. A repository of several machines has one in the directory of each host;
//! then the file at the top is not used, and the host's may be another machine's.

use std::fmt;

use crate::git::RelPath;

const NAME: &str = "hardware-configuration.nix";
/// Files of a host in which the one at the top may be imported.
const IMPORTERS: &[&str] = &["default.nix", "configuration.nix"];

/// A hardware configuration at the top that the host does not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherHardware {
    /// The directory of the host.
    host: RelPath,
    /// Whether that has one, which is another.
    has_one: bool,
}

impl OtherHardware {
    /// Compares the one at the top with that of `hosts/HOST`. `None` if they are equal, if there are not both places, or if
    /// the flake or the host import the one at the top.
    ///
    /// `read` returns the content of a file of the tree.
    pub fn find(host: &str, read: &dyn Fn(&RelPath) -> Option<Vec<u8>>) -> Option<Self> {
        let short = host.split('.').next().unwrap_or(host);
        let names = [host, short];
        let places = names
            .iter()
            .filter_map(|name| RelPath::new(format!("hosts/{name}").as_bytes()).ok());
        let own = read(&RelPath::new(NAME.as_bytes()).ok()?)?;
        let below = |place: &RelPath, name: &str| RelPath::join(Some(place), name.as_bytes()).ok();
        for place in places {
            let there = below(&place, NAME).and_then(|path| read(&path));
            let importers: Vec<Vec<u8>> = { IMPORTERS.iter() }
                .filter_map(|name| read(&below(&place, name)?))
                .collect();
            if there.is_none() && importers.is_empty() {
                continue;
            }
            let flake = RelPath::new(b"flake.nix").ok().and_then(|path| read(&path));
            let is_used = importers
                .iter()
                .any(|text| mentions(text, "../../hardware-configuration.nix"))
                || flake.is_some_and(|text| mentions(&text, "./hardware-configuration.nix"));
            if is_used || there.as_ref() == Some(&own) {
                return None;
            }
            return Some(Self {
                host: place,
                has_one: there.is_some(),
            });
        }
        None
    }
}

fn mentions(text: &[u8], path: &str) -> bool {
    text.windows(path.len()).any(|part| part == path.as_bytes())
}

impl fmt::Display for OtherHardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        if self.has_one {
            write!(
                f,
                "`{NAME}` of this machine is not used, and `{host}/{NAME}` is another one"
            )
        } else {
            write!(
                f,
                "`{NAME}` of this machine is not used, and `{host}` has none"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let read = |path: &RelPath| {
            let (_, content) = files.iter().find(|(name, _)| *name == path.as_str())?;
            Some(content.as_bytes().to_vec())
        };
        OtherHardware::find("web1.example.org", &read).map(|other| other.to_string())
    }

    #[test]
    fn another_or_no_hardware_of_the_host_is_found() {
        let own = (NAME, "mine");
        let other = ("hosts/web1/hardware-configuration.nix", "theirs");
        let host = ("hosts/web1/default.nix", "{ }");
        assert!(found(&[own, other, host]).unwrap().contains("another one"));
        assert!(
            found(&[own, host])
                .unwrap()
                .contains("`hosts/web1` has none")
        );
        let long = ("hosts/web1.example.org/default.nix", "{ }");
        assert!(
            found(&[own, long])
                .unwrap()
                .contains("`hosts/web1.example.org` has none")
        );
    }

    #[test]
    fn a_host_that_uses_the_one_at_the_top_or_has_the_same_is_right() {
        let own = (NAME, "mine");
        let other = ("hosts/web1/hardware-configuration.nix", "theirs");
        let host = ("hosts/web1/default.nix", "{ }");
        assert_eq!(found(&[own]), None);
        assert_eq!(found(&[other, host]), None);
        assert_eq!(found(&[own, ("hosts/web2/default.nix", "{ }")]), None);
        assert_eq!(
            found(&[own, ("hosts/web1/hardware-configuration.nix", "mine")]),
            None
        );
        let importer = (
            "hosts/web1/default.nix",
            "{ imports = [ ../../hardware-configuration.nix ]; }",
        );
        assert_eq!(found(&[own, importer]), None);
        assert_eq!(
            found(&[own, host, ("flake.nix", "./hardware-configuration.nix")]),
            None
        );
    }
}
