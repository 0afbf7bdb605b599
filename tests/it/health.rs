//! The command `health`: each kind of check, how it fails, and what is printed of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::repo::Repo;

/// Units that systemd has, as `systemctl` prints them: one that is active, one that has failed, one that nobody knows.
const SYSTEMCTL: &str = r#"
case "$*" in
*--state=failed*) while read -r unit; do echo "$unit loaded failed failed A unit"; done <"${0%/*}/failed" ;;
*"-- nginx.service") echo ActiveState=active; echo LoadState=loaded ;;
*"-- worker.service") echo LoadState=loaded; echo ActiveState=failed; echo SubState=failed; echo Result=exit-code ;;
*"-- absent.service") echo LoadState=not-found; echo ActiveState=inactive; echo SubState=dead; echo Result=success ;;
esac"#;

/// A machine with a systemd, on which these units have failed. No check is tried again: that would take time.
fn machine(failed: &str, config: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.tool("systemctl", SYSTEMCTL);
    sandbox.tool("journalctl", "echo \"the last line of $1\"");
    std::fs::write(sandbox.root().join("bin/failed"), failed).unwrap();
    sandbox.config(&format!("health.within = '1s'\n{config}"));
    sandbox
}

/// A server that answers every request with a status; its port.
fn server(status: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // A connection that only tries the port sends nothing.
            if connection
                .read(&mut [0; 4096])
                .is_ok_and(|length| length > 0)
            {
                let location = "Location: http://192.0.2.1/\r\n";
                let answer = format!("HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    port
}

/// A port that nobody listens at.
fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_healthy_machine_passes_each_kind_of_check() {
    let (found, moved, denied) = (
        server("204 No Content"),
        server("302 Found"),
        server("401 No"),
    );
    let machine = machine(
        "",
        &format!(
            "[health.checks]\n\
             command.command = ['sh', '-c', 'echo fine']\n\
             moved.url = 'http://127.0.0.1:{moved}/'\n\
             denied = {{ url = 'http://127.0.0.1:{denied}/', status = 401 }}\n\
             found.url = 'http://localhost:{found}/health?full'\n\
             port.tcp = 'localhost:{found}'\n\
             unit.unit = 'nginx'\n"
        ),
    );
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 0
    --- stdout
    passed   command  command
    passed   denied   url
    passed   found    url
    passed   moved    url
    passed   port     tcp
    passed   unit     unit
    passed   units    units

    checks: 7 passed, 0 failed
    ");
    assert_eq!(machine.run(&["health", "--quiet"]).ok().stdout, "");
    let document = machine.run(&["health", "--json"]).ok().json();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["healthy"], true);
    let checks = document["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7);
    assert!(
        checks
            .iter()
            .all(|check| check["passed"] == true && check["tries"] == 1)
    );
}

#[test]
fn every_failed_check_is_reported_with_its_cause() {
    let (closed, broken) = (closed_port(), server("500 Broken"));
    let machine = machine(
        "hyper-sync.service\npostgresql.service\nworker.service\n",
        &format!(
            "[health.checks]\n\
             absent.unit = 'absent'\n\
             code.command = ['sh', '-c', 'echo one; echo two >&2; exit 3']\n\
             hangs = {{ command = ['sleep', '600'], timeout = '100ms' }}\n\
             missing.command = ['no-such-program']\n\
             other-status = {{ url = 'http://127.0.0.1:{broken}/', status = 200 }}\n\
             port.tcp = '127.0.0.1:{closed}'\n\
             status.url = 'http://127.0.0.1:{broken}/'\n\
             unit.unit = 'worker'\n\
             unreached.url = 'http://127.0.0.1:{closed}/'\n\
             works.unit = 'nginx'\n"
        ),
    );
    machine.mask(&closed.to_string(), "[closed]");
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 1
    --- stdout
    failed   absent        unit
             `absent.service` is inactive: not-found
             | the last line of --unit=absent.service
    failed   code          command
             exit code 3
             | one
             | two
    failed   hangs         command
             no end after [time]
    failed   missing       command
             `no-such-program` is not in the search path
    failed   other-status  url
             status 500 instead of 200
    failed   port          tcp
             Connection refused (os error 111)
    failed   status        url
             status 500 instead of 2xx or 3xx
    failed   unit          unit
             `worker.service` is failed (exit-code)
             | the last line of --unit=worker.service
    failed   unreached     url
             cannot reach 127.0.0.1:[closed]: Connection refused (os error 111)
    passed   works         unit
    failed   units         units
             failed: postgresql.service, worker.service
             | postgresql.service: the last line of --unit=postgresql.service
             | worker.service: the last line of --unit=worker.service

    checks: 1 passed, 10 failed
    --- stderr
    error: 10 of 11 health checks failed: absent, code, hangs, missing, other-status, port, status, unit, unreached, units
    help: correct the cause, or the checks in the section `[health]` of the configuration file, and run `hyper-sync health` again
    [health::unhealthy]
    ");

    let document = machine.run(&["health", "--json"]).code(1).json();
    assert_eq!(document["healthy"], false);
    let code = &document["checks"][1];
    assert_eq!(
        *code,
        serde_json::json!({
            "name": "code",
            "kind": "command",
            "passed": false,
            "tries": 1,
            "seconds": 0,
            "cause": "exit code 3",
            "lines": ["one", "two"],
        })
    );
    let quiet = machine.run(&["health", "--quiet"]).code(1);
    assert!(!quiet.stdout.contains("works") && quiet.stdout.contains("failed   unit "));
}

#[test]
fn without_systemd_the_units_are_not_known_to_be_well() {
    let machine = machine("", "");
    machine.tool(
        "systemctl",
        "printf 'System has not been booted with systemd as init system (PID 1).\\nHost is down\\n' >&2; exit 1",
    );
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 1
    --- stdout
    failed   units  units
             systemd does not run here, so no unit can be checked; `health.units = false` leaves this check out

    checks: 0 passed, 1 failed
    --- stderr
    error: 1 of 1 health checks failed: units
    help: correct the cause, or the checks in the section `[health]` of the configuration file, and run `hyper-sync health` again
    [health::unhealthy]
    ");
    // At once, whatever time the checks have.
    machine.config("");
    let document = machine.run(&["health", "--json"]).code(1).json();
    assert_eq!(document["checks"][0]["tries"], 1);
    machine.config("health.units = false\n");
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 0
    --- stdout
    no health check is set
    ");
}

#[test]
fn what_systemctl_says_in_several_lines_is_one() {
    let machine = machine("", "");
    machine.tool(
        "systemctl",
        "printf 'Failed to connect:\\nno bus\\nGiven up\\n' >&2; exit 1",
    );
    let document = machine.run(&["health", "--json"]).code(1).json();
    assert_eq!(
        document["checks"][0]["cause"],
        "systemd cannot be asked: `systemctl`: Failed to connect: no bus; Given up"
    );
}

#[test]
fn the_repository_must_be_reached_where_that_is_asked_for() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let machine = machine("", "");
    machine.mask_forge(&forge);
    let follow = |reference: &str| {
        let url = forge.git_url();
        let rest = "health.within = '1s'\nhealth.remote = true\nhealth.units = false\n";
        machine.config(&format!("repo = '{url}'\nref = '{reference}'\n{rest}"));
    };
    // A commit is known without a request, so another name is asked for.
    for reference in ["main", &"1".repeat(40)] {
        follow(reference);
        let before = forge.count();
        let _ = machine.run(&["health"]).ok();
        assert!(forge.count() > before, "{reference}");
    }
    assert!(!machine.state().exists());

    follow("gone");
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 1
    --- stdout
    failed   remote  remote
             `gone` is neither a branch nor a tag of http://[forge]/acme/machines.git

    checks: 0 passed, 1 failed
    --- stderr
    error: 1 of 1 health checks failed: remote
    help: correct the cause, or the checks in the section `[health]` of the configuration file, and run `hyper-sync health` again
    [health::unhealthy]
    ");
    follow("main");
    let page = Action::status_with(200, "content-type", "text/html", "<title>Welcome</title>");
    let _ = forge.fault(When::any(), page);
    insta::assert_snapshot!(machine.run(&["health"]).masked(), @"
    exit: 1
    --- stdout
    failed   remote  remote
             [forge] does not answer like a git host: status 200, <title>Welcome</title>

    checks: 0 passed, 1 failed
    --- stderr
    error: 1 of 1 health checks failed: remote
    help: correct the cause, or the checks in the section `[health]` of the configuration file, and run `hyper-sync health` again
    [health::unhealthy]
    ");
}

#[test]
fn a_wrong_check_is_a_wrong_setting() {
    let machine = machine("", "[health.checks.web]\nurll = 'http://localhost/'\n");
    let error = machine.run(&["health"]).code(2);
    assert!(
        error
            .stderr
            .contains("the unknown key `health.checks.web.urll`")
    );
    assert!(error.stderr.contains("does not say what is checked"));
}

#[test]
fn the_example_of_the_documentation_is_a_configuration() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/safe-updates.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, example) = text.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let machine = machine("", "");
    machine.config(example);
    let _ = machine.run(&["config", "check"]).ok();
    let shown = machine.run(&["config", "show", "--json"]).ok().json();
    let settings = shown["settings"].as_object().unwrap();
    for check in [
        "database.tcp",
        "login.status",
        "proxy.unit",
        "queue.timeout",
    ] {
        let setting = &settings[&format!("health.checks.{check}")];
        let origin = setting["origin"].as_str().unwrap();
        assert!(origin.contains("config.toml:"), "{check}: {origin}");
    }
}
