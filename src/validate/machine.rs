//! The machine: Nix, programs, virtualisation, network, services, disks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::Findings;
use super::probe::Probe;
use crate::nix::conf::experimental_features;
use crate::process::Interrupt;
use crate::process::{Command, Environment, Output};
use crate::settings::Repo;
use crate::signature::Signers;
use crate::text::{self, Amount};

/// What Nix needs for a flake on the command line.
const FEATURES: [&str; 2] = ["nix-command", "flakes"];

/// Nix is installed and flakes are enabled.
pub(super) fn nix(probe: &Probe<'_>, findings: &mut Findings) {
    let Some(path) = probe.find_program("nix") else {
        return findings.fault(
            "`nix` is not in the search path",
            "install Nix, or add its directory to `PATH`; where nothing is to be rebuilt, set `rebuild.action = \"none\"`",
        );
    };
    findings.pass(format!("`{}` is there", text::path(&path)));
    let on = features(probe);
    let off: Vec<_> = FEATURES
        .iter()
        .filter(|&&feature| !on.iter().any(|name| name == feature))
        .collect();
    findings.each(
        false,
        &off,
        |feature| format!("the feature `{feature}` is off"),
        "hyper-sync turns it on for its own rebuilds; for those by hand, set `nix.settings.experimental-features = [ \"nix-command\" \"flakes\" ];`",
    );
    if off.is_empty() {
        findings.pass("flakes are on");
    }
}

/// The enabled features, from the files and variables that Nix reads, in its order.
fn features(probe: &Probe<'_>) -> Vec<String> {
    let env = probe.env();
    let system = env
        .path("NIX_CONF_DIR")
        .unwrap_or(Path::new("/etc/nix"))
        .join("nix.conf");
    let mut files = vec![system];
    if let Some(list) = env.get("NIX_USER_CONF_FILES") {
        let list: Vec<_> = std::env::split_paths(list).collect();
        // Nix reads the last file first, so that the first one has precedence.
        files.extend(list.into_iter().rev());
    } else {
        let config = env.path("XDG_CONFIG_HOME").map(Path::to_owned);
        let config = config.or_else(|| Some(env.home()?.join(".config")));
        files.extend(config.map(|config| config.join("nix/nix.conf")));
    }
    let mut on = Vec::new();
    for file in files {
        let read = |path: &Path| probe.system.read(path).ok().flatten();
        if let Some(text) = read(&file) {
            let directory = file.parent().unwrap_or(Path::new("/"));
            experimental_features(&text, &mut on, &|name| read(&directory.join(name)));
        }
    }
    if let Some(text) = env.get("NIX_CONFIG") {
        experimental_features(&text::decode(text.as_encoded_bytes()), &mut on, &|_| None);
    }
    on
}

/// Hardware virtualisation is available.
pub(super) fn virtualisation(probe: &Probe<'_>, findings: &mut Findings) {
    if !probe.settings().validate.kvm {
        return findings.skip("not asked for: `validate.kvm` is false");
    }
    if probe.system.exists("/dev/kvm") {
        return findings.pass("`/dev/kvm` is there");
    }
    let text = "`/dev/kvm` is missing";
    let processor = probe.system.read(Path::new("/proc/cpuinfo")).ok().flatten();
    match processor.as_deref().and_then(has_virtualisation) {
        Some(false) => findings.fault(
            format!("{text}, and the processor offers no virtualisation"),
            "turn on VT-x or AMD-V in the firmware; in a virtual machine, allow nested virtualisation",
        ),
        Some(true) | None => findings.fault(
            text,
            "load the module: `modprobe kvm_intel` or `modprobe kvm_amd`, `dmesg` says why it refuses",
        ),
    }
}

/// Whether the processor has VT-x or AMD-V; `None` if `cpuinfo` has no flags, as on ARM.
fn has_virtualisation(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))?;
    Some(
        flags
            .split_ascii_whitespace()
            .any(|flag| matches!(flag, "vmx" | "svm")),
    )
}

/// The bridge and a default route exist.
pub(super) fn network(probe: &Probe<'_>, findings: &mut Findings) {
    if let Some(bridge) = &probe.settings().validate.bridge {
        if probe
            .system
            .exists(Path::new("/sys/class/net").join(bridge))
        {
            findings.pass(format!("the bridge `{bridge}` is there"));
        } else {
            findings.fault(
                format!("the bridge `{bridge}` is missing"),
                "set up the network of the virtual machines, or name its bridge in `validate.bridge`",
            );
        }
    }
    let read = |path| probe.system.read(Path::new(path)).ok().flatten();
    match (read("/proc/net/route"), read("/proc/net/ipv6_route")) {
        (None, None) => findings.skip("the routes cannot be seen"),
        (v4, v6) => {
            let has_default = v4.as_deref().is_some_and(has_default_v4)
                || v6.as_deref().is_some_and(has_default_v6);
            if has_default {
                findings.pass("there is a default route");
                return;
            }
            match unreached(probe) {
                None => findings.pass("there is no default route, and the repository needs none"),
                Some(why) => findings.fault(
                    format!("there is no default route, and {why}"),
                    "`ip route` shows what there is",
                ),
            }
        }
    }
}

/// Why the host of the repository is not reached without a default route; `None` if it is, or need not be.
fn unreached(probe: &Probe<'_>) -> Option<String> {
    let settings = probe.settings();
    let repo = settings.repo.as_ref()?;
    let proxies = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let has_proxy = proxies.iter().any(|name| probe.env().get(name).is_some());
    if matches!(repo, Repo::Local(_)) || has_proxy {
        return None;
    }
    let place = repo.identity(settings.api_url.as_deref());
    let host = place.split('/').next().unwrap_or_default();
    // Any port: only the route is asked for, and nothing is sent.
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let Ok(addresses) = (host, 443).to_socket_addrs() else {
        return Some(format!(
            "the address of `{}` is not found",
            text::name(host)
        ));
    };
    let is_routed = |address: SocketAddr| {
        let any: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        UdpSocket::bind((any, 0))
            .and_then(|socket| socket.connect(address))
            .is_ok()
    };
    let is_reached = { addresses }.any(is_routed);
    (!is_reached).then(|| format!("no other route leads to `{}`", text::name(host)))
}

/// `/proc/net/route`: a header line, then interface, destination, gateway, flags, …, the numbers hexadecimal.
fn has_default_v4(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let mask = words.get(7);
        words.get(1) == Some(&"00000000") && mask == Some(&"00000000")
    })
}

/// `/proc/net/ipv6_route`: destination, prefix length, …, interface. The kernel's own reject route is on `lo`.
fn has_default_v6(table: &str) -> bool {
    table.lines().any(|line| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let destination = words
            .first()
            .is_some_and(|word| word.bytes().all(|byte| byte == b'0'));
        destination && words.get(1) == Some(&"00") && words.last() != Some(&"lo")
    })
}

/// systemd responds at once, or it is not running.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(20);

/// The configured units run, or are started by their socket.
pub(super) fn services(probe: &Probe<'_>, findings: &mut Findings) {
    let services = &probe.settings().validate.services;
    if services.is_empty() {
        return findings.skip("none are named in `validate.services`");
    }
    // sd_booted(3)
    if !probe.system.exists("/run/systemd/system") {
        return findings.skip("systemd does not run here");
    }
    let sockets = services.iter().map(|unit| socket(unit));
    let units: Vec<String> = services.iter().cloned().chain(sockets).collect();
    let Some(states) = states(probe, &units) else {
        return findings.warn("systemd does not answer", "`systemctl status` says why");
    };
    for unit in services {
        let state = |name: &str| states.iter().find(|state| state.id == name);
        let is_active = |name: &str| {
            state(name).is_some_and(|state| {
                matches!(state.active.as_str(), "active" | "activating" | "reloading")
            })
        };
        match state(unit) {
            _ if is_active(unit) => findings.pass(format!("`{unit}` runs")),
            _ if is_active(&socket(unit)) => {
                findings.pass(format!("`{unit}` starts when it is needed"));
            }
            Some(found) if found.load == "not-found" => findings.fault(
                format!("`{unit}` is not installed"),
                "enable it in the configuration, or take it out of `validate.services`",
            ),
            found => findings.fault(
                format!(
                    "`{unit}` is {}",
                    found.map_or("unknown to systemd", |found| &found.active)
                ),
                format!("`systemctl status {unit}` says why"),
            ),
        }
    }
}

/// The socket that starts a service.
fn socket(unit: &str) -> String {
    format!("{}.socket", unit.strip_suffix(".service").unwrap_or(unit))
}

#[derive(Default)]
struct UnitState {
    id: String,
    load: String,
    active: String,
}

fn states(probe: &Probe<'_>, units: &[String]) -> Option<Vec<UnitState>> {
    let environment = Environment::new(probe.env(), &[]);
    let runner = probe.context.runner;
    let systemctl = runner.find("systemctl", &environment)?;
    let mut args = vec!["show", "--property=Id,LoadState,ActiveState", "--"];
    args.extend(units.iter().map(String::as_str));
    let command = Command::new(
        systemctl,
        args,
        &environment,
        Path::new("/"),
        SYSTEMCTL_TIMEOUT,
    );
    let finished = runner.run(&command.output(Output::Quiet)).ok()?;
    finished
        .end
        .is_success()
        .then(|| parse_states(&finished.text()))
}

/// Parses one block of `Name=value` lines per unit.
fn parse_states(text: &str) -> Vec<UnitState> {
    let block = |block: &str| {
        let mut state = UnitState::default();
        for line in block.lines() {
            match line.split_once('=') {
                Some(("Id", value)) => value.clone_into(&mut state.id),
                Some(("LoadState", value)) => value.clone_into(&mut state.load),
                Some(("ActiveState", value)) => value.clone_into(&mut state.active),
                _ => {}
            }
        }
        state
    };
    text.split("\n\n").map(block).collect()
}

/// Room for one kernel and its initrd, which a rebuild may add to `/boot`; few boot partitions have more than some
/// hundred megabytes in all, so that `min_free` would be no measure there.
const BOOT_MIN: u64 = 100 << 20;

/// The file systems that a sync and a rebuild write to have free space.
pub(super) fn disk_space(probe: &Probe<'_>, findings: &mut Findings) {
    let settings = probe.settings();
    let min = settings.validate.min_free;
    let minima: [(PathBuf, u64); 4] = [
        (settings.target.clone(), min),
        (settings.state_dir.clone(), min),
        ("/nix".into(), min),
        ("/boot".into(), BOOT_MIN),
    ];
    let mut devices = Vec::new();
    for (path, min) in minima {
        let ours = path == settings.target || path == settings.state_dir;
        if !ours && !probe.system.exists(&path) {
            continue;
        }
        let Some(space) = probe.system.space(&path) else {
            continue;
        };
        // A `/boot` on the root file system needs no check of its own, because its minimum is smaller.
        if devices.contains(&space.device) {
            continue;
        }
        devices.push(space.device);
        let shown = text::path(&path);
        let free = Amount::Bytes(space.free);
        let hint = "make room, for example with `nix-collect-garbage --delete-older-than 30d`; `validate.min_free` is the bound";
        if space.free < min {
            findings.fault(
                format!(
                    "`{shown}` has {free} free, less than {}",
                    Amount::Limit(min)
                ),
                hint,
            );
        } else if space.free / 2 < min {
            findings.warn(
                format!(
                    "`{shown}` has {free} free, less than twice {}",
                    Amount::Limit(min)
                ),
                hint,
            );
        } else {
            findings.pass(format!("`{shown}` has {free} free"));
        }
    }
}

const REBUILD: &str = "nixos-rebuild";

/// The programs that hyper-sync runs, and those of `validate.tools`, are installed.
pub(super) fn tools(probe: &Probe<'_>, findings: &mut Findings) {
    let settings = probe.settings();
    if settings.rebuild.action.is_some() {
        rebuild(probe, findings);
    }
    let mut needed = Vec::new();
    match settings.repo {
        Some(Repo::Ssh(_)) => needed.push(("ssh", "the repository is reached through it")),
        Some(Repo::Local(_)) => needed.push(("git", "the repository is read through it")),
        Some(Repo::GitHub { .. } | Repo::Http(_)) | None => {}
    }
    if let Some(path) = &settings.trust.signers {
        let path = probe.system.real(path);
        match Signers::load(&path, probe.env(), &Interrupt::default()) {
            Ok(signers) => needed.push((signers.program(), "`trust.signers` needs it")),
            Err(error) => findings.error(&error),
        }
    }
    for (name, why) in &needed {
        match probe.find_program(name) {
            Some(_) => findings.pass(format!("`{name}` is there")),
            None => findings.fault(
                format!("`{name}` is not in the search path, but {why}"),
                "install it, or add its directory to `PATH`",
            ),
        }
    }
    for name in &settings.validate.tools {
        let is_reported = name == REBUILD || needed.iter().any(|(needed, _)| needed == name);
        if is_reported {
            continue;
        }
        if probe.find_program(name).is_some() {
            findings.pass(format!("`{name}` is there"));
        } else {
            findings.warn(
                format!("`{name}` is not in the search path"),
                "add it to `environment.systemPackages`, or take it out of `validate.tools`",
            );
        }
    }
}

/// A rebuild is possible: by `nixos-rebuild`, or by the programs that it runs.
fn rebuild(probe: &Probe<'_>, findings: &mut Findings) {
    if probe.find_program(REBUILD).is_some() {
        findings.pass(format!("`{REBUILD}` is there"));
        return;
    }
    let missing = ["nix", "nix-env"].map(|name| (name, probe.find_program(name)));
    match missing.iter().find(|(_, found)| found.is_none()) {
        None => findings.warn(
            format!(
                "`{REBUILD}` is not in the search path: a rebuild does without it, but not where the build cannot be pinned to a snapshot"
            ),
            "install it, or add its directory to `PATH`",
        ),
        Some((name, _)) => findings.fault(
            format!("neither `{REBUILD}` nor `{name}` is in the search path, and a rebuild needs either"),
            "install one of them, or add its directory to `PATH`; where nothing is to be rebuilt, set `rebuild.action = \"none\"`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtualisation_is_read_from_the_processor_flags() {
        assert_eq!(
            has_virtualisation("model name\t: x\nflags\t\t: fpu vmx sse\n"),
            Some(true)
        );
        assert_eq!(has_virtualisation("flags\t\t: fpu svm\n"), Some(true));
        assert_eq!(has_virtualisation("flags\t\t: fpu vmxx\n"), Some(false));
        assert_eq!(has_virtualisation("Features\t: fp asimd\n"), None);
    }

    #[test]
    fn a_default_route_is_recognized() {
        let head =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let local = "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let default = "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert!(!has_default_v4(head) && !has_default_v4(&format!("{head}{local}")));
        assert!(has_default_v4(&format!("{head}{local}{default}")));

        let zero = "0".repeat(32);
        let line = |prefix: &str, device: &str| {
            format!(
                "{zero} {prefix} {zero} 00 {zero} 00000400 00000001 00000000 00000003 {device:>8}\n"
            )
        };
        assert!(has_default_v6(&line("00", "eth0")));
        assert!(!has_default_v6(&line("00", "lo")) && !has_default_v6(&line("60", "eth0")));
    }

    #[test]
    fn the_blocks_of_systemctl_are_parsed() {
        let states = parse_states(
            "Id=a.service\nLoadState=loaded\nActiveState=active\n\nId=a.socket\nLoadState=not-found\nActiveState=inactive\n",
        );
        assert_eq!(states.len(), 2);
        assert_eq!(
            (states[1].id.as_str(), states[1].load.as_str()),
            ("a.socket", "not-found")
        );
        assert_eq!(states[0].active, "active");
        assert_eq!(socket("libvirtd.service"), "libvirtd.socket");
    }
}
