//! The command `check`, against a stand-in for Nix; with real Nix: `tests/nix/check.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::env::{Output, Sandbox};
use crate::common::forge::Forge;
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::world::World;

/// A configuration of three hosts.
fn repo() -> Repo {
    let repo = Repo::new();
    for host in ["db1", "web1", "web2"] {
        repo.write(format!("hosts/{host}"), "good\n");
    }
    repo.write("flake.nix", "{ outputs = import ./outputs.nix; }\n")
        .commit("three hosts");
    repo
}

/// A machine without a target, in whose search path is a Nix that reads a host's fate from `hosts/NAME`.
fn machine() -> Sandbox {
    let sandbox = Sandbox::new();
    for tool in ["cat", "env", "ls"] {
        sandbox.link_tool(tool);
    }
    set_nix(&sandbox, "");
    sandbox
}

/// Does this before it evaluates a host, whose name is in `$host`.
fn set_nix(sandbox: &Sandbox, script: &str) {
    let root = sandbox.root().display().to_string();
    sandbox.tool(
        "nix",
        &format!(
            r#"echo "$*" >>'{root}/calls'
case $1 in
build)
  host=${{4#/nix/store/}} host=${{host%.drv^out}}
  case $(cat '{root}/'$host) in
  *unbuildable*) echo "error: builder for '$host' failed with exit code 2" >&2; exit 1;;
  esac
  echo "/nix/store/$host"; exit 0;;
esac
for last; do :; done
tree=${{last#path:}} tree=${{tree%%[#?]*}}
case $last in
*drvPath)
  host=${{last#*nixosConfigurations.\"}} host=${{host%%\"*}}
  {script}
  text=$(cat "$tree/hosts/$host")
  echo "$text" >'{root}/'$host
  case $text in
  *broken*) printf 'error:\n  … while evaluating\n\n  error: attribute of %s missing\n  at /nix/store/x.nix:1:2:\n' "$host" >&2; exit 1;;
  esac
  echo "/nix/store/$host.drv";;
*)
  names=
  for host in $(ls "$tree/hosts"); do names="$names,\"$host\""; done
  echo "[${{names#,}}]";;
esac"#
        ),
    );
}

fn calls(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.root().join("calls")).unwrap_or_default()
}

/// A clone with a work tree, at the default branch.
fn clone(sandbox: &Sandbox, repo: &Repo) -> PathBuf {
    let path = sandbox.root().join("clone");
    let mut clone = git::git(sandbox.root());
    git::succeeds(clone.args(["clone", "-q"]).arg(repo.path()).arg(&path));
    sandbox.mask(&path.display().to_string(), "[clone]");
    path
}

/// Runs it with this directory as the working directory, as in a clone, without a configuration.
fn in_clone(sandbox: &Sandbox, clone: &Path, args: &[&str]) -> Output {
    // Whatever the tests were started with: a shell has its background jobs ignore SIGINT.
    let heeding = ["env", "--default-signal=INT"];
    let process = sandbox.process(&heeding, &[&["check"], args].concat());
    let mut command = assert_cmd::Command::from_std(process);
    command
        .current_dir(clone)
        .env_remove("HYPER_SYNC_TARGET")
        .env("HOME", sandbox.home());
    sandbox.finish(&mut command)
}

#[track_caller]
fn assert_nothing_is_left(sandbox: &Sandbox) {
    for (what, path) in [
        ("scratch", sandbox.root().join("tmp")),
        ("home", sandbox.home()),
    ] {
        let left = fs::read_dir(path).unwrap().count();
        assert_eq!(left, 0, "{what}");
    }
    assert!(!sandbox.target().exists() && !sandbox.state().exists());
}

#[test]
fn one_command_in_a_clone_builds_all_hosts_and_leaves_nothing() {
    let (sandbox, repo) = (machine(), repo());
    let clone = clone(&sandbox, &repo);
    sandbox.mask_id(&repo.id("main"), "commit");
    let output = in_clone(&sandbox, &clone, &[]).ok();
    insta::assert_snapshot!(output.masked(), @r"
    exit: 0
    --- stdout
    HOST  RESULT  EVALUATION  BUILD  ERROR
    db1   built        [time]  [time]
    web1  built        [time]  [time]
    web2  built        [time]  [time]
    --- stderr
    checking [commit] of [clone]: three hosts
    ");
    assert_nothing_is_left(&sandbox);
    // Nix is given the commit, as in a rebuild.
    let revision = format!("?rev={}&lastModified=", repo.id("main"));
    assert!(calls(&sandbox).contains(&revision), "{}", calls(&sandbox));
    let below = clone.join("hosts");
    let _ = in_clone(&sandbox, &below, &["--eval"]).ok();
}

#[test]
fn hosts_that_fail_are_named_and_the_others_are_built() {
    let (sandbox, repo) = (machine(), repo());
    repo.write("hosts/db1", "broken\n")
        .write("hosts/web2", "unbuildable\n")
        .commit("mistakes");
    let clone = clone(&sandbox, &repo);
    sandbox.mask_id(&repo.id("main"), "commit");
    let output = in_clone(&sandbox, &clone, &[]).code(11);
    insta::assert_snapshot!(output.masked(), @r"
    exit: 11
    --- stdout
    HOST  RESULT  EVALUATION  BUILD  ERROR
    db1   failed       [time]      -  attribute of db1 missing at /nix/store/x.nix:1:…
    web1  built        [time]  [time]
    web2  failed       [time]  [time]  builder for 'web2' failed with exit code 2

    db1: attribute of db1 missing at /nix/store/x.nix:1:2:

    web2: builder for 'web2' failed with exit code 2
    --- stderr
    checking [commit] of [clone]: mistakes
    error: 2 of 3 hosts failed: `db1`, `web2`
    help: correct them in the repository; `--host NAME --verbose` shows all that Nix prints; nothing was written but into the store of Nix
    [check::failed]
    ");
    let document = in_clone(&sandbox, &clone, &["--json"]).code(11).json();
    let results: Vec<(&str, &str)> = { document["hosts"].as_array().unwrap().iter() }
        .map(|host| {
            let text = |key: &str| host[key].as_str().unwrap();
            (text("host"), text("result"))
        })
        .collect();
    assert_eq!(
        results,
        [
            ("db1", "evaluation-failed"),
            ("web1", "built"),
            ("web2", "build-failed")
        ]
    );
    assert_eq!(
        (&document["passed"], &document["failed"]),
        (&1.into(), &2.into())
    );
    assert_eq!(document["hosts"][1]["system"], "/nix/store/web1");
    assert_nothing_is_left(&sandbox);
}

#[test]
fn hosts_are_chosen_and_evaluation_alone_builds_nothing() {
    let (sandbox, repo) = (machine(), repo());
    repo.write("hosts/db1", "broken\n").commit("a mistake");
    let clone = clone(&sandbox, &repo);
    let hosts = |args: &[&str]| {
        let document = in_clone(&sandbox, &clone, &[args, &["--json"]].concat());
        let document = document.ok().json();
        let hosts = document["hosts"].as_array().unwrap().clone();
        let text = |host: &serde_json::Value| {
            let text = |key: &str| host[key].as_str().unwrap().to_owned();
            format!("{} {}", text("host"), text("result"))
        };
        hosts.iter().map(text).collect::<Vec<_>>()
    };
    let named = ["--eval", "--host", "web2", "--host", "web1"];
    assert_eq!(hosts(&named), ["web1 evaluated", "web2 evaluated"]);
    assert!(!calls(&sandbox).contains("build "), "{}", calls(&sandbox));
    assert_eq!(hosts(&["--host", "web1"]), ["web1 built"]);
    let unknown = in_clone(&sandbox, &clone, &["--host", "web3"]).code(2);
    assert!(
        unknown.stderr.contains("it has `db1`, `web1`, `web2`"),
        "{}",
        unknown.stderr
    );
    let _ = in_clone(&sandbox, &clone, &["--all-hosts", "--host", "web1"]).code(64);
    let _ = in_clone(&sandbox, &clone, &["--flake", "../x"]).code(64);
    let missing = in_clone(&sandbox, &clone, &["--flake", "machines"]).code(11);
    assert!(missing.stderr.contains("no_flake"), "{}", missing.stderr);
}

#[test]
fn the_commit_is_the_head_of_the_clone_unless_a_name_is_given() {
    let (sandbox, repo) = (machine(), repo());
    repo.branch("feature").checkout("feature");
    repo.write("hosts/new", "good\n").commit("a fourth host");
    let clone = clone(&sandbox, &repo);
    git::succeeds(git::git(&clone).args(["checkout", "-q", "feature"]));
    let commit = |args: &[&str]| {
        let args = [args, &["--eval", "--json"]].concat();
        in_clone(&sandbox, &clone, &args).ok().json()["commit"].clone()
    };
    assert_eq!(commit(&[]), repo.id("feature"));
    assert_eq!(commit(&["main"]), repo.id("main"));
    assert_eq!(commit(&["--ref", "main"]), repo.id("main"));
    assert_eq!(commit(&[&repo.id("main")]), repo.id("main"));
    // Elsewhere there is no repository to check.
    let _ = in_clone(&sandbox, sandbox.root(), &[]).code(2);
}

#[test]
fn the_repository_of_the_configuration_is_fetched_as_for_a_sync() {
    let repo = repo();
    let forge = Forge::serve(&repo);
    let world = World::of_forge(&repo, forge);
    for tool in ["cat", "env", "ls"] {
        world.link_tool(tool);
    }
    set_nix(&world, "");
    let document = world.json(&["check"]);
    assert_eq!(document["commit"], repo.id("main"));
    assert_eq!(document["ref"], "main");
    assert_nothing_is_left(&world);
}

#[test]
fn a_commit_that_no_machine_would_take_is_refused_before_anything_is_evaluated() {
    let (sandbox, repo) = (machine(), repo());
    let clone = clone(&sandbox, &repo);
    sandbox.config("require = ['flake.nix', 'configuration.nix']");
    let refused = in_clone(&sandbox, &clone, &[]).code(8);
    assert!(
        refused.stderr.contains("configuration.nix"),
        "{}",
        refused.stderr
    );
    sandbox.config("[limits]\nfiles = 2");
    let _ = in_clone(&sandbox, &clone, &[]).code(7);
    assert_eq!(calls(&sandbox), "");
    assert_nothing_is_left(&sandbox);
}

#[test]
fn without_nix_and_without_hosts_the_error_says_so() {
    let (sandbox, repo) = (machine(), repo());
    let clone = clone(&sandbox, &repo);
    sandbox.tool("nix", "echo '[]'");
    let none = in_clone(&sandbox, &clone, &[]).code(11);
    assert!(none.stderr.contains("check::no_hosts"), "{}", none.stderr);
    sandbox.tool("nix", "echo 'error: syntax error' >&2; exit 1");
    let broken = in_clone(&sandbox, &clone, &[]).code(11);
    assert!(
        broken.stderr.contains("cannot be evaluated: syntax error"),
        "{}",
        broken.stderr
    );
    fs::remove_file(sandbox.root().join("bin/nix")).unwrap();
    let missing = in_clone(&sandbox, &clone, &["--json"]).code(11).json();
    assert_eq!(missing["error"]["code"], "hyper_sync::check::no_nix");
    // That is found before anything is fetched; and what checked nothing has no results.
    let args = ["--repo", "/no/such/repository", "--junit", "x.xml"];
    let missing = in_clone(&sandbox, &clone, &args).code(11);
    assert!(
        missing.stderr.starts_with("error: `nix` is not in"),
        "{}",
        missing.stderr
    );
    assert!(!clone.join("x.xml").exists());
    assert_nothing_is_left(&sandbox);
}

#[test]
fn outside_a_repository_the_error_names_the_directory() {
    let sandbox = machine();
    let refused = in_clone(&sandbox, sandbox.root(), &[]).code(2);
    insta::assert_snapshot!(refused.err(), @"
    error: no repository is set, and `[root]` is in no work tree of git
    help: run it in a clone of the configuration, or name a repository, such as `--repo owner/name`
    [check::no_repository]
    ");
}

/// Each of the first two waits for the other to be evaluated too.
#[test]
fn as_many_hosts_are_evaluated_at_a_time_as_jobs_are_given() {
    let (sandbox, repo) = (machine(), repo());
    sandbox.config("rebuild.timeout = '30s'");
    for host in ["db1", "web1"] {
        let fifo = sandbox.root().join(format!("fifo-{host}"));
        rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::RWXU).unwrap();
    }
    let fifo = format!("{}/fifo", sandbox.root().display());
    let clone = clone(&sandbox, &repo);
    set_nix(
        &sandbox,
        &format!(
            "case $host in\n\
             db1) echo >'{fifo}-db1'; read x <'{fifo}-web1';;\n\
             web1) read x <'{fifo}-db1'; echo >'{fifo}-web1';;\n\
             esac"
        ),
    );
    let document = in_clone(&sandbox, &clone, &["--eval", "--jobs", "2", "--json"]);
    assert_eq!(document.ok().json()["jobs"], 2);
    let _ = in_clone(&sandbox, &clone, &["--jobs", "0"]).code(64);
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let (sandbox, repo) = (machine(), repo());
    let clone = clone(&sandbox, &repo);
    // It does not end by itself, because a signal takes a moment to be noticed.
    let fifo = sandbox.root().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let fifo = fifo.display();
    set_nix(&sandbox, &format!("kill -INT $PPID; read x <'{fifo}'"));
    let output = in_clone(&sandbox, &clone, &["--jobs", "1"]).code(130);
    assert!(
        output.stderr.contains("check::interrupted"),
        "{}",
        output.stderr
    );
    assert_nothing_is_left(&sandbox);
}

#[test]
fn a_report_for_ci_servers_has_a_test_for_each_host() {
    let (sandbox, repo) = (machine(), repo());
    repo.write("hosts/db1", "broken <&> \u{1b}[31m\n")
        .commit("a mistake");
    let file = sandbox.root().join("reports/check.xml");
    let clone = clone(&sandbox, &repo);
    let path = file.display().to_string();
    let _ = in_clone(&sandbox, &clone, &["--junit", &path]).code(11);
    let report = fs::read_to_string(&file).unwrap();
    let count = |text: &str| report.matches(text).count();
    assert_eq!(
        (count("<testcase "), count("<failure ")),
        (3, 1),
        "{report}"
    );
    for part in [
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"tests="3" failures="1" errors="0""#,
        r#"<testcase classname="nixosConfigurations" name="db1""#,
        r#"<failure type="evaluation" message="attribute of db1 missing"#,
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    // Below the working directory, too.
    let _ = in_clone(&sandbox, sandbox.root(), &["--junit", "x.xml"]).code(2);
    let repo_path = repo.path().display().to_string();
    let args = ["--repo", &repo_path, "--junit", "x.xml", "--host", "web1"];
    let _ = in_clone(&sandbox, sandbox.root(), &args).ok();
    assert!(sandbox.root().join("x.xml").exists());
}

#[test]
fn github_shows_the_error_of_a_host_beside_the_run() {
    let (sandbox, repo) = (machine(), repo());
    repo.write("hosts/db1", "broken\n").commit("a mistake");
    let mut command = sandbox.cmd(&["check", "--host", "db1"]);
    command
        .current_dir(clone(&sandbox, &repo))
        .env("GITHUB_ACTIONS", "true");
    let output = sandbox.finish(&mut command).code(11);
    let begin: Vec<&str> = output.stdout.lines().take(8).collect();
    insta::assert_snapshot!(begin.join("\n"), @r"
    ::group::db1: log
    | error:
    |   … while evaluating
    | 
    |   error: attribute of db1 missing
    |   at /nix/store/x.nix:1:2:
    ::endgroup::
    ::error title=db1::attribute of db1 missing at /nix/store/x.nix:1:2:
    ");
}

#[test]
fn faults_in_files_that_nothing_evaluates_are_warnings() {
    let (sandbox, repo) = (machine(), repo());
    repo.write("unused.nix", "{ a = ; }\n")
        .write(
            "flake.nix",
            "{ inputs.nixpkgs.url = \"nixpkgs\"; outputs = _: { }; }\n",
        )
        .commit("faults");
    let clone = clone(&sandbox, &repo);
    let output = in_clone(&sandbox, &clone, &["--eval"]).ok();
    for part in ["unused.nix:1:7: ", "`flake.lock` is missing"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert!(!output.stderr.contains("/commit/"), "{}", output.stderr);
    let document = in_clone(&sandbox, &clone, &["--eval", "--json"])
        .ok()
        .json();
    let checks = document["checks"].as_array().unwrap();
    let found = |id: &str| {
        let check = checks.iter().find(|check| check["id"] == id).unwrap();
        check["status"].clone()
    };
    assert_eq!(
        (found("nix-syntax"), found("flake-lock")),
        ("warned".into(), "warned".into())
    );
    assert_nothing_is_left(&sandbox);
}
