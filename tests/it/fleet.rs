//! A thousand machines that follow one repository: what they ask of its host, simulated with the timers of the module, the
//! pauses of the program and the cost of one real check. The tables of `docs/fleets.md` are made here:
//!
//! ```text
//! UPDATE_DOCS=1 cargo test --test it -- fleet
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use hyper_sync::source::http::Options;

use crate::common::forge::fault::{Action, When};
use crate::common::repo::Repo;
use crate::common::world::World;

mod simulation;

use simulation::{DAY, HOUR, Host, Log, MINUTE, Millis, SECOND, Timers, day};

const PAGE: &str = "docs/fleets.md";
const MACHINES: u64 = 1000;
const HEAD: &str = "| 1,000 machines, `dates = \"hourly\"` | requests an hour | bytes an hour | most in one second | most in ten seconds |\n\
                    |---|---|---|---|---|\n";
const LIMITS_HEAD: &str =
    "| limit of GitHub's API | machines every hour | every 15 minutes |\n|---|---|---|\n";
const DEFAULT: &str = "default";
const NO_DELAY: &str = "`randomizedDelaySec = \"0\"`";
/// When all machines boot in one second, after what their timers would have done at the full hour.
const BOOT: Millis = 8 * HOUR + 30 * MINUTE;
const DOWN: Host = Host::Down(11 * HOUR, 12 * HOUR);
/// In the minutes in which the timers elapse.
const LIMIT_ENDS: Millis = 11 * HOUR + 6 * MINUTE;
const LIMITED: Host = Host::Limited(11 * HOUR, LIMIT_ENDS);
/// From <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
const ANONYMOUS_AN_HOUR: u64 = 60;
const TOKEN_AN_HOUR: u64 = 5000;
const POINTS_A_MINUTE: u64 = 900;

/// A unit as the module makes it; `checks/units.nix` compares it with the module.
fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/units");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// The bytes of one request by the real program, both ways: of a check without news, and of one that fails.
struct Cost {
    check: u64,
    failure: u64,
}

impl Cost {
    fn measured() -> Self {
        let world = World::served(&Repo::small()).synced();
        let forge = world.forge();
        let bytes = |requests| {
            assert_eq!(forge.count(), requests);
            let (up, down) = forge.wire_bytes();
            (up + down) / requests as u64
        };
        forge.reset();
        let _ = world.sync(&[]).ok();
        let check = bytes(1);
        forge
            .reset()
            .fault(When::any(), Action::status(503, "down"));
        let _ = world.sync(&[]).code(3);
        let failure = bytes(1 + Options::default().retries as usize);
        Self { check, failure }
    }

    fn row(&self, what: &str, log: &Log, hours: u64) -> String {
        let bytes = log.count(true) as u64 * self.check + log.count(false) as u64 * self.failure;
        let tenths = bytes / hours / 100_000;
        format!(
            "| {what} | {} | {}.{} MB | {} | {} |\n",
            grouped(log.requests.len() as u64 / hours),
            tenths / 10,
            tenths % 10,
            grouped(log.peak(SECOND) as u64),
            grouped(log.peak(10 * SECOND) as u64),
        )
    }
}

fn grouped(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1000, number % 1000)
}

fn with_delay(delay: Millis) -> Timers {
    Timers {
        delay,
        ..Timers::of_module()
    }
}

/// The page has the table, or gets it.
fn assert_on_page(head: &str, table: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let start = page.find(head).expect("the page has the head of the table");
    let end = start + page[start..].find("\n\n").expect("an empty line") + 1;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{}{table}{}", &page[..start], &page[end..]);
        std::fs::write(path, page).unwrap();
        return;
    }
    assert!(
        &page[start..end] == table,
        "`UPDATE_DOCS=1 cargo test --test it -- fleet` makes {PAGE} anew; it should have:\n{table}"
    );
}

#[test]
fn the_page_has_what_a_thousand_machines_ask_for() {
    let cost = Cost::measured();
    let module = Timers::of_module();
    let mut table = HEAD.to_owned();
    let fixed = Timers {
        fixed: true,
        ..module.clone()
    };
    let exact = Timers {
        accuracy: 0,
        ..with_delay(0)
    };
    for (what, timers) in [
        ("as the module has it", &module),
        ("`fixedRandomDelay = true`", &fixed),
        ("`randomizedDelaySec = \"45min\"`", &with_delay(45 * MINUTE)),
        (NO_DELAY, &with_delay(0)),
        ("the same, and `AccuracySec=1us` in the timer", &exact),
    ] {
        let log = day(MACHINES, timers, Host::Up, 0);
        assert_eq!(log.requests.len() as u64, MACHINES * 24, "{what}");
        table += &cost.row(what, &log, 24);
    }
    for (what, timers) in [(DEFAULT, &module), (NO_DELAY, &with_delay(0))] {
        let log = day(MACHINES, timers, Host::Up, BOOT).between(BOOT, BOOT + HOUR / 2);
        assert_eq!(log.requests.len() as u64, MACHINES, "each asks once");
        table += &cost.row(&format!("{what}: the half hour after all boot"), &log, 1);
    }
    for (what, timers) in [(DEFAULT, &module), (NO_DELAY, &with_delay(0))] {
        let log = day(MACHINES, timers, DOWN, 0);
        for (part, from) in [
            ("an hour in which the host is down", 11 * HOUR),
            ("the hour after it", 12 * HOUR),
        ] {
            let hour = log.between(from, from + HOUR);
            table += &cost.row(&format!("{what}: {part}"), &hour, 1);
        }
    }
    let log = day(MACHINES, &module, LIMITED, 0).between(LIMIT_ENDS, 12 * HOUR);
    let what = format!("{DEFAULT}: the hour after a rate limit of all");
    table += &cost.row(&what, &log, 1);
    assert_on_page(HEAD, &table);
}

#[test]
fn no_second_gets_more_than_its_share() {
    let module = Timers::of_module();
    // With a delay of ten minutes, fewer than two requests a second are the mean.
    let normal = day(MACHINES, &module, Host::Up, 0);
    let booted = day(MACHINES, &module, Host::Up, BOOT);
    // The host is back at a full hour, when the timers of all elapse beside their retries.
    let back = day(MACHINES, &module, DOWN, 0).between(12 * HOUR, DAY);
    // Who waits for the end of a limit that is one for all does not come back in one second with all others.
    let limited = day(MACHINES, &module, LIMITED, 0).between(LIMIT_ENDS, DAY);
    let waited = limited.between(LIMIT_ENDS, LIMIT_ENDS + 3 * MINUTE);
    assert!(waited.requests.len() > 300, "many have waited");
    for (what, log, most) in [
        ("normal", normal, 12),
        ("booted", booted, 12),
        ("back", back, 20),
        ("limited", limited, 25),
    ] {
        let peak = log.peak(SECOND);
        assert!(peak <= most, "{what}: {peak} requests in one second");
    }
}

#[test]
fn the_page_says_how_many_machines_fit_into_the_limits_of_the_api() {
    let world = World::github(&Repo::small(), "api").synced();
    world.forge().reset();
    let _ = world.sync(&[]).ok();
    let requests = world.forge().count() as u64;
    let minute = |period| {
        let timers = Timers {
            period,
            ..Timers::of_module()
        };
        let peak = day(MACHINES, &timers, Host::Up, 0).peak(MINUTE) as u64;
        POINTS_A_MINUTE * MACHINES / peak
    };
    let an_hour = |limit: u64, runs| limit / (runs * requests);
    let mut table = LIMITS_HEAD.to_owned();
    for (what, hourly, quarterly) in [
        (
            "60 requests an hour, of all machines behind one address without a token",
            an_hour(ANONYMOUS_AN_HOUR, 1),
            an_hour(ANONYMOUS_AN_HOUR, 4),
        ),
        (
            "5,000 requests an hour, of one user's tokens",
            an_hour(TOKEN_AN_HOUR, 1),
            an_hour(TOKEN_AN_HOUR, 4),
        ),
        (
            "900 requests a minute",
            minute(HOUR) / 100 * 100,
            minute(15 * MINUTE) / 100 * 100,
        ),
    ] {
        let [hourly, quarterly] = [hourly, quarterly].map(grouped);
        writeln!(table, "| {what} | {hourly} | {quarterly} |").unwrap();
    }
    assert_on_page(LIMITS_HEAD, &table);
}
