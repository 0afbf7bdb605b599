//! Why a commit's signature, or the file of keys, is refused.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::exit::Exit;
use crate::git::CommitId;
use crate::process::End;
use crate::text;
use crate::vetted::Untrusted;

/// A signature that is not good enough, or cannot be checked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The file of keys is not read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] Untrusted),
    /// Neither of the two kinds of file, or a broken one.
    #[error("the file of signers `{}` {problem}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::signature::content),
        help(
            "give lines of `name key-type key` (see ALLOWED SIGNERS in `man ssh-keygen`), or what `gpg --export` prints; nothing was written"
        )
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A line of an `allowed_signers` file.
    #[error("line {line} of the file of signers `{}` {problem}", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::signature::line),
        help(
            "a line is `name key-type key`, with options such as `valid-before=\"20270101Z\"` after the name; nothing was written"
        )
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `ssh-keygen` or `gpgv` cannot be started.
    #[error("cannot run `{program}`")]
    #[diagnostic(
        code(hyper_sync::signature::program),
        help(
            "`trust.signers` needs it to check signatures ({}); install it, or put it into the search path; nothing was written",
            super::program::package(.program)
        )
    )]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// `ssh-keygen` or `gpgv` was ended before it printed a result.
    #[error("`{program}` did not check the signature: {end}")]
    #[diagnostic(
        code(hyper_sync::signature::unfinished),
        help(
            "run it again, with more memory if it was killed for that; if it ends so each time, update the program ({}) and inspect the commit; nothing was written",
            super::program::package(.program)
        )
    )]
    Unfinished {
        /// Its name.
        program: &'static str,
        /// How it ended.
        end: End,
    },
    /// Stopped by a signal.
    #[error("stopped by a signal")]
    #[diagnostic(
        code(hyper_sync::signature::interrupted),
        help("nothing was written; run again to go on")
    )]
    Interrupted,
    /// The files that it reads cannot be written.
    #[error("cannot write `{}`", text::path(.path))]
    #[diagnostic(
        code(hyper_sync::signature::scratch),
        help("check the file system of the state directory; nothing was written to the target")
    )]
    Scratch {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// No signature at all.
    #[error("commit {commit} is not signed")]
    #[diagnostic(
        code(hyper_sync::signature::unsigned),
        help(
            "`trust.signers` lets only signed commits pass: sign it (`git commit --amend -S`) and push; nothing was written"
        )
    )]
    Unsigned {
        /// The commit.
        commit: CommitId,
    },
    /// A signature of a kind that the file lists no keys for.
    #[error("commit {commit} has {signed}, and the signers are {listed}")]
    #[diagnostic(
        code(hyper_sync::signature::other_format),
        help(
            "sign with a listed key, or list the signer's key: a file holds either SSH or OpenPGP keys; nothing was written"
        )
    )]
    OtherFormat {
        /// The commit.
        commit: CommitId,
        /// What it has.
        signed: &'static str,
        /// What is listed.
        listed: &'static str,
    },
    /// More than one signature: nothing defines which one counts.
    #[error("commit {commit} has more than one signature")]
    #[diagnostic(
        code(hyper_sync::signature::several),
        help("sign it once, with one key; nothing was written")
    )]
    Several {
        /// The commit.
        commit: CommitId,
    },
    /// The signature is not valid.
    #[error("commit {commit} has a bad signature: {}", text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::signature::bad),
        help("do not trust this commit before you know who made it; nothing was written")
    )]
    Bad {
        /// The commit.
        commit: CommitId,
        /// What is wrong.
        cause: String,
    },
    /// By somebody whose key is not in the file.
    #[error("commit {commit} is signed by {}, which is not among the signers", text::name(.key))]
    #[diagnostic(
        code(hyper_sync::signature::unlisted),
        help(
            "if you trust this key, add it to the file of `trust.signers`; else do not trust this commit; nothing was written"
        )
    )]
    Unlisted {
        /// The commit.
        commit: CommitId,
        /// The key's fingerprint.
        key: String,
    },
    /// By a listed key that is expired, not yet valid, revoked, or listed for something else.
    #[error("commit {commit} is signed by {}, which may not sign it: {}", text::name(.key), text::words(.cause))]
    #[diagnostic(
        code(hyper_sync::signature::key_refused),
        help(
            "sign with a key that is valid, or renew the key in the file of `trust.signers`; nothing was written"
        )
    )]
    KeyRefused {
        /// The commit.
        commit: CommitId,
        /// The key's fingerprint.
        key: String,
        /// Why.
        cause: String,
    },
    /// The bytes that were signed are not here.
    #[error(
        "the signature of commit {commit} cannot be checked: the remote did not give the commit's own bytes"
    )]
    #[diagnostic(
        code(hyper_sync::signature::unavailable),
        help(
            "the API cannot give them for every commit: use `--transport git`; nothing was written"
        )
    )]
    Unavailable {
        /// The commit.
        commit: CommitId,
    },
}

impl Error {
    /// The exit code of a run that it ends.
    ///
    /// A file of signers that cannot be used is a matter of configuration; a commit that none of them signed, of the commit.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File(_) | Self::Content { .. } | Self::Line { .. } | Self::Program { .. } => {
                Exit::Configuration
            }
            Self::Scratch { .. } => Exit::FileSystem,
            Self::Interrupted => Exit::Interrupted,
            Self::Unfinished { .. }
            | Self::Unsigned { .. }
            | Self::OtherFormat { .. }
            | Self::Several { .. }
            | Self::Bad { .. }
            | Self::Unlisted { .. }
            | Self::KeyRefused { .. }
            | Self::Unavailable { .. } => Exit::Verification,
        }
    }
}
