//! The flake as a command-line argument: a directory, and after `#` the host in it, as `nixos-rebuild --flake` takes it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};

use crate::settings::Overrides;

/// Which host of which flake is built.
#[derive(Args, Default)]
pub(super) struct HostArguments {
    /// Directory of the flake that is built [default: where the target is, see `rebuild.flake`]
    ///
    /// `DIR#NAME` names the host too, as for `nixos-rebuild --flake`.
    #[arg(long, value_name = "DIR[#HOST]", value_parser = parser(), value_hint = ValueHint::DirPath)]
    flake: Option<FlakeArgument>,
    /// Host to build: its name in `nixosConfigurations` [default: the only one, or the one with this machine's name]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    host: Option<OsString>,
}

impl HostArguments {
    /// Adds the settings that these options set.
    pub(super) fn overrides(&self, overrides: Overrides) -> Overrides {
        let flake = self.flake.as_ref();
        let inside = flake.and_then(|flake| flake.host.as_ref());
        let overrides = overrides.with(
            "rebuild.flake",
            "--flake",
            flake.map(|flake| &flake.directory),
        );
        let host = self.host.as_ref().or(inside);
        overrides.with("rebuild.host", "--host", host)
    }
}

/// A flake of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FlakeArgument {
    directory: OsString,
    host: Option<OsString>,
}

fn parser() -> impl TypedValueParser<Value = FlakeArgument> {
    OsStringValueParser::new().try_map(|text| parse(&text))
}

/// Reads it; the error text is printed by clap.
fn parse(text: &OsStr) -> Result<FlakeArgument, &'static str> {
    let bytes = text.as_bytes();
    let (directory, host) = match bytes.iter().rposition(|&byte| byte == b'#') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let directory = directory.strip_prefix(b"path:").unwrap_or(directory);
    let scheme = directory.split(|&byte| byte == b'/').next();
    if scheme.is_some_and(|first| first.contains(&b':')) {
        return Err(
            "a rebuild builds a directory of this machine; `--repo` is the repository that is synced",
        );
    }
    let directory = if directory.is_empty() {
        b"."
    } else {
        directory
    };
    let own = |bytes: &[u8]| OsString::from_vec(bytes.to_owned());
    Ok(FlakeArgument {
        directory: own(directory),
        host: host.filter(|host| !host.is_empty()).map(own),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flake_is_a_directory_with_or_without_a_host() {
        let read = |text: &str| {
            let flake = parse(OsStr::new(text)).ok()?;
            let text = |text: OsString| text.into_string().unwrap();
            Some((text(flake.directory), flake.host.map(text)))
        };
        let (dir, host) = (|dir: &str| dir.to_owned(), Some("web1".to_owned()));
        assert_eq!(read("/etc/nixos"), Some((dir("/etc/nixos"), None)));
        assert_eq!(
            read("/etc/nixos#web1"),
            Some((dir("/etc/nixos"), host.clone()))
        );
        assert_eq!(read(".#web1"), Some((dir("."), host.clone())));
        assert_eq!(read("#web1"), Some((dir("."), host.clone())));
        assert_eq!(read("path:/srv/a:b#web1"), Some((dir("/srv/a:b"), host)));
        assert_eq!(read("/srv/x#"), Some((dir("/srv/x"), None)));
        for other in [
            "github:you/config",
            "git+file:///srv/x",
            "https://host/x#web1",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
