//! Removes mode bits that no file of a commit has: setuid, setgid, sticky, and the right of others to write.
//!
//! git records of a mode only whether the owner may execute a file, so these bits are not an edit and no reason for an
//! update; but a user who can write the sources of a build by root controls what root builds. A sync resets the modes
//! of the files it has written, except files whose local edit is kept.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use crate::fs::{Stat, Target};
use crate::git::RelPath;
use crate::plan::Plan;
use crate::scan::{Local, Locals};

/// A managed file with such mode bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenMode {
    /// The file.
    pub path: RelPath,
    /// Its permission bits.
    #[serde(serialize_with = "octal")]
    pub before: u32,
    /// The bits afterwards.
    #[serde(serialize_with = "octal")]
    pub after: u32,
    /// Why they could not be set; the next run retries.
    pub error: Option<String>,
}

/// The managed files with such modes that the plan leaves unchanged, with their scanned metadata.
pub(super) fn find(plan: &Plan, local: &Locals) -> Vec<(OpenMode, Stat)> {
    let open = local.iter().filter_map(|(path, local)| match local {
        Local::File { stat, .. } if stat.excess() != 0 => Some((path, *stat)),
        _ => None,
    });
    let mut open = open.peekable();
    // Usually there are none.
    if open.peek().is_none() {
        return Vec::new();
    }
    let changed = plan.operations().iter().map(|operation| &operation.path);
    let others: BTreeSet<&RelPath> = changed
        .chain(plan.kept().iter().map(|kept| &kept.path))
        .collect();
    let ours = open.filter(|(path, _)| plan.index().contains_key(*path) && !others.contains(path));
    ours.map(|(path, stat)| {
        let open = OpenMode {
            path: path.clone(),
            before: stat.mode,
            after: stat.mode & !stat.excess(),
            error: None,
        };
        (open, stat)
    })
    .collect()
}

/// Sets the modes. A file that changed since the scan is left out: the next run checks it again.
pub(super) fn close(target: &Target, found: Vec<(OpenMode, Stat)>) -> Vec<OpenMode> {
    let close = |(mut open, stat): (OpenMode, Stat)| {
        match target.close(&open.path, &stat) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => open.error = Some(error.to_string()),
        }
        Some(open)
    };
    found.into_iter().filter_map(close).collect()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires this signature"
)]
fn octal<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}
