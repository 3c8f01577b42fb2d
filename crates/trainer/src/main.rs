//! The `candle-gan` program.
#![forbid(unsafe_code)]

use clap::Parser;
use gan_files::Line;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;
use trainer::cli::{Cli, Command};
use trainer::{INTERRUPTED, Outcome, is_first_rank};

/// Every training step allocates and frees the same large buffers. The system's allocator gives
/// them back to the kernel each time and pays for the page faults, a third of the step; this one
/// keeps them ([`gan_kernels::keep_freed_memory`]).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a command that failed.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    gan_kernels::keep_freed_memory();
    let cli = Cli::parse();
    // Of several ranks that train, one speaks.
    let trains = matches!(cli.command, None | Some(Command::Train(_)));
    let default_level = if trains && !is_first_rank() { "off" } else { "info" };
    // A message is one line, whatever names are in it.
    let fields = format::debug_fn(|out, field, value| match field.name() {
        "message" => write!(out, "{}", Line(format_args!("{value:?}"))),
        name => write!(out, "{name}={}", Line(format_args!("{value:?}"))),
    });
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| default_level.into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .fmt_fields(fields.delimited(" "))
        // Standard error may be closed. That is no reason to end, and there is nowhere to say it.
        .log_internal_errors(false)
        .init();
    match trainer::run(&cli, &mut std::io::stdout()) {
        Ok(Outcome::Complete) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(_) if trains && !is_first_rank() => ExitCode::from(FAILED),
        Err(error) => {
            // The chain of causes on one line; not through the log, which can be turned off.
            let text = format!("{error:#}");
            let _ = writeln!(std::io::stderr(), "ERROR {}", Line(text.trim_end()));
            ExitCode::from(FAILED)
        }
    }
}
