//! What the configuration of a clone says about where it is from (git-config(5)): `[remote "origin"] url` and the upstream of
//! the branch. Files that it includes are not read.

/// Where a clone is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The address, as git has it; it may hold credentials.
    pub url: String,
    /// The branch of the repository that the current one follows.
    pub branch: Option<String>,
}

impl Origin {
    /// Reads it from the text of a configuration; `branch` is the one that `HEAD` is at.
    pub(super) fn find(text: &str, branch: Option<&str>) -> Option<Self> {
        let mut section = None;
        let (mut url, mut remote, mut merge) = (None, None, None);
        for line in text.lines() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                section = header.split_once(']').and_then(|(header, _)| named(header));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), unquoted(value));
            let Some((kind, name)) = &section else {
                continue;
            };
            match (kind.as_str(), key.as_str()) {
                ("remote", "url") if name == "origin" && url.is_none() => url = Some(value),
                ("branch", "remote") if Some(name.as_str()) == branch => remote = Some(value),
                ("branch", "merge") if Some(name.as_str()) == branch => merge = Some(value),
                _ => {}
            }
        }
        let upstream = merge.filter(|_| remote.as_deref() == Some("origin"));
        Some(Self {
            url: url?,
            branch: upstream.and_then(|name| name.strip_prefix("refs/heads/").map(str::to_owned)),
        })
    }
}

/// The kind and the name of a section such as `remote "origin"`.
fn named(header: &str) -> Option<(String, String)> {
    let (kind, name) = header.split_once(char::is_whitespace)?;
    let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
    Some((kind.to_ascii_lowercase(), name.to_owned()))
}

/// A value without quotes and the comment behind it.
fn unquoted(value: &str) -> String {
    let mut is_quoted = false;
    let mut text = String::new();
    let mut characters = value.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => text.extend(characters.next()),
            '#' | ';' if !is_quoted => break,
            other => text.push(other),
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Option<(String, Option<String>)> {
        let origin = Origin::find(text, Some("mine"))?;
        Some((origin.url, origin.branch))
    }

    #[test]
    fn the_address_and_the_upstream_are_read_as_git_writes_them() {
        let text = "[core]\n\tbare = false\n\turl = no\n[remote \"other\"]\n\turl = x:y\n[remote \"origin\"]\n\
            \tfetch = +refs/heads/*:refs/remotes/origin/*\n\tURL = \"git@host:a/b.git\" # old\n\turl = second\n\
            [branch \"main\"]\n\tmerge = refs/heads/main\n[Branch \"mine\"]\n\tremote = origin\n\tmerge = refs/heads/dev\n";
        let dev = Some("dev".to_owned());
        assert_eq!(origin(text), Some(("git@host:a/b.git".to_owned(), dev)));
        let local = "[remote \"origin\"]\nurl=/srv/x\n[branch \"mine\"]\nremote = .\nmerge = refs/heads/dev";
        assert_eq!(origin(local), Some(("/srv/x".to_owned(), None)));
    }

    #[test]
    fn without_an_address_there_is_no_origin() {
        for text in [
            "",
            "[remote \"origin\"]",
            "url = x",
            "[remote]\nurl = x",
            "[remote \"origin\"\nurl = x",
            "[\nurl = x",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }
}
