//! The looks of peers that are to begin warm, by several threads.

use hedgerow_topology::model::Lookers;
use std::thread;

/// So many threads, this one included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threads(pub(super) usize);

impl Lookers for Threads {
    fn all<T: Send>(&self, peers: &[usize], look: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let share = peers.len().div_ceil(self.0.max(1)).max(1);
        let part = |some: &[usize]| some.iter().map(|&peer| look(peer)).collect::<Vec<T>>();
        thread::scope(|scope| {
            let (mine, others) = peers.split_at(share.min(peers.len()));
            // What the system gives no thread for is done here, too.
            let others: Vec<_> = others
                .chunks(share)
                .map(|some| {
                    let started = thread::Builder::new().spawn_scoped(scope, || part(some));
                    (some, started)
                })
                .collect();
            let mut all = part(mine);
            for (some, started) in others {
                match started {
                    Ok(thread) => match thread.join() {
                        Ok(seen) => all.extend(seen),
                        Err(panic) => std::panic::resume_unwind(panic),
                    },
                    Err(_) => all.extend(part(some)),
                }
            }
            all
        })
    }
}
