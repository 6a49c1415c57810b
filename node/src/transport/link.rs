//! A link's bytes: one task reads and writes its substream.

use bytes::Bytes;
use futures::future::{self, Either};
use futures::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncWrite};
use hedgerow_protocol::LinkId;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Reading starts with a small buffer, for idle links are many.
const READ_BYTES_MIN: usize = 4 << 10;
/// So much at most goes to the transport before it is flushed: one message of Noise, and on a slow
/// line not so much that what is written seems late.
const FLUSH_BYTES: usize = 32 << 10;

/// Reading pauses no shorter, for timers are no finer, and no longer, for heartbeats come the same
/// way.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What a link has to say.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The next bytes from the other end.
    Bytes(Bytes),
    /// Many bytes were written: ask [`LinkHandle::take_sent`].
    Sent,
    /// It is gone; nothing follows.
    Lost,
}

/// How a link reads and ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkLimits {
    pub(crate) read_bytes: usize,
    pub(crate) backpressure_bytes_per_s: usize,
    /// Less than this is not reported as written: far below what may be unsent, and below the
    /// part of that which pieces of large messages may use.
    pub(crate) report_bytes: usize,
    pub(crate) close: Duration,
}

/// The engine's end of a link. Dropping it ends the link at once.
#[derive(Debug)]
pub(crate) struct LinkHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rung when the queue has changed.
    changed: Notify,
    /// Rung when the link is to end.
    ending: Notify,
    /// Bytes written and not yet reported.
    sent: AtomicUsize,
    /// Bytes read that are to have taken their time.
    slowed: AtomicUsize,
    /// Rung when they need not any more.
    resumed: Notify,
    /// Bytes queued and not yet written.
    unwritten: AtomicUsize,
    /// The engine wants to hear when there are none.
    awaited: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    /// End after writing what is queued.
    closing: bool,
    /// End now.
    dropped: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes are written; whether the engine is to hear of it. It is told once and then asks
    /// for the sum, and of little it need not know before there is more.
    fn note_written(&self, count: usize, report_bytes: usize) -> bool {
        let before = self.sent.fetch_add(count, Ordering::AcqRel);
        let enough = before < report_bytes && before + count >= report_bytes;
        let left = self.unwritten.fetch_sub(count, Ordering::SeqCst) - count;
        let awaited = left == 0 && self.awaited.swap(false, Ordering::SeqCst);
        enough || awaited
    }
}

impl LinkHandle {
    /// A link over `stream` and the task that runs it: to be spawned, it ends with the link.
    ///
    /// The queue of chunks is bounded by the engine, which counts what is unsent.
    pub(crate) fn new<S: AsyncRead + AsyncWrite>(
        link: LinkId,
        stream: S,
        limits: LinkLimits,
        events: mpsc::Sender<(LinkId, LinkEvent)>,
    ) -> (Self, impl Future<Output = ()>) {
        let shared = Arc::<Shared>::default();
        let task = run(link, stream, limits, events, shared.clone());
        (Self { shared }, task)
    }

    /// Queues chunks to be written in order.
    pub(crate) fn send(&self, chunks: [Bytes; 2]) {
        let bytes = chunks.iter().map(Bytes::len).sum();
        self.shared.unwritten.fetch_add(bytes, Ordering::SeqCst);
        let mut queue = self.shared.queue();
        queue
            .chunks
            .extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Whether something is still to be written; if so, an event will tell when all is.
    pub(crate) fn await_written(&self) -> bool {
        let is_writing = || self.shared.unwritten.load(Ordering::SeqCst) > 0;
        if !is_writing() {
            return false;
        }
        self.shared.awaited.store(true, Ordering::SeqCst);
        let writing = is_writing();
        if !writing {
            self.shared.awaited.store(false, Ordering::SeqCst);
        }
        writing
    }

    /// So many bytes came faster than they can be passed on: reading pauses for them.
    pub(crate) fn slow(&self, bytes: usize) {
        self.shared.slowed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It can be passed on again: a pause ends.
    pub(crate) fn resume(&self) {
        self.shared.slowed.store(0, Ordering::Relaxed);
        self.shared.resumed.notify_waiters();
    }

    /// Ends the link after what is queued was written, or the time for it is over.
    pub(crate) fn close(self) {
        self.shared.queue().closing = true;
        // Dropping the handle rings.
    }

    /// Bytes written since the last call.
    pub(crate) fn take_sent(&self) -> usize {
        self.shared.sent.swap(0, Ordering::AcqRel)
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.dropped = !queue.closing;
        drop(queue);
        self.shared.changed.notify_one();
        self.shared.ending.notify_one();
    }
}

/// Reads and writes until either end has enough.
async fn run<S: AsyncRead + AsyncWrite>(
    link: LinkId,
    stream: S,
    limits: LinkLimits,
    events: mpsc::Sender<(LinkId, LinkEvent)>,
    shared: Arc<Shared>,
) {
    let (mut reader, writer) = stream.split();
    let work = async {
        let closing = {
            let reading = std::pin::pin!(read(link, &mut reader, limits, &events, &shared));
            let writing =
                std::pin::pin!(write(link, writer, limits.report_bytes, &events, &shared));
            // Now one first and now the other, for they share what a task may do in one turn.
            tokio::select! {
                // The other end is done: so are we.
                error = reading => Err(error),
                written = writing => written,
            }
        };
        match closing {
            Ok(mut writer) => {
                writer.close().await?;
                // What was written is on its way only as long as the connection stands: the
                // other end closes it when it has read all.
                drain(&mut reader).await
            }
            Err(error) => Err(error),
        }
    };
    let limit = async {
        shared.ending.notified().await;
        if !shared.queue().dropped {
            tokio::time::sleep(limits.close).await;
        }
    };
    {
        // Dropped before the end is told: what waits for its turn to report a read may be given
        // that turn, and would keep it from all links, this one's end included.
        let (work, limit) = (std::pin::pin!(work), std::pin::pin!(limit));
        if let Either::Left((Err(error), _)) = future::select(work, limit).await {
            tracing::trace!(link = link.0, %error, "link ended");
        }
    }
    // The engine may have stopped.
    let _ = events.send((link, LinkEvent::Lost)).await;
}

/// Reads until the stream ends; each read is one event.
async fn read<S: AsyncRead>(
    link: LinkId,
    reader: &mut ReadHalf<S>,
    limits: LinkLimits,
    events: &mpsc::Sender<(LinkId, LinkEvent)>,
    shared: &Shared,
) -> io::Error {
    let most = limits.read_bytes.max(READ_BYTES_MIN);
    let mut buffer = vec![0; READ_BYTES_MIN];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => count,
            Err(error) => return error,
        };
        // A copy of its own size: what the engine keeps of it does not keep the whole buffer.
        let bytes = Bytes::copy_from_slice(&buffer[..count]);
        if events.send((link, LinkEvent::Bytes(bytes))).await.is_err() {
            return io::ErrorKind::BrokenPipe.into();
        }
        if count == buffer.len() && count < most {
            buffer = vec![0; (2 * count).min(most)];
        }
        let slowed = shared.slowed.load(Ordering::Relaxed);
        let rate = limits.backpressure_bytes_per_s.max(1);
        let pause = Duration::from_secs_f64(slowed as f64 / rate as f64);
        if pause >= PAUSE_MIN {
            let resumed = std::pin::pin!(shared.resumed.notified());
            // Resumed meanwhile, there is nothing left to take its time.
            if shared.slowed.swap(0, Ordering::Relaxed) > 0 {
                let pause = std::pin::pin!(tokio::time::sleep(pause.min(PAUSE_MAX)));
                future::select(pause, resumed).await;
            }
        }
    }
}

/// Reads to the end and forgets it.
async fn drain<S: AsyncRead>(reader: &mut ReadHalf<S>) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while reader.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Writes what is queued. Ends with the writer when the link is to be closed.
async fn write<S: AsyncWrite>(
    link: LinkId,
    mut writer: WriteHalf<S>,
    report_bytes: usize,
    events: &mpsc::Sender<(LinkId, LinkEvent)>,
    shared: &Shared,
) -> io::Result<WriteHalf<S>> {
    let mut chunks = VecDeque::new();
    loop {
        let closing = {
            let mut queue = shared.queue();
            std::mem::swap(&mut chunks, &mut queue.chunks);
            queue.closing
        };
        if chunks.is_empty() {
            if closing {
                return Ok(writer);
            }
            shared.changed.notified().await;
            continue;
        }
        // Given to the transport, which may hold it until it is flushed.
        let mut held = 0;
        while let Some(mut chunk) = chunks.pop_front() {
            let piece = chunk.split_to(chunk.len().min(FLUSH_BYTES - held));
            writer.write_all(&piece).await?;
            held += piece.len();
            if !chunk.is_empty() {
                chunks.push_front(chunk);
            }
            if held < FLUSH_BYTES && !chunks.is_empty() {
                continue;
            }
            writer.flush().await?;
            let count = std::mem::take(&mut held);
            if shared.note_written(count, report_bytes)
                && events.send((link, LinkEvent::Sent)).await.is_err()
            {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
