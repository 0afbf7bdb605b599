//! Signatures of commits: real `ssh-keygen` signs, and real OpenPGP signatures are in `tests/data`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_sync::exit::Exit;
use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, Commit, CommitId, Oid, Tree};
use hyper_sync::objects::Store;
use hyper_sync::scan;
use hyper_sync::settings::{Env, Limits, Symlinks};
use hyper_sync::signature::{self, Signers};
use hyper_sync::source::{
    Ahead, Depth, Error, Interrupt, Need, Obtained, Provenance, ResolvedRef, Route, Source, Staged,
    Traffic, VerificationPolicy, prove,
};

use crate::common::env::Sandbox;
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

/// The time of the commits that [`SignedRepo::commit`] makes; see `tests/common/repo.rs`.
const COMMITTED: &str = "2025-10-09T08:54:20Z";

/// A repository, keys, and a store that commits of the repository are staged in.
struct SignedRepo {
    repo: Repo,
    directory: tempfile::TempDir,
    store: Store,
}

impl SignedRepo {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("state"), Limits::default().blob).unwrap();
        Self {
            repo: Repo::small(),
            directory,
            store,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a key pair and returns the public one as `kind base64`.
    fn key(&self, name: &str) -> String {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
        git::succeeds(make.arg(self.path(name)));
        let public = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        public.trim_end().to_owned()
    }

    /// Signs as git does, or for something else.
    fn sign(&self, key: &str, namespace: &str, payload: &[u8]) -> String {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(self.path(key));
        String::from_utf8(git::feed(&mut sign, payload)).unwrap()
    }

    fn commit(&self, sign: impl FnOnce(&[u8]) -> String) -> CommitId {
        let tree = self.repo.id("main^{tree}");
        let commit = self.repo.signed_commit(&tree, &[], "signed", sign);
        commit.parse().unwrap()
    }

    /// A commit with a good signature by a key.
    fn signed_by(&self, key: &str) -> CommitId {
        self.commit(|payload| self.sign(key, "git", payload))
    }

    fn signers(&self, content: impl AsRef<[u8]>) -> Result<Signers, signature::Error> {
        fs::write(self.path("signers"), content).unwrap();
        fs::set_permissions(self.path("signers"), fs::Permissions::from_mode(0o644)).unwrap();
        Signers::load(&self.path("signers"), &env(), &Interrupt::default())
    }

    /// Stages a commit: who has signed it by these signers.
    fn stage(&self, commit: CommitId, signers: &Signers) -> Result<String, Error> {
        let staged = self.stage_with(commit, Some(signers), &Forge::honest(&self.repo))?;
        let signer = staged.signer().expect("a signature was asked for");
        Ok(format!("{} {}", signer.name, signer.key))
    }

    fn stage_with(
        &self,
        commit: CommitId,
        signers: Option<&Signers>,
        source: &Forge<'_>,
    ) -> Result<Staged<'_>, Error> {
        let terms = VerificationPolicy {
            limits: Limits::default(),
            symlinks: Symlinks::Any,
            signers,
            ignores_case: false,
            managed: &|tree: &Tree| tree.files().clone(),
        };
        let obtained = source.obtain(commit, None, &self.store, &Nothing)?;
        let remote = source.describe();
        prove(
            &self.store,
            obtained,
            Depth::Content,
            &Nothing,
            &terms,
            &remote,
        )
    }

    /// Whether real git accepts the same commit by the same file, in UTC.
    fn git_accepts(&self, commit: CommitId) -> bool {
        let setting = format!(
            "gpg.ssh.allowedSignersFile={}",
            self.path("signers").display()
        );
        let mut verify = self.repo.git();
        verify.args(["-c", &setting, "verify-commit", &commit.to_string()]);
        git::output(&mut verify).status.success()
    }
}

/// A remote that hands out a repository's objects.
struct Forge<'a> {
    repo: &'a Repo,
    /// Whether it sends the commit itself, or only its fields.
    gives_commit: bool,
    asked: AtomicU64,
}

impl<'a> Forge<'a> {
    fn honest(repo: &'a Repo) -> Self {
        Self {
            repo,
            gives_commit: true,
            asked: AtomicU64::new(0),
        }
    }
}

impl Source for Forge<'_> {
    fn resolve(&self, _: &str) -> Result<ResolvedRef, Error> {
        unreachable!("the tests name commits")
    }

    fn obtain(
        &self,
        id: CommitId,
        _: Option<CommitId>,
        store: &Store,
        _: &dyn Need,
    ) -> Result<Obtained, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let raw = self.repo.cat(&id.to_string());
        let commit = Commit::verify(id, &raw).unwrap();
        let mut writer = store.writer()?;
        if self.gives_commit {
            writer.add(ObjectKind::Commit, id.0, &raw)?;
        }
        let objects = self
            .repo
            .git()
            .args(["rev-list", "--objects", &format!("{id}^{{tree}}")])
            .output()
            .unwrap();
        for line in String::from_utf8(objects.stdout).unwrap().lines() {
            let hex = line.split(' ').next().unwrap();
            let kind = match self.repo.info(hex).unwrap().kind.as_str() {
                "tree" => ObjectKind::Tree,
                _ => ObjectKind::Blob,
            };
            let oid: Oid = hex.parse().unwrap();
            writer.add(kind, oid, &self.repo.cat(hex))?;
        }
        writer.finish()?;
        Ok(Obtained {
            commit: Provenance::FromForge(commit),
            route: Route::SelectApi,
            fallbacks: Vec::new(),
            blobs: 0,
            tree: None,
        })
    }

    fn descends(&self, _: &Commit, _: CommitId, _: &Store) -> Result<bool, Error> {
        unreachable!("the tests stage one commit")
    }

    fn ahead(&self, _: CommitId, _: CommitId, _: &Store) -> Result<Ahead, Error> {
        unreachable!("the tests stage one commit")
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    fn describe(&self) -> String {
        "the test's repository".to_owned()
    }
}

/// A target that has no file at all.
struct Nothing;

impl Need for Nothing {
    fn missing(&self, _: &Tree) -> Result<Vec<BlobId>, scan::Error> {
        Ok(Vec::new())
    }

    fn content(&self, _: BlobId) -> Option<Vec<u8>> {
        None
    }
}

fn env() -> Env {
    Env::empty().with("PATH", std::env::var_os("PATH").unwrap())
}

/// The code of an error that must end with exit code 6, and its message.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, String) {
    let error = hyper_sync::Error::from(result.unwrap_err());
    assert_eq!(Exit::from(&error), Exit::Verification, "{error}");
    (code(&error), error.to_string())
}

fn code(error: &dyn miette::Diagnostic) -> String {
    let code = error.code().unwrap().to_string();
    code.strip_prefix("hyper_sync::signature::").unwrap().into()
}

fn fingerprint(world: &SignedRepo, key: &str) -> String {
    let mut list = Command::new("ssh-keygen");
    let line = git::line(list.arg("-lf").arg(world.path(key)));
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_commit_signed_by_a_listed_key_passes() {
    let world = SignedRepo::new();
    let (ada, bob) = (world.key("ada"), world.key("bob"));
    let signers = format!(
        "# people\n\nbob@example.org {bob}\n\"ada@example.org\" namespaces=\"file,git\" {ada} laptop\n"
    );
    let signers = world.signers(signers).unwrap();
    let commit = world.signed_by("ada");
    assert_eq!(
        world.stage(commit, &signers).unwrap(),
        format!("ada@example.org {}", fingerprint(&world, "ada"))
    );
    assert!(world.git_accepts(commit));
    let left = fs::read_dir(world.store.path()).unwrap();
    let names = left.map(|entry| entry.unwrap().file_name());
    assert!(
        !names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with(".tmp"))
    );
}

#[test]
fn without_signers_no_signature_is_checked() {
    let world = SignedRepo::new();
    let commit = world.commit(|_| "-----BEGIN SSH SIGNATURE-----\nnonsense".to_owned());
    let forge = Forge::honest(&world.repo);
    let staged = world.stage_with(commit, None, &forge).unwrap();
    assert_eq!(staged.signer(), None);
}

#[test]
fn an_unsigned_commit_is_refused_also_when_the_store_has_it_already() {
    let world = SignedRepo::new();
    let key = world.key("ada");
    let commit: CommitId = world.repo.tip().unwrap().parse().unwrap();
    let forge = Forge::honest(&world.repo);
    drop(world.stage_with(commit, None, &forge).unwrap());
    let signers = world.signers(format!("ada {key}")).unwrap();
    let (code, message) = refusal(world.stage_with(commit, Some(&signers), &forge));
    assert_eq!(code, "unsigned");
    assert_eq!(message, format!("commit {commit} is not signed"));
}

#[test]
fn a_key_that_is_not_listed_is_named() {
    let world = SignedRepo::new();
    let (ada, _) = (world.key("ada"), world.key("mallory"));
    let signers = world.signers(format!("* {ada}")).unwrap();
    let commit = world.signed_by("mallory");
    let (code, message) = refusal(world.stage(commit, &signers));
    assert_eq!(code, "unlisted");
    let key = fingerprint(&world, "mallory");
    assert_eq!(
        message,
        format!("commit {commit} is signed by {key}, which is not among the signers")
    );
    assert!(!world.git_accepts(commit));
}

#[test]
fn a_signature_of_something_else_is_bad() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let altered = world.commit(|payload| {
        let text = String::from_utf8(payload.to_vec()).unwrap();
        world.sign("ada", "git", text.replace("signed", "singed").as_bytes())
    });
    let (code, message) = refusal(world.stage(altered, &signers));
    assert_eq!(code, "bad");
    let expected = format!("commit {altered} has a bad signature: ");
    assert!(message.starts_with(&expected), "{message}");
    assert!(!world.git_accepts(altered));
}

#[test]
fn a_signature_made_for_files_is_bad_for_a_commit() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let commit = world.commit(|payload| world.sign("ada", "file", payload));
    let (code, message) = refusal(world.stage(commit, &signers));
    assert_eq!(code, "bad");
    let expected = format!("commit {commit} has a bad signature: ");
    assert!(message.starts_with(&expected), "{message}");
    assert!(!world.git_accepts(commit));
}

#[test]
fn a_key_listed_for_files_signs_no_commits() {
    let world = SignedRepo::new();
    let key = world.key("ada");
    let signers = world
        .signers(format!("\nada namespaces=\"file\" {key}"))
        .unwrap();
    let commit = world.signed_by("ada");
    let (code, message) = refusal(world.stage(commit, &signers));
    assert_eq!(code, "key_refused");
    let key = fingerprint(&world, "ada");
    let expected = format!("commit {commit} is signed by {key}, which may not sign it: line 2: ");
    assert!(message.starts_with(&expected), "{message}");
    assert!(!world.git_accepts(commit));
}

#[test]
fn validity_is_checked_at_the_commits_time_as_git_does() {
    let world = SignedRepo::new();
    let key = world.key("ada");
    let commit = world.signed_by("ada");
    let when = git::line(world.repo.git().args([
        "log",
        "-1",
        "--date=format:%Y-%m-%dT%H:%M:%S%z",
        "--format=%cI",
        &commit.to_string(),
    ]));
    let when: jiff::Timestamp = when.parse().unwrap();
    assert_eq!(when.to_string(), COMMITTED);
    for (options, passes) in [
        ("valid-before=\"20251009085420Z\"", true),
        ("valid-before=\"20251009085419Z\"", false),
        ("valid-after=\"20251009085420Z\"", true),
        ("valid-after=\"20251009085421Z\"", false),
        (
            "valid-after=\"20250101Z\",valid-before=\"20251009Z\"",
            false,
        ),
        ("VALID-AFTER=\"20250101Z\",valid-before=\"20251010Z\"", true),
    ] {
        let signers = world.signers(format!("ada {options} {key}\n")).unwrap();
        let staged = world.stage(commit, &signers);
        assert_eq!(staged.is_ok(), passes, "{options}");
        assert_eq!(world.git_accepts(commit), passes, "git, {options}");
        if !passes {
            assert_eq!(refusal(staged).0, "key_refused", "{options}");
        }
    }
    // Another line of the same key counts too.
    let both = format!("ada valid-before=\"2020\" {key}\nada {key}\n");
    let both = both.replace("\"2020\"", "\"20200101Z\"");
    assert!(world.stage(commit, &world.signers(both).unwrap()).is_ok());
}

#[test]
fn an_expired_key_is_distinguished_from_an_unlisted_one() {
    let world = SignedRepo::new();
    let key = world.key("ada");
    let signers = format!("# ada has left\nada valid-before=\"20240101Z\" {key}");
    let signers = world.signers(signers).unwrap();
    let commit = world.signed_by("ada");
    let (code, message) = refusal(world.stage(commit, &signers));
    assert_eq!(code, "key_refused");
    let key = fingerprint(&world, "ada");
    let expected = format!(
        "commit {commit} is signed by {key}, which may not sign it: line 2: key has expired"
    );
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn a_commit_with_several_signatures_is_refused() {
    let world = SignedRepo::new();
    let (ada, bob) = (world.key("ada"), world.key("bob"));
    let signers = world.signers(format!("ada {ada}\nbob {bob}")).unwrap();
    let commit = world
        .commit(|payload| world.sign("ada", "git", payload) + &world.sign("bob", "git", payload));
    assert_eq!(refusal(world.stage(commit, &signers)).0, "several");

    let raw = String::from_utf8(world.repo.cat(&world.signed_by("ada").to_string())).unwrap();
    let header = &raw[raw.find("gpgsig").unwrap()..raw.find("\n\n").unwrap()];
    let twice = raw.replace(header, &format!("{header}\n{header}"));
    let twice = world.repo.object("commit", twice.as_bytes());
    assert_eq!(
        refusal(world.stage(twice.parse().unwrap(), &signers)).0,
        "several"
    );
}

#[test]
fn the_signature_of_the_sha256_form_is_left_out_of_what_is_signed_as_git_does() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let raw = String::from_utf8(world.repo.cat(&world.signed_by("ada").to_string())).unwrap();
    let twin = raw.replace("gpgsig -", "gpgsig-sha256 x\n y\ngpgsig -");
    let twin = world.repo.object("commit", twin.as_bytes());
    let twin: CommitId = twin.parse().unwrap();
    assert!(world.stage(twin, &signers).is_ok());
    assert!(world.git_accepts(twin));
    // Any other header is signed.
    let more = raw.replace("gpgsig -", "x y\ngpgsig -");
    let more = world.repo.object("commit", more.as_bytes());
    let more: CommitId = more.parse().unwrap();
    assert_eq!(refusal(world.stage(more, &signers)).0, "bad");
    assert!(!world.git_accepts(more));
}

#[test]
fn a_commit_that_git_signed_passes() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let sign = format!("user.signingKey={}", world.path("ada").display());
    let commit = git::line(world.repo.git().args([
        "-c",
        "gpg.format=ssh",
        "-c",
        &sign,
        "commit-tree",
        "-S",
        "-m",
        "by git\n\nwith a body",
        "main^{tree}",
        "-p",
        "main",
    ]));
    let commit = commit.parse().unwrap();
    let signer = format!("ada {}", fingerprint(&world, "ada"));
    assert_eq!(world.stage(commit, &signers).unwrap(), signer);
    assert!(world.git_accepts(commit));
    let others = world.signers(format!("bob {}", world.key("bob"))).unwrap();
    assert_eq!(refusal(world.stage(commit, &others)).0, "unlisted");
    assert!(!world.git_accepts(commit));
}

#[test]
fn damaged_signatures_are_bad() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let begin = "-----BEGIN SSH SIGNATURE-----\n";
    let end = "-----END SSH SIGNATURE-----";
    for signature in [
        format!("{begin}{end}"),
        format!("{begin}AAAA\n{end}"),
        format!("{begin}U1NIU0lHAAAAAQ==\n{end}"),
        format!("{begin}not base64\n{end}"),
        begin.to_owned(),
    ] {
        let commit = world.commit(|_| signature.clone());
        assert_eq!(
            refusal(world.stage(commit, &signers)).0,
            "bad",
            "{signature}"
        );
    }
    let cut = world.commit(|payload| {
        let signature = world.sign("ada", "git", payload);
        let lines: Vec<&str> = signature.lines().collect();
        [&lines[..3], &lines[lines.len() - 1..]].concat().join("\n")
    });
    assert_eq!(refusal(world.stage(cut, &signers)).0, "bad");
}

#[test]
fn signatures_of_another_kind_are_named() {
    let world = SignedRepo::new();
    let ssh = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let pgp = world.commit(|_| data("good.asc"));
    let (code, message) = refusal(world.stage(pgp, &ssh));
    assert_eq!(code, "other_format");
    insta::assert_snapshot!(
        message.replace(&pgp.to_string(), "[id]"),
        @"commit [id] has an OpenPGP signature, and the signers are SSH keys"
    );
    for begin in ["PGP MESSAGE", "SIGNED MESSAGE"] {
        let commit = world.commit(|_| format!("-----BEGIN {begin}-----\nx\n-----END {begin}-----"));
        assert_eq!(refusal(world.stage(commit, &ssh)).0, "other_format");
    }
    let keyring = world.signers(data("keys.asc")).unwrap();
    let commit = world.signed_by("ada");
    assert_eq!(refusal(world.stage(commit, &keyring)).0, "other_format");
}

#[test]
fn a_commit_without_its_own_bytes_is_refused() {
    let world = SignedRepo::new();
    let signers = world.signers(format!("ada {}", world.key("ada"))).unwrap();
    let commit = world.signed_by("ada");
    let forge = Forge {
        gives_commit: false,
        ..Forge::honest(&world.repo)
    };
    let (code, _) = refusal(world.stage_with(commit, Some(&signers), &forge));
    assert_eq!(code, "unavailable");
    assert!(world.stage_with(commit, None, &forge).is_ok());
    assert_eq!(forge.asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_signers_file_that_is_not_a_trusted_file_is_refused() {
    let world = SignedRepo::new();
    let key = world.key("ada");
    let load = |path: &Path| {
        let error = Signers::load(path, &env(), &Interrupt::default()).unwrap_err();
        let code = code(&error);
        let error = hyper_sync::Error::from(error);
        assert_eq!(Exit::from(&error), Exit::Configuration);
        code
    };
    let path = world.path("signers");
    assert_eq!(load(&path), "missing");
    assert_eq!(load(world.directory.path()), "not_a_file");
    world.signers(format!("ada {key}")).unwrap();
    for mode in [0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(load(&path), "mode");
    }
    for (content, expected) in [
        (&b""[..], "content"),
        (b"# nobody\n", "content"),
        (b"\xff\xfe\0", "content"),
        (b"ada oops\n", "line"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "content"),
    ] {
        assert_eq!(code(&world.signers(content).unwrap_err()), expected);
    }
    // As NixOS lays out `/etc`.
    world.signers(format!("ada {key}")).unwrap();
    let link = world.path("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Signers::load(&link, &env(), &Interrupt::default()).is_ok());
}

/// A commit and its signers for each of the two kinds of key, with this script as `ssh-keygen` and `gpgv`.
fn with_programs(script: &str) -> (Sandbox, [(SignedRepo, CommitId, Signers, &'static str); 2]) {
    let machine = Sandbox::new();
    machine.tool("ssh-keygen", script).tool("gpgv", script);
    let env = Env::empty().with("PATH", machine.root().join("bin"));
    let ssh = SignedRepo::new();
    let key = ssh.key("ada");
    let commit = ssh.signed_by("ada");
    ssh.signers(format!("ada {key}")).unwrap();
    let (pgp, pgp_commit) = with_openpgp("good.asc");
    pgp.signers(data("keys.asc")).unwrap();
    let worlds = [(ssh, commit, "ssh-keygen"), (pgp, pgp_commit, "gpgv")];
    let worlds = worlds.map(|(world, commit, program)| {
        let path = world.path("signers");
        let signers = Signers::load(&path, &env, &Interrupt::default()).unwrap();
        assert_eq!(signers.program(), program);
        (world, commit, signers, program)
    });
    (machine, worlds)
}

#[test]
fn a_program_that_cannot_run_is_named() {
    let (machine, worlds) = with_programs("");
    for (world, commit, signers, program) in worlds {
        let path = machine.root().join("bin").join(program);
        fs::write(&path, "#!/nonexistent/shell\n").unwrap();
        let error = hyper_sync::Error::from(world.stage(commit, &signers).unwrap_err());
        assert_eq!(code(&error), "program");
        assert_eq!(error.to_string(), format!("cannot run `{program}`"));
        assert_eq!(Exit::from(&error), Exit::Configuration);
    }
}

#[test]
fn a_program_that_does_not_end_or_is_killed_has_checked_nothing() {
    let fifo = Sandbox::new();
    let path = fifo.root().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Opening it waits for a writer, and there is none.
    let hangs = format!("read never < {}", path.display());
    for (script, end) in [
        (hangs.as_str(), "timed out"),
        ("kill -9 $$", "killed by signal 9"),
    ] {
        let (_machine, worlds) = with_programs(script);
        for (world, commit, signers, program) in worlds {
            let signers = signers.time_limit(Duration::from_millis(200));
            let (code, message) = refusal(world.stage(commit, &signers));
            assert_eq!(code, "unfinished");
            let expected = format!("`{program}` did not check the signature: {end}");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    let (machine, worlds) = with_programs(&hangs);
    let env = Env::empty().with("PATH", machine.root().join("bin"));
    for (world, commit, _, _) in worlds {
        let signers = Signers::load(&world.path("signers"), &env, &Arc::new(true.into()));
        let error = world.stage(commit, &signers.unwrap()).unwrap_err();
        let error = hyper_sync::Error::from(error);
        assert_eq!(code(&error), "interrupted");
        assert_eq!(Exit::from(&error), Exit::Interrupted);
    }
}

/// A file of `tests/data/openpgp`.
fn data(name: &str) -> String {
    fs::read_to_string(Path::new("tests/data/openpgp").join(name)).unwrap()
}

/// The commit that the signatures of `tests/data/openpgp` are for, with one of them.
fn with_openpgp(name: &str) -> (SignedRepo, CommitId) {
    let world = SignedRepo::new();
    let commit = world.commit(|payload| {
        let expected = fs::read("tests/data/openpgp/payload").unwrap();
        assert_eq!(
            String::from_utf8_lossy(payload),
            String::from_utf8_lossy(&expected)
        );
        data(name)
    });
    (world, commit)
}

#[test]
fn an_openpgp_signature_by_a_key_of_the_keyring_passes() {
    let (world, commit) = with_openpgp("good.asc");
    let binary = fs::read("tests/data/openpgp/keys.gpg").unwrap();
    let armored = data("keys.asc");
    let blocks = format!(
        "Ours:\n{armored}\nand again:\n{}",
        armored.replace('\n', "\r\n")
    );
    let mut signer = String::new();
    for content in [binary, armored.into_bytes(), blocks.into_bytes()] {
        let signers = world.signers(content).unwrap();
        signer = world.stage(commit, &signers).unwrap();
        assert!(signer.starts_with("good <good@example.org> "), "{signer}");
    }
    // A subkey's signature is its primary key's.
    let (world, commit) = with_openpgp("subkey.asc");
    let signers = world.signers(data("keys.asc")).unwrap();
    assert_eq!(world.stage(commit, &signers).unwrap(), signer);
}

fn without_fingerprints(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let bare = word.trim_end_matches(',');
        if bare.len() == 40 && bare.chars().all(|c| c.is_ascii_hexdigit()) {
            word.replace(bare, "[key]")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_other_openpgp_signature_is_refused() {
    let mut seen = String::new();
    for name in ["other", "revoked", "expired", "sha1", "text", "two"] {
        let (world, commit) = with_openpgp(&format!("{name}.asc"));
        let signers = world.signers(data("keys.asc")).unwrap();
        let (code, message) = refusal(world.stage(commit, &signers));
        let message = without_fingerprints(&message.replace(&commit.to_string(), "[id]"));
        let _ = writeln!(seen, "{name}: {code}: {message}");
    }
    insta::assert_snapshot!(seen, @"
    other: unlisted: commit [id] is signed by [key], which is not among the signers
    revoked: key_refused: commit [id] is signed by [key], which may not sign it: the key is revoked
    expired: key_refused: commit [id] is signed by [key], which may not sign it: the key has expired
    sha1: bad: commit [id] has a bad signature: its hash algorithm is broken
    text: bad: commit [id] has a bad signature: it does not sign the exact bytes
    two: several: commit [id] has more than one signature
    ");
    // A signed message of the signer is not a signature of this commit.
    let (world, commit) = with_openpgp("inline.asc");
    let signers = world.signers(data("keys.asc")).unwrap();
    assert_eq!(refusal(world.stage(commit, &signers)).0, "bad");
}

#[test]
fn an_altered_commit_has_a_bad_openpgp_signature() {
    let world = SignedRepo::new();
    let tree = world.repo.id("main^{tree}");
    let commit = world
        .repo
        .signed_commit(&tree, &[], "singed", |_| data("good.asc"));
    let signers = world.signers(data("keys.asc")).unwrap();
    let (code, message) = refusal(world.stage(commit.parse().unwrap(), &signers));
    assert_eq!(code, "bad");
    assert!(
        message.ends_with("the commit is not what was signed"),
        "{message}"
    );
    let nonsense = world.repo.signed_commit(&tree, &[], "x", |_| {
        "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----".to_owned()
    });
    assert_eq!(
        refusal(world.stage(nonsense.parse().unwrap(), &signers)).0,
        "bad"
    );
}

#[test]
fn a_sync_applies_signed_commits_and_refuses_all_others() {
    let world = SignedRepo::new();
    let repo = &world.repo;
    let sandbox = Sandbox::new();
    sandbox.link_tool("ssh-keygen");
    let key = world.key("ada");
    let signers = sandbox.root().join("signers");
    fs::write(&signers, format!("ada@example.org {key}\n")).unwrap();
    fs::set_permissions(&signers, fs::Permissions::from_mode(0o644)).unwrap();
    sandbox.mask(&fingerprint(&world, "ada"), "[key]");
    let trusting = format!(
        "local_edits = 'refuse'\n[trust]\nsigners = '{}'",
        signers.display()
    );
    sandbox.follow(repo, &trusting);
    let sign = |message: &str| {
        let tip = repo.tip().unwrap();
        let commit = repo.signed_commit(&repo.id("main^{tree}"), &[&tip], message, |payload| {
            world.sign("ada", "git", payload)
        });
        repo.update_ref("refs/heads/main", &commit);
        sandbox.mask_id(&commit, message);
        commit
    };

    sandbox.mask_id(&repo.id("main"), "start");
    insta::assert_snapshot!(sandbox.run(&["sync"]).masked(), @"
    exit: 6
    --- stderr
    error: commit [start] is not signed
    help: `trust.signers` lets only signed commits pass: sign it (`git commit --amend -S`) and push; nothing was written
    [signature::unsigned]
    ");
    assert!(!sandbox.target().exists());

    let first = sign("first");
    let printed = sandbox.run(&["sync"]).ok().out();
    assert!(
        printed.contains("\n  signed by ada@example.org ([key])\n"),
        "{printed}"
    );
    sandbox
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(repo, &first));

    repo.write("flake.nix", "{ evil = true; }").commit("second");
    sandbox.mask_id(&repo.id("main"), "second");
    for mode in ["--check-only", "--dry-run", "--force-full"] {
        let refused = sandbox.run(&["sync", mode]).code(6);
        assert!(
            refused.err().contains("signature::unsigned"),
            "{}",
            refused.err()
        );
        sandbox
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(repo, &first));
    }

    let third = sign("third");
    let report = sandbox.run(&["sync", "--json"]).ok().json();
    assert_eq!(report["commit"], third.as_str());
    assert_eq!(report["signer"]["name"], "ada@example.org");
    sandbox
        .target_tree()
        .assert_same(&TreeSnapshot::of_commit(repo, &third));

    fs::remove_file(&signers).unwrap();
    insta::assert_snapshot!(sandbox.run(&["sync"]).masked(), @"
    exit: 2
    --- stderr
    error: the file of signers `[root]/signers` does not exist
    help: create it, or take `trust.signers` out of the settings; nothing was written
    [signature::missing]
    ");
}
