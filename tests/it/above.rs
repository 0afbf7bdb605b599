//! The directories above files that root trusts: no other user may be able to replace those files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_sync::git::Oid;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::objects::{Added, Store};
use hyper_sync::settings::Env;
use hyper_sync::signature::{self, Signers};
use hyper_sync::state::{self, StateDir};
use hyper_sync::token::{self, TokenSearch};
use hyper_sync::vetted::{Untrusted, UntrustedReason};

const OTHER: u32 = 12345;

/// `above/below`, a link to it, and what is opened there. The functions under test need no machine.
struct Above {
    root: tempfile::TempDir,
}

impl Above {
    fn new() -> Self {
        let above = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(above.path("above/below")).unwrap();
        symlink(above.path("above/below"), above.path("link")).unwrap();
        above
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Each way by which another user can replace `name` in `above/below` is refused, and nothing else is.
    fn assert_judged(&self, name: &str, open: &dyn Fn(&Path) -> Result<(), PathBuf>) {
        // For other users nothing is checked.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let direct = self.path("above/below").join(name);
        let linked = self.path("link").join(name);
        let refused = |by: &str| {
            for path in [&direct, &linked] {
                assert_eq!(open(path), Err(self.path(by)), "{}", path.display());
            }
        };
        let accepted = || {
            for path in [&direct, &linked] {
                assert_eq!(open(path), Ok(()), "{}", path.display());
            }
        };
        accepted();
        for by in ["above", "above/below"] {
            for mode in [0o777, 0o757] {
                self.mode(by, mode);
                refused(by);
            }
            self.mode(by, 0o775);
            accepted();
            chown(self.path(by), Some(0), Some(OTHER)).unwrap();
            refused(by);
            chown(self.path(by), Some(0), Some(0)).unwrap();
            // As `/tmp` is.
            self.mode(by, 0o1777);
            accepted();
            self.mode(by, 0o755);
            chown(self.path(by), Some(OTHER), Some(0)).unwrap();
            refused(by);
            chown(self.path(by), Some(0), Some(0)).unwrap();
        }
        accepted();
        lchown(self.path("link"), Some(OTHER), Some(0)).unwrap();
        assert_eq!(open(&linked), Err(self.path("link")));
        assert_eq!(open(&direct), Ok(()));
    }
}

#[test]
fn a_state_directory_is_checked_with_all_directories_above_it() {
    let above = Above::new();
    let open = |path: &Path| match StateDir::open(path) {
        Ok(_) => Ok(()),
        Err(state::Error::Exposed { above, .. }) => Err(above),
        Err(other) => panic!("{other}"),
    };
    above.assert_judged("state", &open);

    // Nothing is made before.
    let above = Above::new();
    above.mode("above", 0o777);
    if rustix::process::geteuid().is_root() {
        assert!(open(&above.path("above/new/state")).is_err());
        assert!(!above.path("above/new").exists());
    }
    above.mode("above", 0o755);
    open(&above.path("above/new/state")).unwrap();
}

#[test]
fn a_file_of_signers_is_checked_with_all_directories_above_it() {
    let above = Above::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHfLOPWNuSQ1N0qMJmnJPqTtvhRvM5cGNV+Vg5ZgIPiq";
    let file = above.path("above/below/signers");
    fs::write(&file, format!("me@example.org {key}\n")).unwrap();
    above.mode("above/below/signers", 0o644);
    let load = |path: &Path| match Signers::load(path, &Env::empty(), &Arc::default()) {
        Ok(_) => Ok(()),
        Err(signature::Error::File(Untrusted {
            refusal: UntrustedReason::Exposed(above),
            ..
        })) => Err(above),
        Err(other) => panic!("{other}"),
    };
    above.assert_judged("signers", &load);

    // A link to the file leads through other directories, which count as well.
    let elsewhere = above.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&file, elsewhere.join("signers")).unwrap();
    load(&elsewhere.join("signers")).unwrap();
    above.mode("above", 0o777);
    if rustix::process::geteuid().is_root() {
        assert_eq!(load(&elsewhere.join("signers")), Err(above.path("above")));
    }
}

#[test]
fn a_token_file_is_checked_with_all_directories_above_it() {
    let above = Above::new();
    fs::write(above.path("above/below/token"), "ghp_x\n").unwrap();
    above.mode("above/below/token", 0o600);
    let env = Env::empty();
    let find = |path: &Path| {
        let search = TokenSearch {
            token_file: Some(path),
            ..TokenSearch::new("github.com", &env)
        };
        match search.run() {
            Ok(found) => found.map(|_| ()).ok_or_else(PathBuf::new),
            Err(token::Error::File(Untrusted {
                refusal: UntrustedReason::Exposed(above),
                ..
            })) => Err(above),
            Err(other) => panic!("{other}"),
        }
    };
    above.assert_judged("token", &find);
}

#[test]
fn packs_go_to_the_store_that_was_opened_also_when_its_path_is_replaced() {
    let above = Above::new();
    let state = above.path("above/below");
    let store = Store::open(&state, 1 << 20).unwrap();
    fs::rename(state.join("objects.git"), above.path("moved")).unwrap();
    fs::create_dir_all(above.path("trap/objects/pack")).unwrap();
    symlink(above.path("trap"), state.join("objects.git")).unwrap();
    let content = b"content";
    let id = Oid::of(ObjectKind::Blob, content).unwrap();
    let mut writer = store.writer().unwrap();
    assert_eq!(
        writer.add(ObjectKind::Blob, id, content).unwrap(),
        Added::Stored
    );
    let _ = writer.finish().unwrap();
    store.make_durable().unwrap();
    assert_eq!(store.read(ObjectKind::Blob, id).unwrap(), content);
    let packs = |path: &str| {
        fs::read_dir(above.path(path).join("objects/pack"))
            .unwrap()
            .count()
    };
    assert_eq!((packs("moved"), packs("trap")), (2, 0));
    drop(store);

    // The link is replaced by a store; the directory that it leads to is unchanged.
    let store = Store::open(&state, 1 << 20).unwrap();
    assert!(store.was_rebuilt());
    assert!(!state.join("objects.git").is_symlink());
    assert_eq!(packs("trap"), 0);
}
