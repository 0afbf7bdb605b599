//! A machine of fake programs: their directory is first in the search path, and the links of the systems are in it too.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper_sync::git::CommitId;
use hyper_sync::health::HealthContext;
use hyper_sync::patterns::Patterns;
use hyper_sync::process::{Command, Environment, Finished, Runner, SystemRunner, Terminal};
use hyper_sync::rebuild::{
    self, Confirmation, Error, FirstRun, HalfState, Machine, Outcome, RebootDecision,
    RebuildRecord, RebuildRequest, Repeat,
};
use hyper_sync::settings::{Action, ConfigFile, Env, Gate, Overrides, Reboot, Rebuild, Settings};
use hyper_sync::state::{FileCounts, StateDir, SyncPoint, SyncState};

/// A machine with fake Nix, systemd and systems, rebuilt by the library.
pub(crate) struct FakeSystem {
    root: tempfile::TempDir,
    flake: &'static str,
}

impl FakeSystem {
    pub(crate) fn new() -> Self {
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
    pub(crate) fn pinned() -> Self {
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

    /// With what a switch on trial needs: a former system that can be activated, a revert command, and the health check `check`.
    pub(crate) fn revert_command(&self) {
        std::fs::create_dir(self.path("store/old/bin")).unwrap();
        for name in [
            "hyper-sync",
            "nix-store",
            "check",
            "store/old/bin/switch-to-configuration",
        ] {
            self.fake(name, "fake-nixos-rebuild");
        }
        self.script(
            "store/old/bin/switch-to-configuration",
            "ln -sfn \"${world%/bin}\" \"$world/../../../current\"",
        );
        self.script("nix-store", "ln -sfn \"$5\" \"$3\"");
        // A timer starts nothing here.
        self.script(
            "systemd-run",
            "case \" $* \" in *' --on-active='*) exit 0;; esac\n\
             while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"",
        );
    }

    /// With a logind that answers from files, and a `shutdown` that it knows of.
    pub(crate) fn logind(&self) {
        for name in ["busctl", "shutdown"] {
            self.fake(name, "fake-nixos-rebuild");
        }
        self.script(
            "busctl",
            "case \" $* \" in\n\
             *' ListInhibitors '*) file=inhibitors;;\n\
             *' ListSessions '*) file=sessions;;\n\
             *' ScheduledShutdown '*) file=scheduled;;\n\
             *) file=session;;\n\
             esac\n\
             cat \"$world/$file.json\"",
        );
        self.script(
            "shutdown",
            "case $1 in\n\
             -r) echo '{\"type\":\"(st)\",\"data\":[\"reboot\",1]}' >\"$world/scheduled.json\";;\n\
             -c) echo '{\"type\":\"(st)\",\"data\":[\"\",0]}' >\"$world/scheduled.json\";;\n\
             esac",
        );
        self.write(
            "inhibitors.json",
            r#"{"type":"a(ssssuu)","data":[[["shutdown","UPower","battery","delay",0,9],["sleep","backup","a backup","block",0,8]]]}"#,
        );
        self.write(
            "sessions.json",
            r#"{"type":"a(susso)","data":[[["3",1000,"ada","seat0","/org/freedesktop/login1/session/_33"]]]}"#,
        );
        self.session("user", "active");
        self.write("scheduled.json", r#"{"type":"(st)","data":["",0]}"#);
    }

    /// A machine whose boot default waits for a reboot, in this boot of the machine that runs the tests.
    pub(crate) fn waits_for_reboot() -> (Self, &'static str) {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let boot = boot.trim().to_owned().leak();
        let world = Self::pinned();
        world.script("nixos-rebuild", "exit 1");
        world.part("new", "kernel", "2");
        let unit = world.request(Action::Switch).reboots().booted(boot);
        unit.run().unwrap();
        (world, boot)
    }

    /// How the one session is.
    pub(crate) fn session(&self, class: &str, state: &str) {
        let value = |value: &str| format!("{{\"type\":\"s\",\"data\":\"{value}\"}}\n");
        self.write("session.json", &(value(class) + &value(state)));
    }

    /// Sets a part of a system that only a boot replaces.
    pub(crate) fn part(&self, system: &str, part: &str, version: &str) {
        let link = self.path("store").join(system).join(part);
        if link.is_symlink() {
            std::fs::remove_file(&link).unwrap();
        }
        std::os::unix::fs::symlink(format!("/{part}-{version}"), link).unwrap();
    }

    /// The machine boots a system.
    pub(crate) fn boots(&self, system: &str) {
        self.link("current", system);
        self.link("booted", system);
        self.write("scheduled.json", r#"{"type":"(st)","data":["",0]}"#);
    }

    /// Settings with the health check `check`.
    fn health(&self) -> Settings {
        let check = self.path("check").display().to_string();
        let config = format!(
            "target = '/target'\n[health]\nunits = false\nwithin = '10s'\n[health.checks.web]\ncommand = ['{check}']\n"
        );
        let file = ConfigFile::new("/hyper-sync.toml", config);
        let resolved =
            Settings::resolve(&Overrides::none(), &Env::empty().as_root(true), Some(&file));
        resolved.unwrap().settings
    }

    /// The state that a sync to a commit leaves.
    pub(crate) fn synced(&self, commit: &str) {
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
    pub(crate) fn with_systemd(self) -> Self {
        std::fs::create_dir(self.path("systemd")).unwrap();
        self
    }

    /// Installs a fake under a name.
    pub(crate) fn fake(&self, name: &str, fake: &str) {
        let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bin");
        std::fs::copy(fakes.join(fake), self.path(name)).unwrap();
        self.executable(name);
    }

    /// Makes a file a program.
    pub(crate) fn executable(&self, name: &str) {
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(name), executable).unwrap();
    }

    /// Where a link leads, by the system's name.
    pub(crate) fn system(&self, link: &str) -> String {
        let system = std::fs::canonicalize(self.path(link)).unwrap();
        system.file_name().unwrap().to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn flake(&self) -> PathBuf {
        self.path(self.flake)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::open(&self.state_dir()).unwrap()
    }

    pub(crate) fn record(&self) -> RebuildRecord {
        RebuildRecord::load(&self.state()).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What a fake does, at every call or at the one whose number is appended.
    pub(crate) fn script(&self, name: &str, text: &str) {
        self.write(&format!("{name}.sh"), text);
    }

    /// A fake that sets the links as the real one does.
    pub(crate) fn switches_to(&self, name: &str, system: &str) {
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

    pub(crate) fn link(&self, link: &str, system: &str) {
        let link = self.path(link);
        if link.is_symlink() {
            std::fs::remove_file(&link).unwrap();
        }
        std::os::unix::fs::symlink(self.path("store").join(system), link).unwrap();
    }

    /// The whole log of a fake.
    pub(crate) fn log(&self, name: &str) -> String {
        self.read(&format!("{name}.log"))
    }

    pub(crate) fn calls(&self, name: &str) -> usize {
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

    pub(crate) fn arguments(&self, name: &str) -> Vec<String> {
        self.noted(name, "argument ")
    }

    pub(crate) fn variables(&self, name: &str) -> Vec<String> {
        let mut variables = self.noted(name, "variable ");
        variables.sort_unstable();
        variables
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.noted(name, "directory ").pop().unwrap().into()
    }

    /// Ends a process that a test has left behind; its id is in a file.
    pub(crate) fn end(&self, file: &str) {
        let pid = self.read(file);
        let kill = std::process::Command::new("kill")
            .args(["-KILL", pid.trim()])
            .status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn lives(&self, file: &str) -> bool {
        let pid = self.read(file);
        Path::new("/proc").join(pid.trim()).exists()
    }

    /// An error with its help, as a person reads it.
    pub(crate) fn rendered(&self, error: &Error) -> String {
        let help = miette::Diagnostic::help(error).unwrap();
        format!("{error}\n{help}").replace(&self.root.path().display().to_string(), "ROOT")
    }

    pub(crate) fn request(&self, action: Action) -> Call<'_> {
        Call {
            world: self,
            settings: Rebuild {
                action: Some(action),
                flake: self.flake(),
                host: None,
                extra_args: vec!["--impure".to_owned()],
                gate: Gate::Off,
                timeout: Duration::from_secs(600),
                activation_timeout: Duration::from_secs(1800),
            },
            action,
            commit: "1".repeat(40).parse().unwrap(),
            verbose: false,
            repeat: Repeat::IfNeeded,
            timer: None,
            variables: Vec::new(),
            trial: OnTrial::No,
            boot: "1",
            shown: Arc::default(),
            stop_at: None,
            retry: false,
            reboots: false,
            cut_after: usize::MAX,
            steps: Arc::default(),
            minutes: 0,
            terminal: None,
        }
    }
}

/// One rebuild in the world.
pub(crate) struct Call<'a> {
    world: &'a FakeSystem,
    settings: Rebuild,
    action: Action,
    commit: CommitId,
    verbose: bool,
    repeat: Repeat,
    timer: Option<&'static str>,
    variables: Vec<(String, String)>,
    trial: OnTrial,
    boot: &'static str,
    shown: Arc<Mutex<Vec<u8>>>,
    stop_at: Option<&'static str>,
    retry: bool,
    reboots: bool,
    cut_after: usize,
    steps: Arc<AtomicUsize>,
    minutes: i64,
    terminal: Option<&'static str>,
}

impl Call<'_> {
    pub(crate) fn verbose(mut self) -> Self {
        self.verbose = true;
        self
    }

    pub(crate) fn host(mut self, host: Option<&str>) -> Self {
        self.settings.host = host.map(str::to_owned);
        self
    }

    /// With `health.confirm`.
    pub(crate) fn on_trial(mut self) -> Self {
        self.trial = OnTrial::Yes;
        self
    }

    /// On a terminal, which is this file.
    pub(crate) fn on_terminal(mut self, file: &'static str) -> Self {
        self.terminal = Some(file);
        self
    }

    fn terminal(&self) -> Option<Terminal> {
        let path = self.world.path(self.terminal?);
        let file = File::options().create(true).append(true).open(path);
        Some(Terminal {
            handle: file.unwrap().into(),
            lend: |_| (),
        })
    }

    /// In another boot than the first.
    pub(crate) fn booted(mut self, boot: &'static str) -> Self {
        self.boot = boot;
        self
    }

    /// Stopped by a signal in its first pause.
    pub(crate) fn stopped_in_pause(mut self) -> Self {
        self.trial = OnTrial::StoppedInPause;
        self
    }

    /// At the commit whose id is this digit, forty times.
    pub(crate) fn at(mut self, digit: &str) -> Self {
        self.commit = digit.repeat(40).parse().unwrap();
        self
    }

    /// Where the configuration wants another action in the end.
    pub(crate) fn wanted(mut self, wanted: Action) -> Self {
        self.settings.action = Some(wanted);
        self
    }

    pub(crate) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    pub(crate) fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// As the unit runs it with `reboot.allow`.
    pub(crate) fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// The power is cut, by a panic, before the program that would be run after so many.
    pub(crate) fn cut_after(mut self, programs: usize) -> Self {
        self.cut_after = programs;
        self
    }

    /// So many minutes after the other calls.
    pub(crate) fn after_minutes(mut self, minutes: i64) -> Self {
        self.minutes = minutes;
        self
    }

    pub(crate) fn timer(mut self, timer: &'static str) -> Self {
        self.timer = Some(timer);
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    pub(crate) fn activation_timeout(mut self, timeout: Duration) -> Self {
        self.settings.activation_timeout = timeout;
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an argument for Nix (`rebuild.extra_args`).
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.settings.extra_args.push(argument.to_owned());
        self
    }

    pub(crate) fn without(self, program: &str) -> Self {
        std::fs::remove_file(self.world.path(program)).unwrap();
        self
    }

    /// Sets the flag that a signal would set, once this was printed.
    pub(crate) fn interrupted_at(mut self, text: &'static str) -> Self {
        self.stop_at = Some(text);
        self
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8(self.shown.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn run(&self) -> Result<Outcome, Error> {
        self.with_all(rebuild::run)
    }

    pub(crate) fn revert(&self) -> Option<Error> {
        self.with_all(rebuild::revert)
    }

    pub(crate) fn judge_boot(&self) -> Option<Error> {
        self.judge_trial(true).err()
    }

    /// Judges the last boot: whether a system on trial has passed its checks.
    pub(crate) fn judge_trial(&self, may_reboot: bool) -> Result<bool, Error> {
        let (settings, interrupt) = (self.world.health(), Arc::default());
        self.with_all(|request, machine, env, runner| {
            let health = HealthContext {
                settings: &settings,
                env,
                runner,
                interrupt: &interrupt,
                waits: &|_| (),
            };
            let first = FirstRun { health, may_reboot };
            rebuild::judge_boot(request, &first, machine, env, runner)
        })
    }

    /// How many programs were run.
    pub(crate) fn steps(&self) -> usize {
        self.steps.load(Ordering::Relaxed)
    }

    /// Decides about a reboot, at noon.
    pub(crate) fn reboot(&self, settings: &Reboot) -> Result<RebootDecision, Error> {
        let noon = jiff::civil::time(12, 0, 0, 0);
        self.with_all(|request, machine, env, runner| {
            rebuild::reboot(request, settings, noon, machine, env, runner)
        })
    }

    pub(crate) fn cancel_reboot(&self) -> Result<bool, Error> {
        self.with_all(rebuild::cancel_reboot)
    }

    /// What `status` says of the systems.
    pub(crate) fn half_state(&self) -> Option<HalfState> {
        self.with_all(rebuild::half_state).unwrap()
    }

    pub(crate) fn preflight(&self) -> Result<(), Error> {
        self.with_all(rebuild::preflight)
    }

    fn with_all<T>(
        &self,
        act: impl FnOnce(&RebuildRequest<'_>, &Machine, &Env, &dyn Runner) -> T,
    ) -> T {
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
            reboots: self.reboots,
            retry: self.retry,
            now: jiff::Timestamp::from_second(1_800_000_000 + 60 * self.minutes).unwrap(),
            confirmation: None,
        };
        let machine = Machine {
            current: world.path("current"),
            booted: world.path("booted"),
            profile: world.path("profile"),
            switch_lock: world.path("switch.lock"),
            systemd: world.path("systemd"),
            hostname: "machine".to_owned(),
            memory_events: Some(world.path("memory.events")),
            boot: Some(self.boot.to_owned()),
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
        let runner = NoWaiting {
            system: SystemRunner::new(Arc::clone(&interrupt), show)
                .grace(Duration::from_millis(100))
                .patience(Duration::from_millis(100))
                .terminal(self.terminal()),
            stopped: self.trial == OnTrial::StoppedInPause,
            cut_after: self.cut_after,
            steps: Arc::clone(&self.steps),
        };
        let settings = world.health();
        let revert_command = [world.path("hyper-sync").into(), "revert".into()];
        let health = HealthContext {
            settings: &settings,
            env: &env,
            runner: &runner,
            interrupt: &interrupt,
            waits: &|_| (),
        };
        let request = RebuildRequest {
            confirmation: (self.trial != OnTrial::No).then_some(Confirmation {
                health,
                revert_command: &revert_command,
            }),
            ..request
        };
        act(&request, &machine, &env, &runner)
    }
}

/// Whether a switch is on trial.
#[derive(PartialEq)]
enum OnTrial {
    No,
    Yes,
    StoppedInPause,
}

/// The machine's programs, without the waiting.
struct NoWaiting {
    system: SystemRunner,
    stopped: bool,
    cut_after: usize,
    steps: Arc<AtomicUsize>,
}

impl Runner for NoWaiting {
    fn run(&self, command: &Command<'_>) -> std::io::Result<Finished> {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        assert!(step < self.cut_after, "the power is cut");
        self.system.run(command)
    }

    fn pause(&self, _: Duration) -> bool {
        !self.stopped
    }

    fn has_terminal(&self) -> bool {
        self.system.has_terminal()
    }

    // The times of a test do not depend on how fast the machine is.
    fn elapsed(&self, _: Instant) -> Duration {
        Duration::ZERO
    }

    fn find(&self, program: &str, environment: &Environment) -> Option<PathBuf> {
        // A real Nix or systemd of the machine must not be found in a fake's place.
        let found = self.system.find(program, environment)?;
        found.starts_with(std::env::temp_dir()).then_some(found)
    }
}
