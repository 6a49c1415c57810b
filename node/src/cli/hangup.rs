//! Noticing that nobody reads stdout any more, without writing to it.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::future::pending;
use std::io;
use tokio::sync::oneshot;

/// Waits until what reads stdout has gone: a pipe or a socket whose other end is closed, a terminal
/// that was hung up. With a file that never happens.
pub(super) async fn stdout_hung_up() {
    let (tell, told) = oneshot::channel();
    // A thread of its own, for as long as the process lives: a file is nothing that a poll of
    // tokio's takes.
    let thread = std::thread::Builder::new().name("stdout".to_owned());
    let watch = move || {
        if wait() {
            // The command may have ended.
            let _ = tell.send(());
        }
    };
    if let Err(error) = thread.spawn(watch) {
        tracing::debug!(%error, "a closed stdout is noticed only when writing to it");
    }
    if told.await.is_err() {
        pending::<()>().await;
    }
}

/// Waits; whether stdout was hung up.
fn wait() -> bool {
    let stdout = io::stdout();
    loop {
        // Errors and hang-ups are told unasked.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) => {
                let gone = PollFlags::ERR | PollFlags::HUP;
                return polled[0].revents().intersects(gone);
            }
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
