//! What Nix says went wrong, out of all that it printed.
//!
//! A message stands behind `error:`, or below it where Nix prints a trace first: an `error:` of its own line, the
//! trace, and at the end another `error:` with the message in the lines that follow (that of a failed assertion, for
//! one). Nix indents all but the first line of a message. Of several errors the first is the cause of the others.

use crate::text;

/// How many lines of a message are repeated; the whole of it was shown as it came.
const LINES: usize = 12;
/// How many lines of a builder's log are repeated: it ends soon after what went wrong.
const LOG_LINES: usize = 3;

/// The first error of a text, for a message of ours.
pub(super) fn cause(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let messages = (0..lines.len()).filter_map(|at| message(&lines[at..]));
    let lines = messages
        .map(|message| without_old_log(&message))
        .find(|message| !message.is_empty());
    let mut lines = lines?;
    let is_cut = lines.len() > LINES;
    lines.truncate(LINES);
    let words: Vec<String> = lines.into_iter().map(text::words).collect();
    let more = if is_cut { " …" } else { "" };
    Some(format!("{}{more}", words.join(" ")))
}

/// The lines of the message that the first of these begins, if it begins one.
fn message<'a>(lines: &[&'a str]) -> Option<Vec<&'a str>> {
    let (first, rest) = lines.split_first()?;
    let indent = indent(first);
    let mut message = vec![first.trim().strip_prefix("error:")?.trim()];
    for line in rest {
        let words = line.trim();
        let follows = words.is_empty() || self::indent(line) >= indent.max(1);
        if !follows || begins_another(words) {
            break;
        }
        message.push(words);
        // Where it is; what stands there follows, with numbers and a mark.
        if is_place(words) {
            break;
        }
    }
    // Also empty lines of a log.
    message.retain(|line| !matches!(*line, "" | ">"));
    Some(message)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A trace, another error, or what Nix says about the message.
fn begins_another(words: &str) -> bool {
    ["error:", "… ", "(stack trace truncated", "For full logs"]
        .iter()
        .any(|begin| words.starts_with(begin))
}

/// `at /etc/nixos/flake.nix:3:5:`, also of a file that has no path.
fn is_place(words: &str) -> bool {
    words.starts_with("at /") || words.starts_with("at «")
}

/// Without the lines of a builder's log, but for its last ones.
fn without_old_log<'a>(message: &[&'a str]) -> Vec<&'a str> {
    let log = message.iter().filter(|line| line.starts_with('>')).count();
    let mut old = log.saturating_sub(LOG_LINES);
    let is_told = |line: &&&str| {
        let is_old = line.starts_with('>') && old > 0;
        old -= usize::from(is_old);
        !is_old
    };
    message.iter().filter(is_told).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::LINES;

    fn cause(text: &str) -> String {
        super::cause(text).unwrap_or_default()
    }

    #[test]
    fn a_message_behind_its_word_is_told_with_its_place() {
        let text = "evaluating\nerror: syntax error, unexpected ';'\n       at /etc/nixos/s.nix:1:7:\n            1| { a = ; }\n             |       ^\n            2|\n";
        assert_eq!(
            cause(text),
            "syntax error, unexpected ';' at /etc/nixos/s.nix:1:7:"
        );
        assert_eq!(cause("error: one\nerror: two\n"), "one");
        assert_eq!(cause("nothing\n"), "");
        assert_eq!(cause("error:\n"), "");
    }

    /// As Nix 2.26 prints it.
    #[test]
    fn a_message_below_a_trace_is_told_without_the_trace() {
        let text = "error:\n       … while evaluating the option `x':\n\n       … while calling the 'throw' builtin\n         at /lib/modules.nix:1246:5:\n         1245|     # Type-check\n             |     ^\n\n       (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n       error:\n       Failed assertions:\n       - `services.x` is a\n         and b.\n       Use c.\n\n       - second\nCommand 'nix build' returned non-zero exit status 1.\n";
        assert_eq!(
            cause(text),
            "Failed assertions: - `services.x` is a and b. Use c. - second"
        );
        assert_eq!(
            cause(
                "error:\n       … while x\n\n       error: The option `foo' does not exist. Definition values:\n       - In `<unknown-file>': 1\n"
            ),
            "The option `foo' does not exist. Definition values: - In `<unknown-file>': 1"
        );
    }

    #[test]
    fn of_a_builder_the_end_of_its_log_is_told() {
        let text = "error: builder for '/nix/store/x.drv' failed with exit code 3;\n       last 5 log lines:\n       > a\n       > b\n       > c\n       > error: d\n       > e\n       For full logs, run:\n         nix log /nix/store/x.drv\nerror: 1 dependencies of derivation '/nix/store/y.drv' failed to build\n";
        assert_eq!(
            cause(text),
            "builder for '/nix/store/x.drv' failed with exit code 3; last 5 log lines: > c > error: d > e"
        );
    }

    /// As Nix 2.34 prints it.
    #[test]
    fn the_reason_of_a_build_that_failed_is_told() {
        let text = "error: Cannot build '/nix/store/x.drv'.\n       Reason: builder failed with exit code 1.\n       Last 3 log lines:\n       > structuredAttrs is enabled\n       >\n       > no such file\n       For full logs, run:\n         nix log /nix/store/x.drv\nerror: Cannot build '/nix/store/y.drv'.\n       Reason: 1 dependency failed.\n";
        assert_eq!(
            cause(text),
            "Cannot build '/nix/store/x.drv'. Reason: builder failed with exit code 1. Last 3 log lines: > structuredAttrs is enabled > no such file"
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let lines = "       - one of many\n".repeat(LINES);
        let told = cause(&format!("error: Failed assertions:\n{lines}"));
        assert_eq!(told.matches("one of many").count(), LINES - 1);
        assert!(told.ends_with("one of many …"), "{told}");
    }
}
