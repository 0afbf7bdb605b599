//! What reaches stderr beside the report: the library's own events, and the output of child processes.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::Verbosity;
use crate::text::{self, Lines, message};
use crate::threads;

/// Lets the library's own events reach stderr: what went wrong and was mended, and with `--verbose` each step.
///
/// Other libraries' events stay silent: nobody has checked what they would print. For `main` only.
pub fn log_events(verbosity: Verbosity) {
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::prelude::*;

    let level = match verbosity {
        Verbosity::Quiet | Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Event(io::stderr()))
        .with_target(false)
        .without_time()
        .with_ansi(false);
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    // Fails only where a subscriber is set already, which then does the same.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(ours))
        .try_init();
}

/// Where one event is written to, in one piece: that is how its layer writes it.
struct Event<W>(W);

impl<W: Write> Write for Event<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = text::decode(bytes);
        // One line each, so that no field begins another that looks like an event.
        let line = message(text.trim_end()).replace('\n', "\\n");
        writeln!(self.0, "{line}")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
        // There is nobody left to report to that stderr is closed.
        let _ = io::stderr().write_all(lines.take(bytes).as_bytes());
    }
}

impl Drop for ProgramOutput {
    fn drop(&mut self) {
        let lines = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = io::stderr().write_all(lines.end().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_no_field_breaks() {
        let mut written = Vec::new();
        let event = "WARN the host said detail=a\u{1b}[2J\nERROR forged \u{9b}x https://u:p@h/\n";
        Event(&mut written).write_all(event.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "WARN the host said detail=a\\u{1b}[2J\\nERROR forged \\u{9b}x https://***@h/\n"
        );
    }
}
