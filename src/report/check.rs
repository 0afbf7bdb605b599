//! Renders the results of a check of hosts: as a table, by [`Document`] as JSON, and as annotations of GitHub.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Report;
use super::table::{Align, table};
use crate::check::{CheckAction, Checked, HostResult, HostStatus};
use crate::git::{Commit, CommitId, TreeId};
use crate::source::Notice;
use crate::text;
use crate::validate::Outcome;

/// A check and what it was about.
pub struct CheckReport<'a> {
    /// The repository, without credentials.
    pub repository: &'a str,
    /// The name that was requested.
    pub reference: &'a str,
    /// The commit.
    pub commit: &'a Commit,
    /// Whether its tree is proven to be that of its id.
    pub is_proven: bool,
    /// What its reader should know.
    pub notices: &'a [Notice],
    /// The checks of the files.
    pub checks: &'a [Outcome],
    /// What was done with each host.
    pub action: CheckAction,
    /// The results.
    pub checked: &'a Checked,
    /// How long all of it took.
    pub duration: Duration,
}

/// A longer error is cut in the table; it stands below it as a whole.
const ERROR_MAX: usize = 48;

/// Prints the table on stdout, and below it what failed.
pub fn human(report: &mut Report, check: &CheckReport<'_>) {
    let hosts = &check.checked.hosts;
    let mut text = in_columns(hosts);
    for host in hosts {
        if let Some(error) = &host.error {
            let _ = writeln!(text, "\n{}: {}", text::name(&host.host), text::words(error));
        }
    }
    report.result(&text);
}

/// One line for each host, in columns.
fn in_columns(hosts: &[HostResult]) -> String {
    let row = |host: &HostResult| {
        let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), seconds);
        let error = host.error.as_deref().unwrap_or_default();
        [
            text::name(&host.host),
            word(host.result).to_owned(),
            time(host.evaluation),
            time(host.build),
            text::first_words(error, ERROR_MAX),
        ]
    };
    let columns = [
        ("HOST", Align::Left),
        ("RESULT", Align::Left),
        ("EVALUATION", Align::Right),
        ("BUILD", Align::Right),
        ("ERROR", Align::Left),
    ];
    table(columns, hosts.iter().map(row))
}

fn word(result: HostStatus) -> &'static str {
    match result {
        HostStatus::Built => "built",
        HostStatus::Evaluated => "evaluated",
        HostStatus::EvaluationFailed | HostStatus::BuildFailed => "failed",
    }
}

/// A time as people read it.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..=119 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Prints the log of each host that failed as a group, and its error as an annotation of the run, for GitHub Actions.
///
/// Each line of a log has a mark before it: a line that begins with `::` is a command to the runner.
pub fn annotations(report: &mut Report, check: &CheckReport<'_>) {
    let mut text = String::new();
    let failed = { check.checked.hosts.iter() }.filter(|host| host.result.is_failure());
    for host in failed {
        let name = text::name(&host.host);
        let log = host.log.as_deref().unwrap_or_default();
        let _ = writeln!(text, "::group::{name}: log");
        for line in text::lines(log).lines() {
            let _ = writeln!(text, "| {line}");
        }
        let error = text::words(host.error.as_deref().unwrap_or_default());
        let _ = writeln!(
            text,
            "::endgroup::\n::error title={}::{}",
            property(&name),
            message(&error)
        );
    }
    report.result(&text);
}

/// The message of a command to GitHub's runner.
fn message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command to GitHub's runner.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// What `--json` prints.
#[derive(Serialize)]
pub struct Document<'a> {
    repository: &'a str,
    #[serde(rename = "ref")]
    reference: &'a str,
    commit: CommitId,
    tree: TreeId,
    subject: &'a str,
    committed_at: Option<Timestamp>,
    proven: bool,
    action: CheckAction,
    jobs: usize,
    passed: usize,
    failed: usize,
    hosts: &'a [HostResult],
    checks: &'a [Outcome],
    notices: Vec<String>,
    duration_ms: u64,
}

impl<'a> Document<'a> {
    /// Of a check.
    #[must_use]
    pub fn new(check: &CheckReport<'a>) -> Self {
        let hosts = &check.checked.hosts;
        let failed = hosts.iter().filter(|host| host.result.is_failure()).count();
        let commit = check.commit;
        Self {
            repository: check.repository,
            reference: check.reference,
            commit: commit.id,
            tree: commit.tree,
            subject: &commit.subject,
            committed_at: Timestamp::from_second(commit.time).ok(),
            proven: check.is_proven,
            action: check.action,
            jobs: check.checked.jobs,
            passed: hosts.len() - failed,
            failed,
            hosts,
            checks: check.checks,
            notices: check.notices.iter().map(ToString::to_string).collect(),
            duration_ms: u64::try_from(check.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_the_runner_has_no_other_in_it() {
        assert_eq!(message("50%\nno"), "50%25%0Ano");
        assert_eq!(property("a:b,c"), "a%3Ab%2Cc");
    }

    #[test]
    fn times_have_the_unit_of_their_size() {
        let text = |milliseconds| seconds(Duration::from_millis(milliseconds));
        assert_eq!(text(1_240), "1.2 s");
        assert_eq!(text(34_900), "34 s");
        assert_eq!(text(754_000), "12 min 34 s");
    }
}
