//! A hook before every call that changes a file system, for the crash tests.
//!
//! Every such call of the program goes through [`Directory`](super::Directory) and [`NewFile`](super::NewFile), and
//! each calls the hook first. A hook that fails one call simulates a full disk; one that fails every call from some point on
//! simulates death, because nothing can be changed any more, cleanup included. Without a hook this is one branch on `None`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

/// A call that is about to change a file system.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The system call's name.
    pub name: &'static str,
    /// What it is about.
    pub path: &'a Path,
    /// The new name, for `rename`, `exchange` and `link`; the text, for `symlink`.
    pub to: Option<&'a Path>,
    /// The bytes, for `write`.
    pub bytes: &'a [u8],
    /// The permission bits, for `chmod`.
    pub mode: Option<u32>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Proceed,
    /// It fails with this error, and nothing changes.
    Fail(Errno),
    /// A `write` fails with this error after half of its bytes; any other call as with `Fail`.
    Torn(Errno),
}

/// The arguments of a call besides its path.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    Nothing,
    To(&'a Path),
    Mode(u32),
}

type Hook = dyn Fn(&Call<'_>) -> Outcome + Send + Sync;

/// The hook; by default there is none.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

impl Faults {
    /// Calls `hook` before every call.
    #[must_use]
    pub fn new(hook: impl Fn(&Call<'_>) -> Outcome + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(super) fn is_hooked(&self) -> bool {
        self.0.is_some()
    }

    /// Calls the hook for a call on the name `name` in `directory`.
    pub(super) fn check(
        &self,
        call: &'static str,
        directory: &Path,
        name: &Path,
        about: About<'_>,
    ) -> Result<(), Errno> {
        let Some(hook) = &self.0 else { return Ok(()) };
        let path = directory.join(name);
        match hook(&Call {
            name: call,
            path: &path,
            to: match about {
                About::To(to) => Some(to),
                About::Nothing | About::Mode(_) => None,
            },
            bytes: &[],
            mode: match about {
                About::Mode(mode) => Some(mode),
                About::Nothing | About::To(_) => None,
            },
        }) {
            Outcome::Proceed => Ok(()),
            Outcome::Fail(errno) | Outcome::Torn(errno) => Err(errno),
        }
    }

    /// Calls the hook for a write: how many of the bytes are written, and the error that follows.
    pub(super) fn check_write(&self, path: &Path, bytes: &[u8]) -> (usize, Option<Errno>) {
        let Some(hook) = &self.0 else {
            return (bytes.len(), None);
        };
        match hook(&Call {
            name: "write",
            path,
            to: None,
            bytes,
            mode: None,
        }) {
            Outcome::Proceed => (bytes.len(), None),
            Outcome::Fail(errno) => (0, Some(errno)),
            Outcome::Torn(errno) => (bytes.len() / 2, Some(errno)),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Faults(hook)"
        } else {
            "Faults(none)"
        })
    }
}
