//! A build that `nom` draws on the terminal: what it gets and what it draws, and that the result is the same whatever it
//! does.

use std::process::Stdio;

use hyper_sync::rebuild::{Error, Outcome};
use hyper_sync::settings::Action;

use super::world::{Call, FakeSystem};
use crate::common::world::{World, flake_repo};

/// What Nix prints of a build with a failed derivation, as JSON and as text.
const JSON: &str = r#"@nix {"action":"msg","level":4,"msg":"evaluating file '/tmp/t.nix'"}
@nix {"action":"msg","level":3,"msg":"this derivation will be built:"}
@nix {"action":"msg","level":3,"msg":"  /nix/store/z-x.drv"}
@nix {"action":"start","fields":["/nix/store/z-x.drv","",1,1],"id":65,"level":3,"parent":0,"text":"building '/nix/store/z-x.drv'","type":105}
@nix {"action":"result","fields":["oops"],"id":65,"type":101}
@nix {"action":"stop","id":65}"#;
const JSON_ERROR: &str = r#"@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m builder for '\u001b[35;1m/nix/store/z-x.drv\u001b[0m' failed with exit code 3","raw_msg":"x"}"#;
const TEXT: &str = "this derivation will be built:
  /nix/store/z-x.drv
building '/nix/store/z-x.drv'...";
const TEXT_ERROR: &str = "error: builder for '/nix/store/z-x.drv' failed with exit code 3;
       last 1 log lines:
       > oops
       For full logs, run:
         nix log /nix/store/z-x.drv";

/// Whether the fake Nix builds the system.
#[derive(Clone, Copy, PartialEq)]
enum Build {
    Succeeds,
    Fails,
}

/// A machine whose Nix logs as it is asked to, does `then`, and ends.
fn machine(build: Build, then: &str) -> FakeSystem {
    let world = FakeSystem::pinned();
    world.script("nixos-rebuild", "exit 1");
    world.write("log.json", &format!("{JSON}\n"));
    world.write("log.text", &format!("{TEXT}\n"));
    world.write("error.json", &format!("{JSON_ERROR}\n"));
    world.write("error.text", &format!("{TEXT_ERROR}\n"));
    let end = match build {
        Build::Succeeds => "echo \"$world/store/new\"",
        Build::Fails => "cat \"$world/error.$log\" >&2; exit 1",
    };
    world.script(
        "nix",
        &format!(
            "case $1 in\n\
             build) log=text; case \" $* \" in *' --log-format internal-json -v '*) log=json;; esac\n\
             cat \"$world/log.$log\" >&2\n{then}\n{end};;\n\
             flake) echo '{{}}';;\n\
             esac"
        ),
    );
    world
}

/// With a `nom` that does this.
fn nom(world: &FakeSystem, does: &str) {
    world.fake("nom", "fake-nixos-rebuild");
    world.script("nom", does);
}

fn call(world: &FakeSystem) -> Call<'_> {
    world.request(Action::Build).on_terminal("terminal")
}

/// The result without what differs from run to run.
fn result(world: &FakeSystem, result: Result<Outcome, Error>) -> String {
    match result {
        Ok(outcome) => format!("{:?} {:?}", outcome.status, outcome.system),
        Err(error) => world.rendered(&error),
    }
}

/// The result of the same build without `nom`.
fn plain(build: Build, then: &str) -> String {
    let world = machine(build, then);
    let ended = call(&world).run();
    assert!(!world.log("nix").contains("internal-json"));
    result(&world, ended).replace(&world.path("").display().to_string(), "ROOT/")
}

#[track_caller]
fn assert_result(world: &FakeSystem, ended: Result<Outcome, Error>, expected: &str) {
    let ended = result(world, ended).replace(&world.path("").display().to_string(), "ROOT/");
    assert_eq!(ended, expected);
}

#[test]
fn a_build_in_a_terminal_is_drawn_by_nom() {
    for build in [Build::Succeeds, Build::Fails] {
        let world = machine(build, "");
        nom(
            &world,
            "while read -r line; do echo \"drawn: $line\"; done; exit 1",
        );
        let call = call(&world).with("GITHUB_TOKEN", "canary");
        assert_result(&world, call.run(), &plain(build, ""));
        assert_eq!(world.arguments("nom"), ["--json"]);
        assert!(!world.log("nom").contains("canary"));
        let drawn: Vec<String> = world.read("terminal").lines().map(str::to_owned).collect();
        let lines = JSON
            .lines()
            .chain((build == Build::Fails).then_some(JSON_ERROR));
        let lines: Vec<String> = lines.map(|line| format!("drawn: {line}")).collect();
        assert_eq!(drawn, lines);
        // The log is not printed beside the picture.
        assert_eq!(call.shown(), "");
    }
}

#[test]
fn without_a_terminal_or_with_a_log_of_the_users_choice_there_is_no_nom() {
    let world = machine(Build::Succeeds, "");
    nom(&world, "cat");
    world.request(Action::Build).run().unwrap();
    for option in ["-L", "--log-format", "--quiet"] {
        call(&world).argument(option).run().unwrap();
    }
    assert_eq!(world.calls("nom"), 0);
    assert!(!world.log("nix").contains("internal-json"));
}

/// However it fails, the log that it may not have drawn is printed as Nix prints it.
#[test]
fn a_nom_that_fails_changes_nothing() {
    let until_it_is_gone = "until [ -e \"$world/nom.pid\" ]; do :; done\n\
        read -r pid <\"$world/nom.pid\"\n\
        while [ -e \"/proc/$pid/fd/0\" ]; do :; done";
    let much = "line='@nix {\"action\":\"stop\",\"id\":1}'\n\
        line=\"$line\n$line\n$line\n$line\"; line=\"$line\n$line\n$line\n$line\"\n\
        for _ in 0 1 2 3 4 5 6 7 8 9; do for _ in 0 1 2 3 4 5 6 7 8 9; do for _ in 0 1 2 3; do echo \"$line\"; done; done; done >&2";
    for (name, does, then) in [
        ("dies at once", "exit 7", until_it_is_gone),
        ("dies by a signal", "kill -9 $$", until_it_is_gone),
        (
            "dies in the middle",
            "read -r line; exit 0",
            until_it_is_gone,
        ),
        ("closes its input", "exec 0<&-; exec sleep 60", ""),
        ("never reads", "exec sleep 60", ""),
        ("never reads much", "exec sleep 60", much),
        (
            "never reads while Nix builds",
            "exec sleep 60",
            &format!("{much}\n{until_it_is_gone}"),
        ),
        (
            "ignores the request to end",
            "trap '' TERM; while :; do read -r line || :; done",
            "",
        ),
    ] {
        for build in [Build::Succeeds, Build::Fails] {
            let world = machine(build, then);
            nom(
                &world,
                &format!("echo $$ >\"$world/pid\"; mv \"$world/pid\" \"$world/nom.pid\"; {does}"),
            );
            let call = call(&world);
            assert_result(&world, call.run(), &plain(build, ""));
            let log = match build {
                Build::Succeeds => format!("{TEXT}\n"),
                Build::Fails => format!("{TEXT}\n{TEXT_ERROR}\n"),
            };
            assert_eq!(call.shown(), log, "{name}");
            assert!(!world.lives("nom.pid"), "{name}");
            let cursor = "\u{1b}[?25h\n";
            assert!(
                name.starts_with("dies") || world.read("terminal").ends_with(cursor),
                "{name}"
            );
        }
    }
}

#[test]
fn a_nom_that_cannot_be_started_changes_nothing() {
    let world = machine(Build::Fails, "");
    world.write("nom", "#!/no/such/interpreter\n");
    world.executable("nom");
    let call = call(&world);
    assert_result(&world, call.run(), &plain(Build::Fails, ""));
    assert_eq!(call.shown(), format!("{TEXT}\n{TEXT_ERROR}\n"));
}

/// A target that is a flake, with a Nix that logs as it is asked to, and a `nom`.
fn flake() -> World {
    let world = World::local(&flake_repo());
    world.set_flake("", "host = 'host'\naction = 'build'");
    for (name, text) in [
        ("log.json", JSON),
        ("log.text", TEXT),
        ("error.json", JSON_ERROR),
        ("error.text", TEXT_ERROR),
    ] {
        std::fs::write(world.root().join(name), format!("{text}\n")).unwrap();
    }
    for tool in ["sh", "script", "cat", "env"] {
        world.link_tool(tool);
    }
    let root = world.root().display();
    world.tool(
        "nix",
        &format!(
            "case $1 in\n\
         build) log=text; case \" $* \" in *' --log-format internal-json -v '*) log=json;; esac\n\
         cat \"{root}/log.$log\" >&2; . \"{root}/then\"; cat \"{root}/error.$log\" >&2; exit 1;;\n\
         flake) echo '{{}}';;\n\
         esac"
        ),
    );
    std::fs::write(world.root().join("then"), "").unwrap();
    world.tool(
        "nom",
        "while read -r line; do echo \"drawn: $line\"; done; echo 'picture ends'",
    );
    let _ = world.sync(&[]).ok();
    world
}

/// What the binary prints on a terminal, and its exit code.
fn on_a_terminal(
    world: &World,
    variables: &[(&str, &str)],
    args: &[&str],
) -> (Option<i32>, String) {
    let wrapper = ["sh", "-c", "script -qec \"$0 $*\" /dev/null"];
    let mut command = world.process(&wrapper, args);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let output = { command.envs(variables.iter().copied()) }
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.replace('\r', ""))
}

#[test]
fn on_a_terminal_a_person_sees_nom_unless_it_cannot_draw() {
    let world = flake();
    let (code, text) = on_a_terminal(&world, &[], &["rebuild"]);
    assert_eq!(code, Some(11), "{text}");
    let picture = JSON
        .lines()
        .chain([JSON_ERROR])
        .map(|line| format!("drawn: {line}\n"));
    let picture: String = picture.collect::<String>() + "picture ends\n";
    let (_, after) = text.split_once(&picture).expect(&text);
    // Nothing of the log is there twice, and the error is that of Nix.
    assert!(!after.contains("this derivation"), "{text}");
    assert!(after.contains("> oops"), "{text}");
    for (variables, args) in [
        (&[("NO_COLOR", "1")][..], &["rebuild"][..]),
        (&[("TERM", "dumb")], &["rebuild"]),
        (&[], &["rebuild", "--quiet"]),
        (&[], &["rebuild", "--verbose"]),
        (&[], &["rebuild", "--json"]),
        (&[], &["rebuild", "--color", "never"]),
    ] {
        let args = [args, &["--retry"]].concat();
        let (code, text) = on_a_terminal(&world, variables, &args);
        assert_eq!(code, Some(11), "{args:?}: {text}");
        assert!(!text.contains("drawn"), "{args:?}: {text}");
        assert!(text.contains(TEXT), "{args:?}: {text}");
    }
}

/// The build before an update shares the terminal with the progress of the update.
#[test]
fn the_build_before_an_update_is_drawn_too() {
    let world = flake();
    world.repo.write("new.nix", "{ }\n").commit("new");
    let config = std::fs::read_to_string(world.root().join("config.toml")).unwrap();
    world.config(&format!("{config}gate = 'build'\n"));
    let (code, text) = on_a_terminal(&world, &[], &["sync"]);
    assert_eq!(code, Some(11), "{text}");
    assert!(text.contains("picture ends\n"), "{text}");
    assert!(
        !text.contains("this derivation will be built:\n  "),
        "{text}"
    );
}

#[test]
fn a_signal_ends_the_picture_with_the_build() {
    let world = flake();
    let then =
        "read -r pid <\"${0%/*}/../pid\"; kill -TERM \"$pid\"; exec cat /dev/zero >/dev/null\n";
    std::fs::write(world.root().join("then"), then).unwrap();
    let run = "echo $$ >\"$0\"; exec env --default-signal=TERM \"$@\"";
    let pid = world.root().join("pid").display().to_string();
    let script = world.root().join("run");
    std::fs::write(
        &script,
        format!("set -- '{pid}' \"$@\"; exec sh -c '{run}' \"$@\""),
    )
    .unwrap();
    let wrapper = [
        "sh",
        "-c",
        "script -qec \"sh $0 $*\" /dev/null",
        script.to_str().unwrap(),
    ];
    let mut command = world.process(&wrapper, &["rebuild"]);
    command
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("picture ends"), "{text}");
    assert!(text.contains("stopped"), "{text}");
}
