//! The `hedgerow` program: a peer, and the commands that speak to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hedgerow::cli::main()
}
