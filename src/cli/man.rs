//! `hyper-sync man`: manual pages, made from the command line itself; packages install them.

use clap::{Args, CommandFactory as _};

use super::args::Cli;
use crate::exit::Exit;
use crate::report::Report;
use crate::text;

/// Print a manual page
#[derive(Args)]
pub(super) struct Arguments {
    /// The command whose page it is; none is `hyper-sync` itself
    #[arg(value_name = "COMMAND", num_args = 0..)]
    command: Vec<String>,
}

impl Arguments {
    /// Prints the page.
    pub(super) fn run(&self, report: &mut Report) -> Exit {
        let mut root = Cli::command().disable_help_subcommand(true);
        // Hands the global options down and gives every command its full name.
        root.build();
        let mut command = &root;
        for word in &self.command {
            let Some(found) = command.find_subcommand(word) else {
                report.warning(&format!("there is no command `{word}`"));
                return Exit::Usage;
            };
            command = found;
        }
        let man = clap_mangen::Man::new(command.clone())
            .source(concat!("hyper-sync ", env!("CARGO_PKG_VERSION")))
            .manual("hyper-sync manual");
        let mut page = Vec::new();
        // A page is rendered in memory, where nothing can fail.
        let _ = man.render(&mut page);
        report.data(&text::decode(&page));
        Exit::Done
    }
}
