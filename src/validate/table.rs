//! The checks.

use super::findings::Findings;
use super::probe::Probe;
use super::repair::Repair;
use super::{Severity, adoption, flake, machine, permissions, places, records, syntax};

/// One check.
pub struct Check {
    /// Its id in JSON; it never changes.
    pub id: &'static str,
    /// Its name in messages.
    pub title: &'static str,
    /// The worst it can find.
    pub severity: Severity,
    /// Whether it is fast.
    pub quick: bool,
    /// Whether it works inside the sandboxed unit, which has no devices, no homes and little of `/proc`.
    pub sandbox_ok: bool,
    pub(super) run: fn(&Probe<'_>, &mut Findings),
    pub(super) fix: Option<fn(&Probe<'_>) -> Vec<Repair>>,
}

/// All checks, in the order in which they are printed.
pub const CHECKS: &[Check] = &[
    Check {
        id: "directories",
        title: "directories",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: places::directories,
        fix: Some(places::make_directories),
    },
    Check {
        id: "target",
        title: "target",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: places::target,
        fix: None,
    },
    Check {
        id: "files",
        title: "configuration files",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: places::files,
        fix: None,
    },
    Check {
        id: "flake",
        title: "flake",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: flake::flake,
        fix: None,
    },
    Check {
        id: "flake-lock",
        title: "flake.lock",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: flake::lock,
        fix: None,
    },
    Check {
        id: "nix-syntax",
        title: "Nix syntax",
        severity: Severity::Critical,
        quick: false,
        sandbox_ok: true,
        run: syntax::syntax,
        fix: None,
    },
    Check {
        id: "special-files",
        title: "sockets and FIFOs",
        severity: Severity::Warning,
        quick: false,
        sandbox_ok: true,
        run: places::special_files,
        fix: None,
    },
    Check {
        id: "scripts",
        title: "scripts",
        severity: Severity::Warning,
        quick: true,
        sandbox_ok: true,
        run: places::scripts,
        fix: Some(places::make_executable),
    },
    Check {
        id: "git-dir",
        title: "git work tree",
        severity: Severity::Warning,
        quick: true,
        sandbox_ok: true,
        run: adoption::git_dir,
        fix: None,
    },
    Check {
        id: "hardware",
        title: "hardware configuration",
        severity: Severity::Warning,
        quick: true,
        sandbox_ok: true,
        run: adoption::hardware,
        fix: None,
    },
    Check {
        id: "users",
        title: "user configuration",
        severity: Severity::Warning,
        quick: true,
        sandbox_ok: true,
        run: places::users,
        fix: None,
    },
    Check {
        id: "system",
        title: "system configuration",
        severity: Severity::Warning,
        quick: true,
        sandbox_ok: true,
        run: places::system,
        fix: None,
    },
    Check {
        id: "nix",
        title: "Nix",
        severity: Severity::Critical,
        quick: true,
        // `~/.config/nix` is hidden.
        sandbox_ok: false,
        run: machine::nix,
        fix: None,
    },
    Check {
        id: "virtualisation",
        title: "virtualisation",
        severity: Severity::Critical,
        quick: true,
        // `/dev/kvm` and `/proc/cpuinfo` are hidden.
        sandbox_ok: false,
        run: machine::virtualisation,
        fix: None,
    },
    Check {
        id: "network",
        title: "network",
        severity: Severity::Warning,
        quick: false,
        // `/proc/net` is hidden.
        sandbox_ok: false,
        run: machine::network,
        fix: None,
    },
    Check {
        id: "services",
        title: "services",
        severity: Severity::Warning,
        quick: false,
        // The unit may not connect to systemd.
        sandbox_ok: false,
        run: machine::services,
        fix: None,
    },
    Check {
        id: "tools",
        title: "tools",
        severity: Severity::Critical,
        quick: true,
        // The search path of the unit is its own.
        sandbox_ok: false,
        run: machine::tools,
        fix: None,
    },
    Check {
        id: "integrity",
        title: "integrity",
        severity: Severity::Critical,
        quick: false,
        sandbox_ok: true,
        run: records::integrity,
        fix: None,
    },
    Check {
        id: "permissions",
        title: "permissions",
        severity: Severity::Critical,
        quick: false,
        // Homes are hidden, and the token is a credential there.
        sandbox_ok: false,
        run: permissions::permissions,
        fix: Some(permissions::close),
    },
    Check {
        id: "disk-space",
        title: "disk space",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: machine::disk_space,
        fix: None,
    },
    Check {
        id: "state",
        title: "state",
        severity: Severity::Critical,
        quick: true,
        sandbox_ok: true,
        run: records::state,
        fix: Some(records::close),
    },
];
