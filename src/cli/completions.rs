//! `hyper-sync completions`: made from the command line itself; packages install them.
//!
//! What depends on a target (branches, commits, replaced edits, targets) is asked for while a person types:
//! `hyper-sync complete`. The engine of clap for that is not stable, so the scripts of bash, zsh and fish get a few lines
//! that do it.

use std::collections::BTreeSet;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use crate::exit::Exit;
use crate::report::Report;
use crate::text;

/// Print the completions for a shell
///
/// They also offer branches, commits, replaced edits and targets that are known here. For bash:
/// `hyper-sync completions bash > /etc/bash_completion.d/hyper-sync`
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// After clap's script: it completes what `hyper-sync complete` has no values for.
const BASH: &str = r#"
_hyper-sync_values() {
    local value values
    mapfile -t values < <(hyper-sync complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#values[@]} -eq 0 ]]; then
        _hyper__sync "$@"
        return
    fi
    COMPREPLY=()
    for value in "${values[@]}"; do
        COMPREPLY+=("$(printf '%q' "$value")")
    done
}
"#;

/// At the begin of clap's function.
const ZSH: &str = r#"
    local -a values
    values=("${(@f)$(hyper-sync complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$values" ]]; then
        compadd -a values
        return
    fi
"#;

/// After clap's script.
const FISH: &str = r"
function __fish_hyper_sync_values
    set -l words (commandline -opc) (commandline -ct)
    hyper-sync complete -- $words[2..-1] 2>/dev/null
end
complete -c hyper-sync -l ref -x -a '(__fish_hyper_sync_values)'
complete -c hyper-sync -l target -a '(__fish_hyper_sync_values)'
complete -c hyper-sync -n '__fish_seen_subcommand_from sync rollback restore forget' -f -a '(__fish_hyper_sync_values)'
";

impl Arguments {
    /// Prints them.
    pub(super) fn run(&self, report: &mut Report) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "hyper-sync", &mut script);
        let mut script = text::decode(&script).into_owned();
        match self.shell {
            Shell::Bash => {
                // clap_complete 4.6.11 splits our name here as if it were that of a subcommand, and nowhere else, so that
                // the options of no command would be completed.
                script = script.replace("hyper__subcmd__sync", "hyper__sync");
                script = without_hidden(&script) + BASH;
                script = script.replace(
                    "complete -F _hyper-sync ",
                    "complete -F _hyper-sync_values ",
                );
            }
            Shell::Zsh => {
                let begin = "_hyper-sync() {\n";
                script = script.replacen(begin, &format!("{begin}{}", &ZSH[1..]), 1);
            }
            Shell::Fish => script += FISH,
            _ => {}
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
