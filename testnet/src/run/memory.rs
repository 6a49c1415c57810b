//! What a process held.

/// Lets the most that this process held begin with what it holds now; without effect where the
/// system does not know of it (`clear_refs` in proc(5)).
pub(crate) fn forget_peak() {
    // Refused, the peak of this process's whole life is told: more, never less.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that a process (a number, or `self`) held so far, MiB; 0 where the system does
/// not tell.
pub(crate) fn peak_rss_mib(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or(0.0) / 1024.0
}
