//! `hyper-sync man`: manual pages, made from the command line itself; packages install them.
//!
//! clap's own renderer leaves out the text of options that the short help leaves out, the values in the synopsis, and the
//! line breaks of examples; so those parts are made here.

use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Args, Command, CommandFactory as _, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::args::Cli;
use super::examples;
use crate::exit::Exit;
use crate::report::Report;
use crate::settings::DEFAULT_FILE;
use crate::text;
use crate::{Error, UsageError};

/// Print a manual page
#[derive(Args)]
pub(super) struct Arguments {
    /// The command whose page it is; none is `hyper-sync` itself
    #[arg(value_name = "COMMAND", num_args = 0..)]
    command: Vec<String>,
    /// Write the pages of all commands into a directory instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    all: Option<PathBuf>,
}

impl Arguments {
    /// Prints the page.
    pub(super) fn run(&self, report: &mut Report) -> Result<Exit, Error> {
        let mut root = with_all_texts(Cli::command().disable_help_subcommand(true));
        // Hands the global options down and gives every command its full name.
        root.build();
        if let Some(directory) = &self.all {
            return write_all(directory, &root);
        }
        let mut command = &root;
        for word in &self.command {
            let Some(found) = command.find_subcommand(word) else {
                let message = format!("there is no command `{}`", text::name(word));
                let help = "`hyper-sync --help` lists the commands".to_owned();
                return Err(UsageError { message, help }.into());
            };
            command = found;
        }
        report.data(&text::decode(&page(command, &root)));
        Ok(Exit::Done)
    }
}

/// Writes the page of a command and of those below it.
#[expect(
    clippy::disallowed_methods,
    reason = "pages go where the caller wants them, which is no target"
)]
fn write_all(directory: &Path, root: &Command) -> Result<Exit, Error> {
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        let path = directory.join(format!("{}.1", title(command)));
        std::fs::write(&path, page(command, root)).map_err(|error| UsageError {
            message: format!("cannot write `{}`: {error}", text::path(&path)),
            help: "name a directory that exists with `--all`".to_owned(),
        })?;
        commands.extend(visible(command));
    }
    Ok(Exit::Done)
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|known| !known.is_hide_set())
}

/// Options that the short help leaves out have their text in the page.
fn with_all_texts(command: Command) -> Command {
    command
        .mut_args(|argument| argument.hide_short_help(false))
        .mut_subcommands(with_all_texts)
}

fn page(command: &Command, root: &Command) -> Vec<u8> {
    let man = Man::new(command.clone())
        .source(concat!("hyper-sync ", env!("CARGO_PKG_VERSION")))
        .manual("hyper-sync manual");
    let is_root = command.get_name() == root.get_name();
    let mut page = Vec::new();
    // A page is rendered in memory, where nothing can fail.
    let _ = man.render_title(&mut page);
    let _ = man.render_name_section(&mut page);
    let _ = synopsis(command).to_writer(&mut page);
    let _ = man.render_description_section(&mut page);
    let _ = man.render_options_section(&mut page);
    let mut rest = Roff::new();
    if visible(command).next().is_some() {
        commands(&mut rest, command);
    }
    examples(&mut rest, command);
    if is_root {
        exit_status(&mut rest);
    }
    files(&mut rest);
    environment(&mut rest);
    see_also(&mut rest, command, root);
    let _ = rest.to_writer(&mut page);
    page
}

/// As the help has it, with the values of options.
fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let usage: StyledStr = command.clone().render_usage();
    let usage = usage.to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    roff.control("SH", ["SYNOPSIS"]);
    for line in usage.lines() {
        roff.text([roman(line.trim())]);
        roff.control("br", []);
    }
    roff
}

fn commands(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["COMMANDS"]);
    for known in visible(command) {
        let about = known.get_about().map(ToString::to_string);
        entry(roff, bold(title(known)), about.unwrap_or_default());
    }
}

/// Line by line, as they are typed.
fn examples(roff: &mut Roff, command: &Command) {
    let examples = examples::of(
        &title(command)
            .replace("hyper-sync-", "hyper-sync ")
            .replace("config-", "config "),
    );
    if examples.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in examples {
        entry(roff, bold(*line), *what);
    }
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in Exit::TABLE {
        entry(roff, bold(exit.code().to_string()), *meaning);
    }
}

fn files(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    for (path, what) in [
        (
            DEFAULT_FILE,
            "the configuration file; `hyper-sync config show` lists its keys",
        ),
        (
            "/var/lib/hyper-sync",
            "the state of Hyper-NixOS's target for root, and `targets` in it that of others",
        ),
        (
            "~/.local/state/hyper-sync",
            "the state of the targets of other users (`$XDG_STATE_HOME/hyper-sync`)",
        ),
        ("~/.config/github/token", "a token for GitHub"),
    ] {
        entry(roff, italic(path), what);
    }
}

fn environment(roff: &mut Roff) {
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, what) in [
        (
            "HYPER_SYNC_*",
            "every setting by its name, such as HYPER_SYNC_REF; a list has one item a line",
        ),
        (
            "HYPER_SYNC_CONFIG",
            "the configuration file, in place of the default one",
        ),
        (
            "GITHUB_TOKEN, GH_TOKEN",
            "a token for GitHub, where `token_file` gives none",
        ),
        (
            "https_proxy, http_proxy, all_proxy, no_proxy",
            "proxies, and hosts that are reached without one",
        ),
        ("NO_COLOR", "no colour, whatever its value"),
    ] {
        entry(roff, bold(name), what);
    }
}

fn see_also(roff: &mut Roff, command: &Command, root: &Command) {
    roff.control("SH", ["SEE ALSO"]);
    let pages = { [root].into_iter() }
        .chain(visible(root))
        .filter(|known| known.get_name() != command.get_name());
    let mut line: Vec<Inline> = Vec::new();
    for known in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(title(known)), roman("(1)")]);
    }
    line.extend([
        roman(", "),
        bold("nixos-rebuild"),
        roman("(8), "),
        bold("git"),
        roman("(1)"),
    ]);
    roff.text(line);
}

/// The name of a command's page.
fn title(command: &Command) -> String {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    name.to_owned()
}

fn entry(roff: &mut Roff, term: Inline, text: impl Into<String>) {
    roff.control("TP", []);
    roff.text([term]);
    roff.text([roman(text)]);
}
