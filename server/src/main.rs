//! The `quoth-server` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    quoth_server::cli::run()
}
