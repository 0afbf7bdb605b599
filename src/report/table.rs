//! Rows in columns, each as wide as its longest cell.

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// On the left, as words do.
    Left,
    /// On the right, as numbers do.
    Right,
}

/// A line for the names of the columns, and one for each row, with two spaces between columns and none at the end.
pub fn table<const N: usize>(
    columns: [(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let head = columns.map(|(name, _)| name.to_owned());
    let rows: Vec<[String; N]> = { [head].into_iter() }.chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    });
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(columns).zip(widths);
        let cells = cells.map(|((cell, (_, align)), width)| match align {
            Align::Left => format!("{cell:width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let columns = [
            ("HOST", Align::Left),
            ("TIME", Align::Right),
            ("ERROR", Align::Left),
        ];
        let rows = [["web-10", "9 s", ""], ["d", "12 min", "no such file"]];
        assert_eq!(
            table(columns, rows.map(|row| row.map(str::to_owned))),
            "HOST      TIME  ERROR\nweb-10     9 s\nd       12 min  no such file\n"
        );
    }
}
