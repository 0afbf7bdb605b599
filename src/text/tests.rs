//! What comes out is printable, bounded and says the same.

use super::*;
use proptest::prelude::*;

#[test]
fn words_are_one_printable_line() {
    for (said, shown) in [
        ("not our ref 11\n", "not our ref 11"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\u{1b}[2J\u{9b}2J\u{7f}", "\\u{1b}[2J\\u{9b}2J\\u{7f}"),
        ("txt\u{202e}nix", "txt\\u{202e}nix"),
        (
            "a\u{200b}\u{2028}\u{e0041}b",
            "a\\u{200b}\\u{2028}\\u{e0041}b",
        ),
        ("lost \u{fffd}", "lost \\u{fffd}"),
        ("\u{301}x e\u{301}", "\\u{301}x e\u{301}"),
        ("don't \"quote\" `ünï` \\", "don't \"quote\" `ünï` \\"),
        ("a\u{a0}b", "a\u{a0}b"),
        ("", ""),
    ] {
        assert_eq!(words(said), shown);
    }
    assert_eq!(words(b"caf\xe9 \xff"), "caf\\xE9 \\xFF");
    assert_eq!(name("a\u{a0}b\u{2800} "), "a\\u{a0}b\\u{2800} ");
}

#[test]
fn what_is_too_long_is_cut_and_no_escape_torn() {
    let long = "ä".repeat(20 << 20);
    let shown = words(&long);
    assert_eq!(shown, format!("{}…", "ä".repeat(WORDS_MAX - 1)));
    let whole = "ä".repeat(WORDS_MAX);
    assert_eq!(words(&whole), whole);
    let escapes = words("\u{202e}".repeat(1000));
    assert_eq!(escapes, format!("{}…", "\\u{202e}".repeat(37)));
    let message = message(&"line\n".repeat(MESSAGE_MAX));
    assert_eq!(message.chars().count(), MESSAGE_MAX);
    assert!(message.ends_with('…'));
}

#[test]
fn a_secret_is_masked_before_the_text_is_cut() {
    keep_secret("cut-me-0123456789-not");
    let said = format!("{}cut-me-0123456789-not", "x".repeat(WORDS_MAX - 10));
    let shown = words(&said);
    assert_eq!(shown, format!("{}***", "x".repeat(WORDS_MAX - 10)));
    // What shrinks lets the end of what was read come into sight.
    let many = "cut-me-0123456789-not".repeat(READ_MAX / 20);
    assert!(!words(&many).contains("cut-me"), "{}", words(&many));
}

#[test]
fn a_list_has_an_end() {
    assert_eq!(list(["a", "b"]), "a, b");
    assert_eq!(list([""; 0]), "");
    let many = list((0..1000).map(|number| number.to_string()));
    assert!(many.ends_with(", 18, 19 and 980 more"), "{many}");
}

#[test]
fn json_keeps_its_values_and_reaches_no_terminal_raw() {
    let value =
        serde_json::json!({ "a": "\u{9b}2J \u{202e} \u{e0041} \u{7f} ünï \u{fffd}", "b\u{85}": 1 });
    let text = json(&serde_json::to_string_pretty(&value).unwrap());
    assert!(
        text.contains("\\u009b2J \\u202e \\udb40\\udc41 \\u007f ünï"),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&text).unwrap(),
        value
    );
    keep_secret("in-json/0123456789\"");
    let echoed = serde_json::to_string("in-json/0123456789\" and in-json\\/0123").unwrap();
    assert!(!json(&echoed).contains("in-json/0123"), "{}", json(&echoed));
}

#[test]
fn similar_characters_are_shown_by_their_code_points() {
    for (one, other, shown) in [
        ("café", "cafe\u{301}", ("caf\\u{e9}", "cafe\\u{301}")),
        (
            "d/が",
            "d/か\u{3099}",
            ("d/\\u{304c}", "d/\\u{304b}\\u{3099}"),
        ),
        ("é/K", "é/\u{212a}", ("é/K", "é/\\u{212a}")),
        ("A/x", "a/x", ("A/x", "a/x")),
        ("aa", "a", ("aa", "a")),
    ] {
        assert_eq!(
            twins(one, other),
            format!("`{}` and `{}`", shown.0, shown.1)
        );
    }
}

/// Bytes of all kinds, text with what deceives in it more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<String>().prop_map(String::into_bytes),
        proptest::sample::select(vec![
            "\u{1b}[31m",
            "\u{9b}",
            "\u{202e}",
            "\u{200b}",
            "\n",
            "\r",
            "\t",
            "\u{301}",
            "\u{fffd}",
            "\\u{",
            "https://a:b@",
            "?token=",
            "ghp_0123456789",
            "\u{e0fff}",
            "…",
            " ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_input_becomes_a_printable_bounded_line(bytes in bytes()) {
        for show in [|bytes: &[u8]| words(bytes), |bytes: &[u8]| name(bytes)] {
            let shown = show(&bytes);
            prop_assert!(shown.chars().all(is_printable), "{shown:?}");
            prop_assert!(shown.chars().count() <= WORDS_MAX);
            prop_assert!(!shown.contains("ghp_0123456789") && !shown.contains("a:b@"), "{shown:?}");
            prop_assert_eq!(show(shown.as_bytes()), shown.clone());
            prop_assert_eq!(message(&shown), shown);
        }
    }

    #[test]
    fn every_sink_is_printable(bytes in bytes()) {
        let text = decode(&bytes);
        let is_fit = |c: char| is_layout(c) || is_printable(c);
        prop_assert!(message(&text).chars().all(is_fit));
        prop_assert!(lines(&text).chars().all(is_fit));
        prop_assert!(escape(&text).chars().all(is_fit));
        prop_assert!(Lines::default().take(&bytes).chars().all(is_fit));
        let document = serde_json::to_string(&text).unwrap();
        let printed = json(&document);
        prop_assert!(printed.chars().all(|c| is_fit(c) || c == '\u{fffd}'), "{printed:?}");
        prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text.as_ref());
    }
}

#[test]
fn of_very_many_only_the_first_are_named() {
    assert_eq!(first(0..0, 2), (vec![], None));
    assert_eq!(first(0..3, 2), (vec![0, 1, 2], None));
    assert_eq!(first(0..4, 2), (vec![0, 1], Some("and 2 more".to_owned())));
    assert_eq!(first(0..4, usize::MAX).0.len(), 4);
}
