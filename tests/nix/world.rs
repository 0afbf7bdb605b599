//! A machine with a flake in one of the three layouts, its links in a folder of its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_sync::git::CommitId;
use hyper_sync::patterns::Patterns;
use hyper_sync::process::{Command, Environment, Finished, Runner, SystemRunner, Terminal};
use hyper_sync::rebuild::{
    self, Error, Machine, Outcome, RebuildNote, RebuildRecord, RebuildRequest, Repeat,
};
use hyper_sync::settings::{Action, Env, Gate, Rebuild};
use hyper_sync::state::StateDir;

/// How the flake reaches the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Own,
    Input,
    Literal,
}

/// All of them.
pub(super) const WAYS: [Way; 3] = [Way::Own, Way::Input, Way::Literal];

/// A machine with real Nix and fake systems, rebuilt by the library.
pub(super) struct NixHost {
    root: tempfile::TempDir,
    pub(super) way: Way,
    /// The setting `rebuild.gate` of the real binary.
    pub(super) gate: &'static str,
    state: PathBuf,
    /// Programs that are not found.
    hidden: Vec<&'static str>,
    shown: Arc<Mutex<Vec<u8>>>,
    /// The directory of a `nom`, on a machine with a terminal.
    nom: Option<PathBuf>,
}

impl NixHost {
    /// A machine whose target is at the first commit, not built yet.
    pub(super) fn new(way: Way) -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = Self {
            state: root.path().join("state"),
            root,
            way,
            gate: "off",
            hidden: Vec::new(),
            shown: Arc::default(),
            nom: None,
        };
        world.write(
            "dep/flake.nix",
            r#"{ outputs = { self }: { v = "dep-1"; }; }"#,
        );
        world.write("target/module.nix", "{ text = import ./text.nix; }");
        world.sync("one");
        let make = world.system_maker();
        let system = "{ nixosConfigurations.vm.config.system.build.toplevel =";
        let (target, dep) = (world.target(), world.path("dep"));
        let (target, dep) = (target.display(), dep.display());
        let dep_input = format!(r#"inputs.dep.url = "path:{dep}";"#);
        match way {
            Way::Own => world.write(
                "target/flake.nix",
                &format!(
                    "{{ {dep_input} outputs = {{ self, dep }}: {system} ({make}) \
                     ((import ./module.nix).text + \" \" + dep.v); }}; }}"
                ),
            ),
            Way::Input => {
                world.write(
                    "target/flake.nix",
                    &format!(
                        "{{ {dep_input} outputs = {{ self, dep }}: \
                         {{ text = (import ./module.nix).text + \" \" + dep.v; }}; }}"
                    ),
                );
                world.write(
                    "flake/flake.nix",
                    &format!(
                        "{{ inputs.hv.url = \"path:{target}\"; outputs = {{ self, hv }}: \
                         {system} ({make}) hv.text; }}; }}"
                    ),
                );
            }
            Way::Literal => world.write(
                "flake/flake.nix",
                &format!(
                    "{{ {dep_input} outputs = {{ self, dep }}: {system} ({make}) \
                     ((import {target}/module.nix).text + \" \" + dep.v); }}; }}"
                ),
            ),
        }
        world
    }

    /// With a state directory whose path must be escaped for Nix.
    pub(super) fn with_state_dir(mut self, name: &str) -> Self {
        self.state = self.path(name);
        self
    }

    /// With a commit that must build before it is brought into the target.
    pub(super) fn with_gate(mut self) -> Self {
        self.gate = "build";
        self
    }

    /// Without a program.
    pub(super) fn without(mut self, program: &'static str) -> Self {
        self.hidden.push(program);
        self
    }

    /// With a terminal, and a `nom` that draws what it reads into the file `drawn`.
    pub(super) fn with_nom(mut self) -> Self {
        let drawn = self.path("drawn").display().to_string();
        self.program("bin/nom", &format!("#!/bin/sh\ncat >>{drawn}\n"));
        self.nom = Some(self.path("bin"));
        self
    }

    /// A Nix function from a text to a system. The system notes each activation with its text, sets the link of the
    /// running system, and ends as the file `exit` says.
    pub(super) fn system_maker(&self) -> String {
        let root = self.root.path().display();
        let script = format!(
            r#"#!/bin/sh
[ "$1" != check ] || exit 0
echo "$1 @text@" >>{root}/activations
case $1 in test|switch) [ -e {root}/stays ] || ln -sfn "${{0%/bin/*}}" {root}/current;; esac
[ ! -e {root}/says ] || cat {root}/says >&2
[ ! -e {root}/exit ] || exit "$(cat {root}/exit)"
"#
        );
        format!(
            "text: derivation {{ name = \"nixos-system-vm\"; system = \"{}\"; builder = \"/bin/sh\"; \
             PATH = \"/bin:/usr/bin\"; script = builtins.replaceStrings [ \"@text@\" ] [ text ] {}; inherit text; \
             args = [ \"-c\" \"mkdir -p $out/bin && echo \\\"$text\\\" >$out/text && \
             printf %s \\\"$script\\\" >$out/bin/switch-to-configuration && \
             chmod +x $out/bin/switch-to-configuration\" ]; }}",
            system_name(),
            nix_string(&script),
        )
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn target(&self) -> PathBuf {
        self.path("target")
    }

    /// Where the host's `flake.nix` is.
    pub(super) fn flake(&self) -> PathBuf {
        match self.way {
            Way::Own => self.target(),
            Way::Input | Way::Literal => self.path("flake"),
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Puts another commit into the target, as a sync does: under a new inode.
    pub(super) fn sync(&self, text: &str) {
        self.write("target/text.new", &format!("\"{text}\"\n"));
        std::fs::rename(self.path("target/text.new"), self.path("target/text.nix")).unwrap();
    }

    pub(super) fn fifo(&self, name: &str) {
        let made = Process::new("mkfifo").arg(self.path(name)).status();
        assert!(made.unwrap().success());
    }

    /// What the activations were called with, and the text of the system.
    pub(super) fn activations(&self) -> Vec<String> {
        let lines = self.read("activations");
        lines.lines().map(str::to_owned).collect()
    }

    pub(super) fn link(&self, link: &str) -> Option<PathBuf> {
        std::fs::canonicalize(self.path(link)).ok()
    }

    pub(super) fn record(&self) -> RebuildRecord {
        RebuildRecord::load(&StateDir::open(&self.state).unwrap()).unwrap()
    }

    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub(super) fn settings(&self) -> Rebuild {
        Rebuild {
            action: Some(Action::Build),
            flake: self.flake(),
            host: None,
            extra_args: Vec::new(),
            gate: Gate::Off,
            timeout: Duration::from_secs(600),
            activation_timeout: Duration::from_secs(600),
        }
    }

    pub(super) fn rebuild(&self, action: Action) -> Result<Outcome, Error> {
        self.rebuild_with(action, |_| {})
    }

    /// A rebuild that must go well and be pinned; the text of its system.
    pub(super) fn text(&self, action: Action) -> String {
        let outcome = self.rebuild(action).unwrap_or_else(|error| {
            panic!(
                "{:?}: {error}\n{:?}\n{}",
                self.way,
                error.tail(),
                self.shown()
            )
        });
        assert!(
            !outcome
                .notes
                .iter()
                .any(|note| matches!(note, RebuildNote::NotPinned { .. })),
            "{:?}: {:?}",
            self.way,
            outcome.notes
        );
        let text = std::fs::read_to_string(outcome.system.unwrap().join("text")).unwrap();
        text.trim().to_owned()
    }

    pub(super) fn rebuild_with(
        &self,
        action: Action,
        set: impl FnOnce(&mut Settings),
    ) -> Result<Outcome, Error> {
        let mut settings = Settings {
            rebuild: Rebuild {
                action: Some(action),
                ..self.settings()
            },
            is_root: true,
            timer: None,
        };
        set(&mut settings);
        let state = StateDir::open(&self.state).unwrap();
        let exclude = Patterns::new(&["result", "/var/"]).unwrap();
        let target = self.target();
        let commit: CommitId = "1".repeat(40).parse().unwrap();
        let request = RebuildRequest {
            settings: &settings.rebuild,
            action,
            target: &target,
            state: &state,
            state_file: None,
            commit: Some(commit),
            verbose: false,
            exclude: &exclude,
            timer: settings.timer,
            repeat: Repeat::IfNeeded,
            reboots: false,
            retry: false,
            now: jiff::Timestamp::UNIX_EPOCH,
            confirmation: None,
        };
        let machine = Machine {
            current: self.path("current"),
            booted: self.path("booted"),
            profile: self.path("profile"),
            switch_lock: self.path("switch.lock"),
            systemd: self.path("no-systemd"),
            hostname: "machine".to_owned(),
            memory_events: None,
            boot: None,
        };
        let env = Env::empty()
            .as_root(settings.is_root)
            .with("PATH", self.search_path())
            .with("HOME", self.root.path())
            .with(
                "NIX_CONFIG",
                "sandbox = false\nsubstituters =\nflake-registry =",
            );
        let shown = Arc::clone(&self.shown);
        let show = move |bytes: &[u8]| shown.lock().unwrap().extend_from_slice(bytes);
        let terminal = self.nom.as_ref().map(|_| Terminal {
            handle: File::create(self.path("terminal")).unwrap().into(),
            lend: |_| (),
        });
        let runner = Hiding {
            runner: SystemRunner::new(Arc::default(), show).terminal(terminal),
            hidden: &self.hidden,
        };
        rebuild::run(&request, &machine, &env, &runner)
    }

    fn search_path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap();
        let directories = { self.nom.iter().cloned() }.chain(std::env::split_paths(&path));
        std::env::join_paths(directories).unwrap()
    }

    /// Runs Nix as a person would; returns its standard output.
    pub(super) fn nix<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let output = Process::new("nix")
            .args(args)
            .env("HOME", self.root.path())
            .env(
                "NIX_CONFIG",
                "sandbox = false\nsubstituters =\nflake-registry =\n\
                 extra-experimental-features = nix-command flakes",
            )
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The system that a `nixos-rebuild` by hand would build now.
    pub(super) fn by_hand(&self) -> PathBuf {
        let flake = format!(
            "path:{}#nixosConfigurations.vm.config.system.build.toplevel",
            self.flake().display()
        );
        let args = [
            "build",
            "--impure",
            "--no-link",
            "--print-out-paths",
            &flake,
        ];
        self.nix(args).into()
    }

    /// A fake program, which is found by its path only.
    pub(super) fn program(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, text);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(name), executable).unwrap();
        self.path(name)
    }
}

/// What a test may change of a rebuild.
pub(super) struct Settings {
    pub(super) rebuild: Rebuild,
    pub(super) is_root: bool,
    pub(super) timer: Option<&'static str>,
}

/// The machine's programs, but for some.
struct Hiding<'a> {
    runner: SystemRunner,
    hidden: &'a [&'static str],
}

impl Runner for Hiding<'_> {
    fn run(&self, command: &Command<'_>) -> std::io::Result<Finished> {
        self.runner.run(command)
    }

    fn pause(&self, _: Duration) -> bool {
        true
    }

    fn has_terminal(&self) -> bool {
        self.runner.has_terminal()
    }

    fn find(&self, program: &str, environment: &Environment) -> Option<PathBuf> {
        // The activation by Nix alone is tested, without a real systemd of the machine.
        if self.hidden.contains(&program) || ["nixos-rebuild", "systemctl"].contains(&program) {
            return None;
        }
        self.runner.find(program, environment)
    }
}

/// A text as a Nix string literal.
fn nix_string(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

pub(super) fn system_name() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// Whether two paths are the same system.
pub(super) fn is_text(system: &Path, text: &str) -> bool {
    std::fs::read_to_string(system.join("text")).is_ok_and(|found| found.trim() == text)
}

/// Git in the repository `repo` of the world.
pub(super) fn git(world: &NixHost, args: &[&str]) {
    let status = Process::new("git")
        .arg("-C")
        .arg(world.path("repo"))
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args(args)
        .status();
    assert!(status.unwrap().success(), "{args:?}");
}

/// Commits what is in the target of the world to a new repository.
pub(super) fn commit(world: &NixHost) {
    let copied = Process::new("cp")
        .args(["-r", "--no-target-directory"])
        .args([world.path("target"), world.path("repo")])
        .status();
    assert!(copied.unwrap().success());
    git(world, &["add", "--all"]);
    git(world, &["commit", "--quiet", "--message", "change"]);
}
