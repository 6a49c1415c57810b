//! What the kernel says that this process has used.

use anyhow::{Context, Result};

/// User and system time, microseconds, of all threads.
pub fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
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
