//! Shows the progress of a run: a bar if stderr is a terminal, otherwise one line a step with `--verbose`.

use std::cell::RefCell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Report;
use crate::sync::{Observer, Step};

/// Draws on stderr, and clears what it drew when the run ends.
pub(super) struct ProgressView<'a> {
    report: RefCell<&'a mut Report>,
    bar: Option<ProgressBar>,
}

/// A run that is over sooner than this shows no bar, because it would only flash.
const BAR_DELAY: Duration = Duration::from_millis(150);

impl<'a> ProgressView<'a> {
    pub(super) fn new(report: &'a mut Report) -> Self {
        let bar = report.shows_progress().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(BAR_DELAY);
            bar
        });
        Self {
            report: RefCell::new(report),
            bar,
        }
    }
}

impl Drop for ProgressView<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for ProgressView<'_> {
    fn step(&self, step: Step) {
        let text = match step {
            Step::Resolve => "asking the remote for the commit",
            Step::Obtain => "downloading and verifying",
            Step::Prove => "verifying what is here",
            Step::Compare => "comparing with the target",
            Step::Build => "building the system of the commit",
            Step::Prepare => "preparing the update",
            Step::Apply => "writing the target",
        };
        match &self.bar {
            Some(bar) => {
                bar.set_style(ProgressStyle::default_spinner());
                bar.set_message(text);
            }
            None => self.report.borrow_mut().detail(text),
        }
    }

    fn progress(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                let template = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
                bar.set_style(template.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_length(total);
            }
            bar.set_position(done);
        }
    }
}
