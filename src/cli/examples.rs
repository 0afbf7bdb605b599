//! What to type: the examples of each command, for its help and its manual page.

/// Command lines with what they do.
type Examples = &'static [(&'static str, &'static str)];

/// The examples of a command by its full name, such as `hyper-sync sync`.
pub(super) fn of(command: &str) -> Examples {
    let found = EXAMPLES.iter().find(|(name, _)| *name == command);
    found.map_or(&[], |(_, examples)| examples)
}

const EXAMPLES: &[(&str, Examples)] = &[
    (
        "hyper-sync",
        &[
            ("hyper-sync --check-only", "Does anything wait?"),
            ("hyper-sync --ref develop", "Update to a branch"),
            (
                "hyper-sync --ref v2.1 --skip-rebuild",
                "Bring the files, rebuild later",
            ),
            (
                "hyper-sync sync --dry-run",
                "List every file that would change",
            ),
            (
                "hyper-sync validate --fix",
                "Check the installation and repair it",
            ),
        ],
    ),
    (
        "hyper-sync init",
        &[(
            "hyper-sync init",
            "Write a configuration file to start from",
        )],
    ),
    (
        "hyper-sync sync",
        &[
            (
                "hyper-sync sync --repo you/config --target /etc/nixos",
                "The first time",
            ),
            ("hyper-sync sync", "From then on"),
            ("hyper-sync sync --dry-run", "List what would change"),
            ("hyper-sync sync --ref develop", "Another branch"),
        ],
    ),
    (
        "hyper-sync validate",
        &[
            ("hyper-sync validate --quick", "Only what takes no time"),
            ("hyper-sync validate --fix", "Repair what is safe to repair"),
        ],
    ),
    (
        "hyper-sync check",
        &[("hyper-sync check", "Does the commit build?")],
    ),
    (
        "hyper-sync status",
        &[
            ("hyper-sync status", "Where everything is"),
            ("hyper-sync status --json", "The same for a program"),
        ],
    ),
    (
        "hyper-sync overdue",
        &[(
            "hyper-sync overdue",
            "For a monitor: exit code 0 if all is well",
        )],
    ),
    (
        "hyper-sync health",
        &[("hyper-sync health", "Does this machine do its work?")],
    ),
    (
        "hyper-sync diff",
        &[
            ("hyper-sync diff", "Your edits since the last sync"),
            ("hyper-sync diff --remote", "What a sync would change"),
            ("hyper-sync diff flake.nix", "One file"),
        ],
    ),
    (
        "hyper-sync log",
        &[
            ("hyper-sync log", "The commits that were here"),
            ("hyper-sync log --remote", "What a sync would bring"),
        ],
    ),
    (
        "hyper-sync history",
        &[("hyper-sync history", "What can be undone")],
    ),
    (
        "hyper-sync rollback",
        &[
            ("hyper-sync rollback", "The commit before"),
            ("hyper-sync rollback 3", "Three commits back"),
            ("hyper-sync rollback 41d1017", "To a commit"),
            ("hyper-sync rollback --dry-run", "List what would change"),
        ],
    ),
    (
        "hyper-sync restore",
        &[
            ("hyper-sync restore flake.nix", "One edited file"),
            ("hyper-sync restore .", "All of them"),
        ],
    ),
    (
        "hyper-sync rebuild",
        &[
            ("hyper-sync rebuild", "Build and switch"),
            (
                "hyper-sync rebuild --rebuild-action test",
                "Until the next boot only",
            ),
        ],
    ),
    (
        "hyper-sync targets",
        &[("hyper-sync targets", "What is known here")],
    ),
    (
        "hyper-sync forget",
        &[(
            "hyper-sync forget /srv/www",
            "Remove its state; the files stay",
        )],
    ),
    (
        "hyper-sync suspend",
        &[(
            "hyper-sync suspend --for 2h --reason 'disk is replaced'",
            "No updates meanwhile",
        )],
    ),
    (
        "hyper-sync resume",
        &[("hyper-sync resume", "Update again")],
    ),
    (
        "hyper-sync config",
        &[("hyper-sync config show", "Every setting, with its origin")],
    ),
    (
        "hyper-sync config show",
        &[("hyper-sync config show", "Every setting, with its origin")],
    ),
    (
        "hyper-sync config check",
        &[(
            "hyper-sync config check config.toml",
            "Before it is installed",
        )],
    ),
    (
        "hyper-sync config explain",
        &[
            ("hyper-sync config explain local_edits", "One setting"),
            ("hyper-sync config explain", "All of them"),
        ],
    ),
    (
        "hyper-sync completions",
        &[("hyper-sync completions bash", "Print the script of a shell")],
    ),
    (
        "hyper-sync man",
        &[
            ("hyper-sync man sync", "One page"),
            (
                "hyper-sync man --all /usr/local/share/man/man1",
                "Install all pages",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    #[test]
    fn every_example_is_understood() {
        for (command, examples) in EXAMPLES {
            for (line, _) in *examples {
                assert!(
                    line.starts_with(command) || *command == "hyper-sync config",
                    "{line}"
                );
                let words = line.replace("'disk is replaced'", "disk");
                let parsed = args::command().try_get_matches_from(words.split(' '));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
