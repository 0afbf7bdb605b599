//! How long each stage of a run took, in one line for `--verbose`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::rebuild::Durations;
use crate::sync::Step;

/// The stages of a run so far. A stage that is begun again is counted once, with the sum of its times.
pub(super) struct Times {
    begun: Instant,
    stages: Vec<(&'static str, Duration)>,
    current: Option<(&'static str, Instant)>,
}

impl Times {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            stages: Vec::new(),
            current: None,
        }
    }

    /// A stage begins, and the one before ends.
    pub(super) fn begin(&mut self, stage: &'static str) {
        self.end();
        self.current = Some((stage, Instant::now()));
    }

    /// A step of a sync begins.
    pub(super) fn step(&mut self, step: Step) {
        self.begin(match step {
            Step::Resolve => "resolve",
            Step::Obtain => "obtain",
            Step::Prove => "prove",
            Step::Compare => "plan",
            Step::Build => "gate",
            Step::Prepare => "prepare",
            Step::Apply => "apply",
            Step::Hosts => "hosts",
        });
    }

    /// The stage that was begun last ends.
    pub(super) fn end(&mut self) {
        if let Some((stage, begun)) = self.current.take() {
            self.add(stage, begun.elapsed());
        }
    }

    /// The stages of a rebuild.
    pub(super) fn rebuilt(&mut self, durations: &Durations) {
        for (stage, milliseconds) in [
            ("snapshot", durations.snapshot_ms),
            ("preparation", durations.preparation_ms),
            ("evaluation", durations.evaluation_ms),
            ("build", durations.build_ms),
            ("comparison", durations.comparison_ms),
            ("activation", durations.activation_ms),
        ] {
            if let Some(milliseconds) = milliseconds {
                self.add(stage, Duration::from_millis(milliseconds));
            }
        }
    }

    fn add(&mut self, stage: &'static str, time: Duration) {
        match self.stages.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, sum)) => *sum += time,
            None => self.stages.push((stage, time)),
        }
    }

    /// The line; `None` for a run without stages.
    pub(super) fn line(&self) -> Option<String> {
        if self.stages.is_empty() {
            return None;
        }
        let stages =
            { self.stages.iter() }.map(|(stage, time)| format!("{stage} {}", Short(*time)));
        let stages = stages.collect::<Vec<_>>().join(", ");
        Some(format!(
            "time: {stages}; {} in all",
            Short(self.begun.elapsed())
        ))
    }
}

/// A time with three or four digits of it.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(10) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_one_line_in_their_order_and_each_is_there_once() {
        let mut times = Times::new();
        assert_eq!(times.line(), None);
        times.add("validate", Duration::from_millis(3));
        times.add("apply", Duration::from_micros(800));
        times.add("validate", Duration::from_secs(9));
        times.rebuilt(&Durations {
            snapshot_ms: Some(41),
            evaluation_ms: Some(12_345),
            ..Durations::default()
        });
        let line = times.line().unwrap();
        let (stages, _) = line.split_once("; ").unwrap();
        assert_eq!(
            stages,
            "time: validate 9003 ms, apply 0 ms, snapshot 41 ms, evaluation 12.3 s"
        );
    }
}
