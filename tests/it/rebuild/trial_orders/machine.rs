//! A machine in memory: its systems, its boot loader, systemd, and the target with its repository.
//!
//! The rebuild by the library runs on it through a [`Runner`]. Every change that a run makes is a [`Step`]: the effect of
//! a program, or the rename or removal of a file in the state directory. An [`Event`] may happen at each of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper_sync::fs::{Faults, Outcome};
use hyper_sync::git::CommitId;
use hyper_sync::process::{Command, End, Environment, Finished, Runner};
use hyper_sync::rebuild::{Trial, TrialStage};
use hyper_sync::state::StateDir;
use rustix::io::Errno;

/// The commits of the branch, and the system of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum System {
    Old,
    New,
    Next,
}

impl System {
    pub(super) const ALL: [Self; 3] = [Self::Old, Self::New, Self::Next];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Next => "next",
        }
    }

    pub(super) fn commit(self) -> CommitId {
        let digit = match self {
            Self::Old => "1",
            Self::New => "2",
            Self::Next => "3",
        };
        digit.repeat(40).parse().unwrap()
    }

    fn at(path: &Path) -> Self {
        let names = path
            .components()
            .filter_map(|part| part.as_os_str().to_str());
        let names: Vec<&str> = names.collect();
        let found = Self::ALL.into_iter().find(|it| names.contains(&it.name()));
        found.unwrap_or_else(|| panic!("{} is of no system", path.display()))
    }
}

/// A change that a run makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A file of the state directory gets its new content, or goes.
    Record(String),
    /// The former system is kept from the garbage collector.
    Keep,
    /// systemd starts the revert timer.
    StartTimer,
    /// systemd stops it.
    StopTimer,
    /// The profile names another system.
    Profile(System),
    /// `switch-to-configuration` of a system.
    Activation(System, Activation),
    /// systemd stops an activation.
    StopActivation,
    /// A health check.
    Check,
    /// The target goes to another commit.
    Tree(System),
}

/// What an activation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Activation {
    /// What runs.
    Test,
    /// The boot loader.
    Boot,
    /// Both.
    Switch,
}

impl Activation {
    fn runs(self) -> bool {
        self != Self::Boot
    }

    fn boots(self) -> bool {
        self != Self::Test
    }
}

/// What happens at a step in place of its success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The run is killed during an activation, which goes on.
    KilledMeanwhile,
    /// The run is stopped by a signal meanwhile.
    Stopped,
    /// The program fails and has changed nothing.
    Refused,
    /// The activation is killed, or fails late: what runs has changed. A new boot default alone has changed, too.
    Broken,
    /// The activation hangs.
    Hangs,
    /// The check fails, although the system is a good one.
    Fails,
}

impl Step {
    /// What may happen at it, besides a kill of the run before it.
    pub(super) fn events(&self) -> &'static [Event] {
        use Event::{Broken, Fails, Hangs, KilledMeanwhile, Refused, Stopped};
        match self {
            Self::Record(_) | Self::StopTimer | Self::Tree(_) => &[],
            Self::Keep | Self::StartTimer | Self::Profile(_) | Self::StopActivation => &[Refused],
            Self::Activation(..) => &[KilledMeanwhile, Stopped, Refused, Broken, Hangs],
            Self::Check => &[Stopped, Fails],
        }
    }
}

/// What is known of the checks of `New`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// They fail.
    Bad,
    /// They pass, but for [`Event::Fails`].
    Good,
    /// They have passed once.
    Passed,
}

/// What is left of a machine when no run is active.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) running: System,
    pub(super) profile: System,
    /// What the boot loader starts.
    pub(super) loader: System,
    pub(super) boot: u32,
    pub(super) has_timer: bool,
    /// An activation that goes on without the run that began it.
    pub(super) activation: Option<(System, Activation)>,
    pub(super) tree: System,
    pub(super) head: System,
    /// Whether a rollback has left `New`.
    pub(super) is_held: bool,
    pub(super) new: Health,
    /// The files of the state directory.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The system that `result` keeps.
    pub(super) result: Option<System>,
}

impl Facts {
    /// A machine that runs `Old`, whose branch is at `New`.
    pub(super) fn new(new: Health) -> Self {
        Self {
            running: System::Old,
            profile: System::Old,
            loader: System::Old,
            boot: 1,
            has_timer: false,
            activation: None,
            tree: System::Old,
            head: System::Old,
            is_held: false,
            new,
            files: BTreeMap::new(),
            result: None,
        }
    }

    /// What distinguishes machines but for their files.
    pub(super) fn without_files(&self) -> Self {
        Self {
            boot: 0,
            files: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// The power is cut, and comes back.
    pub(super) fn power_cut(&mut self) {
        self.boot += 1;
        self.running = self.loader;
        self.has_timer = false;
        self.activation = None;
    }

    /// The activation that goes on comes to its end.
    pub(super) fn end_activation(&mut self) {
        if let Some((system, activation)) = self.activation.take()
            && activation.boots()
        {
            self.loader = system;
        }
    }
}

/// One run on a machine.
struct Run {
    state: PathBuf,
    facts: Facts,
    events: Vec<(usize, Event)>,
    steps: Vec<Step>,
    /// What a kill before each step leaves.
    before: Vec<Facts>,
    is_dead: bool,
    /// What must not happen and did.
    violations: Vec<&'static str>,
}

impl Run {
    /// A step begins. What happens at it, or an error if the run is dead.
    fn step(&mut self, step: Step) -> io::Result<Option<Event>> {
        if self.is_dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let event = self.events.iter().find(|(at, _)| *at == self.steps.len());
        let event = event.map(|(_, event)| *event);
        self.steps.push(step);
        let before = self.left();
        self.before.push(before);
        Ok(event)
    }

    /// What it leaves if it ends now.
    fn left(&self) -> Facts {
        let files = { std::fs::read_dir(&self.state).unwrap() }
            .map(|file| file.unwrap())
            .filter(|file| file.file_type().unwrap().is_file())
            .map(|file| (file.file_name().into_string().unwrap(), file.path()))
            .filter(|(name, _)| Path::new(name).extension().is_none_or(|end| end != "tmp"))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect();
        Facts {
            files,
            ..self.facts.clone()
        }
    }

    fn violated(&mut self, what: &'static str) {
        self.violations.push(what);
    }
}

/// The machine of a run, and the directory with its links.
#[derive(Clone)]
pub(super) struct Machine {
    root: PathBuf,
    run: Arc<Mutex<Run>>,
}

/// How a run has ended.
pub(super) struct Ended {
    pub(super) facts: Facts,
    pub(super) steps: Vec<Step>,
    /// What a kill before each step would have left.
    pub(super) before: Vec<Facts>,
    pub(super) violations: Vec<&'static str>,
}

impl Machine {
    /// Puts a machine into a directory, for a run with these events.
    pub(super) fn new(root: &Path, facts: &Facts, events: &[(usize, Event)]) -> Self {
        let machine = Self {
            root: root.to_owned(),
            run: Arc::new(Mutex::new(Run {
                state: root.join("state"),
                facts: facts.clone(),
                events: events.to_vec(),
                steps: Vec::new(),
                before: Vec::new(),
                is_dead: false,
                violations: Vec::new(),
            })),
        };
        machine.link("current", facts.running);
        machine.link("booted", facts.running);
        machine.link("profile", facts.profile);
        for file in std::fs::read_dir(root.join("state")).unwrap() {
            let file = file.unwrap();
            if !file.file_type().unwrap().is_dir() {
                std::fs::remove_file(file.path()).unwrap();
            }
        }
        for (name, content) in &facts.files {
            std::fs::write(root.join("state").join(name), content).unwrap();
        }
        if let Some(result) = facts.result {
            machine.link("state/result", result);
        }
        machine.write_tree(facts.tree);
        machine
    }

    /// What the run has left.
    pub(super) fn end(&self) -> Ended {
        let run = self.run();
        Ended {
            facts: run.left(),
            steps: run.steps.clone(),
            before: run.before.clone(),
            violations: run.violations.clone(),
        }
    }

    /// The state directory, whose changes are steps.
    pub(super) fn state(&self) -> StateDir {
        let machine = self.clone();
        let directory = self.root.join("state");
        let faults = Faults::new(move |call| {
            let mut run = machine.run();
            let name = match call.name {
                "rename" => call.to,
                "unlink" => Some(call.path),
                _ => None,
            };
            let name = name.filter(|name| {
                let is_there = call.name == "rename" || name.symlink_metadata().is_ok();
                is_there && name.extension().is_none_or(|end| end != "tmp")
            });
            let went_on = match name
                .and_then(Path::file_name)
                .and_then(|name| name.to_str())
            {
                Some(name) => run.step(Step::Record(name.to_owned())).is_ok(),
                None => !run.is_dead,
            };
            if went_on {
                Outcome::Proceed
            } else {
                Outcome::Fail(Errno::IO)
            }
        });
        StateDir::open(&directory)
            .unwrap()
            .with_faults(faults)
            .unwrap()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.run().is_dead
    }

    pub(super) fn facts(&self) -> Facts {
        self.run().facts.clone()
    }

    /// A step outside of the rebuild. Returns whether the run lives.
    pub(super) fn change(&self, step: Step, change: impl FnOnce(&mut Facts)) -> bool {
        let mut run = self.run();
        let lives = run.step(step).is_ok();
        if lives {
            change(&mut run.facts);
            self.write_tree(run.facts.tree);
        }
        lives
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap()
    }

    fn link(&self, name: &str, system: System) {
        let link = self.root.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(self.root.join("store").join(system.name()), link).unwrap();
    }

    fn write_tree(&self, commit: System) {
        let file = self.root.join("target/commit");
        std::fs::write(file, commit.name()).unwrap();
    }

    fn activate(&self, system: System, activation: Activation) -> io::Result<Finished> {
        let mut run = self.run();
        let event = run.step(Step::Activation(system, activation))?;
        if run.facts.activation.is_some() {
            run.violated("a second activation");
        }
        let is_new = system == System::New && run.facts.new != Health::Passed;
        if is_new && activation.boots() {
            run.violated("a boot default that has not passed its checks");
        }
        if is_new && !(run.facts.has_timer && self.stage() == Some(TrialStage::Running)) {
            run.violated("an activation without a revert");
        }
        if event == Some(Event::Refused) {
            return Ok(exited(1, ""));
        }
        if activation.runs() {
            run.facts.running = system;
            self.link("current", system);
        }
        run.facts.activation = Some((system, activation));
        match event {
            Some(Event::KilledMeanwhile) => {
                run.is_dead = true;
                Err(io::ErrorKind::BrokenPipe.into())
            }
            Some(Event::Hangs) => Ok(ended(End::TimedOut)),
            Some(Event::Stopped) => Ok(ended(End::Interrupted)),
            Some(Event::Broken) => {
                if activation.runs() {
                    run.facts.activation = None;
                }
                run.facts.end_activation();
                Ok(exited(2, ""))
            }
            _ => {
                run.facts.end_activation();
                Ok(exited(0, ""))
            }
        }
    }

    fn stage(&self) -> Option<TrialStage> {
        let state = StateDir::open(&self.root.join("state")).unwrap();
        Trial::load(&state).unwrap().map(|trial| trial.stage)
    }

    fn systemd_run(&self, args: &[&str]) -> io::Result<Finished> {
        if args.iter().any(|arg| arg.starts_with("--on-active=")) {
            let mut run = self.run();
            if run.step(Step::StartTimer)? == Some(Event::Refused) {
                return Ok(exited(1, ""));
            }
            run.facts.has_timer = true;
            return Ok(exited(0, ""));
        }
        let [.., program, action] = args else {
            panic!("{args:?}")
        };
        let activation = match *action {
            "test" => Activation::Test,
            "boot" => Activation::Boot,
            "switch" => Activation::Switch,
            action => panic!("{action}"),
        };
        self.activate(System::at(Path::new(program)), activation)
    }

    fn systemctl(&self, args: &[&str]) -> io::Result<Finished> {
        let mut run = self.run();
        let is_about = |word: &str| args.iter().any(|arg| arg.starts_with(word));
        match args.first() {
            _ if run.is_dead => Err(io::ErrorKind::BrokenPipe.into()),
            Some(&"list-units")
                if is_about("nixos-rebuild-switch") && run.facts.activation.is_some() =>
            {
                let unit = "nixos-rebuild-switch-to-configuration.service loaded active running A";
                Ok(exited(0, unit))
            }
            Some(&"stop") if is_about("hyper-sync-revert.timer") => {
                run.step(Step::StopTimer)?;
                run.facts.has_timer = false;
                Ok(exited(0, ""))
            }
            Some(&"stop") if is_about("nixos-rebuild-switch") => {
                if run.step(Step::StopActivation)? == Some(Event::Refused) {
                    return Ok(exited(1, ""));
                }
                run.facts.activation = None;
                Ok(exited(0, ""))
            }
            _ => Ok(exited(0, "")),
        }
    }

    fn nix_env(&self, args: &[&str]) -> io::Result<Finished> {
        let [_, _, "--set", system] = args else {
            panic!("{args:?}")
        };
        let system = System::at(Path::new(system));
        let mut run = self.run();
        if run.step(Step::Profile(system))? == Some(Event::Refused) {
            return Ok(exited(1, ""));
        }
        run.facts.profile = system;
        self.link("profile", system);
        Ok(exited(0, ""))
    }

    fn check(&self) -> io::Result<Finished> {
        let mut run = self.run();
        let event = run.step(Step::Check)?;
        if event == Some(Event::Stopped) {
            return Ok(ended(End::Interrupted));
        }
        let is_new = run.facts.running == System::New;
        let passes = event.is_none() && (!is_new || run.facts.new != Health::Bad);
        if passes && is_new {
            run.facts.new = Health::Passed;
        }
        Ok(exited(i32::from(!passes), ""))
    }

    fn nix(&self, args: &[&str]) -> Finished {
        if args.first() != Some(&"build") {
            return exited(0, "{}");
        }
        let mut run = self.run();
        let tree = run.facts.tree;
        run.facts.result = Some(tree);
        self.link("state/result", tree);
        let system = self.root.join("store").join(tree.name());
        exited(0, system.to_str().unwrap())
    }
}

impl Runner for Machine {
    fn run(&self, command: &Command<'_>) -> io::Result<Finished> {
        if self.is_dead() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let args: Vec<&str> = { command.args.iter() }
            .map(|arg| arg.to_str().unwrap())
            .collect();
        match command.program.file_name().unwrap().to_str().unwrap() {
            "nix" => Ok(self.nix(&args)),
            "nix-env" => self.nix_env(&args),
            "nix-store" => {
                let refused = self.run().step(Step::Keep)? == Some(Event::Refused);
                Ok(exited(i32::from(refused), ""))
            }
            "systemd-run" => self.systemd_run(&args),
            "systemctl" => self.systemctl(&args),
            "check" => self.check(),
            // The pre-switch check.
            "switch-to-configuration" => Ok(exited(0, "")),
            // `--store-path` is not known.
            "nixos-rebuild" => Ok(exited(1, "")),
            program => panic!("{program} {args:?}"),
        }
    }

    fn pause(&self, _: Duration) -> bool {
        !self.is_dead()
    }

    fn find(&self, program: &str, _: &Environment) -> Option<PathBuf> {
        // Without these, a build is pinned without a namespace.
        let is_there = !["unshare", "sh", "true", "mount"].contains(&program);
        is_there.then(|| Path::new("/bin").join(program))
    }
}

fn exited(code: i32, answer: &str) -> Finished {
    Finished {
        answer: answer.as_bytes().to_vec(),
        ..ended(End::Exited(code))
    }
}

fn ended(end: End) -> Finished {
    Finished {
        end,
        answer: Vec::new(),
        tail: String::new(),
        marked: None,
        lasted: Duration::ZERO,
    }
}
