//! Programs in the search path.

use super::findings::Findings;
use super::sight::Sight;
use crate::settings::Repo;

/// What hyper-sync starts is there, and what the settings name.
pub(super) fn tools(sight: &Sight<'_>, findings: &mut Findings) {
    let settings = sight.settings();
    let mut needed = vec![("nixos-rebuild", "a rebuild needs it")];
    match settings.repo {
        Repo::Ssh(_) => needed.push(("ssh", "the repository is reached through it")),
        Repo::Local(_) => needed.push(("git", "the repository is read through it")),
        Repo::GitHub { .. } | Repo::Http(_) => {}
    }
    for (name, why) in &needed {
        match sight.find_program(name) {
            Some(_) => findings.pass(format!("`{name}` is there")),
            None => findings.fault(
                format!("`{name}` is not in the search path, but {why}"),
                "install it, or add its directory to `PATH`",
            ),
        }
    }
    for name in &settings.validate.tools {
        if needed.iter().any(|(needed, _)| needed == name) {
            continue;
        }
        if sight.find_program(name).is_some() {
            findings.pass(format!("`{name}` is there"));
        } else {
            findings.warn(
                format!("`{name}` is not in the search path"),
                "add it to `environment.systemPackages`, or take it out of `validate.tools`",
            );
        }
    }
}
