//! The section `[reboot]`: whether the machine may reboot by itself, and when.

use std::fmt;

use jiff::civil::Time;
use jiff::fmt::strtime::BrokenDownTime;

use super::Problem;
use super::layers::Layers;
use super::paths::PathBase;
use super::value::{Value, not_a_value};

/// Settings of reboots.
#[derive(Debug, Clone)]
pub struct Reboot {
    /// Whether a system that needs a reboot is rebooted into.
    pub allow: bool,
    /// The time of day in which that may happen; `None`: any time.
    pub window: Option<RebootWindow>,
    /// Whether it waits until no user is logged in.
    pub when_idle: bool,
}

/// A part of the day, in local time; it crosses midnight where it ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebootWindow {
    /// Its first minute.
    pub from: Time,
    /// The minute after its last one.
    pub to: Time,
}

/// Looks the section up.
pub(super) fn resolve(layers: &mut Layers<'_>) -> Reboot {
    Reboot {
        allow: layers.value("reboot.allow", false),
        window: layers.optional("reboot.window", None),
        when_idle: layers.value("reboot.when_idle", false),
    }
}

impl RebootWindow {
    /// Whether a time of day is in it.
    #[must_use]
    pub fn contains(self, time: Time) -> bool {
        let Self { from, to } = self;
        if from < to {
            (from..to).contains(&time)
        } else {
            time >= from || time < to
        }
    }
}

/// `HH:MM`, with both digits of the hour, as the NixOS option has it.
fn time_of_day(text: &str) -> Option<Time> {
    let is_short = text.len() == 5;
    let time = is_short.then(|| BrokenDownTime::parse("%H:%M", text).ok())??;
    time.to_time().ok()
}

impl fmt::Display for RebootWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        let (from, to) = (from.strftime("%H:%M"), to.strftime("%H:%M"));
        write!(f, "{from}-{to}")
    }
}

impl Value for RebootWindow {
    const TAKES: &'static str = "two different times of day, such as `01:00-05:00`";

    fn parse(text: &str, _: PathBase<'_>) -> Result<Self, Problem> {
        let times = text.split_once('-').and_then(|(from, to)| {
            let (from, to) = (time_of_day(from.trim())?, time_of_day(to.trim())?);
            (from != to).then_some(Self { from, to })
        });
        times.ok_or_else(|| not_a_value::<Self>(text))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Result<RebootWindow, Problem> {
        RebootWindow::from_text(text, PathBase::None)
    }

    #[test]
    fn a_window_has_a_first_minute_and_ends_before_its_last_and_may_cross_midnight() {
        for (text, inside, outside) in [
            (
                "01:00-05:00",
                ["01:00", "04:59"],
                ["00:59", "05:00", "12:00"],
            ),
            (
                "22:00 - 08:00",
                ["22:00", "07:59"],
                ["21:59", "08:00", "12:00"],
            ),
            (
                "00:00-23:59",
                ["00:00", "23:58"],
                ["23:59", "23:59", "23:59"],
            ),
        ] {
            let window = window(text).unwrap();
            let contains = |time: &str| window.contains(time_of_day(time).unwrap());
            assert!(inside.iter().all(|time| contains(time)), "{text}");
            assert!(!outside.iter().any(|time| contains(time)), "{text}");
        }
        let night = window("22:00-08:00").unwrap();
        assert!(night.contains(Time::midnight()));
        assert!(
            night.contains(time_of_day("07:59").unwrap() + jiff::SignedDuration::from_secs(59))
        );
    }

    #[test]
    fn what_is_shown_reads_the_same_and_all_else_is_refused() {
        let night = window("22:00-08:30").unwrap();
        assert_eq!(night.show().as_str(), Some("22:00-08:30"));
        for text in [
            "",
            "01:00",
            "1:00-5:00",
            "01:00-01:00",
            "24:00-01:00",
            "01:60-02:00",
            "01:00-05:00-06:00",
            "01:00:00-02:00:00",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
