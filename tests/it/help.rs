//! What `--help` says, word for word: a change to it is a change to the interface.

use crate::common::env::Sandbox;

fn help(args: &[&str]) -> String {
    let output = Sandbox::new().run(args).ok();
    assert_eq!(output.stderr, "");
    // clap pads empty lines.
    let lines = output.stdout.lines().map(str::trim_end);
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn of_the_update() {
    insta::assert_snapshot!(help(&["--help"]));
}

#[test]
fn of_the_update_in_short() {
    insta::assert_snapshot!(help(&["-h"]), @"
    Keep a NixOS configuration equal to a commit of a git repository, and rebuild from it

    Usage: hyper-sync [OPTIONS] [COMMAND]

    Commands:
      sync         Bring the target to a commit, without rebuilding
      validate     Check the installation: files, flake, Nix, tools, integrity, disk space
      check        Check that the hosts of a commit build, without a target: for CI
      status       Show which commit the target, the built and the running system are at
      overdue      Fail where no sync has reached the repository for too long, or a run hangs
      health       Run the health checks of this machine
      diff         Show local edits as a diff, or what a sync would change
      history      List the updates that can be undone, newest first
      log          List the commits the target was at, or those that a sync would bring
      rollback     Bring the target back to an earlier commit, without the network
      restore      Put local edits back that an update has replaced
      rebuild      Rebuild the system from the target as it is
      targets      List the targets that this user has synced
      forget       Remove what is known of a target: downloaded objects, history, replaced edits
      suspend      Let the timer and the units of this machine do nothing for a while
      resume       Let the timer and the units work again after `hyper-sync suspend`
      init         Write a configuration file with what is found here
      config       Show or check the settings
      completions  Print the completions for a shell
      man          Print a manual page
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help (see more with '--help')
      -V, --version  Print version

    Update options:
          --ref <BRANCH|TAG|COMMIT>  Branch, tag or commit to bring the target to [default: main]
          --check-only               Only say whether changes wait, and how many; no file of the commit
                                     is downloaded, the target stays as it is
      -n, --dry-run                  List every file that would be written or deleted; the target stays
                                     as it is
          --exit-code                With `--check-only` or `--dry-run`: exit with 20 when changes wait
          --force-full               Download the whole commit instead of what changed; verified and
                                     applied the same way
          --transport <HOW>          How the repository is read: the git protocol, GitHub's API, or
                                     whichever suits [possible values: auto, git, api]
          --local-edits <POLICY>     What happens to files edited since the last sync [possible values:
                                     replace, keep, merge, refuse]
          --allow-rewind             Follow a branch that was moved back or rewritten
          --allow-other-repo         Follow another repository than before from now on; its files
                                     replace those of the one before
          --allow-mass-delete        Let the update delete most of the files that are managed
          --base <COMMIT>            For the first sync of a directory: the commit of the repository
                                     that its files are of
          --adopt                    Move the `.git` of the target into the state directory after the
                                     sync
          --resume                   Take the commit that was rolled back from again
          --for <TIME>               With another `--ref` than the configured one: how long the timer
                                     leaves the target there, such as `2h` [default: until a run with
                                     the configured one]
          --wait <TIME>              Wait this long for another run to end, instead of giving up at
                                     once: seconds, or a time such as `15m`
          --skip-rebuild             Bring the target to the commit, but do not rebuild
          --rebuild-action <ACTION>  What to do with the system that is built; `none`: nothing is
                                     rebuilt [default: switch] [possible values: build, test, switch,
                                     boot, dry-activate, none]
          --allow-self-removal       Activate also a system that has no hyper-sync timer any more, in a
                                     run started by that timer
          --retry                    Try also a build that failed before, whose pause is not over
          --flake <DIR[#HOST]>       Directory of the flake that is built [default: where the target is,
                                     see `rebuild.flake`]
          --host <NAME>              Host to build: its name in `nixosConfigurations` [default: the only
                                     one, or the one with this machine's name]

    Global options:
          --config <FILE>      Configuration file [default: /etc/hyper-sync/config.toml, where it
                               exists]
          --repo <REPO>        Repository: `owner/name` on GitHub, `https://…`, `ssh://…`,
                               `user@host:path`, `file://…` or a path [default: the one the target
                               follows]
          --target <DIR>       Directory to keep equal to a commit [default: the one this is run in, or
                               the only one known]
          --token-file <FILE>  File that holds the token for a private repository or a higher rate limit
          --json               Print one JSON document on stdout
      -q, --quiet              Print warnings and errors only
      -v, --verbose            Print more, and let a rebuild show its traces

    See `hyper-sync help COMMAND` for one command, and `--help` for examples and exit codes.
    ");
}

/// Without the global options, which every command has the same.
fn own(command: &[&str]) -> String {
    let text = help(&[command, &["--help"]].concat());
    let (own, global) = text.split_once("\nGlobal options:\n").unwrap();
    assert!(global.contains("--config <FILE>"));
    own.to_owned()
}

#[test]
fn of_sync() {
    insta::assert_snapshot!(own(&["sync"]), @"
    Bring the target to a commit, without rebuilding

    Finds out what changed between the last synced commit and the one of `--ref`, downloads only that,
    verifies it to the byte and puts it into the target. Files it did not write are never deleted, local
    edits are never lost.

    Usage: hyper-sync sync [OPTIONS] [REF]

    Arguments:
      [REF]
              Branch, tag or commit, as `--ref`

    Options:
          --ref <BRANCH|TAG|COMMIT>
              Branch, tag or commit to bring the target to [default: main]

          --check-only
              Only say whether changes wait, and how many; no file of the commit is downloaded, the
              target stays as it is

      -n, --dry-run
              List every file that would be written or deleted; the target stays as it is

          --exit-code
              With `--check-only` or `--dry-run`: exit with 20 when changes wait

          --force-full
              Download the whole commit instead of what changed; verified and applied the same way

          --transport <HOW>
              How the repository is read: the git protocol, GitHub's API, or whichever suits

              [possible values: auto, git, api]

          --local-edits <POLICY>
              What happens to files edited since the last sync

              `replace`: the target mirrors the commit, the edit is kept aside and `hyper-sync restore`
              puts it back. `keep`: edits win. `merge`: an edit is merged with the commit's change as
              git does; if both change the same lines, the run stops and writes nothing. `refuse`: an
              update that needs an edited file stops and writes nothing. In files that match the setting
              `protect` a local edit always wins.

              [possible values: replace, keep, merge, refuse]

          --allow-rewind
              Follow a branch that was moved back or rewritten

          --allow-other-repo
              Follow another repository than before from now on; its files replace those of the one
              before

          --allow-mass-delete
              Let the update delete most of the files that are managed

          --base <COMMIT>
              For the first sync of a directory: the commit of the repository that its files are of

              Files that are as in it are not edited, whichever commit they are brought to. A directory
              with `.git` needs no `--base`: its files are those of `HEAD`.

          --adopt
              Move the `.git` of the target into the state directory after the sync

              It is not updated by a sync, so git, and a `nixos-rebuild` by hand, would not see new
              files.

          --resume
              Take the commit that was rolled back from again

          --for <TIME>
              With another `--ref` than the configured one: how long the timer leaves the target there,
              such as `2h` [default: until a run with the configured one]

          --wait <TIME>
              Wait this long for another run to end, instead of giving up at once: seconds, or a time
              such as `15m`

          --skip-validation
              Compare local files by size and time instead of hashing them (faster)

              Downloads are verified all the same. An edit that keeps size and time is not seen.

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync sync --repo you/config --target /etc/nixos  The first time
      hyper-sync sync                                        From then on
      hyper-sync sync --dry-run                              List what would change
      hyper-sync sync --ref develop                          Another branch
    ");
}

#[test]
fn of_validate() {
    insta::assert_snapshot!(own(&["validate"]), @"
    Check the installation: files, flake, Nix, tools, integrity, disk space

    Exit code 0: all passed; 1: critical failures; 2: warnings only.

    Usage: hyper-sync validate [OPTIONS]

    Options:
          --quick
              Leave out the checks that take long

          --fix
              Repair what can be repaired safely: says what it will do, does it, and checks again

          --fail-on <LEVEL>
              The least that makes the exit code other than 0

              Possible values:
              - warning:  Warnings (exit code 2) and critical failures (1)
              - critical: Critical failures only; warnings exit with 0

              [default: warning]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync validate --quick  Only what takes no time
      hyper-sync validate --fix    Repair what is safe to repair
    ");
}

#[test]
fn of_health() {
    insta::assert_snapshot!(own(&["health"]), @"
    Run the health checks of this machine

    The checks are those of the section `[health]`: programs, addresses, ports and units of your own,
    whether the repository is reached, and whether no unit has failed that had not failed before the
    running system was activated. A check that fails is tried again until `health.within` is over. Exit
    code 0: all passed; 1: one has failed, and every result is printed.

    Usage: hyper-sync health [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync health  Does this machine do its work?
    ");
}

#[test]
fn of_status() {
    insta::assert_snapshot!(own(&["status"]), @"
    Show which commit the target, the built and the running system are at

    Also local edits, commits that are held, a suspension, a rebuild that waits, and when it last ran
    and last changed anything.

    Usage: hyper-sync status [OPTIONS]

    Options:
          --remote
              Ask the repository too, and show how many commits the target is behind

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync status         Where everything is
      hyper-sync status --json  The same for a program
    ");
}

#[test]
fn of_rebuild() {
    insta::assert_snapshot!(own(&["rebuild"]), @"
    Rebuild the system from the target as it is

    Usage: hyper-sync rebuild [OPTIONS]

    Options:
          --rebuild-action <ACTION>
              What to do with the system that is built; `none`: nothing is rebuilt [default: switch]

              [possible values: build, test, switch, boot, dry-activate, none]

          --allow-self-removal
              Activate also a system that has no hyper-sync timer any more, in a run started by that
              timer

          --retry
              Try also a build that failed before, whose pause is not over

          --flake <DIR[#HOST]>
              Directory of the flake that is built [default: where the target is, see `rebuild.flake`]

              `DIR#NAME` names the host too, as for `nixos-rebuild --flake`.

          --host <NAME>
              Host to build: its name in `nixosConfigurations` [default: the only one, or the one with
              this machine's name]

          --if-pending
              Do nothing unless a sync has left a rebuild to do

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync rebuild                        Build and switch
      hyper-sync rebuild --rebuild-action test  Until the next boot only
    ");
}

#[test]
fn of_suspend() {
    insta::assert_snapshot!(own(&["suspend"]), @"
    Let the timer and the units of this machine do nothing for a while

    They end at once with exit code 0, reach no network, and neither rebuild nor reboot, until
    `hyper-sync resume` or the end of `--for`. What a person runs goes on, with a note. A run that is
    active is not stopped. A second suspension takes the place of the first.

    Usage: hyper-sync suspend [OPTIONS]

    Options:
          --for <TIME>
              How long, such as `2h` or `3 days`, at most a year [default: until `hyper-sync resume`]

          --reason <TEXT>
              Why, for those who read `hyper-sync status`

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync suspend --for 2h --reason 'disk is replaced'  No updates meanwhile
    ");
}

#[test]
fn of_resume() {
    insta::assert_snapshot!(own(&["resume"]), @"
    Let the timer and the units work again after `hyper-sync suspend`

    A commit that a rollback left stays held: the next commit ends that, or `hyper-sync sync --resume`.

    Usage: hyper-sync resume [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync resume  Update again
    ");
}

#[test]
fn of_config() {
    insta::assert_snapshot!(own(&["config"]), @"
    Show or check the settings

    Usage: hyper-sync config [OPTIONS] <COMMAND>

    Commands:
      show     Print every setting, with where its value comes from
      check    Check a configuration file
      explain  Explain a setting, or all
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync config show  Every setting, with its origin
    ");
}

#[test]
fn of_config_show() {
    insta::assert_snapshot!(own(&["config", "show"]), @"
    Print every setting, with where its value comes from

    The output is a configuration file that says the same. The precedence is: option, `HYPER_SYNC_*`
    variable, file, default. The variable of `rebuild.action` is `HYPER_SYNC_REBUILD_ACTION`, a list has
    one item a line.

    Usage: hyper-sync config show [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync config show  Every setting, with its origin
    ");
}

#[test]
fn of_config_check() {
    insta::assert_snapshot!(own(&["config", "check"]), @"
    Check a configuration file

    Needs no network, no root and no target: the NixOS module runs it when the system is built. Exit
    code 0: the file is valid; 2: it is not, and each mistake is shown with its line.

    Usage: hyper-sync config check [OPTIONS] [FILE]

    Arguments:
      [FILE]
              The file to check, in place of the one a run would read

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync config check config.toml  Before it is installed
    ");
}

#[test]
fn of_completions() {
    insta::assert_snapshot!(own(&["completions"]), @"
    Print the completions for a shell

    They also offer branches, commits, replaced edits and targets that are known here. For bash:
    `hyper-sync completions bash > /etc/bash_completion.d/hyper-sync`

    Usage: hyper-sync completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>
              The shell

              [possible values: bash, elvish, fish, powershell, zsh]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      hyper-sync completions bash  Print the script of a shell
    ");
}

#[test]
fn every_option_of_the_old_scripts_is_known() {
    let update = help(&["-h"]);
    let sync = help(&["sync", "--help"]);
    let validate = help(&["validate", "--help"]);
    for (help, options) in [
        (
            update,
            &[
                "--ref",
                "--check-only",
                "--skip-rebuild",
                "--force-full",
                "--rebuild-action",
                "--verbose",
                "-h",
            ][..],
        ),
        (
            sync,
            &[
                "--ref",
                "--force-full",
                "--dry-run",
                "--check-only",
                "--skip-validation",
                "--verbose",
                "-h",
            ],
        ),
        (validate, &["--quick", "--fix", "--verbose", "-h"]),
    ] {
        for option in options {
            assert!(help.contains(option), "{option}:\n{help}");
        }
    }
}

#[test]
fn the_version_is_the_package_s() {
    assert_eq!(
        help(&["--version"]),
        concat!("hyper-sync ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn all_manual_pages_are_written_into_a_directory() {
    let world = Sandbox::new();
    let directory = world.root().join("man");
    std::fs::create_dir(&directory).unwrap();
    let name = directory.display().to_string();
    let output = world.run(&["man", "--all", &name]).ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let commands = commands(&[]);
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        let page = std::fs::read_to_string(directory.join(format!("hyper-sync-{command}.1")));
        assert!(page.unwrap().contains(".SH EXAMPLES"), "{command}");
    }
    for page in ["hyper-sync.1", "hyper-sync-config-show.1"] {
        assert!(directory.join(page).exists(), "{page}");
    }
    assert!(!directory.join("hyper-sync-reboot.1").exists());
    let refused = world.run(&["man", "--all", "/nowhere"]).code(64);
    assert!(
        refused
            .stderr
            .starts_with("error: cannot write `/nowhere/hyper-sync.1`: ")
    );
}

/// The commands below one, as its help lists them.
fn commands(above: &[&str]) -> Vec<String> {
    let text = help(&[above, &["-h"]].concat());
    let (_, list) = text.split_once("\nCommands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn the_help_of_each_command_has_its_own_options_first_and_examples() {
    for command in commands(&[]) {
        let short = help(&[&command, "-h"]);
        // The options that all commands have are named once, in the long help.
        assert!(!short.contains("--token-file"), "{short}");
        let long = help(&[&command, "--help"]);
        let at = |text: &str| {
            long.find(text)
                .unwrap_or_else(|| panic!("{command}: {text}"))
        };
        assert!(at("\nOptions:\n") < at("\nExamples:\n"), "{long}");
        let (_, global) = long.split_once("\nGlobal options:\n").unwrap();
        assert!(global.lines().count() < 30, "{global}");
    }
}

#[test]
fn help_is_wrapped_to_the_terminal() {
    for columns in [40, 80] {
        let world = Sandbox::new();
        let mut command = world.cmd(&["sync", "--help"]);
        let output = command
            .env("COLUMNS", columns.to_string())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let is_example = |line: &str| line.starts_with("  hyper-sync ");
        for line in text.lines().filter(|line| !is_example(line)) {
            let is_one_word = !line.trim().contains(' ');
            assert!(
                line.chars().count() <= columns || is_one_word,
                "{columns}: {line}"
            );
        }
    }
}
