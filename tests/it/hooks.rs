//! `[hooks]`: what gets the report of a run, with real programs and a real listener.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::common::env::{Output, Sandbox};
use crate::common::repo::Repo;

struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    /// A target without a rebuild, whose hooks write their input into files.
    fn new(settings: &str) -> Self {
        let world = Self {
            sandbox: Sandbox::new(),
            repo: Repo::small(),
        };
        let root = world.sandbox.root().display().to_string();
        world
            .sandbox
            .link_tool("cat")
            .tool("changed", &format!("echo \"$1\"; cat > '{root}/changed'"))
            .tool("failed", &format!("cat > '{root}/failed'"))
            .follow(&world.repo, settings);
        world
    }

    fn sync(&self, args: &[&str]) -> Output {
        self.sandbox.run(&[&["sync"], args].concat())
    }

    /// What a hook was given since the last call.
    fn report(&self, hook: &str) -> Option<Value> {
        let path = self.sandbox.root().join(hook);
        let text = std::fs::read_to_string(&path).ok()?;
        std::fs::remove_file(path).unwrap();
        Some(serde_json::from_str(&text).unwrap())
    }
}

const BOTH: &str = "[hooks]\nchanged = ['changed', 'an argument']\nfailed = ['failed']";

#[test]
fn a_change_is_reported_once() {
    let world = World::new(BOTH);
    let output = world.sync(&["--json"]).ok();
    // What a hook prints is not part of the document.
    let printed = output.json();
    assert!(output.stderr.contains("an argument"), "{}", output.stderr);
    let mut report = world.report("changed").unwrap();
    let object = report.as_object_mut().unwrap();
    assert_eq!(object.remove("event").unwrap(), "changed");
    let target = world.sandbox.target().display().to_string();
    assert_eq!(object.remove("target").unwrap(), target);
    assert_eq!(report, printed);
    // Nothing to do, and previews.
    let _ = world.sync(&[]).ok();
    world.repo.write("new.nix", "{ }").commit("second");
    let _ = world.sync(&["--dry-run"]).ok();
    let _ = world.sync(&["--check-only"]).ok();
    assert_eq!(world.report("changed"), None);
    let _ = world.sync(&[]).ok();
    assert!(world.report("changed").is_some());
    assert_eq!(world.report("failed"), None);
}

#[test]
fn a_failure_is_reported_unless_a_later_run_tries_again_by_itself() {
    let world = World::new(BOTH);
    let _ = world.sync(&[]).ok();
    let _ = world.report("changed");
    world.sandbox.edit("flake.nix", "mine");
    world.repo.write("flake.nix", "{ }").commit("second");
    let _ = world.sync(&["--local-edits", "refuse"]).code(8);
    let report = world.report("failed").unwrap();
    assert_eq!(report["event"], "failed");
    assert_eq!(report["error"]["code"], "hyper_sync::plan::conflicts");
    assert_eq!(report["error"]["conflicts"][0]["path"], "flake.nix");
    // Nothing listens there.
    let elsewhere = ["--repo", "http://127.0.0.1:1/a.git", "--allow-other-repo"];
    let _ = world.sync(&elsewhere).code(3);
    assert_eq!(world.report("failed"), None);
    assert_eq!(world.report("changed"), None);
}

#[test]
fn a_hook_that_fails_is_a_warning() {
    for (hook, cause) in [
        (
            "['no-such-program']",
            "`no-such-program` is not in the search path",
        ),
        ("['false']", "exit code 1"),
    ] {
        let world = World::new(&format!("[hooks]\nchanged = {hook}"));
        world.sandbox.link_tool("false");
        let output = world.sync(&[]).ok();
        let warning = format!("warning: the hook `hooks.changed` failed: {cause}");
        assert!(output.stderr.contains(&warning), "{}", output.stderr);
    }
}

#[test]
fn an_address_gets_the_report() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>())
            });
            if body.len() >= length.unwrap().unwrap() {
                stream
                    .write_all(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
                return text;
            }
        }
    });
    let world = World::new(&format!("[hooks]\nurl = 'http://{address}/hook'"));
    let output = world.sync(&[]).ok();
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("application/json"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let report: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&report["event"], &report["command"]),
        (&"changed".into(), &"sync".into())
    );
    let warning = "warning: the hook `hooks.url` failed: status 500";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}
