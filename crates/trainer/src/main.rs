//! The `candle-gan` program.
#![forbid(unsafe_code)]

use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use trainer::{INTERRUPTED, Outcome, Plain, cli::Cli};

/// Every training step allocates and frees the same large buffers. The system's allocator gives
/// them back to the kernel each time and pays for the page faults, a third of the step; this one
/// keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
    match trainer::run(&cli, &mut std::io::stdout()) {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            // The chain of causes on one line; not through the log, which can be turned off.
            let text = format!("{error:#}").replace('\n', " ");
            let _ = writeln!(Plain::new(std::io::stderr()), "ERROR {text}");
            ExitCode::from(2)
        }
    }
}
