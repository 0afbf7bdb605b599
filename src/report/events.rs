//! What reaches stderr beside the report: the library's own events, and the output of child processes. And the line of
//! the progress, which is taken away while anything else is written there.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Verbosity;
use super::labels::{Label, Labels};
use crate::text::{self, Lines, message};
use crate::threads;

/// How often the line of the progress is redrawn. A run that is over sooner shows no line, because it would only flash.
pub const REDRAW: Duration = Duration::from_millis(150);

/// The line of the progress, while there is one.
static LIVE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Sets the line that is drawn below all that is written to stderr; `None`: there is none any more.
pub fn set_live(bar: Option<ProgressBar>) {
    *threads::lock(&LIVE) = bar;
}

/// Lends the terminal to a program that draws, without the line of the progress, and takes it back.
pub(super) fn lend_terminal(is_lent: bool) {
    let Some(bar) = threads::lock(&LIVE).clone() else {
        return;
    };
    if is_lent {
        bar.finish_and_clear();
    } else {
        bar.reset();
        bar.enable_steady_tick(REDRAW);
    }
}

/// Writes to stderr, or to stdout where both are one terminal, without the line of the progress.
pub(super) fn above_live<T>(write: impl FnOnce() -> T) -> T {
    let live = threads::lock(&LIVE).clone();
    match live {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Lets the library's own events reach stderr: what went wrong and was mended, and with `--verbose` each step.
///
/// Other libraries' events stay silent: nobody has checked what they would print. For `main` only.
pub fn log_events(verbosity: Verbosity, labels: Labels) {
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::prelude::*;

    let level = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    let printed = Printed::default();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(EventFormat)
        .with_writer(move || EventWriter {
            out: io::stderr(),
            labels,
            printed: printed.clone(),
        })
        .with_ansi(false);
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    // Fails only where a subscriber is set already, which then does the same.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(ours))
        .try_init();
}

/// An event as one sentence: its message, and its fields in parentheses.
struct EventFormat;

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        if *event.metadata().level() <= Level::WARN {
            writer.write_str(WARNING)?;
        }
        writer.write_str(&sentence.message)?;
        if !sentence.fields.is_empty() {
            write!(writer, " ({})", sentence.fields)?;
        }
        Ok(())
    }
}

/// How a warning is handed to [`EventWriter`], which prints its label.
const WARNING: &str = "\0";

#[derive(Default)]
struct Sentence {
    message: String,
    fields: String,
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
            return;
        }
        let comma = if self.fields.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(self.fields, "{comma}{}: {value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{}", text::with_causes(value)));
    }
}

/// The warnings that were printed already: damage is met again at every read.
type Printed = Arc<Mutex<HashSet<String>>>;

/// Where one event is written to, in one piece: that is how its layer writes it.
struct EventWriter<W> {
    out: W,
    labels: Labels,
    printed: Printed,
}

impl<W: Write> Write for EventWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = text::decode(bytes);
        let (label, text) = match text.strip_prefix(WARNING) {
            Some(text) => (Label::Warning, text),
            None => (Label::Detail, &*text),
        };
        // One line each, so that no field begins another that looks like an event.
        let line = message(text.trim_end()).replace('\n', "\\n");
        if label == Label::Detail || threads::lock(&self.printed).insert(line.clone()) {
            let line = self.labels.line(label, &line);
            above_live(|| self.out.write_all(line.as_bytes()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes what another program prints to this process's stderr, line by line: stdout is for results.
pub fn pass_through() -> impl Fn(&[u8]) + Send + Sync + 'static {
    let child = ProgramOutput::default();
    move |bytes| child.pass(bytes)
}

#[derive(Default)]
struct ProgramOutput(Mutex<Lines>);

impl ProgramOutput {
    fn pass(&self, bytes: &[u8]) {
        let mut lines = threads::lock(&self.0);
        write_lines(&lines.take(bytes));
    }
}

impl Drop for ProgramOutput {
    fn drop(&mut self) {
        let lines = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        write_lines(&lines.end());
    }
}

fn write_lines(lines: &str) {
    if !lines.is_empty() {
        // There is nobody left to report to that stderr is closed.
        let _ = above_live(|| io::stderr().write_all(lines.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_no_field_breaks_and_a_warning_comes_once() {
        let mut written = Vec::new();
        let mut writer = EventWriter {
            out: &mut written,
            labels: Labels::default(),
            printed: Printed::default(),
        };
        let event = "the host said (detail: a\u{1b}[2J\nwarning: forged \u{9b}x https://u:p@h/)\n";
        for event in [event.to_owned(), format!("\0{event}"), format!("\0{event}")] {
            writer.write_all(event.as_bytes()).unwrap();
        }
        let line =
            "the host said (detail: a\\u{1b}[2J\\nwarning: forged \\u{9b}x https://***@h/)\n";
        assert_eq!(
            String::from_utf8(written).unwrap(),
            format!("{line}warning: {line}")
        );
    }
}
