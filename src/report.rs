//! Output: results on stdout, diagnostics on stderr. Beside it only the usage errors of `cli/usage`, which come before
//! there are settings, the progress of `cli/watch` and the log write there.
//!
//! Everything passes [`text`] once more on its way out, whatever was done to it before: what is for people is masked
//! and escaped, JSON keeps its values and writes what a terminal would act on as escapes of JSON. Only a difference
//! that goes into a pipe is printed to the byte. Colour only adds: every line has the same text without it. A closed
//! pipe is not a failure, and no failure to print stops a run in the middle.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use miette::Diagnostic;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;
use crate::exit::Exit;
use crate::hooks::HookEvent;
use crate::plan::ConflictDocument;
use crate::process::{Pager, Terminal};
use crate::settings::Env;
use crate::text;

pub mod check;
mod commands;
pub mod commit;
pub mod diff;
mod error;
mod events;
mod fact;
pub mod health;
pub mod junit;
mod labels;
pub mod styled;
pub mod sync;
pub mod table;
pub mod validate;
mod wrap;

pub use commands::RepeatedOptions;
use error::{ErrorReport, Style};
pub use events::{REDRAW, log_events, pass_through, set_live};
pub use fact::{Layout, fact, paragraphs};
pub use labels::{Label, Labels};
use styled::Styled;

/// Where the output goes.
pub struct Stdio {
    /// Data.
    pub out: Box<dyn Write>,
    /// Everything else.
    pub err: Box<dyn Write>,
    /// Whether `out` is a terminal.
    pub out_is_terminal: bool,
    /// Whether `err` is a terminal.
    pub err_is_terminal: bool,
    /// Columns of the terminal that `err` is, where they are known.
    pub err_width: Option<usize>,
    /// Columns of the terminal that `out` is, where they are known.
    pub out_width: Option<usize>,
    /// Whether `err` is the journal of systemd.
    pub err_is_journal: bool,
}

impl Stdio {
    /// This process's. For `main` only.
    #[must_use]
    pub fn of_process(env: &Env) -> Self {
        Self {
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            err_width: columns(io::stderr()),
            out_width: columns(io::stdout()),
            err_is_journal: is_journal(io::stderr(), env),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
        }
    }
}

/// The columns of a terminal; 0 stands for unknown.
#[must_use]
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// Whether a stream is the one that systemd connected to the journal (`systemd.exec(5)`, `JOURNAL_STREAM`): the variable
/// is inherited by processes whose streams go elsewhere.
fn is_journal(stream: impl AsFd, env: &Env) -> bool {
    let Some(journal) = env.get("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(stream)
        .is_ok_and(|stat| *journal == *format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether output is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// The decision for one stream.
    #[must_use]
    pub fn is_on(self, is_terminal: bool, env: &Env) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                is_terminal
                    && env.get("NO_COLOR").is_none()
                    && env.get("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// How much is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Text for a person.
    #[default]
    Normal,
    /// What helps to find a mistake.
    Verbose,
}

/// The format of stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A person.
    #[default]
    Human,
    /// A program: one JSON document.
    Json,
}

/// The one writer.
pub struct Report {
    stdio: Stdio,
    format: OutputFormat,
    verbosity: Verbosity,
    color_out: bool,
    labels: Labels,
    progress: bool,
    lost: Option<io::Error>,
    repeated: RepeatedOptions,
    /// What is printed beside an error, as JSON.
    done: Option<Value>,
    /// What shows stdout page by page.
    pager: Option<Pager>,
    /// The command that is run, for JSON; empty if the command line is wrong.
    command: String,
    /// Whether the command never writes.
    is_read_only: bool,
}

/// The version of the documents; it goes up when a field of one changes its meaning. `docs/schema` describes them.
const SCHEMA: u32 = 1;

/// What is printed as JSON.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// What a hook gets.
#[derive(Serialize)]
struct HookDocument<'a> {
    event: HookEvent,
    target: &'a Path,
    #[serde(flatten)]
    body: Value,
}

impl Report {
    /// A writer to `stdio`.
    #[must_use]
    pub fn new(
        stdio: Stdio,
        format: OutputFormat,
        verbosity: Verbosity,
        color: Color,
        env: &Env,
    ) -> Self {
        Self {
            color_out: color.is_on(stdio.out_is_terminal, env),
            labels: Labels {
                color: color.is_on(stdio.err_is_terminal, env),
                journal: stdio.err_is_journal,
                width: stdio.err_width,
            },
            progress: stdio.err_is_terminal && verbosity == Verbosity::Normal,
            stdio,
            format,
            verbosity,
            lost: None,
            repeated: RepeatedOptions::default(),
            done: None,
            pager: None,
            command: String::new(),
            is_read_only: false,
        }
    }

    /// Names the command in JSON: `sync`, or `config show`.
    #[must_use]
    pub fn of_command(mut self, command: String) -> Self {
        self.command = command;
        self
    }

    /// Without the words that nothing was written, for a command that never writes.
    #[must_use]
    pub fn read_only(mut self, is_read_only: bool) -> Self {
        self.is_read_only = is_read_only;
        self
    }

    /// From now on, commands in messages have these options.
    pub fn repeat(&mut self, options: RepeatedOptions) {
        self.repeated = options;
    }

    /// A message with the options of this run in its commands, for JSON; all else that is printed gets them anyway.
    #[must_use]
    pub fn with_options<'a>(&self, message: &'a str) -> Cow<'a, str> {
        self.repeated.in_text(message)
    }

    /// Without progress bars.
    #[must_use]
    pub fn without_progress(mut self) -> Self {
        self.progress = false;
        self
    }

    /// Whether progress is drawn on stderr.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        self.progress
    }

    /// The terminal on which a build may be drawn: where progress is, for a person, in colour.
    #[must_use]
    pub fn terminal(&self) -> Option<Terminal> {
        if !self.progress || !self.labels.color || self.format == OutputFormat::Json {
            return None;
        }
        let handle = io::stderr().as_fd().try_clone_to_owned().ok()?;
        let lend = events::lend_terminal;
        Some(Terminal { handle, lend })
    }

    /// The format of stdout.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// How much is printed.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether a person reads stdout as it comes.
    #[must_use]
    pub fn out_is_terminal(&self) -> bool {
        self.stdio.out_is_terminal
    }

    /// Whether stdout is coloured.
    #[must_use]
    pub fn color_out(&self) -> bool {
        self.color_out
    }

    /// The columns of stdout, if it is a terminal that says so.
    #[must_use]
    pub fn columns(&self) -> Option<usize> {
        self.stdio.out_width
    }

    /// How text on stdout is laid out.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            columns: self.columns(),
            repeated: self.repeated.clone(),
        }
    }

    /// How lines on stderr are labelled.
    #[must_use]
    pub fn labels(&self) -> Labels {
        self.labels
    }

    /// From now on, a person reads stdout page by page, if it is a terminal and the user has a pager.
    pub fn page(&mut self, env: &Env) {
        if !self.stdio.out_is_terminal || self.format == OutputFormat::Json || self.pager.is_some()
        {
            return;
        }
        // Without it, the text is printed at once.
        if let Some((pager, input)) = Pager::start(env) {
            self.stdio.out = Box::new(input);
            self.pager = Some(pager);
        }
    }

    /// Waits until the reader has left the pager. Nothing more can be printed on stdout.
    fn end_page(&mut self) {
        if let Some(pager) = self.pager.take() {
            self.stdio.out = Box::new(io::sink());
            pager.wait();
        }
    }

    /// Data, as it is: what a program takes to the byte.
    pub fn data(&mut self, text: &str) {
        let out = &mut self.stdio.out;
        let written = events::above_live(|| out.write_all(text.as_bytes()));
        match written.and_then(|()| self.stdio.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => self.lost = Some(error),
            _ => {}
        }
    }

    /// The requested result as text: printed with `--quiet` too.
    pub fn result(&mut self, text: impl Into<Styled>) {
        let text = text.into().render(self.color_out, &self.repeated);
        self.data(&text);
    }

    /// A result for a person, on stdout.
    pub fn text(&mut self, text: impl Into<Styled>) {
        if self.verbosity >= Verbosity::Normal && self.format == OutputFormat::Human {
            self.result(text);
        }
    }

    /// The fields of the document that the command prints as JSON.
    pub fn json(&mut self, body: &impl Serialize) {
        match self.document(body) {
            Ok(text) => self.data(&text),
            Err(error) => self.lost = Some(error.into()),
        }
    }

    /// The report of a run for the hooks: the document that `--json` prints, with the event.
    #[must_use]
    pub fn hook_report(&self, event: HookEvent, target: &Path, body: Value) -> String {
        let document = HookDocument {
            event,
            target,
            body,
        };
        // All of it was serialized before.
        self.document(&document).unwrap_or_default()
    }

    fn document(&self, body: &impl Serialize) -> serde_json::Result<String> {
        let document = Document {
            schema: SCHEMA,
            command: &self.command,
            body,
        };
        let text = serde_json::to_string_pretty(&document)?;
        Ok(text::json(&text) + "\n")
    }

    /// What was done already: in JSON, an error that ends the run is printed beside it.
    pub fn done(&mut self, document: &impl Serialize) {
        if self.format == OutputFormat::Json {
            self.done = serde_json::to_value(document).ok();
        }
    }

    /// A line for a person that is no note: what is done, or the answer that there is nothing.
    pub fn message(&mut self, text: &str) {
        self.labelled(Label::Message, text);
    }

    /// A line about something that a person should know.
    pub fn note(&mut self, text: &str) {
        self.labelled(Label::Note, text);
    }

    /// A line that helps to find a mistake.
    pub fn detail(&mut self, text: &str) {
        self.labelled(Label::Detail, text);
    }

    /// A line about something that is not as it should be.
    pub fn warning(&mut self, text: &str) {
        self.labelled(Label::Warning, text);
    }

    /// What ended the run: text on stderr, or an object on stdout.
    pub fn error(&mut self, error: &Error, exit: Exit) {
        self.end_page();
        self.diagnostic(error, error.conflicts(), exit);
    }

    /// The document of an error, for the hooks.
    #[must_use]
    pub fn error_document(&self, error: &Error, exit: Exit) -> Value {
        let report = ErrorReport::of(error, &self.repeated);
        json!({ "error": error_object(&report, error.conflicts(), exit) })
    }

    fn diagnostic(
        &mut self,
        error: &dyn Diagnostic,
        conflicts: Option<Vec<ConflictDocument<'_>>>,
        exit: Exit,
    ) {
        let mut error = ErrorReport::of(error, &self.repeated);
        if self.is_read_only {
            error.leave_out_writing();
        }
        match self.format {
            OutputFormat::Human => {
                let style = Style {
                    color: self.labels.color,
                    width: self.stdio.err_width,
                };
                self.line(Label::Error, error.text(style).trim_end());
            }
            OutputFormat::Json => {
                let mut document = self.done.take().unwrap_or_else(|| json!({}));
                document["error"] = error_object(&error, conflicts, exit);
                self.json(&document);
            }
        }
    }

    /// The exit code after all output: results that could not be printed are a failure.
    #[must_use]
    pub fn finish(mut self, exit: Exit) -> Exit {
        self.end_page();
        let Some(error) = self.lost.take() else {
            return exit;
        };
        self.warning(&format!("the output is not complete: {error}"));
        if exit == Exit::Done {
            return Exit::Failure;
        }
        exit
    }

    fn labelled(&mut self, label: Label, text: &str) {
        if self.verbosity >= label.least_verbosity() {
            let text = text::message(&self.with_options(text));
            self.line(label, &text);
        }
    }

    fn line(&mut self, label: Label, text: &str) {
        let (line, err) = (self.labels.line(label, text), &mut self.stdio.err);
        // If stderr is closed, there is nowhere to report it.
        let _ = events::above_live(|| err.write_all(line.as_bytes()));
    }
}

fn error_object(
    error: &ErrorReport,
    conflicts: Option<Vec<ConflictDocument<'_>>>,
    exit: Exit,
) -> Value {
    let mut object = error.json(exit);
    if let Some(conflicts) = conflicts {
        object["conflicts"] = json!(conflicts);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let env = Env::empty();
        assert!(Color::Auto.is_on(true, &env) && !Color::Auto.is_on(false, &env));
        assert!(!Color::Auto.is_on(true, &env.clone().with("NO_COLOR", "1")));
        assert!(!Color::Auto.is_on(true, &env.clone().with("TERM", "dumb")));
        assert!(Color::Always.is_on(false, &env) && !Color::Never.is_on(true, &env));
    }

    /// What is printed of an error, for a person or a program.
    fn printed(error: &dyn Diagnostic, format: OutputFormat) -> String {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let stdio = Stdio {
            out: Box::new(Shared(written.clone())),
            err: Box::new(Shared(written.clone())),
            out_is_terminal: false,
            err_is_terminal: false,
            err_width: None,
            out_width: None,
            err_is_journal: false,
        };
        let (verbosity, color) = (Verbosity::Normal, Color::Auto);
        let mut report = Report::new(stdio, format, verbosity, color, &Env::empty());
        report.diagnostic(error, None, Exit::Failure);
        let written = written.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An error that nobody has made fit to print, with a cause of the same kind.
    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("{words}")]
    #[diagnostic(code(test::raw), help("{words}"))]
    struct Raw {
        words: String,
        source: Option<Box<Raw>>,
    }

    proptest::proptest! {
        #[test]
        fn no_error_prints_what_deceives_or_goes_on_without_end(bytes: Vec<u8>, times in 1..2000_usize) {
            let words = text::decode(&bytes).into_owned() + "\u{9b}\u{202e} ghp_canary0123456789 ";
            let words = words.repeat(times);
            let source = Some(Box::new(Raw { words: words.clone(), source: None }));
            let raw = Raw { words, source };
            for format in [OutputFormat::Human, OutputFormat::Json] {
                let printed = printed(&raw, format);
                let is_fit = |c: char| c == '\n' || c == '\t' || text::is_printable(c);
                proptest::prop_assert!(printed.chars().all(is_fit), "{printed:?}");
                proptest::prop_assert!(!printed.contains("canary"), "{printed:?}");
                // Message, cause and help, each with room for its escapes in JSON.
                proptest::prop_assert!(printed.len() < 3 * 4 * text::MESSAGE_MAX, "{}", printed.len());
            }
        }
    }

    struct Full(io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_data_is_a_failure_and_a_reader_that_left_is_none() {
        for (kind, exit) in [
            (io::ErrorKind::StorageFull, Exit::Failure),
            (io::ErrorKind::BrokenPipe, Exit::Done),
        ] {
            let stdio = Stdio {
                out: Box::new(Full(kind)),
                err: Box::new(Full(kind)),
                out_is_terminal: false,
                err_is_terminal: false,
                err_width: None,
                out_width: None,
                err_is_journal: false,
            };
            let (format, color) = (OutputFormat::Human, Color::Auto);
            let mut report = Report::new(stdio, format, Verbosity::Normal, color, &Env::empty());
            report.data("x");
            report.note("x");
            assert_eq!(report.finish(Exit::Done), exit);
        }
    }
}
