//! The hooks, at the end of a run that may have changed something.

use super::Run;
use crate::Error;
use crate::exit::Exit;
use crate::hooks::{self, HookContext, HookEvent};
use crate::process::SystemRunner;
use crate::report;
use crate::settings::Settings;

/// Runs the hooks of how the run ended, if there are any. A hook that fails is reported, and does not fail the run.
pub(super) fn run(ended: &Result<Exit, Error>, settings: &Settings, run: &mut Run<'_>) {
    if !settings.hooks.is_set() {
        return;
    }
    let (event, document) = match ended {
        Ok(_) => match run.changed.take() {
            Some(document) => (HookEvent::Changed, document),
            None => return,
        },
        Err(error) if is_reported(error) => {
            let document = run.report.error_document(error, Exit::from(error));
            (HookEvent::Failed, document)
        }
        Err(_) => return,
    };
    let report = run.report.hook_report(event, &settings.target, document);
    let context = HookContext {
        settings,
        env: run.env,
        runner: &SystemRunner::new(run.interrupt.clone(), report::pass_through()),
        interrupt: run.interrupt,
    };
    for failure in hooks::run(context, event, &report) {
        run.report.warning(&failure.to_string());
    }
}

/// Whether a failure is news. A later run tries again by itself after these; `hyper-sync overdue` fails where the
/// repository was not reached for too long.
fn is_reported(error: &Error) -> bool {
    !matches!(
        Exit::from(error),
        Exit::Network | Exit::RateLimited | Exit::Busy | Exit::Interrupted | Exit::RolledBack
    ) || matches!(error, Error::Rebuild(error) if error.is_reverted())
}
