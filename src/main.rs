//! The `hyper-sync` binary.

use std::process::ExitCode;

use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;
use hyper_sync::source::Interrupt;
use hyper_sync::{cli, memory, signals};

fn main() -> ExitCode {
    memory::keep();
    let interrupt = Interrupt::default();
    signals::watch(&interrupt);
    cli::main(
        std::env::args_os(),
        &Env::from_process(),
        Stdio::of_process(),
        &interrupt,
    )
    .into()
}
