//! In which order paths change, so that a reader in between meets the least surprise.

use crate::git::RelPath;

/// What is changed later has the higher rank: a file is never referred to before it is there.
pub(super) fn rank(path: &RelPath) -> u8 {
    match path.name() {
        "flake.lock" => 4,
        "flake.nix" => 3,
        "configuration.nix" => 2,
        name if std::path::Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "nix") =>
        {
            1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refers_to_others_comes_last() {
        let mut names = [
            "flake.lock",
            "modules/b.nix",
            "flake.nix",
            "a.sh",
            "configuration.nix",
            ".nix",
        ]
        .map(|name| RelPath::new(name.as_bytes()).unwrap());
        names.sort_by_key(|path| (rank(path), path.clone()));
        assert_eq!(
            names.map(String::from),
            [
                ".nix",
                "a.sh",
                "modules/b.nix",
                "configuration.nix",
                "flake.nix",
                "flake.lock"
            ]
        );
    }
}
