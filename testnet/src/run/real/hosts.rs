//! Hosts: network namespaces without names, each with a TUN device whose other end is a port of
//! the switch.
//!
//! A thread a host has unshared its network namespace and starts the host's processes; a thread
//! more carries packets between devices and switch. Namespaces and devices last as long as the
//! threads, the processes and the descriptors that use them, so they go when this program goes,
//! however it ends; there is nothing to remove.

use crate::process::Place;
use crate::switch::{MTU, Switch};
use hedgerow_protocol::Micros;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tun_rs::{DeviceBuilder, SyncDevice};

/// Hosts share one network: 10.77.0.0/16.
const PREFIX: u8 = 16;
/// How long the carrier sleeps at most, so that it sees when it is to end.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// Packets taken from one device before the others get a turn.
const TURN: usize = 64;

/// All hosts, and what joins them.
#[derive(Debug)]
pub(super) struct Hosts {
    all: Vec<Arc<Host>>,
    carrier: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    switch: Mutex<Switch>,
    epoch: Instant,
    stop: AtomicBool,
}

impl Shared {
    fn now(&self) -> Micros {
        Micros(self.epoch.elapsed().as_micros() as u64)
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread in a network namespace of its own.
#[derive(Debug)]
struct Host {
    requests: Mutex<mpsc::Sender<Request>>,
}

/// A command to start, and where to say what came of it.
struct Request {
    command: Command,
    runtime: Handle,
    started: mpsc::Sender<io::Result<Child>>,
}

impl Hosts {
    /// Makes hosts with these addresses, joined by `switch`; what is missing, in words.
    pub(super) fn new(addresses: &[Ipv4Addr], switch: Switch) -> Result<Self, String> {
        let mut made = addresses.iter().map(|&address| Host::new(address));
        let first = match made.next() {
            None => return Err("there are no hosts".to_owned()),
            // Not root: a user namespace of one's own gives the rights, where the system allows it.
            Some(Err(Missing::Rights)) => {
                own_user_namespace()?;
                Host::new(addresses[0])
            }
            Some(first) => first,
        };
        let mut hosts = Vec::new();
        let mut devices = Vec::new();
        for host in std::iter::once(first).chain(made) {
            let (host, device) = host.map_err(|missing| missing.to_string())?;
            hosts.push(Arc::new(host));
            devices.push(device);
        }
        let shared = Arc::new(Shared {
            switch: Mutex::new(switch),
            epoch: Instant::now(),
            stop: AtomicBool::new(false),
        });
        let carried = Arc::clone(&shared);
        let carrier = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(move || carry(&carried, &devices))
            .map_err(|error| format!("no thread for the switch: {error}"))?;
        Ok(Self {
            all: hosts,
            carrier: Some(carrier),
            shared,
        })
    }

    /// Where a host's processes are started.
    pub(super) fn place(&self, host: usize) -> Arc<dyn Place> {
        Arc::clone(&self.all[host]) as Arc<dyn Place>
    }

    /// Looks at the switch or changes it; it waits meanwhile.
    pub(super) fn with_switch<R>(&self, act: impl FnOnce(&mut Switch, Micros) -> R) -> R {
        let now = self.shared.now();
        act(&mut self.shared.switch(), now)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // A carrier that panicked has said so.
            let _ = carrier.join();
        }
    }
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("a network namespace needs the rights of root, or a user namespace")]
    Rights,
    #[error("this kernel gives no network namespace: {0}")]
    Namespace(Errno),
    #[error("no TUN device (/dev/net/tun): {0}")]
    Device(io::Error),
    #[error("no thread for a host: {0}")]
    Thread(io::Error),
}

impl Host {
    /// A thread in a new namespace, and the other end of its device.
    fn new(address: Ipv4Addr) -> Result<(Self, SyncDevice), Missing> {
        let (requests, inbox) = mpsc::channel();
        let (made, device) = mpsc::channel();
        let thread = std::thread::Builder::new().name("host".to_owned());
        let spawned = thread.spawn(move || {
            let device = enter(address);
            let failed = device.is_err();
            if made.send(device).is_ok() && !failed {
                serve(&inbox);
            }
        });
        let handle = spawned.map_err(Missing::Thread)?;
        // It sends before it ends, whatever happens.
        match device.recv() {
            Ok(Ok(device)) => Ok((
                Self {
                    requests: Mutex::new(requests),
                },
                device,
            )),
            failed => {
                // Gone before the next is tried: a user namespace needs a process of one thread.
                let _ = handle.join();
                let ended = || Missing::Thread(io::Error::other("it ended"));
                Err(failed.map_or_else(|_| ended(), |result| result.err().unwrap_or_else(ended)))
            }
        }
    }
}

impl Place for Host {
    fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the host's thread has ended");
        let (started, result) = mpsc::channel();
        let request = Request {
            command,
            runtime: Handle::current(),
            started,
        };
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.send(request).map_err(|_| gone())?;
        drop(requests);
        result.recv().map_err(|_| gone())?
    }
}

/// Puts this thread into a new network namespace and makes the device there.
fn enter(address: Ipv4Addr) -> Result<SyncDevice, Missing> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| match error {
        Errno::EPERM => Missing::Rights,
        other => Missing::Namespace(other),
    })?;
    let device = DeviceBuilder::new()
        .name("hedgerow0")
        .ipv4(address, PREFIX, None)
        .mtu(MTU)
        .build_sync()
        .map_err(Missing::Device)?;
    device.set_nonblocking(true).map_err(Missing::Device)?;
    Ok(device)
}

/// Starts processes until nobody asks any more. They die with this thread, so it must outlive
/// them.
fn serve(requests: &mpsc::Receiver<Request>) {
    for mut request in requests {
        let _inside = request.runtime.enter();
        let child = request.command.spawn();
        let _ = request.started.send(child);
    }
}

/// Gives this process, which must have one thread, a user namespace in which it has all rights.
fn own_user_namespace() -> Result<(), String> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| match error {
        Errno::EPERM | Errno::ENOSPC | Errno::ENOSYS => format!(
            "run it as root, or let users make namespaces \
             (kernel.unprivileged_userns_clone, user.max_user_namespaces): {error}"
        ),
        // unshare(2): a process of several threads gets none.
        Errno::EINVAL => format!(
            "without the rights of root, hosts need a process of one thread; \
             sweep with --jobs 1: {}",
            Errno::EINVAL
        ),
        other => format!("no user namespace: {other}"),
    })?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, text).map_err(|error| format!("{path}: {error}"))
    };
    // user_namespaces(7): groups cannot be mapped before this.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))
}

/// Carries packets between devices and switch until it is told to stop.
fn carry(shared: &Shared, devices: &[SyncDevice]) {
    let mut buffer = vec![0; usize::from(MTU) + 64];
    while !shared.stop.load(Ordering::Relaxed) {
        let mut switch = shared.switch();
        let now = shared.now();
        while let Some((to, packet)) = switch.poll(now) {
            // A device whose queue is full drops, as devices do.
            let _ = devices[to].send(&packet);
        }
        let due = switch.next_due();
        drop(switch);
        let sleep = due.map_or(SLEEP_MAX, |due| {
            Duration::from_micros(due.since(shared.now()).0).min(SLEEP_MAX)
        });
        let mut ready: Vec<PollFd<'_>> = devices
            .iter()
            .map(|device| PollFd::new(device, PollFlags::IN))
            .collect();
        let sleep = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(sleep.subsec_nanos()),
        };
        // Interrupted is as good as over.
        let _ = poll(&mut ready, Some(&sleep));
        for (from, at) in ready.iter().enumerate() {
            if at.revents().is_empty() {
                continue;
            }
            for _ in 0..TURN {
                let Ok(bytes) = devices[from].recv(&mut buffer) else {
                    break;
                };
                let now = shared.now();
                shared.switch().send(now, from, &buffer[..bytes]);
            }
        }
    }
}
