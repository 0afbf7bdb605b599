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
    let env = Env::from_process();
    let stdio = Stdio::of_process(&env);
    cli::main(std::env::args_os(), &env, stdio, &interrupt).into()
}
