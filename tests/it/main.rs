//! The integration tests: one binary, one module an area.
//!
//! Where to add a test: beside the code when it is pure; here, in the module of its area, when it touches files,
//! a server or the real binary. What several areas need lives in `tests/common`. Each `mod` below says what belongs
//! there; CONTRIBUTING.md says which fixture to take.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

/// What several areas share. A function that no area uses yet is not a mistake here.
#[path = "../common/mod.rs"]
mod common;

mod above; // owners and modes of what is above the state directory, token and signers
mod adopt; // the first sync of a directory that has files: work trees of git, `--base`, `init`
mod advice; // what the help of an error advises, done
mod apply; // the transaction by the library: each kind of change, without crashes
mod check; // the command `check`
mod completions; // completions, in the shells themselves
mod conflicts; // local edits that stop an update: previews, and each way out done
mod damage; // each file of the state directory cut, flipped, removed: the next run of the binary
mod defects; // one test for each defect of the old scripts; nothing else
mod diff; // the command `diff`
mod docs; // documents and tables against the program: links, layers, state directory, this list
mod errors; // each error as it is printed; a new error needs an example here
mod fleet; // a thousand machines on a simulated clock: the tables of docs/fleets.md
mod forge; // the forge and its repositories against real git: tests of the fixtures
mod health; // the command `health`, and each kind of check
mod help; // what `--help` prints, word for word
mod hooks; // `[hooks]`: what gets the report of a run
mod hostile; // a choice of `cargo test --test hostile`
mod http; // the HTTP client: redirects, retries, limits, proxies, TLS
mod kill; // death and failing calls in some kinds of update; `tests/matrix` has all
mod lock; // two runs at one time, by the library
mod log; // the commits of the target, and the pager
mod manual; // manual pages
mod merge; // `local_edits = "merge"`, and the other commands over a merged file
mod metrics; // the file for Prometheus
mod modes; // modes of files in the target that no commit has
mod module; // options and defaults of the NixOS module, read as text
mod names; // deceiving names and link targets, by every route
mod no_rebuild; // `rebuild.action = "none"`
mod notices; // what a sync mentions about a commit, and when
mod objects; // the object store, with git as the reference
mod older_state; // state directories that earlier versions wrote
mod overdue; // syncs that do not reach the repository, and the command `overdue`
mod parallel; // many runs of the binary at once, and runs with nothing to do
mod patterns; // globs of settings against a .gitignore of git
mod policies; // local edits under each policy: the rows of docs/local-edits.md
mod power; // power cuts: only what was made durable is left
mod programs; // what scripts rely on: JSON on stdout, the published state file
mod reads; // FIFOs, endless and huge files, and links that lead out, wherever a file is read
mod rebuild; // the rebuild against fake programs; with real Nix: `tests/nix`
mod recover; // recovery with damaged or foreign records and edits since the crash
mod reference; // synced targets against a checkout by git
mod repack; // the size of the object store over many updates
mod rollback; // the commands `history`, `rollback` and `restore`, and the hold
mod routes; // each route over each kind of host by the binary: cost, fallbacks, secrets
mod scan; // what the scan of a target finds and remembers
mod screens; // what is printed on a terminal of some width
mod search; // how programs are found
mod settings; // the command `config`, and wrong settings
mod settled; // runs of an unchanged branch over an unchanged target
mod signals; // signals and closed outputs
mod signature; // signatures of commits, with real programs
mod source_git; // answers of git servers, by the library
mod source_github; // answers of the REST API, by the library
mod state; // the state directory and its sealed files, by the library
mod status; // the command `status`
mod stored_blobs; // whether the store has the blobs of a commit
mod suspend; // the commands `suspend` and `resume`, and what a suspension means for each run
mod sync; // the command `sync`: output, exit codes, guards
mod targets; // one state directory and two targets
mod token; // where tokens are found, which files are refused, that none is printed
mod usage; // wrong command lines, and what is suggested
mod validate; // the checks over an installation, one fault at a time

/// Seeds of what a power cut leaves of that which was not made durable; `tests/matrix` has more.
const COINS: std::ops::RangeInclusive<u64> = 1..=2;

/// After every how manyth call the power is cut; `tests/matrix` does so after each.
const CUT_STEP: usize = 3;

/// How many events follow each other in a switch on trial; `tests/matrix` has more.
const EVENTS: usize = 1;
