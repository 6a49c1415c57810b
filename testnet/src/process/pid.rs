//! A process by number and time of birth, so that a number used again is not taken for it.

use super::error::{ProcessError, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a process that is to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One process, whoever its parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The system's number for it.
    pub pid: u32,
    /// When it was started, in the system's ticks; `None` where the system does not tell.
    pub started: Option<u64>,
}

impl ProcessId {
    /// The process that has the number `pid` now.
    pub fn of(pid: u32) -> Self {
        Self {
            pid,
            started: read_stat(pid).map(|stat| stat.started),
        }
    }

    /// Whether it still runs (stopped ones do, ended ones that nobody has waited for do not).
    pub fn is_alive(self) -> bool {
        if !cfg!(target_os = "linux") {
            return self.raw().is_some_and(|pid| test_kill_process(pid).is_ok());
        }
        read_stat(self.pid).is_some_and(|stat| {
            !matches!(stat.state, b'Z' | b'X') && self.started.is_none_or(|at| at == stat.started)
        })
    }

    /// Sends a signal; one that has ended already is no error.
    pub fn signal(self, signal: Signal) -> Result<()> {
        let Some(pid) = self.raw().filter(|_| self.is_alive()) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(ProcessError::Signal {
                pid: self.pid,
                source: error.into(),
            }),
        }
    }

    /// Lets its files grow no further, as on a full disk, or as far as they may again: every write
    /// that would make one longer fails (EFBIG, where a full disk says ENOSPC). A process that has
    /// ended already is no error.
    #[cfg(target_os = "linux")]
    pub fn limit_files(self, full: bool) -> Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
        let Some(pid) = self.raw().filter(|_| self.is_alive()) else {
            return Ok(());
        };
        // Children have their parent's limits.
        let own = getrlimit(Resource::Fsize);
        let limit = Rlimit {
            current: if full { Some(0) } else { own.current },
            ..own
        };
        match prlimit(Some(pid), Resource::Fsize, limit) {
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(ProcessError::Limit {
                pid: self.pid,
                source: error.into(),
            }),
        }
    }

    /// Only Linux sets limits of other processes.
    #[cfg(not(target_os = "linux"))]
    pub fn limit_files(self, _full: bool) -> Result<()> {
        Err(ProcessError::Limit {
            pid: self.pid,
            source: std::io::ErrorKind::Unsupported.into(),
        })
    }

    /// Waits until it has ended; `false` when it has not after `limit`.
    pub async fn ended_within(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Asks it to end (SIGTERM, with SIGCONT in case it is stopped), and kills it when it has not
    /// after `grace`. Tells whether it ended by itself.
    pub async fn stop(self, grace: Duration) -> Result<bool> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        if self.ended_within(grace).await {
            return Ok(true);
        }
        self.signal(Signal::KILL)?;
        let after = Duration::from_secs(5);
        if self.ended_within(after).await {
            return Ok(false);
        }
        Err(ProcessError::Unkillable {
            pid: self.pid,
            after,
        })
    }

    fn raw(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

struct Stat {
    state: u8,
    started: u64,
}

/// State and start time from `/proc`; the command's name may hold spaces and parentheses, so
/// fields are counted from the last one that closes.
fn read_stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // proc(5): state is field 3, starttime field 22.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, started })
}
