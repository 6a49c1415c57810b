//! Logs on stderr.

use super::error::CliError;
use super::safe::LogWriter;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Logs at this verbosity; `HEDGEROW_LOG` (as `tracing`'s filters are written) wins over it.
///
/// A peer tells its story from the start, a client only what goes wrong.
pub(super) fn init(verbose: u8, serves: bool) -> Result<(), CliError> {
    let directives = match verbose + u8::from(serves) {
        0 => "warn",
        1 => "warn,hedgerow=info,hedgerow_protocol=info",
        2 => "info,hedgerow=debug,hedgerow_protocol=debug",
        3 => "debug,hedgerow=trace,hedgerow_protocol=trace",
        _ => "trace",
    };
    let directives = std::env::var("HEDGEROW_LOG").unwrap_or_else(|_| directives.to_owned());
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| CliError::Usage(format!("HEDGEROW_LOG={directives}: {error}")))?;
    let terminal = io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let writer = move || -> Box<dyn io::Write> {
        if terminal {
            Box::new(LogWriter(io::stderr()))
        } else {
            Box::new(io::stderr())
        }
    };
    // An error means that a subscriber is installed already, as in tests.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour)
        // Where the disk that holds the log is full, saying so on stderr would be a panic.
        .log_internal_errors(false)
        .try_init();
    Ok(())
}
