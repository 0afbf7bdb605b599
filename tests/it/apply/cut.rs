//! Power cuts at every point of a recorded run.
//!
//! The calls of a run are made again on a model of a disk ([`super::disk`]), up to the cut. What the disk holds then is
//! written out, and the next run starts from there.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper_sync::fs::{Call, Faults, Outcome};
use hyper_sync::git::CommitId;
use rustix::io::Errno;

use super::disk::{self, Disk, Image, Recorded, Survive};
use super::update::{active, new, old, second_copy};
use super::world::{LibraryTarget, Node, Run, Store, Tree, file};

const RECOVERY: &str = "a recovery began";

pub(crate) type Calls = Arc<Mutex<Vec<Recorded>>>;

/// A run, or several, call by call, and the disk before it.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) world: LibraryTarget,
    pub(crate) calls: Vec<Recorded>,
    disk: Disk,
    before: (Tree, Option<CommitId>),
    after: (Tree, Option<CommitId>),
    /// What the target is after the next run.
    last: Tree,
    /// What must be somewhere from the given call on.
    pub(crate) precious: Vec<(usize, Vec<u8>)>,
    /// A file that somebody changed while the run went on: that may be there, whatever the commits have.
    pub(crate) edited: Option<(String, Node)>,
    /// From this call on the record has two copies, of which either may be damaged as well.
    pub(crate) spare: usize,
    /// Whether the record is lost, so that only the sync after the recovery ends at a commit.
    pub(crate) is_lost: bool,
    /// Whether contents may be needed that are staged no more.
    pub(crate) needs_store: bool,
    /// What was tried and did no harm.
    harmless: RefCell<HashSet<Known>>,
}

/// All that the next run depends on: the disk, the damage to it, whether the run had ended, whether there is a store.
type Known = (Image, Damage, bool, bool);

/// What else has happened to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Damage {
    Nothing,
    /// To one of the two copies of the record.
    Record,
    Copy,
}

/// Which of the `fsync`s before a cut did something.
#[derive(Debug, Clone, Copy)]
struct Honest {
    /// This one did nothing.
    lazy: Option<usize>,
    /// From this call on some did, by a coin: those that are issued together are done in no order.
    together: Option<(usize, u64)>,
}

impl Honest {
    fn is(self, number: usize) -> bool {
        let done = self.together.is_none_or(|(first, seed)| {
            let mixed = (seed ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            number < first || mixed >> 63 == 1
        });
        done && self.lazy != Some(number)
    }
}

/// Records the calls that are made, and has others fail as `then` says.
pub(crate) fn recording(
    calls: &Calls,
    then: impl Fn(&Call<'_>) -> Outcome + Send + Sync + 'static,
) -> Faults {
    let calls = Arc::clone(calls);
    Faults::new(move |call| {
        let outcome = then(call);
        if outcome == Outcome::Proceed {
            calls.lock().unwrap().push(Recorded::of(call));
        }
        outcome
    })
}

/// An update to the new commit, which may die on the way.
pub(crate) fn sync(world: &LibraryTarget, faults: Faults) {
    let run = Run {
        faults,
        ..Run::default()
    };
    let _ = world.sync(&new(), &run);
}

pub(crate) fn recover(world: &LibraryTarget, calls: &Calls) {
    calls.lock().unwrap().push(Recorded::mark(RECOVERY));
    let faults = recording(calls, |_| Outcome::Proceed);
    let target = world.open_target().with_faults(faults.clone());
    let state = world.open_state().with_faults(faults).unwrap();
    hyper_sync::apply::recover(&target, &state, &world.store).unwrap();
}

fn index(world: &LibraryTarget) -> Option<CommitId> {
    world
        .load_index()
        .ok()
        .flatten()
        .map(|index| index.point.commit)
}

/// Records what `run` does to the world.
pub(crate) fn trace(
    name: &'static str,
    world: LibraryTarget,
    run: impl FnOnce(&LibraryTarget, &Calls),
) -> Trace {
    let calls = Calls::default();
    let disk = Disk::of(world.root());
    let before = (world.read(), index(&world));
    world.store.add(&new());
    run(&world, &calls);
    let after = (world.read(), index(&world));
    world.sync(&new(), &Run::default()).unwrap();
    let last = world.read();
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    let nodes = before.0.values().filter(|node| **node != Node::Empty);
    let precious = nodes.map(|node| (0, node.bytes().to_vec())).collect();
    Trace {
        name,
        world,
        calls,
        disk,
        before,
        after,
        last,
        precious,
        edited: None,
        spare: 0,
        is_lost: false,
        needs_store: false,
        harmless: RefCell::default(),
    }
}

/// An update while which somebody edits a file that it removes, killed before call `at`, and the recovery from that;
/// `None` where there is no such call.
pub(crate) fn killed_and_recovered(at: usize) -> Option<Trace> {
    let world = LibraryTarget::at(&old(), |_| ());
    let is_dead = Arc::new(AtomicBool::new(false));
    let dead = Arc::clone(&is_dead);
    let is_late = Arc::new(AtomicBool::new(false));
    let late = Arc::clone(&is_late);
    let mut trace = trace("killed and recovered", world, move |world, calls| {
        let (edits, path) = (Arc::clone(calls), world.target.join("d/gone"));
        let count = AtomicUsize::new(0);
        let then = move |call: &Call<'_>| {
            if count.fetch_add(1, Ordering::Relaxed) >= at {
                dead.store(true, Ordering::Relaxed);
                return Outcome::Torn(Errno::IO);
            }
            if call.name == "rename" && call.path == path {
                late.store(true, Ordering::Relaxed);
                edit(&edits, &path);
            }
            Outcome::Proceed
        };
        sync(world, recording(calls, then));
        recover(world, calls);
    });
    if is_late.load(Ordering::Relaxed) {
        trace.has_late_edit();
    }
    is_dead.load(Ordering::Relaxed).then_some(trace)
}

/// Somebody's edit, just now.
pub(crate) fn edit(calls: &Calls, path: &std::path::Path) {
    fs::write(path, "late").unwrap();
    let edit = Recorded::edit(path.to_owned(), "late");
    calls.lock().unwrap().push(edit);
}

impl Trace {
    /// What a call is about, without numbers, and after what.
    pub(crate) fn label(&self, number: usize) -> String {
        let call = &self.calls[number];
        let path = call.path.strip_prefix(self.world.root()).unwrap();
        let parts = path.components().map(|part| {
            let part = part.as_os_str().to_str().unwrap();
            let (name, end) = part.split_once('.').unwrap_or((part, ""));
            let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
            match (is_number, name.len()) {
                (true, _) if end.is_empty() => "<n>".to_owned(),
                (true, _) => format!("<n>.{end}"),
                (false, 40) => "<id>".to_owned(),
                _ => part.to_owned(),
            }
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let before = self.calls[..number].iter();
        let last = before.rev().find(|call| call.name != "fsync");
        let path = if path.is_empty() { "." } else { &path };
        let last = last.map_or("nothing", |call| call.name);
        let is_committed = self.calls[..number].iter().any(|call| {
            let commits =
                call.name == "rename" && call.path.extension().is_some_and(|end| end == "plan");
            commits || call.name == RECOVERY
        });
        let phase = if is_committed { "later" } else { "first" };
        format!("{phase}: {path}, after {last}")
    }

    /// `d/gone` was edited while it was removed.
    pub(crate) fn has_late_edit(&mut self) {
        // On its way to the staging directory it is in both or in none, for this disk does not know that a rename
        // is one step. What is durable when the run ends is what counts.
        self.precious.push((self.calls.len(), b"late".to_vec()));
        self.edited = Some(("d/gone".to_owned(), file("late")));
    }

    /// Cuts the power after every `CUT_STEP`th call from `first` on, in every way, and returns what harm is left after the
    /// next run. `lazy`: an `fsync` that does nothing; what that one is for shows at one call alone, so none is left out.
    pub(crate) fn cut_everywhere(&self, first: usize, lazy: Option<usize>) -> Result<(), String> {
        let in_order = Honest {
            lazy,
            together: None,
        };
        let coins: Vec<Survive> = crate::COINS.map(Survive::Mixed).collect();
        let step = if lazy.is_some() { 1 } else { crate::CUT_STEP };
        for calls in (first..=self.calls.len()).step_by(step) {
            for survive in [Survive::Durable, Survive::All] {
                for damage in [Damage::Nothing, Damage::Record, Damage::Copy] {
                    self.cut(calls, survive, damage, in_order)?;
                }
            }
            for survive in coins.iter().copied() {
                self.cut(calls, survive, Damage::Nothing, in_order)?;
            }
            if let Some(began) = self.together(calls) {
                for seed in 0..3 {
                    let honest = Honest {
                        lazy,
                        together: Some((began, seed)),
                    };
                    for survive in [Survive::Durable, Survive::All]
                        .into_iter()
                        .chain(coins.iter().copied())
                    {
                        self.cut(calls, survive, Damage::Nothing, honest)?;
                    }
                }
            }
        }
        self.cut_after_an_edit(in_order)
    }

    /// Where the `fsync`s began of which the last is the last of so many calls, where none of them has returned.
    fn together(&self, calls: usize) -> Option<usize> {
        let is_sync = |call: &Recorded| call.name == "fsync";
        let more = self.calls.get(calls).is_none_or(is_sync);
        let before = &self.calls[..calls];
        let began = before.iter().rposition(|call| !is_sync(call))? + 1;
        (!more && calls > began + 1).then_some(began)
    }

    fn cut(
        &self,
        calls: usize,
        survive: Survive,
        damage: Damage,
        honest: Honest,
    ) -> Result<(), String> {
        let damaged = match damage {
            Damage::Nothing => None,
            Damage::Record => Some(active(&self.world)),
            Damage::Copy => Some(second_copy(&self.world)),
        };
        if damaged.is_some() && calls < self.spare {
            return Ok(());
        }
        let image = self.image(calls, survive, honest);
        let ended = calls == self.calls.len();
        let known = (image, damage, ended, self.has_store(survive));
        if self.harmless.borrow().contains(&known) {
            return Ok(());
        }
        disk::restore(&known.0, self.world.root());
        if let Some(record) = damaged.filter(|record| record.exists()) {
            fs::write(record, "").unwrap();
        }
        // Once the copies have their name, there is one record.
        let mut made = self.calls[..calls].iter();
        let is_named = made.any(|call| {
            call.path.extension().is_some_and(|end| end == "part") && call.name == "rename"
        });
        let is_lost = self.is_lost || (is_named && matches!(damage, Damage::Record));
        self.next_run(calls, survive, is_lost).map_err(|harm| {
            let (name, all) = (self.name, self.calls.len());
            format!("{harm} | {name} | {calls} of {all} calls, {survive:?}, {damage:?}, {honest:?}")
        })?;
        self.harmless.borrow_mut().insert(known);
        Ok(())
    }

    /// What the disk holds after the cut.
    fn image(&self, calls: usize, survive: Survive, honest: Honest) -> Image {
        let mut disk = self.disk.clone();
        for (number, call) in self.calls[..calls].iter().enumerate() {
            disk.make(call, honest.is(number));
        }
        disk.image(survive)
    }

    /// Where renames are whole, what was staged must do without the store.
    fn has_store(&self, survive: Survive) -> bool {
        self.needs_store || matches!(survive, Survive::Mixed(_))
    }

    fn next_run(&self, calls: usize, survive: Survive, is_lost: bool) -> Result<(), String> {
        let empty = Store::default();
        let store = if self.has_store(survive) {
            &self.world.store
        } else {
            &empty
        };
        let recovered = self.world.recover_from(store);
        // Without the paths.
        let brief = |error: String| error.split(':').take(1).collect::<String>();
        recovered.map_err(|error| brief(error.to_string()))?;
        if !is_lost {
            self.check_tree(calls == self.calls.len())?;
        }
        self.check_nothing_lost(calls)?;
        let synced = self.world.sync(&new(), &Run::default());
        synced.map_err(|error| error.to_string())?;
        if self.settled() != self.last {
            return Err("not new in the end".to_owned());
        }
        self.check_nothing_lost(calls)
    }

    /// The target is as before or as after the run, the index with it; `done`: as after it.
    fn check_tree(&self, done: bool) -> Result<(), String> {
        let (now, known) = (self.settled(), index(&self.world));
        if now != self.after.0 && now != self.before.0 {
            return Err("neither old nor new".to_owned());
        }
        if now != self.after.0 && done {
            return Err("old after the run has ended".to_owned());
        }
        // Or a later commit would take what this one wrote for somebody's edit.
        let fits = |(tree, commit): &(Tree, _)| now == *tree && known == *commit;
        if !fits(&self.after) && (done || !fits(&self.before)) {
            return Err("the index is not that of the tree".to_owned());
        }
        Ok(())
    }

    /// The target but for somebody's edit, which may stay whatever the rest is.
    fn settled(&self) -> Tree {
        let mut now = self.world.read();
        if let Some((path, node)) = &self.edited
            && now.get(path) == Some(node)
        {
            now.remove(path);
            let is_old = now.get("a") == self.before.0.get("a");
            if let Some(node) = self.before.0.get(path).filter(|_| is_old) {
                now.insert(path.clone(), node.clone());
            }
        }
        now
    }

    fn check_nothing_lost(&self, calls: usize) -> Result<(), String> {
        let kept = self.world.contents();
        let mut precious = self.precious.iter();
        let lost = precious.find(|(since, bytes)| *since <= calls && !kept.contains(bytes));
        lost.map_or(Ok(()), |(_, bytes)| {
            Err(format!("`{}` is lost", String::from_utf8_lossy(bytes)))
        })
    }

    /// After the run somebody puts a file back as it was; a power cut must not bring the update back.
    fn cut_after_an_edit(&self, honest: Honest) -> Result<(), String> {
        let (Some(node), false) = (self.before.0.get("a"), self.is_lost) else {
            return Ok(());
        };
        let image = self.image(self.calls.len(), Survive::Durable, honest);
        disk::restore(&image, self.world.root());
        self.world.write("a", node);
        let recovered = self.world.recover_from(&self.world.store);
        recovered.map_err(|error| error.to_string())?;
        if self.world.read().get("a") == Some(node) {
            Ok(())
        } else {
            Err(format!("a later edit is replaced | {} | ", self.name))
        }
    }
}
