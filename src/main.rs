//! The `hyper-sync` binary.

use std::process::ExitCode;

use hyper_sync::cli;
use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;

fn main() -> ExitCode {
    cli::main(
        std::env::args_os(),
        &Env::from_process(),
        Stdio::of_process(),
    )
    .into()
}
