//! How many lines of each file differ, as `git diff --stat` prints it.

use textwrap::core::display_width;

use super::LineCounts;
use crate::git::RelPath;
use crate::report::styled::{Style, Styled, cut};

/// The columns where the terminal does not say how many it has, as in git.
const COLUMNS: usize = 80;
/// The least columns of a name and of the graph, however narrow the terminal is.
const LEAST: usize = 10;

/// A line for each file, and one for all. Counts are `None` for a binary file.
#[must_use]
pub fn stat(files: &[(&RelPath, Option<LineCounts>)], columns: Option<usize>) -> Styled {
    if files.is_empty() {
        return Styled::default();
    }
    let lines = |counts: &Option<LineCounts>| counts.map_or(0, |it| it.inserted + it.deleted);
    let most = files.iter().map(|(_, counts)| lines(counts)).max();
    let most = most.unwrap_or_default();
    let digits = most.to_string().len().max("Bin".len());
    let columns = columns.unwrap_or(COLUMNS);
    let names = files.iter().map(|(path, _)| display_width(path.as_str()));
    // The graph gets what the longest name leaves, and at least a third.
    let fixed = " ".len() + " | ".len() + digits + " ".len();
    let room = columns.saturating_sub(fixed + 1).max(2 * LEAST);
    let widest = names.max().unwrap_or_default();
    let name_width = widest.min(room - (room / 3).max(LEAST));
    let graph_width = room - name_width;
    let scaled = |count: usize| {
        if most <= graph_width {
            count
        } else {
            // What is there is shown.
            (count * graph_width / most).max(usize::from(count > 0))
        }
    };
    let mut text = Styled::default();
    for (path, counts) in files {
        let name = shortened(path.as_str(), name_width);
        let gap = " ".repeat(name_width.saturating_sub(display_width(&name)));
        text.push(format!(" {name}{gap} | "));
        match counts {
            None => text.push("Bin".to_owned()),
            Some(LineCounts { inserted, deleted }) => {
                text.push(format!("{:>digits$} ", inserted + deleted));
                text.push(Styled::new(Style::Added, "+".repeat(scaled(*inserted))));
                text.push(Styled::new(Style::Deleted, "-".repeat(scaled(*deleted))));
            }
        }
        text.push("\n");
    }
    let sum = |count: fn(&LineCounts) -> usize| -> usize {
        files
            .iter()
            .filter_map(|(_, counts)| counts.as_ref())
            .map(count)
            .sum()
    };
    let (inserted, deleted) = (sum(|it| it.inserted), sum(|it| it.deleted));
    let many = |count: usize| if count == 1 { "" } else { "s" };
    let some = |count: usize, what: &str, sign: char| match count {
        0 => String::new(),
        _ => format!(", {count} {what}{}({sign})", many(count)),
    };
    let all = format!(
        " {} file{} changed{}{}",
        files.len(),
        many(files.len()),
        some(inserted, "insertion", '+'),
        some(deleted, "deletion", '-'),
    );
    text.plain(all + "\n")
}

/// A path in at most so many columns: its end says more than its beginning.
fn shortened(path: &str, columns: usize) -> String {
    if display_width(path) <= columns {
        return path.to_owned();
    }
    let backwards: String = path.chars().rev().collect();
    cut(&backwards, columns).chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::RepeatedOptions;

    #[test]
    fn the_lines_of_each_file_are_counted_and_drawn() {
        let paths = [
            "configuration.nix",
            "modules/a-very-long-name/default.nix",
            "logo.png",
        ]
        .map(|path| RelPath::new(path.as_bytes()).unwrap());
        let counts = |inserted, deleted| Some(LineCounts { inserted, deleted });
        let files = [
            (&paths[0], counts(1, 1)),
            (&paths[1], counts(120, 40)),
            (&paths[2], None),
        ];
        let text = |columns| stat(&files, columns).render(false, &RepeatedOptions::default());
        insta::assert_snapshot!(text(None), @r"
    configuration.nix                    |   2 +-
    modules/a-very-long-name/default.nix | 160 ++++++++++++++++++++++++++--------
    logo.png                             | Bin
    3 files changed, 121 insertions(+), 41 deletions(-)
    ");
        insta::assert_snapshot!(text(Some(40)), @r"
    configuration.nix     |   2 +-
    …ong-name/default.nix | 160 +++++++--
    logo.png              | Bin
    3 files changed, 121 insertions(+), 41 deletions(-)
    ");
        for columns in [40, 80, 120] {
            let text = text(Some(columns));
            assert!(
                text.lines()
                    .filter(|line| line.contains('|'))
                    .all(|line| display_width(line) < columns),
                "{text}"
            );
        }
        assert_eq!(stat(&[], None), Styled::default());
    }
}
