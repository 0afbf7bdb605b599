//! `docs/recording.svg`, the recorded run of the README: made here, from the output of the binary.
//!
//! ```text
//! UPDATE_DOCS=1 cargo test --test it -- recording
//! ```
//!
//! A machine follows a branch: an update of two commits, a commit that would replace a local edit, a rollback, and what
//! `status` knows then.

use anstyle_svg::Term;

use super::read;
use crate::common::env::Sandbox;
use crate::common::repo::Repo;

const PICTURE: &str = "docs/recording.svg";
/// Columns: what a README shows without scrolling.
const WIDTH: usize = 92;
const PROMPT: &str = "\x1b[1;32mweb1 #\x1b[0m ";

struct Recording {
    sandbox: Sandbox,
    repo: Repo,
    /// What the terminal has shown, with its escape sequences.
    screen: String,
}

impl Recording {
    fn new() -> Self {
        let recording = Self {
            sandbox: Sandbox::new(),
            repo: Repo::new(),
            screen: String::new(),
        };
        let (sandbox, repo) = (&recording.sandbox, &recording.repo);
        repo.write("flake.nix", "{ outputs = _: { }; }\n")
            .write("configuration.nix", "{ }\n")
            .write("modules/nginx.nix", "{ }\n")
            .commit("web1: first configuration");
        sandbox.follow(repo, "local_edits = 'refuse'");
        let _ = sandbox.run(&["sync"]).ok();
        recording
    }

    /// Runs a command as it would be typed on the machine.
    fn run(&mut self, line: &str, expected: i32) {
        let args: Vec<&str> = line.split(' ').skip(1).collect();
        let mut command = self.sandbox.process(&[], &args);
        command
            .args(["--color", "always"])
            .env_remove("NO_COLOR")
            .env("COLUMNS", WIDTH.to_string());
        // One place for both streams keeps their order, as a terminal does.
        let path = self.sandbox.root().join("printed");
        let printed = std::fs::File::create(&path).unwrap();
        command.stdout(printed.try_clone().unwrap()).stderr(printed);
        let code = command.status().unwrap().code();
        let printed = std::fs::read_to_string(path).unwrap();
        assert_eq!(code, Some(expected), "{printed}");
        let printed = printed.trim_end();
        self.screen
            .extend([PROMPT, "\x1b[1m", line, "\x1b[0m\n", printed, "\n\n"]);
    }

    /// An edit by hand.
    fn edit(&mut self, path: &str, line: &str) {
        let before = std::fs::read_to_string(self.sandbox.target().join(path)).unwrap();
        self.sandbox.edit(path, format!("{before}{line}\n"));
        let echo = format!("\x1b[1mecho '{line}' >> /etc/nixos/{path}\x1b[0m\n\n");
        self.screen.extend([PROMPT, &echo]);
    }

    fn picture(&self) -> String {
        let places = [
            (self.sandbox.target().display().to_string(), "/etc/nixos"),
            (
                self.repo.path().display().to_string(),
                "git.example.org/machines",
            ),
            (
                self.sandbox
                    .root()
                    .join("config.toml")
                    .display()
                    .to_string(),
                "/etc/hyper-sync/config.toml",
            ),
            (
                self.sandbox.state().display().to_string(),
                "/var/lib/hyper-sync",
            ),
        ];
        let screen = places
            .iter()
            .fold(self.screen.clone(), |screen, (place, name)| {
                screen.replace(place, name)
            });
        assert!(!screen.contains("/tmp"), "{screen}");
        // How many seconds have passed differs from run to run, and so would the breaks of the lines.
        let screen = (1..=9).fold(screen, |screen, seconds| {
            screen.replace(&format!("{seconds} s ago"), "just now")
        });
        Term::new().render_svg(&wrapped(screen.trim_end()))
    }
}

/// The lines as a terminal of so many columns breaks them.
fn wrapped(screen: &str) -> String {
    let mut wrapped = String::new();
    let (mut column, mut is_escape) = (0, false);
    for c in screen.chars() {
        if c == '\x1b' {
            is_escape = true;
        } else if is_escape {
            is_escape = c != 'm';
        } else if c == '\n' {
            column = 0;
        } else {
            if column == WIDTH {
                wrapped.push('\n');
                column = 0;
            }
            column += 1;
        }
        wrapped.push(c);
    }
    wrapped
}

/// Without the numbers, for seconds, bytes, days and the places of what follows them differ from run to run; and without
/// the unit of a commit's age, whose date is fixed.
fn steady(picture: &str) -> String {
    let picture = picture.replace(|c: char| c.is_ascii_digit() || c == '.', "");
    let units = [" months ago", " year ago", " years ago"];
    units
        .iter()
        .fold(picture, |picture, unit| picture.replace(unit, " ago"))
}

#[test]
fn the_recorded_run_is_what_the_program_prints() {
    let mut it = Recording::new();
    it.repo
        .write("modules/nginx.nix", "{ services.nginx.enable = true; }\n")
        .commit("nginx: enable");
    it.repo
        .write(
            "modules/firewall.nix",
            "{ networking.firewall.allowedTCPPorts = [ 443 ]; }\n",
        )
        .commit("firewall: open 443");
    it.run("hyper-sync sync", 0);
    it.edit("configuration.nix", "# tried by hand");
    it.repo
        .write(
            "configuration.nix",
            "{ imports = [ ./modules/nginx.nix ]; }\n",
        )
        .commit("configuration: import nginx");
    it.run("hyper-sync sync", 8);
    it.run("hyper-sync rollback", 0);
    it.run("hyper-sync status", 0);
    let picture = it.picture();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
        std::fs::write(path, &picture).unwrap();
    }
    assert_eq!(
        steady(&read(PICTURE)),
        steady(&picture),
        "`UPDATE_DOCS=1 cargo test --test it -- recording` makes it anew"
    );
}
