//! Nix's log as JSON (`--log-format internal-json`): a line `@nix {…}` for each message, and for the begin, the events and
//! the end of each of its activities.
//!
//! From it comes the text that Nix prints without that option, because a failed build is judged and reported by that
//! text. Nix leaves the end of a builder's log out of its error message where the log is JSON, so it is put in again
//! from the events.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::text::decode;

/// What each line begins with.
const PREFIX: &[u8] = b"@nix ";
/// The level of messages up to which Nix prints them without `-v`.
const INFO: u64 = 3;
/// The types of an activity that is a build, and of an event that is a line of a builder's log.
const BUILD: u64 = 105;
const LOG_LINE: u64 = 101;
/// How many lines of a builder's log Nix repeats in its error message (`log-lines`).
const LOG_LINES: usize = 25;
/// How long a kept line may be, and how many builds are remembered. An error comes soon after the end of its build.
const LINE_MAX: usize = 1000;
const BUILDS_MAX: usize = 256;

/// Reads the log, line by line.
#[derive(Debug, Default)]
pub struct JsonLog {
    /// The last builds, the oldest first.
    builds: VecDeque<Build>,
}

#[derive(Debug)]
struct Build {
    activity: u64,
    derivation: String,
    /// The end of the builder's log.
    log: VecDeque<String>,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// What Nix prints for it without JSON, with its line break; `None`: nothing.
    pub text: Option<String>,
    /// The line, without what could control a terminal: a program that draws prints the words of builders and commits.
    pub safe: Cow<'a, [u8]>,
}

impl JsonLog {
    /// Reads a line, which may be of another program: then it is its own text.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> LogLine<'a> {
        let parsed = line.strip_prefix(PREFIX).map(serde_json::from_slice);
        let Some(Ok(Value::Object(entry))) = parsed else {
            let text = harmless(&decode(line)).into_owned();
            return LogLine {
                safe: Cow::Owned(text.clone().into_bytes()),
                text: Some(text + "\n"),
            };
        };
        let text = self.text(&entry);
        let mut entry = Value::Object(entry);
        let safe = if make_harmless(&mut entry) {
            let json = entry.to_string();
            Cow::Owned([PREFIX, json.as_bytes()].concat())
        } else {
            Cow::Borrowed(line)
        };
        LogLine { text, safe }
    }

    fn text(&mut self, entry: &Map<String, Value>) -> Option<String> {
        let string = |key: &str| entry.get(key).and_then(Value::as_str);
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        let field = || entry.get("fields")?.get(0)?.as_str();
        let is_shown = number("level").is_some_and(|level| level <= INFO);
        match string("action")? {
            "msg" if is_shown => {
                let mut text = without_styles(string("msg")?);
                self.add_log(&mut text);
                Some(text + "\n")
            }
            "start" => {
                if number("type") == Some(BUILD)
                    && let Some((derivation, activity)) = field().zip(number("id"))
                {
                    self.begin(activity, derivation);
                }
                let text = string("text").filter(|text| is_shown && !text.is_empty())?;
                Some(format!("{}...\n", without_styles(text)))
            }
            "result" if number("type") == Some(LOG_LINE) => {
                let (activity, line) = number("id").zip(field())?;
                let build = { self.builds.iter_mut() }.find(|build| build.activity == activity)?;
                if build.log.len() == LOG_LINES {
                    build.log.pop_front();
                }
                let line: String = line.chars().take(LINE_MAX).collect();
                build.log.push_back(without_styles(&line));
                None
            }
            _ => None,
        }
    }

    fn begin(&mut self, activity: u64, derivation: &str) {
        if self.builds.len() == BUILDS_MAX {
            self.builds.pop_front();
        }
        self.builds.push_back(Build {
            activity,
            derivation: derivation.to_owned(),
            log: VecDeque::new(),
        });
    }

    /// Adds the end of the builder's log to the message that it failed.
    fn add_log(&self, message: &mut String) {
        let first = message.lines().next().unwrap_or_default();
        let is_old = first.contains("builder for '") && first.contains("' failed");
        let is_new = first.contains("Cannot build '") && message.contains("builder failed");
        let derivation = first.split('\'').nth(1).filter(|_| is_old || is_new);
        let build = derivation.and_then(|derivation| {
            let mut builds = self.builds.iter().rev();
            builds.find(|build| build.derivation == derivation)
        });
        let Some(build) = build.filter(|build| !build.log.is_empty()) else {
            return;
        };
        let last = match is_old {
            true if message.ends_with(';') => "last",
            true => {
                message.push(';');
                "last"
            }
            false => "Last",
        };
        // Writing to a string cannot fail.
        let _ = write!(message, "\n       {last} {} log lines:", build.log.len());
        for line in &build.log {
            let _ = write!(message, "\n       > {line}");
        }
        let derivation = &build.derivation;
        let _ = write!(
            message,
            "\n       For full logs, run:\n         nix log {derivation}"
        );
    }
}

/// Makes the strings in a value harmless; returns whether any was not.
fn make_harmless(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match harmless(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(harmless) => {
                *text = harmless;
                true
            }
        },
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |is_changed, value| is_changed | make_harmless(value)),
        Value::Object(values) => values
            .values_mut()
            .fold(false, |is_changed, value| is_changed | make_harmless(value)),
        _ => false,
    }
}

/// A text without control characters, except for line breaks, tabulators and styles.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = style(rest).unwrap_or(c.len_utf8());
        if length > c.len_utf8() || is_plain(c) {
            kept.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    if kept == text {
        text.into()
    } else {
        kept.into()
    }
}

/// A text without styles.
fn without_styles(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[style(rest).unwrap_or(1)..];
    }
    plain + rest
}

/// The length of the escape sequence at the start of a text that sets a colour or a style, if one is there.
fn style(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(log: &[&str]) -> String {
        let mut reader = JsonLog::default();
        let lines = log
            .iter()
            .filter_map(|line| reader.read(line.as_bytes()).text);
        lines.collect()
    }

    /// As Nix 2.26 prints a build that fails, and what it prints for it without JSON.
    #[test]
    fn the_text_is_that_of_nix_without_json() {
        let log = [
            r#"@nix {"action":"msg","level":4,"msg":"evaluating file '/tmp/t.nix'"}"#,
            r#"@nix {"action":"start","id":60,"level":6,"parent":0,"text":"querying info about missing paths","type":0}"#,
            r#"@nix {"action":"stop","id":60}"#,
            r#"@nix {"action":"msg","level":3,"msg":"this derivation will be built:"}"#,
            r#"@nix {"action":"msg","level":3,"msg":"  /nix/store/z-x.drv"}"#,
            r#"@nix {"action":"start","id":61,"level":0,"parent":0,"text":"","type":102}"#,
            r#"@nix {"action":"result","fields":[0,1,0,0],"id":62,"type":105}"#,
            r#"@nix {"action":"start","fields":["/nix/store/z-x.drv","",1,1],"id":65,"level":3,"parent":0,"text":"building '/nix/store/z-x.drv'","type":105}"#,
            r#"@nix {"action":"result","fields":["hello"],"id":65,"type":101}"#,
            r#"@nix {"action":"result","fields":["oops"],"id":65,"type":101}"#,
            r#"@nix {"action":"stop","id":65}"#,
            r#"@nix {"action":"msg","column":null,"file":null,"level":0,"line":null,"msg":"\u001b[31;1merror:\u001b[0m \u001b[35;1m\u001b[0mbuilder for '\u001b[35;1m/nix/store/z-x.drv\u001b[0m' failed with exit code 3\u001b[0m","raw_msg":"x"}"#,
        ];
        assert_eq!(
            text(&log),
            "this derivation will be built:\n  /nix/store/z-x.drv\nbuilding '/nix/store/z-x.drv'...\n\
             error: builder for '/nix/store/z-x.drv' failed with exit code 3;\n       last 2 log lines:\n       > hello\n       > oops\n       For full logs, run:\n         nix log /nix/store/z-x.drv\n"
        );
    }

    /// As Nix 2.34 words it.
    #[test]
    fn the_log_of_a_builder_is_put_into_the_newer_message_too() {
        let start = r#"@nix {"action":"start","fields":["/nix/store/z-x.drv","",1,1],"id":1,"level":3,"text":"","type":105}"#;
        let line = r#"@nix {"action":"result","fields":["no such file"],"id":1,"type":101}"#;
        let failed = r#"@nix {"action":"msg","level":0,"msg":"error: Cannot build '/nix/store/z-x.drv'.\n       Reason: builder failed with exit code 1."}"#;
        let other = r#"@nix {"action":"msg","level":0,"msg":"error: Cannot build '/nix/store/z-y.drv'.\n       Reason: 1 dependency failed."}"#;
        let log: Vec<&str> = [start]
            .into_iter()
            .chain([line; 30])
            .chain([failed, other])
            .collect();
        let text = text(&log);
        assert!(text.starts_with("error: Cannot build '/nix/store/z-x.drv'.\n       Reason: builder failed with exit code 1.\n       Last 25 log lines:\n       > no such file\n"), "{text}");
        assert_eq!(text.matches("> no such file").count(), LOG_LINES);
        assert!(text.ends_with("Reason: 1 dependency failed.\n"), "{text}");
    }

    #[test]
    fn nothing_but_styles_reaches_a_terminal() {
        let mut reader = JsonLog::default();
        let style =
            "@nix {\"action\":\"msg\",\"level\":0,\"msg\":\"\\u001b[31;1mred\\u001b[0m\\n\\tx\"}";
        assert_eq!(reader.read(style.as_bytes()).safe, style.as_bytes());
        let line = "@nix {\"action\":\"result\",\"fields\":[\"a\\u001b[2J\\u001b[1mb\\u009bc\\u001b]0;t\\u0007\"],\"id\":1,\"type\":101}";
        let safe = reader.read(line.as_bytes()).safe;
        assert_eq!(
            String::from_utf8(safe.into_owned()).unwrap(),
            "@nix {\"action\":\"result\",\"fields\":[\"a[2J\\u001b[1mbc]0;t\"],\"id\":1,\"type\":101}"
        );
        for other in ["mount: \u{1b}[2Jdenied", "@nix \u{1b}[2J{"] {
            let read = reader.read(other.as_bytes());
            assert!(!read.safe.contains(&0x1b), "{other}");
            assert_eq!(read.text.unwrap().as_bytes(), [&*read.safe, b"\n"].concat());
        }
    }
}
