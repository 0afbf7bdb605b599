//! The text format of Prometheus, version 0.0.4: families of samples, each with its help and its type.
//!
//! Values are whole numbers, which the format takes as they are.

use std::fmt::Write as _;

use crate::text::path;

/// What a family's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// It may go up and down.
    Gauge,
    /// It only grows, until the state is lost.
    Counter,
}

/// All samples of one name.
#[derive(Debug, Clone)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: i64,
}

/// Writes the families, those without a sample left out: a name that is announced and has no value is of no use.
pub(super) fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let name = family.name;
        let kind = match family.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}", escape(family.help, false));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for Sample { labels, value } in &family.samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escape(&path(value), true)))
                .collect();
            let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
        }
    }
    text
}

/// A help text has no quotes around it, and an escaped quote there would be read as two characters.
fn escape(text: &str, quoted: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quoted => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(samples: Vec<Sample>) -> Family {
        Family {
            name: "a_total",
            kind: MetricKind::Counter,
            help: "A \"b\" \\ c\nd",
            samples,
        }
    }

    #[test]
    fn labels_and_help_are_escaped_each_in_its_way() {
        let sample = Sample {
            labels: vec![
                ("ref", "a\"b\\c\nd".to_owned()),
                ("commit", String::new()),
                ("repository", "größe/\u{7f}".to_owned()),
            ],
            value: -1,
        };
        assert_eq!(
            render(&[family(vec![sample])]),
            "# HELP a_total A \"b\" \\\\ c\\nd\n\
             # TYPE a_total counter\n\
             a_total{ref=\"a\\\"b\\\\c\\\\nd\",commit=\"\",repository=\"größe/\\\\u{7f}\"} -1\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        assert_eq!(render(&[family(Vec::new())]), "");
    }
}
