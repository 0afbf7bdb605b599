//! A private mount namespace in which a snapshot lies, read-only, over the live directory.
//!
//! Whatever way evaluation takes to the target, by a path literal, an input or a computed path, it finds the snapshot
//! there; everybody else on the machine sees the live directory. `unshare` of util-linux does it, so that what runs
//! inside stays in our process group and unit and is stopped with us. A transient systemd unit could do it as well,
//! but would outlive us, and its environment — proxies and access tokens among it — can be read by every user.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::session::RebuildContext;
use crate::process::{Command, Output};

/// Binds each pair of paths up to `--`, makes sure that each is in its place, and becomes the program after it.
const SCRIPT: &str = r#"
while [ "$1" != -- ]; do
    mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && [ "$1" -ef "$2" ] || exit 121
    shift 2
done
shift
exec "$@"
"#;

/// How programs are run so that they see the snapshots.
#[derive(Debug, Clone)]
pub(super) struct Namespace {
    unshare: PathBuf,
    sh: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Namespace {
    /// A namespace with each snapshot (the first of a pair) over its live directory, if this process may make one.
    ///
    /// The pairs are bound in order: a directory before one inside it.
    pub(super) fn new(
        session: &RebuildContext<'_>,
        binds: Vec<(PathBuf, PathBuf)>,
    ) -> Option<Self> {
        let namespace = Self {
            unshare: session.find("unshare").ok()?,
            sh: session.find("sh").ok()?,
            binds,
        };
        let true_ = session.find("true").ok()?;
        session.find("mount").ok()?;
        let probe = namespace.command(session, &true_, Vec::new());
        let finished = session.runner.run(&probe.output(Output::Quiet)).ok()?;
        finished.end.is_success().then_some(namespace)
    }

    /// A program in the namespace.
    pub(super) fn command<'a>(
        &self,
        session: &'a RebuildContext<'_>,
        program: &Path,
        args: Vec<OsString>,
    ) -> Command<'a> {
        let mut all: Vec<OsString> = vec![
            "--mount".into(),
            self.sh.clone().into(),
            "-c".into(),
            SCRIPT.into(),
            "sh".into(),
        ];
        for (snapshot, live) in &self.binds {
            all.push(snapshot.clone().into());
            all.push(live.clone().into());
        }
        all.push("--".into());
        all.push(program.to_owned().into());
        all.extend(args);
        session.command(&self.unshare, all)
    }
}
