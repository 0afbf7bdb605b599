use super::*;

fn merged(base: &str, ours: &str, theirs: &str) -> Result<String, String> {
    let merged = merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
    { merged.map(|text| String::from_utf8(text).unwrap()) }.map_err(|error| error.to_string())
}

#[test]
fn changes_of_both_sides_are_taken() {
    let base = "a\nb\nc\nd\ne\n";
    for (ours, theirs, wanted) in [
        ("A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", "A\nb\nc\nd\nE\n"),
        ("b\nc\nd\ne\n", "a\nb\nc\nd\ne\nf\n", "b\nc\nd\ne\nf\n"),
        ("a\nB\nc\nd\ne\n", "a\nB\nc\nd\nE\n", "a\nB\nc\nd\nE\n"),
        (base, "x\n", "x\n"),
        ("x\n", base, "x\n"),
    ] {
        assert_eq!(merged(base, ours, theirs).unwrap(), wanted);
    }
}

#[test]
fn a_conflict_names_the_lines_of_the_edit() {
    let base = "a\nb\nc\nd\ne\nf\ng\n";
    for (ours, theirs, wanted) in [
        (
            "1\na\nB\nc\nd\ne\nf\ng\n",
            "a\nX\nc\nd\ne\nf\ng\n",
            "both change line 3",
        ),
        (
            "a\nB\nC\nd\ne\nf\ng\n",
            "a\nX\nc\nd\ne\nf\ng\n",
            "both change lines 2 to 3",
        ),
        (
            "a\nc\nd\ne\nf\nG\n",
            "a\nX\nc\nd\ne\nf\nY\n",
            "both change what was after line 1, line 6",
        ),
        // Side by side.
        (
            "a\nB\nc\nd\ne\nf\ng\n",
            "a\nb\nC\nd\ne\nf\ng\n",
            "both change lines 2 to 3",
        ),
    ] {
        assert_eq!(merged(base, ours, theirs).unwrap_err(), wanted);
    }
}

#[test]
fn line_ends_are_part_of_the_lines() {
    assert_eq!(
        merged("a\r\nb\r\nc\r\n", "A\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n").unwrap(),
        "A\r\nb\r\nC\r\n"
    );
    assert_eq!(
        merged("a\nb\nc", "A\nb\nc", "a\nb\nc\n").unwrap(),
        "A\nb\nc\n"
    );
    assert_eq!(
        merged("a\nb\nc", "a\nb\nc\n", "A\nb\nc").unwrap(),
        "A\nb\nc\n"
    );
    // Each line is changed.
    assert!(merged("a\nb\nc\n", "a\r\nb\r\nc\r\n", "a\nB\nc\n").is_err());
    assert_eq!(
        merged("a\n", "b\0\n", "a\nc\n").unwrap_err(),
        "it is binary"
    );
}

#[test]
fn where_lines_repeat_a_merge_that_is_not_certain_is_refused() {
    let (base, ours, theirs) = ("3\n2\n2\n", "2\n2\n", "2\n2\n3\n");
    let refused = merged(base, ours, theirs).unwrap_err();
    assert_eq!(refused, Unmerged::Ambiguous.to_string());
}
