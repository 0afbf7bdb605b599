//! `completions` and `man`: what packages install beside the program, made from the command line itself.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use crate::exit::Exit;
use crate::report::Report;
use crate::text;

/// The completions for a shell.
pub(super) fn completions(shell: Shell, report: &mut Report) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hyper-sync", &mut script);
    let mut script = text::decode(&script).into_owned();
    if shell == Shell::Bash {
        // clap_complete 4.6.11 splits our name here as if it were that of a subcommand, and nowhere else, so that the
        // options of no command would be completed.
        script = script.replace("hyper__subcmd__sync", "hyper__sync");
    }
    report.data(&script);
}

/// The manual page of a command, by the words that call it.
pub(super) fn man(words: &[String], report: &mut Report) -> Exit {
    let mut root = Cli::command().disable_help_subcommand(true);
    // Hands the global options down and gives every command its full name.
    root.build();
    let mut command = &root;
    for word in words {
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
