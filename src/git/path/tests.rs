//! Hostile and harmless names.

use super::*;
use proptest::prelude::*;

fn fault(path: &str) -> PathFault {
    RelPath::new(path.as_bytes()).expect_err(path)
}

#[test]
fn refuses_what_leaves_the_tree_or_is_no_path() {
    for path in ["..", "a/../b", "a/..", ".", "a/./b"] {
        assert_eq!(fault(path), PathFault::Relative, "{path}");
    }
    for path in ["", "/etc/passwd", "//x", "a//b", "a/"] {
        assert_eq!(fault(path), PathFault::Empty, "{path}");
    }
}

#[test]
fn refuses_every_spelling_of_dot_git() {
    for path in [
        ".git",
        ".git/config",
        "sub/.git/hooks/x",
        ".GIT",
        ".Git",
        ".gIt",
        "git~1",
        "GIT~1",
        ".git.",
        ".git ",
        ".git...:stream",
        ".git::$INDEX_ALLOCATION",
    ] {
        assert_eq!(fault(path), PathFault::DotGit, "{path}");
    }
    for ignorable in
        "\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202e}\u{206a}\u{206f}\u{feff}".chars()
    {
        assert_eq!(
            fault(&format!(".g{ignorable}it/x")),
            PathFault::DotGit,
            "{ignorable:?}"
        );
    }
}

#[test]
fn refuses_what_deceives_a_person_or_a_terminal() {
    for (path, c) in [
        ("a\0b", '\0'),
        ("a\nb", '\n'),
        ("mod\r", '\r'),
        ("a\tb", '\t'),
        ("\u{1b}[2J", '\u{1b}'),
        ("\u{7f}", '\u{7f}'),
        ("\u{9b}2J", '\u{9b}'),
        ("\u{7}", '\u{7}'),
        ("a\u{85}", '\u{85}'),
    ] {
        assert_eq!(fault(path), PathFault::Control(c), "{path:?}");
    }
    // One of each range of the default ignorables, and their relatives.
    for c in "\u{ad}\u{34f}\u{61c}\u{115f}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200d}\u{2028}\u{202e}\u{2065}\u{2066}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{fffb}\u{1bca0}\u{1d173}\u{e0000}\u{e0041}\u{e0100}\u{e0fff}".chars()
    {
        assert_eq!(fault(&format!("a{c}b")), PathFault::Invisible(c));
    }
    for c in "\u{a0}\u{1680}\u{2000}\u{2003}\u{200a}\u{202f}\u{205f}\u{3000}\u{2800}".chars() {
        assert_eq!(fault(&format!("a{c}b")), PathFault::Blank(c));
    }
    for path in [r"a\b", r"x\.GIT\y"] {
        assert_eq!(fault(path), PathFault::Backslash, "{path:?}");
    }
    assert!(RelPath::new(br".\.GIT\x").is_err());
    assert_eq!(fault("a\u{fffd}b"), PathFault::NotUtf8);
    assert_eq!(RelPath::new(b"a\xffb").unwrap_err(), PathFault::NotUtf8);
}

#[test]
fn a_refusal_names_the_code_point() {
    for (fault, text) in [
        (
            PathFault::Invisible('\u{200b}'),
            "has the invisible or direction-changing character U+200B",
        ),
        (
            PathFault::Blank('\u{a0}'),
            "has the blank character U+00A0, which is not the space",
        ),
        (
            PathFault::Control('\u{1b}'),
            "has the control character U+001B",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
    }
}

#[test]
fn keeps_to_the_limits_of_the_file_system() {
    assert!(RelPath::new("n".repeat(255).as_bytes()).is_ok());
    assert_eq!(fault(&"n".repeat(256)), PathFault::LongComponent);
    assert!(RelPath::new(vec!["d"; 64].join("/").as_bytes()).is_ok());
    assert_eq!(fault(&vec!["d"; 65].join("/")), PathFault::Deep);
    let long = vec!["n".repeat(250); 17].join("/");
    assert_eq!(fault(&long), PathFault::LongPath);
}

#[test]
fn refuses_the_names_hyper_sync_uses() {
    for path in [
        ".hyper-sync",
        ".hyper-sync.tmp/1",
        "a/.Hyper-Sync.TMP",
        ".HYPER-SYNC",
    ] {
        assert_eq!(fault(path), PathFault::Reserved, "{path}");
    }
}

#[test]
fn keeps_odd_but_harmless_names_to_the_byte() {
    for path in [
        "-rf",
        "~",
        "$(touch pwn)",
        "a;b",
        "quote\"'",
        "a b",
        "a|b",
        "a:b",
        "CON",
        "aux.c",
        "a?",
        "trail.",
        "trail ",
        "café",
        "cafe\u{301}",
        "日本",
        ".gitmodules",
        ".github/x",
        "x.git",
        ".gitx",
        "git~10",
    ] {
        assert_eq!(RelPath::new(path.as_bytes()).expect(path).as_str(), path);
    }
}

#[test]
fn refuses_symlinks_with_names_that_git_reads() {
    let symlink = EntryMode::File(FileMode::Symlink);
    for name in [
        ".gitmodules",
        ".GitModules",
        ".gitmodules ",
        ".gitmodules.",
        ".gitmodules:x",
        "gitmod~1",
        "GITMOD~4",
        "gi7eba~1",
        "GI7EB~10",
        ".gitattributes",
        "gitatt~2",
        "gi7d29~1",
        ".gitignore",
        "gitign~1",
        "gi250a~9",
        ".mailmap",
        "mailma~1",
        "maba30~1",
    ] {
        for path in [
            format!("d/{name}"),
            format!("{name}/link"),
            format!("d/{name}/e/link"),
        ] {
            let path = RelPath::new(path.as_bytes()).expect(name);
            assert_eq!(
                check_leaf(&path, symlink),
                Err(PathFault::SymlinkedGitFile),
                "{path}"
            );
            assert_eq!(
                check_leaf(&path, EntryMode::File(FileMode::Regular)),
                Ok(()),
                "{path}"
            );
        }
    }
    for name in [".gitmodulesx", "gitmod~5", "gitmodules", "link", "gi7eba~0"] {
        let path = RelPath::new(name.as_bytes()).expect(name);
        assert_eq!(check_leaf(&path, symlink), Ok(()), "{name}");
    }
}

#[test]
fn knows_its_parts() {
    let path = RelPath::new(b"a/b/c").unwrap();
    assert_eq!(path.parent().unwrap().as_str(), "a/b");
    assert_eq!(path.name(), "c");
    assert_eq!(
        path.ancestors().map(String::from).collect::<Vec<_>>(),
        ["a", "a/b"]
    );
    let paths = ["a/b/c", "a/b/d", "e", "a/x/y/z", "a/b/z"]
        .map(|path| RelPath::new(path.as_bytes()).unwrap());
    assert_eq!(
        RelPath::above(&paths)
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>(),
        ["a", "a/b", "a/x", "a/x/y"]
    );
    assert_eq!(path.parent_str(), Some("a/b"));
    assert_eq!(RelPath::new(b"a").unwrap().parent_str(), None);
    let dir = RelPath::new(b"a/b").unwrap();
    assert!(path.starts_with(&dir) && dir.starts_with(&dir));
    assert!(!RelPath::new(b"a/bc").unwrap().starts_with(&dir));
}

/// What is wrong with a name, rule after rule.
fn by_the_rules(name: &str) -> Option<PathFault> {
    let options = gix_validate::path::component::Options {
        protect_windows: false,
        protect_hfs: true,
        protect_ntfs: true,
    };
    let by_git = gix_validate::path::component(name.into(), None, options).err();
    let control = name.chars().find(|c| c.is_control());
    let hidden = name.chars().find(|c| is_invisible(*c) || is_blank(*c));
    let hidden = hidden.map(|c| {
        if is_invisible(c) {
            PathFault::Invisible(c)
        } else {
            PathFault::Blank(c)
        }
    });
    let rules = [
        (name.contains('\u{fffd}'), PathFault::NotUtf8),
        (
            control.is_some(),
            PathFault::Control(control.unwrap_or_default()),
        ),
        (name.is_empty(), PathFault::Empty),
        (name == "." || name == "..", PathFault::Relative),
        (by_git.is_some(), PathFault::DotGit),
        (name.contains('\\'), PathFault::Backslash),
        (hidden.is_some(), hidden.unwrap_or(PathFault::Empty)),
        (name.len() > COMPONENT_MAX, PathFault::LongComponent),
        (
            folded(name).starts_with(RESERVED_PREFIX),
            PathFault::Reserved,
        ),
    ];
    rules
        .into_iter()
        .find_map(|(broken, fault)| broken.then_some(fault))
}

proptest! {
    #[test]
    fn an_accepted_path_stays_inside_and_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(path) = RelPath::new(&bytes) {
            prop_assert_eq!(path.as_str().as_bytes(), &bytes[..]);
            prop_assert!(path.components().all(|c| !c.is_empty() && c != "." && c != ".."));
            prop_assert!(!path.as_str().chars().any(char::is_control));
        }
    }

    #[test]
    fn a_name_is_refused_by_the_first_rule_it_breaks(
        parts in proptest::collection::vec(proptest::sample::select(&[
            ".", "..", "a", "A", "\\", "\n", "\u{7f}", "\u{85}", "\u{e9}", "\u{200b}", "\u{a0}", "\u{fffd}", ".git", "GIT~1",
            ".hyper-sync", ".Hyper-Sync", "\u{212a}", ":",
        ][..]), 0..4),
        padding in proptest::sample::select(vec![0, 0, 0, 240, 300]),
    ) {
        let name = parts.concat() + &"n".repeat(padding);
        let expected = by_the_rules(&name);
        prop_assert_eq!(RelPath::new(name.as_bytes()).err(), expected);
        prop_assert_eq!(RelPath::join(None, name.as_bytes()).err(), expected);
        let directory = RelPath::new(b"d/e").unwrap();
        match RelPath::join(Some(&directory), name.as_bytes()) {
            Ok(path) => prop_assert_eq!(path.as_str(), format!("d/e/{name}")),
            Err(fault) => prop_assert_eq!(Some(fault), expected),
        }
        let json = serde_json::to_string(&name).unwrap();
        match serde_json::from_str::<RelPath>(&json) {
            Ok(path) => prop_assert_eq!(serde_json::to_string(&path).unwrap(), json),
            Err(error) => prop_assert!(error.to_string().starts_with(&expected.unwrap().to_string())),
        }
    }

    #[test]
    fn the_beginning_of_a_checked_path_need_not_be_checked_again(
        checked in "([a-b\u{e9}.]{1,3}/){0,2}[a-b\u{e9}]{1,3}",
        cut in any::<proptest::sample::Index>(),
        more in "[a/.\\n\u{e9}]{0,4}",
    ) {
        prop_assume!(RelPath::new(checked.as_bytes()).is_ok());
        let cut = cut.index(checked.len() + 1);
        let path = [&checked.as_bytes()[..cut], more.as_bytes()].concat();
        prop_assert_eq!(RelPath::beginning_with(cut, &path), RelPath::new(&path));
    }
}
