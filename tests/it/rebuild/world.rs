//! A machine of fake programs: their directory is first in the search path, and the links of the systems are in it too.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_sync::git::CommitId;
use hyper_sync::patterns::Patterns;
use hyper_sync::process::{Command, Environment, Finished, Runner, SystemRunner};
use hyper_sync::rebuild::{self, Error, Machine, Outcome, RebuildRecord, RebuildRequest, Repeat};
use hyper_sync::settings::{Action, Env, Gate, Rebuild};
use hyper_sync::state::{FileCounts, StateDir, SyncPoint, SyncState};

/// A machine with fake Nix, systemd and systems, rebuilt by the library.
pub(super) struct FakeSystem {
    root: tempfile::TempDir,
    flake: &'static str,
}

impl FakeSystem {
    pub(super) fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
            flake: "flake",
        };
        for directory in [
            "state",
            "flake",
            "flake/src",
            "store/old",
            "store/new",
            "store/other",
        ] {
            std::fs::create_dir_all(world.path(directory)).unwrap();
        }
        world.state();
        // Its hosts are not known without evaluating, which the fake Nix does.
        world.write(
            "flake/flake.nix",
            "{ outputs = { self }: import ./hosts.nix; }",
        );
        world.write("flake/src/module.nix", "{ }");
        for (name, fake) in [
            ("nixos-rebuild", "fake-nixos-rebuild"),
            ("nix", "fake-nixos-rebuild"),
            ("systemctl", "fake-systemctl"),
        ] {
            world.fake(name, fake);
        }
        world.script("nix", r#"echo '["vm"]'"#);
        world
    }

    /// A machine whose flake is the target itself, so that a build can be pinned without a namespace; its fake Nix
    /// builds the system `new`, whose `switch-to-configuration` is a fake too.
    pub(super) fn pinned() -> Self {
        let mut world = Self::new();
        world.flake = "flake/src";
        world.write(
            "flake/src/flake.nix",
            "{ outputs = { self }: { nixosConfigurations.vm = { }; }; }",
        );
        world.write(
            "flake/src/flake.lock",
            r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
        );
        world.script(
            "nix",
            "case $1 in build) echo \"$world/store/new\";; flake) echo '{}';; esac",
        );
        world.fake("nix-env", "fake-nixos-rebuild");
        world.script("nix-env", "ln -sfn \"$4\" \"$2\"");
        world.fake("systemd-run", "fake-nixos-rebuild");
        world.script(
            "systemd-run",
            "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"",
        );
        std::fs::create_dir(world.path("store/new/bin")).unwrap();
        world.fake(
            "store/new/bin/switch-to-configuration",
            "fake-nixos-rebuild",
        );
        world.script(
            "store/new/bin/switch-to-configuration",
            "case $1 in test|switch) ln -sfn \"${world%/bin}\" \"$world/../../../current\";; esac",
        );
        for link in ["current", "booted", "profile"] {
            world.link(link, "old");
        }
        world
    }

    /// The state that a sync to a commit leaves.
    pub(super) fn synced(&self, commit: &str) {
        let point = SyncPoint {
            commit: commit.parse().unwrap(),
            tree: commit.parse().unwrap(),
            reference: "main".to_owned(),
            repository: Some("/repo".to_owned()),
        };
        let (time, route) = (jiff::Timestamp::UNIX_EPOCH, "full".to_owned());
        let state = SyncState::new(point, time, FileCounts::default(), route);
        state.save(&self.state(), None).unwrap();
    }

    /// With a systemd that runs.
    pub(super) fn with_systemd(self) -> Self {
        std::fs::create_dir(self.path("systemd")).unwrap();
        self
    }

    /// Installs a fake under a name.
    fn fake(&self, name: &str, fake: &str) {
        let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bin");
        std::fs::copy(fakes.join(fake), self.path(name)).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(name), executable).unwrap();
    }

    /// Where a link leads, by the system's name.
    pub(super) fn system(&self, link: &str) -> String {
        let system = std::fs::canonicalize(self.path(link)).unwrap();
        system.file_name().unwrap().to_str().unwrap().to_owned()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn flake(&self) -> PathBuf {
        self.path(self.flake)
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub(super) fn state(&self) -> StateDir {
        StateDir::open(&self.state_dir()).unwrap()
    }

    pub(super) fn record(&self) -> RebuildRecord {
        RebuildRecord::load(&self.state()).unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What a fake does, at every call or at the one whose number is appended.
    pub(super) fn script(&self, name: &str, text: &str) {
        self.write(&format!("{name}.sh"), text);
    }

    /// A fake that sets the links as the real one does.
    pub(super) fn switches_to(&self, name: &str, system: &str) {
        self.script(
            name,
            &format!(
                "system=\"$world/store/{system}\"\n\
                 case $1 in build) ln -sfn \"$system\" result;; esac\n\
                 case $1 in test|switch) ln -sfn \"$system\" \"$world/current\";; esac\n\
                 case $1 in boot|switch) ln -sfn \"$system\" \"$world/profile\";; esac\n"
            ),
        );
        for link in ["current", "booted", "profile"] {
            self.link(link, "old");
        }
    }

    pub(super) fn link(&self, link: &str, system: &str) {
        let link = self.path(link);
        if link.is_symlink() {
            std::fs::remove_file(&link).unwrap();
        }
        std::os::unix::fs::symlink(self.path("store").join(system), link).unwrap();
    }

    /// The whole log of a fake.
    pub(super) fn log(&self, name: &str) -> String {
        self.read(&format!("{name}.log"))
    }

    pub(super) fn calls(&self, name: &str) -> usize {
        self.log(name)
            .lines()
            .filter(|line| *line == "call")
            .count()
    }

    fn noted(&self, name: &str, what: &str) -> Vec<String> {
        let log = self.log(name);
        let lines = log.lines().filter_map(|line| line.strip_prefix(what));
        lines.map(str::to_owned).collect()
    }

    pub(super) fn arguments(&self, name: &str) -> Vec<String> {
        self.noted(name, "argument ")
    }

    pub(super) fn variables(&self, name: &str) -> Vec<String> {
        self.noted(name, "variable ")
    }

    pub(super) fn directory(&self, name: &str) -> PathBuf {
        self.noted(name, "directory ").pop().unwrap().into()
    }

    /// Ends a process that a test has left behind; its id is in a file.
    pub(super) fn end(&self, file: &str) {
        let pid = self.read(file);
        let kill = std::process::Command::new("kill")
            .args(["-KILL", pid.trim()])
            .status();
        assert!(kill.unwrap().success());
    }

    pub(super) fn lives(&self, file: &str) -> bool {
        let pid = self.read(file);
        Path::new("/proc").join(pid.trim()).exists()
    }

    /// An error with its help, as a person reads it.
    pub(super) fn rendered(&self, error: &Error) -> String {
        let help = miette::Diagnostic::help(error).unwrap();
        format!("{error}\n{help}").replace(&self.root.path().display().to_string(), "ROOT")
    }

    pub(super) fn request(&self, action: Action) -> Call<'_> {
        Call {
            world: self,
            settings: Rebuild {
                action,
                flake: self.flake(),
                host: None,
                extra_args: vec!["--impure".to_owned()],
                gate: Gate::Off,
                timeout: Duration::from_secs(600),
            },
            action,
            commit: "1".repeat(40).parse().unwrap(),
            verbose: false,
            repeat: Repeat::IfNeeded,
            timer: None,
            variables: Vec::new(),
            shown: Arc::default(),
            stop_at: None,
            retry: false,
            minutes: 0,
        }
    }
}

/// One rebuild in the world.
pub(super) struct Call<'a> {
    world: &'a FakeSystem,
    settings: Rebuild,
    action: Action,
    commit: CommitId,
    verbose: bool,
    repeat: Repeat,
    timer: Option<&'static str>,
    variables: Vec<(String, String)>,
    shown: Arc<Mutex<Vec<u8>>>,
    stop_at: Option<&'static str>,
    retry: bool,
    minutes: i64,
}

impl Call<'_> {
    pub(super) fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    pub(super) fn host(mut self, host: Option<&str>) -> Self {
        self.settings.host = host.map(str::to_owned);
        self
    }

    /// At the commit whose id is this digit, forty times.
    pub(super) fn at(mut self, digit: &str) -> Self {
        self.commit = digit.repeat(40).parse().unwrap();
        self
    }

    /// Where the configuration wants another action in the end.
    pub(super) fn wanted(mut self, wanted: Action) -> Self {
        self.settings.action = wanted;
        self
    }

    pub(super) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    pub(super) fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// So many minutes after the other calls.
    pub(super) fn after_minutes(mut self, minutes: i64) -> Self {
        self.minutes = minutes;
        self
    }

    pub(super) fn timer(mut self, timer: &'static str) -> Self {
        self.timer = Some(timer);
        self
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(self, program: &str) -> Self {
        std::fs::remove_file(self.world.path(program)).unwrap();
        self
    }

    /// Sets the flag that a signal would set, once this was printed.
    pub(super) fn interrupted_at(mut self, text: &'static str) -> Self {
        self.stop_at = Some(text);
        self
    }

    pub(super) fn shown(&self) -> String {
        String::from_utf8(self.shown.lock().unwrap().clone()).unwrap()
    }

    pub(super) fn run(&self) -> Result<Outcome, Error> {
        self.with_all(rebuild::run)
    }

    pub(super) fn preflight(&self) -> Result<(), Error> {
        self.with_all(rebuild::preflight)
    }

    fn with_all<T>(
        &self,
        act: impl FnOnce(&RebuildRequest<'_>, &Machine, &Env, &dyn Runner) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let world = self.world;
        let state = world.state();
        let exclude = Patterns::new(&["result"]).unwrap();
        let target = world.path("flake/src");
        let request = RebuildRequest {
            settings: &self.settings,
            action: self.action,
            target: &target,
            state: &state,
            state_file: None,
            commit: Some(self.commit),
            verbose: self.verbose,
            exclude: &exclude,
            timer: self.timer,
            repeat: self.repeat,
            retry: self.retry,
            now: jiff::Timestamp::from_second(1_800_000_000 + 60 * self.minutes).unwrap(),
        };
        let machine = Machine {
            current: world.path("current"),
            booted: world.path("booted"),
            profile: world.path("profile"),
            systemd: world.path("systemd"),
            hostname: "machine".to_owned(),
            memory_events: Some(world.path("memory.events")),
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", world.root.path().display());
        let mut env = Env::empty().as_root(true).with("PATH", path);
        for (name, value) in &self.variables {
            env = env.with(name, value);
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        let shown = Arc::clone(&self.shown);
        let flag = Arc::clone(&interrupt);
        let stop_at = self.stop_at;
        let show = move |bytes: &[u8]| {
            let mut shown = shown.lock().unwrap();
            shown.extend_from_slice(bytes);
            if stop_at.is_some_and(|text| String::from_utf8_lossy(&shown).contains(text)) {
                flag.store(true, Ordering::Relaxed);
            }
        };
        let runner =
            NoWaiting(SystemRunner::new(interrupt, show).grace(Duration::from_millis(100)));
        act(&request, &machine, &env, &runner)
    }
}

/// The machine's programs, without the waiting.
struct NoWaiting(SystemRunner);

impl Runner for NoWaiting {
    fn run(&self, command: &Command<'_>) -> std::io::Result<Finished> {
        self.0.run(command)
    }

    fn pause(&self, _: Duration) -> bool {
        true
    }

    fn find(&self, program: &str, environment: &Environment) -> Option<PathBuf> {
        // A real Nix or systemd of the machine must not be found in a fake's place.
        let found = self.0.find(program, environment)?;
        found.starts_with(std::env::temp_dir()).then_some(found)
    }
}
