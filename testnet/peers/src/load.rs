//! The load on the peers, and the window in which it is measured.

use crate::peer::Publisher;
use crate::seen::{Count, Progress, now_ns, payload};
use crate::spec::{Load, Outcome, Shape, Spec};
use crate::usage;
use anyhow::Result;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Before anything is measured under load.
pub const WARM_UP: Duration = Duration::from_millis(700);
/// No delivery for so long: what is under way is lost.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// A message that is alone under way, and large, is given up after so long.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// Publishes for an origin; with a window of 1, notes how long each message took to all.
pub async fn drive<T: Publisher>(
    mut publisher: T,
    origin: usize,
    spec: Spec,
    progress: Arc<Progress>,
    receivers: u64,
    until: Instant,
) -> Result<()> {
    // Another process tells only how many it has.
    let count = match receivers {
        1 => Count::Delivered,
        _ => Count::Complete,
    };
    // Given up for lost.
    let mut lost = 0;
    // Origins take turns: at once they would be one origin with larger bursts.
    let begin = Instant::now() + phase(&spec, origin);
    let again: Bytes = payload(spec.message_bytes, now_ns(), origin, 0);
    // In a pair the receiver measures, and the origin goes on until it is ended; at a fixed rate
    // it stops, so that what it published can be counted.
    let is_endless = spec.shape == Shape::PairOrigin && !matches!(spec.load, Load::Rate(_));
    for number in 0.. {
        if !is_endless && Instant::now() >= until {
            break;
        }
        let stamp = match spec.load {
            Load::Idle => break,
            Load::Busy => None,
            Load::Window(most) => {
                let due = (number + 1_u64).saturating_sub(most + lost);
                if T::HOLDS_BACK && progress.count(origin, count) < due {
                    publisher.flush().await?;
                }
                if !progress.wait(origin, count, due, PATIENCE).await {
                    lost += due.saturating_sub(progress.count(origin, count));
                }
                progress.expect(origin, number, receivers);
                Some(now_ns())
            }
            Load::Rate(rate) => Some(wait_turn(begin, number, rate).await),
        };
        let message = match stamp {
            None => again.clone(),
            Some(stamp) => payload(spec.message_bytes, stamp, origin, number),
        };
        let started = Instant::now();
        publisher.publish(message).await?;
        progress.note_published(origin);
        if spec.load == Load::Window(1) {
            publisher.flush().await?;
            let due = number + 1 - lost;
            if progress.wait(origin, count, due, LOST_AFTER).await {
                progress.note_spread(started.elapsed());
            } else {
                lost += due.saturating_sub(progress.count(origin, count));
                progress.note_spread(LOST_AFTER);
            }
        }
    }
    publisher.flush().await?;
    std::mem::forget(publisher);
    Ok(())
}

/// When an origin begins to publish at a fixed rate.
fn phase(spec: &Spec, origin: usize) -> Duration {
    match spec.load {
        Load::Rate(rate) => Duration::from_secs_f64(origin as f64 / spec.origins as f64 / rate),
        _ => Duration::ZERO,
    }
}

/// Waits for the time of message `number`; from when its latency counts.
async fn wait_turn(begin: Instant, number: u64, rate: f64) -> u64 {
    let due = begin + Duration::from_secs_f64(number as f64 / rate);
    let now = Instant::now();
    if now < due {
        tokio::time::sleep_until(due).await;
        // The timer's own grain is not the program's delay.
        return now_ns();
    }
    // Kept waiting by the program: counted from when it should have been published.
    now_ns() - (now - due).as_nanos() as u64
}

/// Warms up, then measures.
pub async fn window(spec: &Spec, progress: &Progress) -> Result<Outcome> {
    tokio::time::sleep(WARM_UP).await;
    progress.recording.store(true, Ordering::Relaxed);
    let (begin, cpu) = (Instant::now(), usage::cpu_us());
    let (delivered, wire) = (progress.delivered_of_all(), usage::loopback_bytes());
    tokio::time::sleep(Duration::from_secs_f64(spec.seconds)).await;
    Ok(Outcome {
        seconds: begin.elapsed().as_secs_f64(),
        delivered: progress.delivered_of_all() - delivered,
        cpu_us: usage::cpu_us() - cpu,
        wire_bytes: usage::loopback_bytes()
            .zip(wire)
            .map_or(0, |(now, before)| now - before),
        private_kib: usage::private_kib()?,
        published: progress.published_by_all(),
        ..Outcome::default()
    })
}
