//! Faults with their places, what Nix takes, and what would take too long.

use super::*;

fn fault(source: &str) -> String {
    check(source).expect_err(source).to_string()
}

#[test]
fn names_the_first_fault_and_its_place() {
    let cases = [
        ("{ a = 1 }", "1:9: unexpected `}`, expected `;`"),
        (
            "{\n  a = 1\n  b = 2;\n}",
            "3:5: unexpected `=`, expected `;`",
        ),
        ("{ a = [ 1 2; }", "1:12: unexpected `;`"),
        ("{ é = 1; }", "1:3: unexpected `é`"),
        ("{ a = 1; ", "1:9: unexpected end of file"),
        ("let a = 1; in", "1:14: unexpected end of file"),
        ("", "1:1: unexpected end of file"),
        ("{ } }", "1:5: unexpected `}`"),
        ("{ a, a }: a", "1:6: the argument `a` is named twice"),
        ("a@{ b, a }: b", "1:1: the argument `a` is named twice"),
        (
            "if true then 1",
            "1:15: unexpected end of file, expected `else`",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(fault(source), expected, "{source}");
    }
}

#[test]
fn refuses_what_is_defined_twice_as_nix_does() {
    let cases = [
        ("{ a = 1; a = 2; }", "1:10: `a` is already defined at 1:3"),
        (
            "{ a.b = 1; a.b = 2; }",
            "1:14: `a.b` is already defined at 1:5",
        ),
        ("{ a.b = 1; a = 2; }", "1:12: `a` is already defined at 1:3"),
        ("{ a = 1; a.b = 2; }", "1:10: `a` is already defined at 1:3"),
        (
            "{ a = { b = 1; }; a.b = 2; }",
            "1:21: `a.b` is already defined at 1:9",
        ),
        (
            "{ \"a\" = 1; a = 2; }",
            "1:12: `a` is already defined at 1:3",
        ),
        (
            "let a = 1; inherit (x) a; in a",
            "1:24: `a` is already defined at 1:5",
        ),
        (
            "x: [ { inherit a a; } ]",
            "1:18: `a` is already defined at 1:16",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(fault(source), expected, "{source}");
    }
}

#[test]
fn accepts_what_nix_merges_or_computes() {
    for source in [
        "{ a.b = 1; a.c = 2; }",
        "{ a = { b = 1; }; a = { c = 2; }; }",
        "{ a = ({ b = 1; }); a.c = 2; }",
        "{ a.b.c = 1; a.b = { d = 2; }; }",
        "x: { ${x} = 1; ${x} = 2; a.${x}.b = 1; a.${x}.c = 2; }",
        "{ a = { b = 1; }; c = { b = 1; }; }",
        "let a = 1; in let a = 2; in { inherit a; }",
        "{ a = x: { b = 1; }; c = [ { b = 1; } { b = 1; } ]; }",
    ] {
        assert_eq!(check(source), Ok(()), "{source}");
    }
}

#[test]
fn gives_up_early_on_what_would_take_minutes_or_the_stack() {
    let size = 1 << 20;
    for (begin, repeated) in [
        ("", "("),
        ("", "["),
        ("", "!"),
        ("", "{a="),
        ("", "a: "),
        ("", "\"${"),
        ("a", "+a"),
        ("a", " + a"),
        ("a", " a"),
        ("a", "//a"),
        ("a", ".a"),
        ("{a", ".a"),
        ("", "let a="),
        ("", "with a;"),
    ] {
        let source = begin.to_owned() + &repeated.repeat(size / repeated.len());
        assert!(check(&source).is_err(), "{begin}{repeated}…");
    }
    assert_eq!(
        check(&" ".repeat(SIZE_MAX + 1)).unwrap_err().fault,
        SyntaxFault::TooLarge
    );
}

#[test]
fn long_flat_files_are_read() {
    use std::fmt::Write as _;
    let mut source = String::from("{ list = [");
    for n in 0..20_000 {
        write!(source, " \"item {n}\" {{ n = {n}; }}").unwrap();
    }
    source.push_str("]; text = ''\n");
    for n in 0..20_000 {
        writeln!(source, "  line {n} ${{toString {n}}}").unwrap();
    }
    source.push_str("''; }");
    assert_eq!(check(&source), Ok(()));
}
