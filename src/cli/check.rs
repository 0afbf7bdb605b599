//! `hyper-sync check`: whether the hosts of a commit build.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueHint};
use jiff::Timestamp;

use super::{CliCommand, Run, usage};
use crate::Error;
use crate::check::{self, CheckAction, CheckRequest, Checked};
use crate::exit::Exit;
use crate::fs::{Directory, Faults};
use crate::process::SystemRunner;
use crate::rebuild::FlakeTree;
use crate::report::check::{self as render, CheckReport};
use crate::report::{self, OutputFormat, Verbosity, junit, validate};
use crate::settings::{Env, Origin, Overrides, Repo, ResolvedSettings, Settings};
use crate::state;
use crate::sync::{Checkout, Step};
use crate::text;
use crate::validate::{CheckContext, Outcome};

/// Check that the hosts of a commit build, without a target: for CI
///
/// The commit is fetched and verified as for a sync, into a temporary directory; then each host of its flake is
/// evaluated and built, and a table says how it went. Nothing is activated, and nothing stays but what Nix has built.
///
/// Where no repository is set, it is the one of the working directory, and where no name is set, a local repository is
/// checked at its `HEAD`. Changes that are not committed are not checked.
///
/// Exit code 0: all build; 11: one does not, and the last line names it.
#[derive(Args)]
pub(super) struct Arguments {
    /// Branch, tag or commit, as `--ref`
    #[arg(value_name = "REF", conflicts_with = "reference", value_hint = ValueHint::Other)]
    name: Option<OsString>,
    /// Branch, tag or commit to check [default: `HEAD` of a local repository, else main]
    #[arg(long = "ref", value_name = "BRANCH|TAG|COMMIT", value_hint = ValueHint::Other)]
    reference: Option<OsString>,
    /// Only this host: its name in `nixosConfigurations`; may be repeated
    #[arg(long = "host", value_name = "NAME", conflicts_with = "all_hosts", value_hint = ValueHint::Other)]
    hosts: Vec<String>,
    /// All hosts; the default
    #[arg(long)]
    all_hosts: bool,
    /// Build each system; the default
    #[arg(long)]
    build: bool,
    /// Only evaluate each system, which is faster and finds most mistakes
    #[arg(long, conflicts_with = "build")]
    eval: bool,
    /// Directory of the flake in the commit [default: the top]
    #[arg(long, value_name = "DIR", value_parser = parse_inside, value_hint = ValueHint::Other)]
    flake: Option<PathBuf>,
    /// How many hosts are evaluated at a time [default: one for each processor and 2 GiB of free memory]
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    jobs: Option<NonZero<usize>>,
    /// Also write the results for CI servers, as `JUnit` XML; without results, such as without Nix, nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    junit: Option<PathBuf>,
}

/// A directory of the commit.
fn parse_inside(text: &str) -> Result<PathBuf, &'static str> {
    let mut inside = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            _ => return Err("it is relative to the commit, without `..`"),
        }
    }
    Ok(inside)
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        let reference = self.name.as_ref().or(self.reference.as_ref());
        global.with("ref", "--ref", reference)
    }

    fn complete(&self, resolved: &mut ResolvedSettings, env: &Env) {
        let is_default = |name: &str| {
            let entry = resolved.entries.iter().find(|entry| entry.name == name);
            // What another target follows is not meant either, where there is a repository at hand.
            let is_set = |origin: &Origin| !matches!(origin, Origin::Default | Origin::Earlier(_));
            !entry.is_some_and(|entry| is_set(&entry.origin))
        };
        let [repo, reference, require] = ["repo", "ref", "require"].map(is_default);
        let is_stranger = usage::lacks_target(resolved);
        let settings = &mut resolved.settings;
        if repo {
            let here = work_tree(env).map(Repo::Local);
            // The default is that of Hyper-NixOS.
            let other = settings.repo.take().filter(|_| !is_stranger);
            settings.repo = here.or(other);
        }
        if reference && matches!(settings.repo, Some(Repo::Local(_))) {
            "HEAD".clone_into(&mut settings.reference);
        }
        // The default is what a target keeps that has had it.
        if require {
            settings.require.clear();
        }
    }

    fn needs_target(&self) -> bool {
        false
    }

    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let begun = Instant::now();
        let here = run.env.current_dir().unwrap_or(Path::new("/"));
        let repo = { settings.repo.as_ref() }.ok_or_else(|| check::Error::NoRepository {
            directory: here.to_owned(),
        })?;
        let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
        check::preflight(run.env, &runner)?;
        let checkout = run.watched(settings, |context| Checkout::make(context, repo))?;
        let commit = &checkout.commit;
        run.report.message(&format!(
            "checking {} of {}: {}",
            commit.id.short(),
            text::words(&checkout.repository),
            commit.subject
        ));
        for notice in &checkout.notices {
            run.report.note(&notice.to_string());
        }
        let checks = self.check_files(&checkout, settings, run);
        validate::of_commit(run.report, &checks);
        let checked = self.check(&checkout, settings, run)?;
        let report = CheckReport {
            repository: &checkout.repository,
            reference: &settings.reference,
            commit,
            is_proven: checkout.is_proven,
            notices: &checkout.notices,
            checks: &checks,
            action: self.action(),
            checked: &checked,
            duration: begun.elapsed(),
        };
        if let Some(path) = &self.junit {
            write_junit(path, &report, run.env)?;
        }
        match run.report.format() {
            OutputFormat::Json => {
                run.report.json(&render::Document::new(&report));
                let failed = checked.into_result().is_err();
                Ok(if failed { Exit::Rebuild } else { Exit::Done })
            }
            OutputFormat::Human => {
                if run.env.get("GITHUB_ACTIONS").is_some() {
                    render::annotations(run.report, &report);
                }
                render::human(run.report, &report);
                checked.into_result()?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Arguments {
    fn action(&self) -> CheckAction {
        if self.eval {
            CheckAction::Eval
        } else {
            CheckAction::Build
        }
    }

    /// Checks the files without evaluating anything. What is found is a warning: evaluation decides.
    fn check_files(&self, checkout: &Checkout, settings: &Settings, run: &Run<'_>) -> Vec<Outcome> {
        let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
        let files = checkout.files();
        let mut settings = Settings {
            target: files.to_owned(),
            // Nothing is there.
            state_dir: files.with_extension("state"),
            ..settings.clone()
        };
        settings.rebuild.flake = files.join(self.flake.as_deref().unwrap_or(Path::new("")));
        crate::validate::of_commit(&CheckContext {
            settings: &settings,
            env: run.env,
            runner: &runner,
            root: Path::new("/"),
        })
    }

    fn check(
        &self,
        checkout: &Checkout,
        settings: &Settings,
        run: &mut Run<'_>,
    ) -> Result<Checked, Error> {
        let runner = SystemRunner::new(run.interrupt.clone(), report::pass_through());
        let request = CheckRequest {
            tree: FlakeTree {
                path: checkout.files(),
                inside: self.flake.as_deref().unwrap_or(Path::new("")),
                commit: Some(&checkout.commit).filter(|_| checkout.is_proven),
            },
            settings: &settings.rebuild,
            action: self.action(),
            hosts: &self.hosts,
            jobs: self.jobs,
            verbose: run.report.verbosity() == Verbosity::Verbose,
        };
        let checked = run.watched(settings, |context| {
            context.observer.step(Step::Hosts);
            check::run(&request, context.env, &runner, &mut |done, all| {
                context.observer.progress(done as u64, all as u64);
            })
        });
        Ok(checked?)
    }
}

/// The work tree of git that the working directory is in.
fn work_tree(env: &Env) -> Option<PathBuf> {
    let has_git = |path: &&Path| {
        let directory = Directory::open_following(path, Faults::default());
        directory.is_ok_and(|directory| directory.stat(".git").is_ok_and(|stat| stat.is_some()))
    };
    let mut above = env.current_dir()?.ancestors();
    above.find(has_git).map(Path::to_owned)
}

fn write_junit(path: &Path, report: &CheckReport<'_>, env: &Env) -> Result<(), Error> {
    let path = env.current_dir().unwrap_or(Path::new("/")).join(path);
    let written = junit::document(report, Timestamp::now()).map_err(check::Error::Scratch)?;
    Ok(state::publish(&path, &written, &Faults::default())?)
}
