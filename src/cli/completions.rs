//! `hyper-sync completions`: made from the command line itself; packages install them.

use std::collections::BTreeSet;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use crate::exit::Exit;
use crate::report::Report;
use crate::text;

/// Print the completions for a shell
///
/// For bash: `hyper-sync completions bash > /etc/bash_completion.d/hyper-sync`
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    /// Prints them.
    pub(super) fn run(&self, report: &mut Report) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "hyper-sync", &mut script);
        let mut script = text::decode(&script).into_owned();
        if self.shell == Shell::Bash {
            // clap_complete 4.6.11 splits our name here as if it were that of a subcommand, and nowhere else, so that
            // the options of no command would be completed.
            script = script.replace("hyper__subcmd__sync", "hyper__sync");
            script = without_hidden(&script);
        }
        report.data(&script);
        Exit::Done
    }
}

/// Without the options that are hidden: clap offers them in bash alone.
fn without_hidden(script: &str) -> String {
    let mut hidden = BTreeSet::new();
    let mut pending = vec![Cli::command()];
    while let Some(command) = pending.pop() {
        let arguments = command
            .get_arguments()
            .filter(|argument| argument.is_hide_set());
        hidden.extend(arguments.filter_map(|argument| Some(format!("--{}", argument.get_long()?))));
        pending.extend(command.get_subcommands().cloned());
    }
    let line = |line: &str| {
        let is_list = line.trim_start().starts_with("opts=");
        let words = line
            .split(' ')
            .filter(|word| !is_list || !hidden.contains(*word));
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    script.lines().map(line).collect()
}
