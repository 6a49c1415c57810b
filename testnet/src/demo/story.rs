//! The demo as it is told: one line an event, with the time since the beginning.

use std::time::Instant;

/// Tells on stdout, or on stderr when stdout is for JSON.
#[derive(Debug)]
pub(crate) struct Story {
    began: Instant,
    on_stderr: bool,
}

impl Story {
    pub(crate) fn new(on_stderr: bool) -> Self {
        Self {
            began: Instant::now(),
            on_stderr,
        }
    }

    /// Something that happens now.
    pub(crate) fn tell(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.aside(&format!("{seconds:6.1} s  {text}"));
    }

    /// Something to be said at no time in particular.
    pub(crate) fn aside(&self, text: &str) {
        if self.on_stderr {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }
}
