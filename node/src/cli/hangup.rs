//! Notices that stdout has no reader any more, without writing to it.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::future::pending;
use std::io;
use tokio::sync::oneshot;

/// Waits until the reader of stdout has gone: the other end of a pipe or socket is closed, or the
/// terminal was hung up. Never returns if stdout is a file.
pub(super) async fn stdout_hung_up() {
    let (tell, told) = oneshot::channel();
    // A thread of its own, as long as the process lives: tokio cannot poll a regular file.
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
