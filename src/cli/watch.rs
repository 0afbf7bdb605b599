//! Shows the progress of a run: one line that is redrawn if stderr is a terminal; otherwise with `--verbose` a line for
//! each step, and one every half minute while something is downloaded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::SignedDuration;

use super::times::Times;
use crate::git::CommitId;
use crate::health::Wait;
use crate::report::styled::cut;
use crate::report::{Label, REDRAW, Report, Verbosity, columns, set_live};
use crate::source::Meter;
use crate::sync::{Observer, Step};
use crate::text::{self, Amount, Length};
use crate::threads;

/// How often a line is printed where nothing is redrawn.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// From this on, a silence is shown.
const SILENCE: Duration = Duration::from_secs(10);
/// Over how long a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Draws on stderr, and clears what it drew when the run ends.
pub(super) struct ProgressView<'a> {
    report: RefCell<&'a mut Report>,
    times: &'a RefCell<Times>,
    status: Arc<Status>,
    bar: Option<ProgressBar>,
    /// Dropped, it ends the thread that prints lines.
    _lines: Option<mpsc::Sender<()>>,
    resolved: Cell<Option<CommitId>>,
}

impl<'a> ProgressView<'a> {
    pub(super) fn new(report: &'a mut Report, times: &'a RefCell<Times>) -> Self {
        let status = Arc::<Status>::default();
        let moments = status.clone();
        let text = move || moments.moment(Instant::now()).to_string();
        let bar = report.shows_progress().then(|| draw(text));
        set_live(bar.clone());
        let prints = bar.is_none() && report.verbosity() == Verbosity::Verbose;
        let lines = prints.then(|| print_lines(status.clone(), report));
        Self {
            report: RefCell::new(report),
            times,
            status,
            bar,
            _lines: lines,
            resolved: Cell::default(),
        }
    }

    /// The commit that the reference resolved to, if it did.
    pub(super) fn resolved(&self) -> Option<CommitId> {
        self.resolved.get()
    }
}

/// A line on the terminal that shows a text until it is cleared. It is cut to the terminal's width at each drawing,
/// because a line that wraps cannot be redrawn.
fn draw(shown: impl Fn() -> String + Clone + Send + Sync + 'static) -> ProgressBar {
    let text = move |_: &ProgressState, line: &mut dyn fmt::Write| {
        let room = columns(io::stderr()).unwrap_or(80).saturating_sub(3);
        // A line that cannot be written is drawn empty.
        let _ = line.write_str(&cut(&shown(), room));
    };
    let style = ProgressStyle::with_template("{spinner} {status}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style.with_key("status", text));
    bar.enable_steady_tick(REDRAW);
    bar
}

/// Prints the status now and then, while something is downloaded, until the sender is dropped.
fn print_lines(status: Arc<Status>, report: &Report) -> mpsc::Sender<()> {
    let labels = report.labels();
    let (sender, end) = mpsc::channel();
    thread::spawn(move || {
        while end.recv_timeout(LINE_EVERY) == Err(RecvTimeoutError::Timeout) {
            let moment = status.moment(Instant::now());
            if matches!(moment.step, Some(Step::Resolve | Step::Obtain)) {
                let line = labels.line(Label::Detail, &moment.to_string());
                // If stderr is closed, there is nowhere to report it.
                let _ = io::stderr().write_all(line.as_bytes());
            }
        }
    });
    sender
}

impl Drop for ProgressView<'_> {
    fn drop(&mut self) {
        set_live(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for ProgressView<'_> {
    fn step(&self, step: Step) {
        self.status.begin(step);
        self.times.borrow_mut().step(step);
        if self.bar.is_none() {
            self.report.borrow_mut().detail(name(step));
        }
    }

    fn progress(&self, done: u64, total: u64) {
        threads::lock(&self.status.work).files = Some((done, total));
    }

    fn meter(&self) -> Arc<Meter> {
        self.status.meter.clone()
    }

    fn resolved(&self, commit: CommitId) {
        self.resolved.set(Some(commit));
    }
}

/// Shows which health check is waited for: a message at its first failure, and on a terminal a line until it is over.
pub(super) struct WaitView<'a> {
    report: RefCell<&'a mut Report>,
    line: Arc<Mutex<String>>,
    bar: RefCell<Option<ProgressBar>>,
}

impl<'a> WaitView<'a> {
    pub(super) fn new(report: &'a mut Report) -> Self {
        Self {
            report: RefCell::new(report),
            line: Arc::default(),
            bar: RefCell::default(),
        }
    }

    pub(super) fn show(&self, wait: &Wait<'_>) {
        if wait.tries == 1 {
            self.report.borrow_mut().message(&first_failure(wait));
        }
        *threads::lock(&self.line) = waiting(wait);
        if self.report.borrow().shows_progress() {
            self.bar.borrow_mut().get_or_insert_with(|| {
                let line = self.line.clone();
                let bar = draw(move || threads::lock(&line).clone());
                set_live(Some(bar.clone()));
                bar
            });
        }
    }
}

fn first_failure(wait: &Wait<'_>) -> String {
    format!(
        "`{}` has failed and is tried again, until {} are over (`health.within`)",
        text::name(wait.name),
        length(wait.within)
    )
}

fn waiting(wait: &Wait<'_>) -> String {
    let tries = match wait.tries {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    };
    let name = text::name(wait.name);
    let (spent, within) = (length(wait.spent), length(wait.within));
    format!("waiting for `{name}`  {tries}  {spent} of {within}")
}

fn length(time: Duration) -> Length {
    Length(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX))
}

impl Drop for WaitView<'_> {
    fn drop(&mut self) {
        set_live(None);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A step in words.
fn name(step: Step) -> &'static str {
    match step {
        Step::Resolve => "asking the remote for the commit",
        Step::Obtain => "downloading and verifying",
        Step::Prove => "verifying what is here",
        Step::Compare => "comparing with the target",
        Step::Build => "building the system of the commit",
        Step::Prepare => "preparing the update",
        Step::Apply => "writing the target",
        Step::Hosts => "evaluating and building the hosts",
    }
}

/// What the run is doing, shared with the thread that draws.
#[derive(Default)]
struct Status {
    meter: Arc<Meter>,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    step: Option<Step>,
    begun: Option<Instant>,
    /// Files that are done, and all.
    files: Option<(u64, u64)>,
    /// What had been received when, over the time that a rate is measured.
    samples: VecDeque<(Instant, u64)>,
}

impl Status {
    fn begin(&self, step: Step) {
        *threads::lock(&self.work) = Work {
            step: Some(step),
            begun: Some(Instant::now()),
            ..Work::default()
        };
    }

    fn moment(&self, now: Instant) -> Moment {
        let received = self.meter.received();
        let mut work = threads::lock(&self.work);
        work.samples.push_back((now, received));
        let is_old = |(time, _): &(Instant, u64)| now.duration_since(*time) > RATE_OVER;
        while work.samples.len() > 2 && work.samples.front().is_some_and(is_old) {
            work.samples.pop_front();
        }
        let rate = work.samples.front().and_then(|(time, before)| {
            let millis = now.duration_since(*time).as_millis();
            let bytes = u128::from(received.saturating_sub(*before));
            u64::try_from((bytes * 1000).checked_div(millis)?).ok()
        });
        Moment {
            step: work.step,
            elapsed: work
                .begun
                .map_or(Duration::ZERO, |begun| now.duration_since(begun)),
            received,
            rate,
            silence: self.meter.silent_for(),
            tries: self.meter.tries(),
            files: work.files,
        }
    }
}

/// The numbers of a moment, in one line.
#[derive(Debug, Clone, Default)]
struct Moment {
    step: Option<Step>,
    /// Since the step began.
    elapsed: Duration,
    /// Bytes so far.
    received: u64,
    /// Bytes a second.
    rate: Option<u64>,
    silence: Option<Duration>,
    tries: Option<(u32, u32)>,
    files: Option<(u64, u64)>,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = Amount::Bytes(self.received);
        match (self.step, self.silence, self.files) {
            // First what matters, because a narrow terminal has no room for the rest.
            (Some(Step::Resolve | Step::Obtain), Some(silence), _) if silence >= SILENCE => {
                write!(f, "no data for {} s", silence.as_secs())?;
                if let Some((number, of)) = self.tries {
                    write!(f, " (try {number} of {of})")?;
                }
                write!(f, "  {received} received")
            }
            (Some(Step::Obtain), ..) if self.received > 0 => {
                write!(f, "downloading  {received}")?;
                if let Some(rate) = self.rate {
                    write!(f, "  {}/s", Amount::Bytes(rate))?;
                }
                write!(f, "  {} s", self.elapsed.as_secs())?;
                match self.tries {
                    Some((number, of)) if number > 1 => write!(f, "  (try {number} of {of})"),
                    _ => Ok(()),
                }
            }
            (Some(step @ (Step::Prepare | Step::Apply)), _, Some((done, total))) => {
                write!(f, "{}  {done} of {total} files", name(step))
            }
            (Some(step @ Step::Hosts), _, Some((done, total))) => {
                write!(f, "{}  {done} of {total} done", name(step))
            }
            (step, ..) => f.write_str(step.map_or("", name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_one_short_line() {
        let moment = Moment {
            step: Some(Step::Obtain),
            elapsed: Duration::from_secs(5),
            received: 1_200_000,
            rate: Some(240_000),
            ..Moment::default()
        };
        let silent = Moment {
            silence: Some(Duration::from_secs(12)),
            tries: Some((2, 4)),
            ..moment.clone()
        };
        let again = Moment {
            silence: Some(Duration::from_secs(9)),
            ..silent.clone()
        };
        let files = Moment {
            step: Some(Step::Prepare),
            files: Some((1379, 10_934)),
            ..silent.clone()
        };
        let others = Moment {
            step: Some(Step::Compare),
            ..silent.clone()
        };
        for (moment, line) in [
            (moment, "downloading  1.2 MB  240.0 kB/s  5 s"),
            (silent, "no data for 12 s (try 2 of 4)  1.2 MB received"),
            (again, "downloading  1.2 MB  240.0 kB/s  5 s  (try 2 of 4)"),
            (files, "preparing the update  1379 of 10934 files"),
            (others, "comparing with the target"),
        ] {
            assert_eq!(moment.to_string(), line);
        }
    }

    #[test]
    fn a_wait_names_the_check_and_how_long_it_takes_at_most() {
        let wait = Wait {
            name: "web",
            tries: 3,
            spent: Duration::from_secs(14),
            within: Duration::from_secs(120),
        };
        assert_eq!(
            first_failure(&wait),
            "`web` has failed and is tried again, until 2 min are over (`health.within`)"
        );
        assert_eq!(waiting(&wait), "waiting for `web`  3 tries  14 s of 2 min");
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let status = Status::default();
        status.begin(Step::Obtain);
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(status.moment(at(0)).rate, None);
        status.meter.count(10_000);
        assert_eq!(status.moment(at(2)).rate, Some(5_000));
        // Nothing more comes.
        assert_eq!(status.moment(at(4)).rate, Some(2_500));
        let _ = status.moment(at(7));
        assert_eq!(status.moment(at(9)).rate, Some(0));
    }
}
