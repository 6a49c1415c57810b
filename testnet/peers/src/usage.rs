//! What the kernel says that this process has used.

use anyhow::{Context, Result};
use std::sync::atomic::{AtomicU32, Ordering};

/// A process that works for this one, and whose time counts too; 0: none.
static ALSO: AtomicU32 = AtomicU32::new(0);

/// Counts the time of another process as well.
pub fn count_also(process: u32) {
    ALSO.store(process, Ordering::Relaxed);
}

/// User and system time, microseconds, of all threads.
pub fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let also = match ALSO.load(Ordering::Relaxed) {
        0 => 0,
        process => cpu_us_of(process).unwrap_or_default(),
    };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000 + also
}

/// The same of another process, by the kernel's ticks.
fn cpu_us_of(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may contain anything, come state and numbers.
    let numbers: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = numbers.get(11)?.parse::<u64>().ok()? + numbers.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Memory that is this process's alone, KiB.
pub fn private_kib() -> Result<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")
        .context("private memory needs /proc/self/smaps_rollup (Linux)")?;
    let value = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let clean = value("Private_Clean:").context("no Private_Clean")?;
    let dirty = value("Private_Dirty:").context("no Private_Dirty")?;
    Ok(clean + dirty)
}

/// Bytes that the loopback interface has carried, whoever sent them.
pub fn loopback_bytes() -> Option<u64> {
    let interfaces = std::fs::read_to_string("/proc/net/dev").ok()?;
    let line = interfaces
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}
