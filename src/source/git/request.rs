//! Requests of protocol version 2 (gitprotocol-v2(5)).
//!
//! Capabilities are not sent along: a server exits on one that it does not know, and every value we would send is the
//! default.

use gix_packetline::blocking_io::encode;

use crate::git::{CommitId, Oid};

/// `ls-refs` for these names, each listed with all that begins with it.
pub(super) fn ls_refs(prefixes: &[&str]) -> Vec<u8> {
    let mut lines = vec!["peel".to_owned()];
    lines.extend(prefixes.iter().map(|prefix| format!("ref-prefix {prefix}")));
    command("ls-refs", &lines)
}

/// `ls-refs` for the branches and tags, and for a `HEAD` that points to none of them: `unborn`, of git 2.31. Older ones leave
/// that word aside.
pub(super) fn all_names() -> Vec<u8> {
    let lines = [
        "symrefs",
        "unborn",
        "ref-prefix HEAD",
        "ref-prefix refs/heads/",
        "ref-prefix refs/tags/",
    ];
    command("ls-refs", &lines.map(str::to_owned))
}

/// `fetch`.
#[derive(Debug, Default)]
pub(super) struct Fetch<'a> {
    pub(super) want: &'a [Oid],
    /// A commit whose objects are all here.
    pub(super) have: Option<CommitId>,
    /// A commit without its parents.
    pub(super) shallow: Option<CommitId>,
    pub(super) deepen: Option<u32>,
    pub(super) filter: Option<&'static str>,
    /// Whether deltas may build on objects that are not in the pack.
    pub(super) thin: bool,
    /// Whether the pack has to follow, whatever is had.
    pub(super) done: bool,
}

impl<'a> Fetch<'a> {
    /// A commit with all of its files and none of its history, in a pack that needs no other object.
    pub(super) fn whole(commit: &'a [Oid]) -> Self {
        Self {
            want: commit,
            deepen: Some(1),
            done: true,
            ..Self::default()
        }
    }

    /// The commits that one has and an older one has not, with nothing that they hold.
    pub(super) fn history(commit: &'a [Oid], old: CommitId) -> Self {
        Self {
            want: commit,
            have: Some(old),
            filter: Some("tree:0"),
            ..Self::default()
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut lines = vec!["ofs-delta".to_owned(), "no-progress".to_owned()];
        lines.extend(self.thin.then(|| "thin-pack".to_owned()));
        lines.extend(self.shallow.map(|commit| format!("shallow {commit}")));
        lines.extend(self.deepen.map(|depth| format!("deepen {depth}")));
        lines.extend(self.filter.map(|filter| format!("filter {filter}")));
        lines.extend(self.want.iter().map(|id| format!("want {id}")));
        lines.extend(self.have.map(|commit| format!("have {commit}")));
        lines.extend(self.done.then(|| "done".to_owned()));
        command("fetch", &lines)
    }
}

fn command(name: &str, lines: &[String]) -> Vec<u8> {
    let mut request = Vec::new();
    let write = |request: &mut Vec<u8>| -> std::io::Result<()> {
        encode::text_to_write(format!("command={name}").as_bytes(), &mut *request)?;
        encode::delim_to_write(&mut *request)?;
        for line in lines {
            encode::text_to_write(line.as_bytes(), &mut *request)?;
        }
        encode::flush_to_write(&mut *request)?;
        Ok(())
    };
    // Fails only for a line of more than 65516 bytes, and names are at most 255 long.
    let written = write(&mut request);
    debug_assert!(written.is_ok(), "a line too long for a packet");
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_protocol() {
        let text = String::from_utf8(ls_refs(&["refs/heads/main", "refs/tags/main"])).unwrap();
        insta::assert_snapshot!(text, @"
        0014command=ls-refs
        00010009peel
        001fref-prefix refs/heads/main
        001eref-prefix refs/tags/main
        0000
        ");
        let id: Oid = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".parse().unwrap();
        let fetch = Fetch {
            want: &[id],
            have: Some(CommitId(id)),
            shallow: Some(CommitId(id)),
            deepen: Some(1),
            filter: Some("blob:none"),
            thin: true,
            done: true,
        };
        insta::assert_snapshot!(String::from_utf8(fetch.encode()).unwrap(), @"
        0012command=fetch
        0001000eofs-delta
        0010no-progress
        000ethin-pack
        0035shallow e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
        000ddeepen 1
        0015filter blob:none
        0032want e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
        0032have e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
        0009done
        0000
        ");
    }
}
