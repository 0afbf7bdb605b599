//! hyper-sync against `git fetch` and `git reset`, `git clone` and an archive, over one emulated line.
//!
//! ```text
//! cargo bench --bench against_git -- [--files N]… [--rtt MS] [--mbit N] [--rounds N] [--only WORD] [--plain] [--slow-start]
//! ```
//!
//! A repository with a history is served over TLS by real `git http-backend`, behind a proxy that makes loopback as
//! slow as a real line ([`common::link`]). Each round moves the branch and then runs all contestants, in another order
//! every time; the table has the medians, and the medians of the ratios within a round. Updates also run against the
//! bare requests ([`bare`]), the floor under every program. Every process starts cold:
//! apart from the name lookup it connects as it would in a timer's run. The first round is not timed: it
//! fills the page cache, measures memory, and every directory is compared with the commit after it and after the last.
//!
//! Limits: git is hermetic (no configuration of the machine) and as it comes, so it does not fsync its working tree
//! while hyper-sync does; server and client share the machine's cores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a measurement that cannot set up its world has failed"
)]

mod bare;
#[path = "../../tests/common/mod.rs"]
mod common;
mod contestants;
mod measure;
mod scenario;
mod table;

use std::time::Duration;

use clap::Parser;

use self::{
    common::{
        forge::{Certificate, Forge},
        link::{Link, Proxy},
        repo::Repo,
        snapshot::TreeSnapshot,
    },
    contestants::{Contestant, World},
    scenario::{SCENARIOS, Scenario},
    table::Row,
};

/// Measure hyper-sync against git.
#[derive(Parser)]
struct Args {
    /// Files in the repository; may be given more than once
    #[arg(long, default_values_t = [1000, 10_000])]
    files: Vec<usize>,
    /// Milliseconds there and back
    #[arg(long, default_value_t = 40)]
    rtt: u64,
    /// Bandwidth, each way
    #[arg(long, default_value_t = 50)]
    mbit: u64,
    /// How often each contestant is timed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only scenarios whose name holds this; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// Without TLS
    #[arg(long)]
    plain: bool,
    /// Connections find out the bandwidth as TCP does
    #[arg(long)]
    slow_start: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--bare", rest)) = given
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return bare::run(rest);
    }
    let args = Args::parse();
    println!(
        "{} ms round trip, {} Mbit/s, {}, {} rounds",
        args.rtt,
        args.mbit,
        if args.plain { "http" } else { "https" },
        args.rounds
    );
    let is_wanted = |scenario: &&Scenario| {
        args.only.is_empty() || args.only.iter().any(|word| scenario.name.contains(word))
    };
    for &files in &args.files {
        println!("\n{files} files\n{}", table::head());
        for scenario in SCENARIOS.iter().filter(is_wanted) {
            let rows = run(&args, scenario, files);
            println!("{}", table::lines(scenario.name, &rows));
        }
    }
}

fn run(args: &Args, scenario: &Scenario, files: usize) -> Vec<Row> {
    let repo = Repo::new();
    let commits = scenario.history(files, args.rounds + 1).extend(&repo);
    let forge = if args.plain {
        Forge::serve(&repo)
    } else {
        Forge::tls(&repo, Certificate::Good)
    };
    let link = Link {
        round_trip: Duration::from_millis(args.rtt),
        bytes_per_second: args.mbit * 1_000_000 / 8,
        slow_start: args.slow_start,
    };
    let proxy = Proxy::to(forge.host().parse().unwrap(), link);
    let scheme = if args.plain { "http" } else { "https" };
    let world = World::new(&format!("{scheme}://{}", proxy.address()));

    repo.update_ref("refs/heads/main", &commits[0]);
    for &who in scenario.contestants {
        world.prepare(who, contestants::Start::Nothing);
        measure::time(&mut world.commands(who, contestants::Start::Nothing));
    }
    let mut rows: Vec<Row> = scenario.contestants.iter().copied().map(Row::new).collect();
    for round in 0..=args.rounds {
        let tip = &commits[scenario.commits * (round + 1)];
        repo.update_ref("refs/heads/main", tip);
        for place in 0..rows.len() {
            let turn = (place + round) % rows.len();
            let row = &mut rows[turn];
            world.prepare(row.who, scenario.start);
            if scenario.is_old && row.who == Contestant::HyperSync {
                world.age();
            }
            let mut commands = world.commands(row.who, scenario.start);
            if round == 0 {
                row.memory = measure::memory(&mut commands);
                continue;
            }
            proxy.reset();
            forge.reset();
            row.seconds.push(measure::time(&mut commands));
            let (up, down) = proxy.bytes();
            row.up.push(count(up));
            row.down.push(count(down));
            row.requests.push(count(forge.count() as u64));
        }
        if round == 0 || round == args.rounds {
            let commit = TreeSnapshot::of_commit(&repo, tip);
            for row in &rows {
                if row.who != Contestant::Bare {
                    world.check(row.who, &commit);
                }
            }
        }
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}
