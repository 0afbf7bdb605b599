//! The words of errors: what was asked with, and what to do next.
//!
//! Advice names only what helps in that case: nobody who has given a token is asked for one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Zoned};

use crate::git::tree;
use crate::text::{self, Amount, words};

/// When a host takes requests again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryAt {
    /// The time, in the zone of this machine.
    pub time: Zoned,
    /// How long it was until then when the response came.
    pub wait: Duration,
}

impl RetryAt {
    /// After `wait` from now; `None` where that is beyond the calendar.
    #[must_use]
    pub fn after(wait: Duration) -> Option<Self> {
        let span = SignedDuration::try_from(wait).ok()?;
        let time = Timestamp::now().checked_add(span).ok()?;
        let time = time.to_zoned(jiff::tz::TimeZone::system());
        Some(Self { time, wait })
    }
}

pub(super) fn unreached(remote: &str, received: u64) -> String {
    if received == 0 {
        return format!("cannot reach {remote}");
    }
    let received = Amount::Bytes(received);
    format!("the connection to {remote} broke off after {received}")
}

pub(super) fn destination(to: Option<&str>) -> String {
    to.map_or_else(
        || "without naming an address".to_owned(),
        |to| format!("to {}", words(to)),
    )
}

pub(super) fn new_address(repo: Option<&str>) -> String {
    repo.map_or_else(
        || "if the repository has moved, set `repo` to its new address".to_owned(),
        |repo| {
            let repo = words(repo);
            format!(
                "if the repository has moved there, set `repo = \"{repo}\"` (or `--repo {repo}`)"
            )
        },
    )
}

pub(super) fn at_page(page: Option<&str>) -> String {
    page.map(|page| format!(" at {}", words(page)))
        .unwrap_or_default()
}

pub(in crate::source) fn quoted(text: Option<&str>) -> String {
    text.map(|text| format!(": {}", words(text)))
        .unwrap_or_default()
}

/// How a token is given.
const GIVE: &str =
    "give a token that may read its contents (`--token-file`, or `GITHUB_TOKEN` for GitHub)";

pub(super) fn renew(token: &str) -> String {
    if token == NONE {
        GIVE.to_owned()
    } else {
        "renew what was refused: it may be expired or revoked".to_owned()
    }
}

pub(super) fn private(token: &str) -> String {
    if token == NONE {
        format!("for a private repository {GIVE}")
    } else {
        "for a private repository these credentials need permission to read its contents".to_owned()
    }
}

pub(super) fn permit(token: &str, sso: Option<&str>) -> String {
    match sso {
        Some(url) => format!(
            "the organisation requires single sign-on: authorise the token at {}",
            words(url)
        ),
        None if token == NONE => GIVE.to_owned(),
        None => "the host knows the token and forbids this: correct what it names, or give a token that may read the repository's contents".to_owned(),
    }
}

/// The time of day, with the date where it is not within a day.
pub(super) fn until(retry: Option<&RetryAt>) -> String {
    let Some(RetryAt { time, wait }) = retry else {
        return String::new();
    };
    let seconds = wait.as_secs();
    let (format, left) = match seconds {
        0..120 => ("%H:%M:%S", format!("{seconds} s")),
        120..7200 => ("%H:%M", format!("{} min", seconds.div_ceil(60))),
        7200..86_400 => ("%H:%M", format!("{} h", seconds.div_ceil(3600))),
        _ => (
            "%Y-%m-%d %H:%M",
            format!("{} days", seconds.div_ceil(86_400)),
        ),
    };
    format!(
        " until {} {} (in {left})",
        time.strftime(format),
        time.strftime("%Z")
    )
}

pub(super) fn wait(known: bool, token: &str) -> String {
    let wait = if known {
        "run again after that time"
    } else {
        "run again later"
    };
    if token == NONE {
        format!(
            "{wait}, or give a token, for which limits are higher (`--token-file`, or `GITHUB_TOKEN` for GitHub)"
        )
    } else {
        wait.to_owned()
    }
}

/// A directory by its path, which is empty for the root.
pub(super) fn place(path: &str) -> String {
    if path.is_empty() {
        "the root".to_owned()
    } else {
        format!("`{}`", text::name(path))
    }
}

/// The name of the token where none was sent.
pub(in crate::source) const NONE: &str = "none";

/// What the remote was asked with, in words.
pub(super) fn with(token: &str) -> String {
    if token == NONE {
        "without credentials".to_owned()
    } else {
        format!("with the credentials ({token})")
    }
}

/// Damage is the remote's, to be asked again; what git could store is the repository's, to be corrected there.
pub(super) fn way_out(fault: &tree::TreeFault) -> &'static str {
    match fault {
        tree::TreeFault::OtherId { .. }
        | tree::TreeFault::Collision { .. }
        | tree::TreeFault::Malformed { .. }
        | tree::TreeFault::Unsorted { .. } => {
            "the remote, or something between, sent what git does not make: run again, and report it if it stays"
        }
        tree::TreeFault::TooLarge { .. } => "raise `limits.files` if this is right",
        tree::TreeFault::Duplicate { .. }
        | tree::TreeFault::SameName { .. }
        | tree::TreeFault::Path { .. }
        | tree::TreeFault::Mode { .. }
        | tree::TreeFault::NullId { .. } => {
            "one bad entry refuses the whole commit: correct it in the repository"
        }
    }
}
