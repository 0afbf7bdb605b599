//! Every order of kills, signals, failures, hangs, power cuts and ends of the timer in a switch on trial.
//!
//! A machine is at rest between events, and each event leads to another machine: a tick of the update timer, the revert
//! that systemd starts, a power cut, the end of an activation that goes on. In a tick and in a revert, something may
//! happen at each of their steps ([`Event`]), also at a later step of the revert that the first event has caused.
//! Machines that do not differ are continued once, so the search is exhaustive up to the number of events (`EVENTS` of the
//! test program), besides ticks in which nothing happens.
//!
//! What the binary does around the rebuild (sync, tree, end of the trial) is repeated here in [`Orders::tick`] and
//! [`Orders::revert`]; `tests/machine` has it with the binary.

mod machine;

use std::collections::{BTreeMap, HashSet};
use std::io::{Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper_sync::exit::Exit;
use hyper_sync::health::HealthContext;
use hyper_sync::patterns::Patterns;
use hyper_sync::process::Runner;
use hyper_sync::rebuild::{
    self, Confirmation, Error, Outcome, Quarantine, RebuildRecord, RebuildRequest, Repeat, Trial,
    TrialStage,
};
use hyper_sync::settings::{Action, ConfigFile, Env, Gate, Overrides, Rebuild, Settings};
use hyper_sync::state::StateDir;
use jiff::Timestamp;

use crate::EVENTS;
use machine::{Ended, Event, Facts, Health, Machine, Step, System};

/// How many ticks a machine may take until it is at rest.
const TICKS: usize = 4;
/// How many wrong orders are shown.
const SHOWN: usize = 3;

/// A machine, and the events that have led to it.
#[derive(Clone)]
struct Found {
    facts: Facts,
    order: Vec<String>,
    /// What must not happen and did in the last run.
    violations: Vec<&'static str>,
}

/// What starts by itself.
#[derive(Debug, Clone, Copy)]
enum Start {
    Tick,
    Revert,
}

struct Orders {
    root: tempfile::TempDir,
    settings: Settings,
    rebuild: Rebuild,
}

impl Orders {
    fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let root = root.unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let flake = "{ outputs = { self }: { nixosConfigurations.vm = { }; }; }";
        write("target/flake.nix", flake);
        let lock = r#"{"nodes":{"root":{}},"root":"root","version":7}"#;
        write("target/flake.lock", lock);
        for system in System::ALL {
            let name = system.name();
            write(&format!("store/{name}/bin/switch-to-configuration"), "");
        }
        write("hyper-sync", "");
        std::fs::create_dir(root.path().join("systemd")).unwrap();
        StateDir::open(&root.path().join("state")).unwrap();
        let config = "target = '/target'\n[health]\nunits = false\nwithin = '1s'\n\
            [health.checks.web]\ncommand = ['/bin/check']\n";
        let file = ConfigFile::new("/hyper-sync.toml", config.to_owned());
        let env = Env::empty().as_root(true);
        let resolved = Settings::resolve(&Overrides::none(), &env, Some(&file));
        Self {
            settings: resolved.unwrap().settings,
            rebuild: Rebuild {
                action: Some(Action::Switch),
                flake: root.path().join("target"),
                host: None,
                extra_args: Vec::new(),
                gate: Gate::Off,
                timeout: Duration::from_secs(600),
                activation_timeout: Duration::from_secs(600),
            },
            root,
        }
    }

    /// A machine at `Old` that has recorded the commit of its system, or has not, and whose branch moves to `New`.
    fn start(&self, new: Health, is_former_known: bool) -> Found {
        let mut facts = Facts::new(new);
        if is_former_known {
            let machine = Machine::new(self.root.path(), &facts, &[]);
            self.rebuild(&machine).unwrap();
            facts = machine.end().facts;
        }
        facts.head = System::New;
        let former = if is_former_known { "known" } else { "unknown" };
        Found {
            facts,
            violations: Vec::new(),
            order: vec![format!(
                "the new system is {new:?}, the former commit {former}"
            )],
        }
    }

    fn run(&self, facts: &Facts, start: Start, events: &[(usize, Event)]) -> Ended {
        let machine = Machine::new(self.root.path(), facts, events);
        match start {
            Start::Tick => self.tick(&machine),
            Start::Revert => self.revert(&machine),
        }
        machine.end()
    }

    /// The two units that the update timer starts.
    fn tick(&self, machine: &Machine) {
        let state = machine.state();
        let facts = machine.facts();
        // In its sandbox the id of the boot is not known.
        let sandboxed = rebuild::Machine {
            boot: None,
            ..self.machine(&facts)
        };
        let trial = Trial::load(&state).unwrap();
        let is_held = facts.head == System::New && facts.is_held;
        if facts.tree != facts.head && !is_held && !trial.is_some_and(|it| it.is_open(&sandboxed)) {
            Self::move_tree(machine, facts.head);
            machine.change(Step::Record("hold".to_owned()), |facts| {
                facts.is_held = false;
            });
        }
        if self.end_trial(machine).is_some() || machine.is_dead() {
            return;
        }
        let record = RebuildRecord::load(&state).unwrap();
        let facts = machine.facts();
        let systems = self.machine(&facts).systems();
        if record.is_due(Some(facts.tree.commit()), Action::Switch, &systems) {
            let _ = self.rebuild(machine);
            Self::revert_target(machine);
        }
    }

    /// `hyper-sync revert --expired`, as the timer starts it.
    fn revert(&self, machine: &Machine) {
        let error = self.end_trial(machine);
        let exit = error.map_or(Exit::Done, |error| error.exit());
        // After any other end, systemd starts it again.
        if !machine.is_dead() && matches!(exit, Exit::Done | Exit::RolledBack) {
            machine.change(Step::StopTimer, |facts| facts.has_timer = false);
        }
    }

    fn end_trial(&self, machine: &Machine) -> Option<Error> {
        let state = machine.state();
        Trial::load(&state).unwrap()?;
        let error = self.request(machine, rebuild::revert);
        Self::revert_target(machine);
        error
    }

    fn revert_target(machine: &Machine) {
        let state = machine.state();
        let trial = Trial::load(&state).unwrap();
        let Some(trial) = trial.filter(|trial| trial.stage == TrialStage::Reverted) else {
            return;
        };
        let tree = machine.facts().tree;
        if let Some(former) = trial.commit_to_restore(Some(tree.commit())) {
            let is_new = tree == System::New;
            machine.change(Step::Record("hold".to_owned()), |facts| {
                facts.is_held |= is_new;
            });
            let former = System::ALL.into_iter().find(|it| it.commit() == former);
            Self::move_tree(machine, former.unwrap());
        }
        if !machine.is_dead() {
            let _ = Trial::remove(&state);
        }
    }

    fn move_tree(machine: &Machine, tree: System) {
        let marked = rebuild::mark_pending(&machine.state(), Some(tree.commit()), Action::Switch);
        if marked.is_ok() {
            machine.change(Step::Tree(tree), |facts| facts.tree = tree);
        }
    }

    fn rebuild(&self, machine: &Machine) -> Result<Outcome, Error> {
        self.request(machine, rebuild::run)
    }

    fn request<T>(
        &self,
        machine: &Machine,
        act: impl FnOnce(&RebuildRequest<'_>, &rebuild::Machine, &Env, &dyn Runner) -> T,
    ) -> T {
        let facts = machine.facts();
        let env = Env::empty().as_root(true);
        let revert_command = [self.root.path().join("hyper-sync").into()];
        let request = RebuildRequest {
            settings: &self.rebuild,
            action: Action::Switch,
            target: &self.root.path().join("target"),
            state: &machine.state(),
            state_file: None,
            commit: Some(facts.tree.commit()),
            verbose: false,
            exclude: &Patterns::default(),
            timer: None,
            repeat: Repeat::IfNeeded,
            retry: false,
            reboots: false,
            now: Timestamp::UNIX_EPOCH,
            confirmation: Some(Confirmation {
                health: HealthContext {
                    settings: &self.settings,
                    env: &env,
                    runner: machine,
                    interrupt: &Arc::new(AtomicBool::new(false)),
                    waits: &|_| (),
                },
                revert_command: &revert_command,
            }),
        };
        act(&request, &self.machine(&facts), &env, machine)
    }

    fn machine(&self, facts: &Facts) -> rebuild::Machine {
        let path = |name: &str| self.root.path().join(name);
        rebuild::Machine {
            current: path("current"),
            booted: path("booted"),
            profile: path("profile"),
            systemd: path("systemd"),
            switch_lock: path("switch.lock"),
            hostname: "vm".to_owned(),
            memory_events: None,
            boot: Some(facts.boot.to_string()),
        }
    }

    /// All that may follow a machine by so many events, with their number.
    fn after(&self, found: &Found, left: usize) -> Vec<(usize, Found)> {
        let with = |facts: Facts, event: String, violations| {
            let mut order = found.order.clone();
            order.push(event);
            Found {
                facts,
                order,
                violations,
            }
        };
        let mut after = Vec::new();
        if left > 0 {
            let mut change = |what: &str, change: fn(&mut Facts)| {
                let mut facts = found.facts.clone();
                change(&mut facts);
                after.push((1, with(facts, what.to_owned(), Vec::new())));
            };
            change("the power is cut", Facts::power_cut);
            change("the activation ends", Facts::end_activation);
            change("the activation is killed", |facts| facts.activation = None);
        }
        for (start, cost) in [(Start::Tick, 0), (Start::Revert, 1)] {
            let mut scripts: Vec<Vec<(usize, Event)>> = vec![Vec::new()];
            while let Some(events) = scripts.pop() {
                let cost = cost + events.len();
                if cost > left {
                    continue;
                }
                let ended = self.run(&found.facts, start, &events);
                let first = events.last().map_or(0, |(step, _)| step + 1);
                if cost < left {
                    for (at, facts) in ended.before.into_iter().enumerate().skip(first) {
                        let what = shown(start, &ended.steps[..at], &events) + ", killed";
                        after.push((cost + 1, with(facts, what, Vec::new())));
                    }
                    for (at, step) in ended.steps.iter().enumerate().skip(first) {
                        let more = step.events().iter().map(|event| (at, *event));
                        scripts.extend(more.map(|event| [&events[..], &[event]].concat()));
                    }
                }
                let what = shown(start, &ended.steps, &events);
                after.push((cost, with(ended.facts, what, ended.violations)));
            }
        }
        after
    }

    /// What distinguishes machines: neither times nor processes do.
    fn identity(facts: &Facts) -> String {
        let files: BTreeMap<&String, String> = { facts.files.iter() }
            .map(|(name, content)| (name, normalized(content, &facts.boot.to_string())))
            .collect();
        format!("{:?} {files:?}", facts.without_files())
    }

    /// What must hold whenever no run is active, and does not.
    fn unsafe_in(&self, found: &Found) -> Vec<&'static str> {
        let facts = &found.facts;
        let is_unproven = |system| system == System::New && facts.new != Health::Passed;
        let trial = self.trial(facts);
        let is_open = trial.is_some_and(|trial| trial.is_open(&self.machine(facts)));
        let boots = [facts.loader, facts.profile];
        wrong([
            (
                !boots.into_iter().any(is_unproven),
                "a boot default that has not passed its checks",
            ),
            (
                !is_unproven(facts.running) || (is_open && facts.has_timer),
                "a system that has not passed its checks without a revert",
            ),
        ])
    }

    /// What must hold when nothing happens to a machine any more, and does not.
    fn unsettled_in(&self, found: &Found) -> Vec<&'static str> {
        let facts = &found.facts;
        let state = Machine::new(self.root.path(), facts, &[]).state();
        let entries = Quarantine::load(&state).unwrap().entries;
        let is_quarantined = |commit: System| {
            let mut commits = entries.iter().map(|entry| entry.commit);
            commits.any(|failed| failed == Some(commit.commit()))
        };
        let pending = RebuildRecord::load(&state).unwrap().pending;
        let is_held = facts.head == System::New && facts.is_held;
        wrong([
            (
                [facts.profile, facts.loader] == [facts.running; 2],
                "other systems run and are booted",
            ),
            (
                !facts.has_timer && facts.activation.is_none() && self.trial(facts).is_none(),
                "a trial is left",
            ),
            (
                facts.running == facts.head || is_held || is_quarantined(facts.head),
                "the former system runs, and the new commit is neither held nor quarantined",
            ),
            (
                facts.tree == facts.running || is_quarantined(facts.tree),
                "the target is at another commit than the running system",
            ),
            (
                pending.is_none() || is_quarantined(facts.tree),
                "a rebuild is pending for ever",
            ),
        ])
    }

    /// How a machine that nothing happens to any more is not what it must be, and with the next commit.
    fn wrong_at_rest(&self, found: &Found) -> Option<(Vec<&'static str>, Found)> {
        let mut found = found.clone();
        for head in [System::New, System::Next] {
            found.facts.head = head;
            let mut wrong = self.rest(&mut found);
            wrong.extend(self.unsettled_in(&found));
            if head == System::Next && found.facts.running != head {
                wrong.push("the next commit does not run");
            }
            if !wrong.is_empty() {
                return Some((wrong, found));
            }
        }
        None
    }

    fn trial(&self, facts: &Facts) -> Option<Trial> {
        let machine = Machine::new(self.root.path(), facts, &[]);
        Trial::load(&machine.state()).unwrap()
    }

    /// The activation that goes on ends, the revert timer ends, and the update timer ticks. What was wrong in it.
    fn rest(&self, found: &mut Found) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        found.facts.end_activation();
        for _ in 0..TICKS {
            for start in [Start::Revert, Start::Tick] {
                if found.facts.has_timer || matches!(start, Start::Tick) {
                    let ended = self.run(&found.facts, start, &[]);
                    found.order.push(shown(start, &ended.steps, &[]));
                    found.facts = ended.facts;
                    wrong.extend(ended.violations);
                }
            }
        }
        wrong
    }
}

/// What is said of the conditions that do not hold.
fn wrong<const N: usize>(conditions: [(bool, &'static str); N]) -> Vec<&'static str> {
    let wrong = conditions.into_iter().filter(|(holds, _)| !holds);
    wrong.map(|(_, what)| what).collect()
}

/// A run with its steps and what happened at them.
fn shown(start: Start, steps: &[Step], events: &[(usize, Event)]) -> String {
    let step = |(at, step): (usize, &Step)| match events.iter().find(|(of, _)| *of == at) {
        Some((_, event)) => format!("{step:?} {event:?}!"),
        None => format!("{step:?}"),
    };
    let steps: Vec<String> = steps.iter().enumerate().map(step).collect();
    format!("{start:?}: {}", steps.join(", "))
}

/// A file of the state directory without what differs from run to run.
fn normalized(content: &[u8], boot: &str) -> String {
    let text = std::str::from_utf8(content).unwrap();
    let Some((_, json)) = text.split_once('\n') else {
        return String::new();
    };
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(json) else {
        return text.to_owned();
    };
    strip(&mut value, boot);
    value.to_string()
}

fn strip(value: &mut serde_json::Value, boot: &str) {
    match value {
        serde_json::Value::Object(fields) => {
            for name in ["since", "until", "at", "process", "reason", "tries", "last"] {
                fields.remove(name);
            }
            for (name, value) in fields {
                if name == "boot" {
                    *value = (value.as_str() == Some(boot)).into();
                } else {
                    strip(value, boot);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(|value| strip(value, boot)),
        _ => {}
    }
}

#[test]
fn no_order_of_events_leaves_a_machine_without_a_revert() {
    let orders = Orders::new();
    let mut known = HashSet::new();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let starts = [Health::Good, Health::Bad].map(|new| [true, false].map(|known| (new, known)));
    let found = starts.into_iter().flatten();
    let found = found.map(|(new, is_former_known)| orders.start(new, is_former_known));
    let mut levels = vec![Vec::new(); EVENTS + 1];
    levels[0].extend(found);
    for cost in 0..=EVENTS {
        while let Some(it) = levels[cost].pop() {
            let is_new = known.insert(Orders::identity(&it.facts));
            let now = [&it.violations[..], &orders.unsafe_in(&it)].concat();
            if !now.is_empty() {
                wrong.push((now, it));
            } else if is_new {
                wrong.extend(orders.wrong_at_rest(&it));
                for (more, next) in orders.after(&it, EVENTS - cost) {
                    count += 1;
                    levels[cost + more].push(next);
                }
            }
        }
        // The shortest are the clearest.
        if !wrong.is_empty() {
            break;
        }
    }
    for (what, found) in wrong.iter().take(SHOWN) {
        let Found { facts, order, .. } = found;
        let facts = facts.without_files();
        writeln!(stderr(), "{what:#?} after {order:#?}: {facts:?}").unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} orders are wrong",
        wrong.len()
    );
    let least = if EVENTS == 1 { 100 } else { 1000 };
    assert!(count > least, "only {count}");
}
