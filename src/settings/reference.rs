//! Names of branches, tags and commits: git's rules, checked before a name goes anywhere.

use gix_validate::reference::{name::Error, name_partial};

use super::Problem;

/// Whether git could have a branch or tag of this name, by the rules of `git check-ref-format`.
///
/// Stricter in one way: a name that begins with `-` is refused, as `git branch` does.
pub(super) fn check(name: &str) -> Result<(), Problem> {
    let refuse = |cause| {
        Err(Problem::Reference {
            given: name.to_owned(),
            cause,
        })
    };
    if name.is_empty() {
        return Err(Problem::Empty);
    }
    if name.starts_with('-') {
        return refuse("it begins with `-`");
    }
    if name == "@" {
        return refuse("it is `@` alone");
    }
    let Err(error) = name_partial(name.into()) else {
        return Ok(());
    };
    refuse(match error {
        Error::ReflogPortion => "it has `@{` in it",
        Error::RepeatedDot => "it has `..` in it",
        Error::RepeatedSlash | Error::StartsWithSlash | Error::EndsWithSlash => {
            "it has a slash at an end, or two in a row"
        }
        Error::LockFileSuffix => "a part of it ends with `.lock`",
        Error::Asterisk => "it has `*` in it",
        Error::StartsWithDot => "a part of it begins with `.`",
        Error::EndsWithDot => "it ends with `.`",
        Error::Empty => "it is empty",
        Error::SomeLowercase | Error::Reserved { .. } => "git keeps it for itself",
        Error::InvalidByte { .. } => "it has a space, or one of `~^:?[\\`, in it",
        // The enum is open: what a later version finds is refused all the same.
        _ => "git does not allow it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_branches_tags_and_commits() {
        for name in [
            "main",
            "feature/x",
            "v2.1",
            "refs/heads/main",
            "HEAD",
            "abc1234",
            "b8c761200000000000000000000000000000dead",
            "über",
            "a@b",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_what_git_refuses() {
        for name in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "@{u}",
            "main@{1}",
            "@",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a[b",
            "a*",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "a\nb",
            "a\u{1b}b",
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }
}
