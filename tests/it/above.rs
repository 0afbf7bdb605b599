//! What is above the files that root relies on: nobody else may be able to exchange them.

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

/// `above/below`, a link to it, and what is opened there.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(world.path("above/below")).unwrap();
        symlink(world.path("above/below"), world.path("link")).unwrap();
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What is refused of each way in which somebody else can have a hand in what is at `name`, in `above/below`; and
    /// that nothing else is.
    fn is_judged(&self, name: &str, open: &dyn Fn(&Path) -> Result<(), PathBuf>) {
        // Nothing is judged for anybody else.
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
fn a_state_directory_is_judged_with_all_that_is_above_it() {
    let world = World::new();
    let open = |path: &Path| match StateDir::open(path) {
        Ok(_) => Ok(()),
        Err(state::Error::Exposed { above, .. }) => Err(above),
        Err(other) => panic!("{other}"),
    };
    world.is_judged("state", &open);

    // Nothing is made before.
    let world = World::new();
    world.mode("above", 0o777);
    if rustix::process::geteuid().is_root() {
        assert!(open(&world.path("above/new/state")).is_err());
        assert!(!world.path("above/new").exists());
    }
    world.mode("above", 0o755);
    open(&world.path("above/new/state")).unwrap();
}

#[test]
fn a_file_of_signers_is_judged_with_all_that_is_above_it() {
    let world = World::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHfLOPWNuSQ1N0qMJmnJPqTtvhRvM5cGNV+Vg5ZgIPiq";
    let file = world.path("above/below/signers");
    fs::write(&file, format!("me@example.org {key}\n")).unwrap();
    world.mode("above/below/signers", 0o644);
    let load = |path: &Path| match Signers::load(path, &Env::empty(), &Arc::default()) {
        Ok(_) => Ok(()),
        Err(signature::Error::File(Untrusted {
            refusal: UntrustedReason::Exposed(above),
            ..
        })) => Err(above),
        Err(other) => panic!("{other}"),
    };
    world.is_judged("signers", &load);

    // A link to the file leads through other directories, which count as well.
    let elsewhere = world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&file, elsewhere.join("signers")).unwrap();
    load(&elsewhere.join("signers")).unwrap();
    world.mode("above", 0o777);
    if rustix::process::geteuid().is_root() {
        assert_eq!(load(&elsewhere.join("signers")), Err(world.path("above")));
    }
}

#[test]
fn a_token_file_is_judged_with_all_that_is_above_it() {
    let world = World::new();
    fs::write(world.path("above/below/token"), "ghp_x\n").unwrap();
    world.mode("above/below/token", 0o600);
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
    world.is_judged("token", &find);
}

#[test]
fn packs_go_to_the_store_that_was_opened_whatever_stands_at_its_path_later() {
    let world = World::new();
    let state = world.path("above/below");
    let store = Store::open(&state, 1 << 20).unwrap();
    fs::rename(state.join("objects.git"), world.path("moved")).unwrap();
    fs::create_dir_all(world.path("trap/objects/pack")).unwrap();
    symlink(world.path("trap"), state.join("objects.git")).unwrap();
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
        fs::read_dir(world.path(path).join("objects/pack"))
            .unwrap()
            .count()
    };
    assert_eq!((packs("moved"), packs("trap")), (2, 0));
    drop(store);

    // The link is no store, and is replaced; what it leads to is left alone.
    let store = Store::open(&state, 1 << 20).unwrap();
    assert!(store.was_rebuilt());
    assert!(!state.join("objects.git").is_symlink());
    assert_eq!(packs("trap"), 0);
}
