//! The meaning of each setting, for `config explain` and `docs/settings.md`.
//!
//! Apart from where the settings are resolved, because there the order of definitions and defaults is what a reader looks
//! for. A test compares the names of both.

/// The settings in the order of the documentation, each with its meaning in sentences without a line break.
///
/// `NAME` in the key of a health check stands for the name that the user gives it.
pub const MEANINGS: &[(&str, &str)] = &[
    (
        "repo",
        "The repository: `owner/name` on GitHub (or `github:owner/name`), or an address of any git host (`https://…`, `ssh://…`, `user@host:path`, `file://…`, a path).",
    ),
    (
        "ref",
        "The branch to follow. A tag or a full commit id pins the target.",
    ),
    ("target", "The directory that is kept equal to the commit."),
    (
        "transport",
        "How objects are downloaded. `git` uses git's protocol only, `api` GitHub's REST API only, `auto` git first.",
    ),
    (
        "local_edits",
        "What happens to a file that was edited in the target: `replace` keeps a copy and writes the commit's file, `keep` leaves the edit, `merge` merges it with the commit's change as git does and stops the run where both change the same lines, `refuse` stops the run if the commit changes that file.",
    ),
    (
        "protect",
        "Patterns of files in which a local edit always wins.",
    ),
    ("exclude", "Patterns of paths that are not managed at all."),
    (
        "executable",
        "Patterns of files whose execute bit is set, whatever the commit says.",
    ),
    (
        "require",
        "Files that a commit must have; a commit without one of them is refused.",
    ),
    (
        "state_dir",
        "The directory of the object store, the journal, the index and the copies of what was replaced. If it is set and no target is, the target is the one whose state it has, wherever the command is run and whatever other targets are known.",
    ),
    (
        "state_file",
        "Where a copy of `sync-state.json` is written for other programs.",
    ),
    (
        "metrics_file",
        "Where metrics are written for the textfile collector of Prometheus's node exporter.",
    ),
    (
        "failure_grace",
        "How long the repository may be out of reach before `hyper-sync overdue` fails.",
    ),
    (
        "token_file",
        "A file that holds the token for the repository's host.",
    ),
    (
        "api_url",
        "The base of the REST API of a GitHub Enterprise, such as `https://git.example.org/api/v3`.",
    ),
    (
        "ssh_key_file",
        "The private key for a repository that is reached by ssh.",
    ),
    (
        "known_hosts_file",
        "The host keys that ssh accepts, in place of the user's and the system's.",
    ),
    (
        "ca_file",
        "Certificate authorities (PEM) that are trusted in place of the system's.",
    ),
    (
        "health.units",
        "Whether a unit that has failed since the running system was activated makes the machine unhealthy.",
    ),
    (
        "health.remote",
        "Whether a repository that cannot be reached makes the machine unhealthy.",
    ),
    (
        "health.within",
        "How long all checks together are tried again.",
    ),
    (
        "health.timeout",
        "How long one try of a check may take that has no `timeout` of its own.",
    ),
    (
        "health.confirm",
        "Whether a new system becomes the boot default only after it has passed the checks; otherwise the former system is activated again.",
    ),
    (
        "health.checks.NAME.command",
        "A check: a program and its arguments, without a shell. It passes with exit code 0.",
    ),
    (
        "health.checks.NAME.url",
        "A check: an address that answers a `GET` with 2xx or 3xx.",
    ),
    (
        "health.checks.NAME.status",
        "The one status that `url` is to answer with.",
    ),
    (
        "health.checks.NAME.tcp",
        "A check: a host and a port that accepts a connection, such as `localhost:5432`.",
    ),
    (
        "health.checks.NAME.unit",
        "A check: a systemd unit that is active.",
    ),
    (
        "health.checks.NAME.timeout",
        "How long one try of this check may take.",
    ),
    (
        "rebuild.action",
        "What is done with a new system, as for `nixos-rebuild`. `none`: the target is not for NixOS, and nothing is rebuilt.",
    ),
    ("rebuild.flake", "The directory of the flake that is built."),
    (
        "rebuild.host",
        "The attribute of `nixosConfigurations` that is built. If it is not set, it is the only one there is, or the one with this machine's host name.",
    ),
    (
        "rebuild.extra_args",
        "Further arguments of the build, such as `--impure`.",
    ),
    (
        "rebuild.gate",
        "What is required of a commit before it is brought into the target. `build`: its system builds.",
    ),
    ("rebuild.timeout", "How long evaluation and build may take."),
    (
        "rebuild.activation_timeout",
        "How long the activation of a system may take; then it is stopped.",
    ),
    (
        "reboot.allow",
        "Whether the machine may reboot by itself into a new system that needs that.",
    ),
    (
        "reboot.window",
        "The part of the day in which it may do so; it may cross midnight. If it is not set, at any time.",
    ),
    (
        "reboot.when_idle",
        "Whether a reboot waits until no user is logged in.",
    ),
    (
        "hooks.changed",
        "A program and its arguments, run after an update that has changed files or the system. It gets the report as JSON on its standard input.",
    ),
    (
        "hooks.failed",
        "A program and its arguments, run after a failure. It gets the report as JSON on its standard input.",
    ),
    (
        "hooks.url",
        "An address that the report of either is sent to as JSON, by `POST`.",
    ),
    (
        "validate.directories",
        "Directories that must exist, absolute or relative to the target.",
    ),
    (
        "validate.files",
        "Files that must exist, absolute or relative to the target.",
    ),
    (
        "validate.tools",
        "Programs that must be in the search path.",
    ),
    ("validate.kvm", "Whether `/dev/kvm` must be there."),
    ("validate.bridge", "A network bridge that should be up."),
    ("validate.services", "systemd units that should be active."),
    (
        "validate.min_free",
        "The free space that each checked file system must have.",
    ),
    (
        "limits.files",
        "The most files and directories that a commit may have.",
    ),
    (
        "limits.bytes",
        "The most that all files which an update needs may have together, as they are on disk.",
    ),
    ("limits.blob", "The most that one file may have."),
    ("limits.time", "How long the downloads of one run may take."),
    (
        "trust.signers",
        "A file of those whose signature a commit needs: allowed signers of OpenSSH, or an OpenPGP keyring. If it is not set, no signature is required.",
    ),
    (
        "trust.symlinks",
        "Whether symlinks may lead out of the tree. `within` refuses a commit that has such.",
    ),
    (
        "trust.rewind",
        "Whether a branch may move to a commit that does not descend from the last one.",
    ),
    (
        "trust.moving_tags",
        "Whether a tag may name another commit than last time.",
    ),
    (
        "trust.forge",
        "Whether the REST API's statement is accepted that a commit has a tree, where the commit's own bytes cannot be put together.",
    ),
];
