//! The state of this machine: the running system, the booted one and the boot default, and whether an activation runs.
//!
//! Without systemd, no system is being activated.
#![expect(
    clippy::disallowed_methods,
    reason = "links of NixOS, outside the target, are followed; no file is opened by this"
)]

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::health::systemd::Systemctl;
use crate::process::{Environment, Runner};
use crate::text;
use crate::vetted::{self, FileRequirements};

/// The boot id, different after each boot (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The locks of all files (`proc_locks(5)`).
const LOCKS: &str = "/proc/locks";

/// Where NixOS keeps the links to its systems, and the name of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The running system.
    pub current: PathBuf,
    /// The system it was booted with.
    pub booted: PathBuf,
    /// The profile whose newest generation is booted next.
    pub profile: PathBuf,
    /// The file that `switch-to-configuration` locks.
    pub switch_lock: PathBuf,
    /// The directory that exists if systemd runs (`sd_booted(3)`).
    pub systemd: PathBuf,
    /// The host name.
    pub hostname: String,
    /// The file in which the kernel counts out-of-memory events of the processes of our control group and those below
    /// it (`memory.events`, cgroup v2).
    pub memory_events: Option<PathBuf>,
    /// The id of this boot; `None` where it cannot be read, such as in the sandbox of the sync.
    pub boot: Option<String>,
}

/// The store paths of the systems; `None` on other distributions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Systems {
    /// The running one.
    pub current: Option<PathBuf>,
    /// The one that was booted.
    pub booted: Option<PathBuf>,
    /// The one that is booted next.
    pub profile: Option<PathBuf>,
}

impl Systems {
    /// Whether a system is one of them.
    pub(super) fn contains(&self, system: &Path) -> bool {
        let systems = [&self.current, &self.booted, &self.profile];
        systems.into_iter().flatten().any(|known| known == system)
    }
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            current: "/run/current-system".into(),
            booted: "/run/booted-system".into(),
            profile: "/nix/var/nix/profiles/system".into(),
            switch_lock: "/run/nixos/switch-to-configuration.lock".into(),
            systemd: "/run/systemd/system".into(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            memory_events: memory_events(),
            boot: read(Path::new(BOOT_ID)).map(|id| id.trim().to_owned()),
        }
    }

    /// Whether systemd runs.
    pub(super) fn has_systemd(&self) -> bool {
        self.systemd.is_dir()
    }

    /// How many processes the kernel has killed for lack of memory in our control group; 0 if that is not known.
    pub(super) fn oom_kills(&self) -> u64 {
        let events = self.memory_events.as_deref().and_then(read);
        events.as_deref().map_or(0, oom_kills)
    }

    /// The process that holds the lock of `switch-to-configuration`, if one does. The lock is not tried, which could
    /// refuse it to somebody.
    pub(super) fn switching_process(&self) -> Option<u32> {
        let stat = rustix::fs::stat(&self.switch_lock).ok()?;
        let (major, minor) = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        let file = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
        lock_holder(&read(Path::new(LOCKS))?, &file)
    }

    /// When a system was activated last: the time of the link of the running system.
    pub(super) fn switched_at(&self) -> Option<Timestamp> {
        let stat = rustix::fs::lstat(&self.current).ok()?;
        let nanoseconds = i32::try_from(stat.st_mtime_nsec).ok()?;
        Timestamp::new(stat.st_mtime, nanoseconds).ok()
    }

    /// The number of the boot default among the generations of its profile, from the name of the link
    /// (`system-42-link`).
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        let link = rustix::fs::readlink(&self.profile, Vec::new()).ok()?;
        let link = link.into_string().ok()?;
        let profile = self.profile.file_name()?.to_str()?;
        let name = Path::new(&link).file_name()?.to_str()?;
        let number = name.strip_prefix(profile)?.strip_prefix('-')?;
        number.strip_suffix("-link")?.parse().ok()
    }

    /// Follows the links.
    #[must_use]
    pub fn systems(&self) -> Systems {
        Systems {
            current: system(&self.current),
            booted: system(&self.booted),
            profile: system(&self.profile),
        }
    }
}

/// The largest size of a file of the kernel that is read here.
const KERNEL_FILE_MAX: u64 = 1 << 20;

fn read(path: &Path) -> Option<String> {
    let content = vetted::read(path, &FileRequirements::anyone(KERNEL_FILE_MAX)).ok()?;
    Some(text::decode(&content).into_owned())
}

/// The `memory.events` of our control group, of which `/proc/self/cgroup` has the path (`cgroups(7)`).
fn memory_events() -> Option<PathBuf> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(
        Path::new("/sys/fs/cgroup")
            .join(group)
            .join("memory.events"),
    )
}

/// The process that holds a lock by `flock` on a file, by a line such as
/// `1: FLOCK  ADVISORY  WRITE 4303 fe:00:9822284 0 EOF` (`proc_locks(5)`). Waiting ones begin with `1: -> FLOCK`.
fn lock_holder(locks: &str, file: &str) -> Option<u32> {
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, process, place, ..] if place == file => process.parse().ok(),
            _ => None,
        }
    };
    locks.lines().find_map(holder)
}

/// The line `oom_kill` of a `memory.events`.
fn oom_kills(events: &str) -> u64 {
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_default()
}

/// The store path that a link leads to.
pub(super) fn system(link: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(link).ok()
}

/// Where a link of a system leads; `None` if it has none. A system may have no initial ram disk, for example.
pub(super) fn part(system: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_link(system.join(name)).ok()
}

/// Whether `booted` is a system or one of its specialisations, which the boot menu offers beside it.
pub(super) fn is_variant_of(booted: &Path, system: &Path) -> bool {
    let variants = std::fs::read_dir(system.join("specialisation"));
    let variants = variants.into_iter().flatten().flatten();
    booted == system
        || variants
            .map(|variant| variant.path())
            .any(|variant| self::system(&variant).as_deref() == Some(booted))
}

/// Whether a path exists: a part of a system, or a file that Nix did not find. No file is opened by this.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether a system is being activated. An activation must not be killed halfway, because the machine would then run
/// neither the old nor the new system.
pub(super) fn is_activating(runner: &dyn Runner, environment: &Environment) -> bool {
    !Systemctl {
        runner,
        environment,
    }
    .activating()
    .is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_for_lack_of_memory_are_counted() {
        // As Linux 6.1 prints it.
        let events = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n";
        assert_eq!(oom_kills(events), 3);
        assert_eq!(oom_kills("low 0\n"), 0);
        assert_eq!(oom_kills(""), 0);
    }

    #[test]
    fn the_holder_of_a_lock_is_found_by_its_file() {
        // As Linux 6.1 prints it.
        let locks = "1: POSIX  ADVISORY  WRITE 10 fe:00:7 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 11 fe:00:7 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 fe:00:8 0 EOF\n";
        assert_eq!(lock_holder(locks, "fe:00:7"), Some(11));
        assert_eq!(lock_holder(locks, "fe:00:8"), None);
        assert_eq!(lock_holder("", "fe:00:7"), None);
    }
}
