//! What logind knows: who keeps the machine from a shutdown, who is logged in, and whether a shutdown is scheduled.
//!
//! It is asked over D-Bus (`org.freedesktop.login1(5)`) by `busctl`, whose JSON is the same in every version; the lists
//! of `systemd-inhibit` and `loginctl` are for people. Only locks of the mode `block` count: one of the mode `delay` is
//! waited for by logind itself.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::health::systemd::Systemctl;

const SERVICE: &str = "org.freedesktop.login1";
const OBJECT: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";

/// A line of `busctl --json=short`.
#[derive(Deserialize)]
struct Line<T> {
    data: T,
}

/// `a(ssssuu)`: what, who, why, mode, user and process.
type Inhibitors = Vec<(String, String, String, String, u32, u32)>;
/// `a(susso)`: name, user and name of the user, seat and object.
type Sessions = Vec<(String, u32, String, String, String)>;

/// A lock that keeps the machine from a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inhibitor {
    pub(super) who: String,
    pub(super) why: String,
}

/// The programs that keep the machine from a shutdown.
pub(super) fn inhibitors(systemctl: Systemctl<'_>) -> Result<Vec<Inhibitor>, String> {
    let answer = systemctl.bus(&["call", SERVICE, OBJECT, MANAGER, "ListInhibitors"])?;
    // The data of a call are its results, of which there is one.
    let (all,): (Inhibitors,) = read(&answer)?;
    let blocking = all.into_iter().filter(|(what, _, _, mode, _, _)| {
        mode == "block" && what.split(':').any(|what| what == "shutdown")
    });
    Ok(blocking
        .map(|(_, who, why, _, _, _)| Inhibitor { who, why })
        .collect())
}

/// The names of the users who are logged in, without those whose session ends, and without greeters and managers.
pub(super) fn users(systemctl: Systemctl<'_>) -> Result<Vec<String>, String> {
    let answer = systemctl.bus(&["call", SERVICE, OBJECT, MANAGER, "ListSessions"])?;
    let (all,): (Sessions,) = read(&answer)?;
    let mut users = Vec::new();
    for (_, _, user, _, object) in all {
        let query = ["get-property", SERVICE, &object, SESSION, "Class", "State"];
        // A session that has ended since has no properties.
        let Ok(answer) = systemctl.bus(&query) else {
            continue;
        };
        let mut lines = answer.lines();
        let mut next = || lines.next().map_or(Ok(String::new()), read::<String>);
        let (class, state) = (next()?, next()?);
        if class.starts_with("user") && state != "closing" {
            users.push(user);
        }
    }
    users.sort_unstable();
    users.dedup();
    Ok(users)
}

/// What is scheduled (`reboot`, `poweroff`), if anything is.
pub(super) fn scheduled(systemctl: Systemctl<'_>) -> Result<Option<String>, String> {
    let query = [
        "get-property",
        SERVICE,
        OBJECT,
        MANAGER,
        "ScheduledShutdown",
    ];
    let (what, _): (String, u64) = read(&systemctl.bus(&query)?)?;
    Ok((!what.is_empty()).then_some(what))
}

fn read<T: DeserializeOwned>(answer: &str) -> Result<T, String> {
    let line: Line<T> = serde_json::from_str(answer)
        .map_err(|error| format!("logind gives an answer that is not understood: {error}"))?;
    Ok(line.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_busctl_prints_them() {
        let answer =
            r#"{"type":"a(ssssuu)","data":[[["shutdown:sleep","dnf","upgrading","block",0,42]]]}"#;
        let (inhibitors,): (Inhibitors,) = read(answer).unwrap();
        assert_eq!(inhibitors[0].1, "dnf");
        let none: (Sessions,) = read(r#"{"type":"a(susso)","data":[[]]}"#).unwrap();
        assert!(none.0.is_empty());
        let answer = r#"{"type":"(st)","data":["reboot",1732860000000000]}"#;
        let (what, _): (String, u64) = read(answer).unwrap();
        assert_eq!(what, "reboot");
        assert!(read::<String>("Failed").is_err());
    }
}
