//! The runtime that peers run best on: tokio's with several threads, each of which wakes on a
//! processor of its own.
//!
//! A thread that is woken is run where it slept, or where it was woken, unless the scheduler finds
//! an idle processor near; it is moved only when processors are balanced, milliseconds later. Of a
//! virtual machine's processors Linux takes none for idle that was halted (`available_idle_cpu`), so all
//! threads that have to do with a message take turns on one of them, and the others sleep on. Here a
//! thread that goes to sleep is bound to one processor, wakes there, and may be moved as soon as it
//! runs.
//!
//! Knows nothing of peers.

use tokio::runtime::Builder;

/// A builder for tokio's runtime with I/O, timers and a thread for each processor; on Linux, each
/// wakes on another.
///
/// Threads keep to the processors that they may use (`taskset`), even if those change. Who gives
/// the builder an `on_thread_park` or `on_thread_unpark` of its own takes this out.
pub fn runtime() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    #[cfg(target_os = "linux")]
    homes::give(&mut builder);
    builder
}

#[cfg(target_os = "linux")]
mod homes {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::runtime::Builder;

    /// What a sleeping thread is bound to.
    #[derive(Clone, Copy)]
    struct Bound {
        home: CpuSet,
        /// What it may use when it runs.
        allowed: CpuSet,
    }

    thread_local! {
        /// Which of the processors is this thread's; `usize::MAX`: not yet given.
        static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
        static BOUND: Cell<Option<Bound>> = const { Cell::new(None) };
    }

    pub(super) fn give(builder: &mut Builder) {
        // Processes that share a machine do not all begin with its first processor.
        let next = AtomicUsize::new(std::process::id() as usize);
        builder.on_thread_park(move || {
            if PLACE.get() == usize::MAX {
                PLACE.set(next.fetch_add(1, Ordering::Relaxed));
            }
            BOUND.set(bind(PLACE.get()));
        });
        builder.on_thread_unpark(|| {
            if let Some(bound) = BOUND.take() {
                free(&bound);
            }
        });
    }

    /// Binds this thread; not if there is nothing to choose from, or the system refuses.
    fn bind(place: usize) -> Option<Bound> {
        let allowed = sched_getaffinity(None).ok()?;
        let count = allowed.count() as usize;
        if count < 2 {
            return None;
        }
        let mut all = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let mut home = CpuSet::new();
        home.set(all.nth(place % count)?);
        sched_setaffinity(None, &home).ok()?;
        Some(Bound { home, allowed })
    }

    /// Frees it again, unless somebody else has bound it meanwhile.
    fn free(bound: &Bound) {
        if sched_getaffinity(None).is_ok_and(|now| now == bound.home) {
            // Processors that were taken away meanwhile are left out by the system; it refuses only
            // if none is left, and has then moved this thread itself.
            let _ = sched_setaffinity(None, &bound.allowed);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::collections::BTreeSet;
        use std::time::{Duration, Instant};

        /// Processors that the runtime's threads may use now, thread by thread.
        fn allowed_now(name: &str) -> Vec<String> {
            let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
            let statuses = tasks.filter_map(|task| {
                std::fs::read_to_string(task.expect("a task").path().join("status")).ok()
            });
            let field = |status: &str, key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key));
                line.map(|value| value.trim().to_owned())
            };
            statuses
                .filter(|status| field(status, "Name:").as_deref() == Some(name))
                .filter_map(|status| field(&status, "Cpus_allowed_list:"))
                .collect()
        }

        #[test]
        fn threads_sleep_on_different_processors_and_run_on_any() {
            let before = sched_getaffinity(None).expect("known");
            let threads = (before.count() as usize).min(4);
            let runtime = crate::runtime()
                .worker_threads(threads)
                .thread_name("at-home")
                .build()
                .expect("a runtime");
            let limit = Instant::now() + Duration::from_secs(60);
            loop {
                let homes = allowed_now("at-home");
                let different: BTreeSet<_> = homes.iter().collect();
                let single = homes.iter().all(|home| home.parse::<usize>().is_ok());
                if single && homes.len() == threads && different.len() == threads {
                    break;
                }
                assert!(Instant::now() < limit, "asleep on {homes:?}");
                std::thread::yield_now();
            }
            let running = runtime.block_on(async {
                let task = tokio::spawn(async { sched_getaffinity(None).expect("known") });
                task.await.expect("ends")
            });
            assert!(running == before);
        }
    }
}
