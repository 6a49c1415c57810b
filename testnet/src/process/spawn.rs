//! How a child comes to its parent's end: with it, or never; and what it bears without ending.

use std::process::Command;

/// Lets the kernel kill the child when the thread that starts it ends, however that comes about.
///
/// The tie is to the thread, not the process (prctl(2)), so start processes from a thread that
/// lives as long as they shall: the main thread of a current-thread runtime, a runtime's worker,
/// a test's thread; not from `spawn_blocking`. The child gets a process group of its own, so that
/// Ctrl-C at the terminal reaches the harness alone, which then ends its children in order.
#[cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "there is no safe way to run code in the child")
)]
pub(super) fn tie_to_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
        let parent = getpid();
        let tie = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // Had the parent ended before the line above, no signal would ever come.
            if getppid() == Some(parent) {
                Ok(())
            } else {
                Err(rustix::io::Errno::SRCH.into())
            }
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are two
        // plain system calls, which allocate nothing and take no lock.
        unsafe { command.pre_exec(tie) };
    }
}

/// Lets the child go on where a file may not grow: it is told so by an error, as by a full disk,
/// and not by SIGXFSZ, which would end it.
#[expect(unsafe_code, reason = "there is no safe way to run code in the child")]
pub(super) fn bear_full_disks(command: &mut Command) {
    use nix::sys::signal::{SigHandler, Signal, signal};
    use std::os::unix::process::CommandExt as _;
    let ignore = || {
        // SAFETY: no handler is set that could run anything. What is ignored stays so in exec.
        unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }
            .map(drop)
            .map_err(Into::into)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; sigaction(2) is one
    // plain system call, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(ignore) };
}

/// Gives the child a session of its own, so that it outlives the terminal and the harness.
#[expect(unsafe_code, reason = "there is no safe way to run code in the child")]
pub(super) fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let own_session = || rustix::process::setsid().map(drop).map_err(Into::into);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid(2) is one
    // plain system call, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(own_session) };
}
