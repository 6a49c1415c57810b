use super::*;
use std::pin::Pin;
use std::task::{Context, Poll};

const LIMITS: LinkLimits = LinkLimits {
    read_bytes: 64 << 10,
    backpressure_bytes_per_s: 1 << 20,
    report_bytes: 1,
    close: Duration::from_millis(500),
};
const LINK: LinkId = LinkId(1);

type Events = mpsc::Receiver<(LinkId, LinkEvent)>;

/// A link over an in-memory pipe of 1 KiB, its events, and the other end.
fn link() -> (
    LinkHandle,
    Events,
    tokio_util::compat::Compat<tokio::io::DuplexStream>,
) {
    use tokio_util::compat::TokioAsyncReadCompatExt;
    let (near, far) = tokio::io::duplex(1024);
    let (tell, events) = mpsc::channel(8);
    let (handle, task) = LinkHandle::new(LINK, near.compat(), LIMITS, tell);
    tokio::spawn(task);
    (handle, events, far.compat())
}

#[tokio::test]
async fn chunks_are_written_in_order_and_reported() {
    let (handle, mut events, mut far) = link();
    let (small, large) = (Bytes::from_static(b"head"), Bytes::from(vec![7; 40_000]));
    for _ in 0..3 {
        handle.send([small.clone(), large.clone()]);
        handle.send([small.clone(), Bytes::new()]);
    }
    let expected = [&small[..], &large, &small].concat().repeat(3);
    let mut got = vec![0; expected.len()];
    let mut sent = 0;
    let reading = far.read_exact(&mut got);
    let counting = async {
        while sent < expected.len() {
            let event = events.recv().await.expect("the link lives");
            assert!(matches!(event, (LINK, LinkEvent::Sent)));
            sent += handle.take_sent();
        }
    };
    future::join(reading, counting).await.0.expect("reads");
    assert_eq!((got, sent), (expected.clone(), expected.len()));
}

/// Takes everything, and lets go of it when told to.
#[derive(Clone, Default)]
struct Hoard {
    lets_go: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    flushes: Arc<AtomicUsize>,
}

impl Hoard {
    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl AsyncRead for Hoard {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Hoard {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.taken.fetch_add(bytes.len(), Ordering::SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lets_go.load(Ordering::SeqCst) {
            self.flushes.fetch_add(1, Ordering::SeqCst);
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_the_transport_still_holds_is_not_written() {
    let (hoard, (tell, mut events)) = (Hoard::default(), mpsc::channel(8));
    let (handle, task) = LinkHandle::new(LINK, hoard.clone(), LIMITS, tell);
    tokio::spawn(task);
    let bytes = 3 * FLUSH_BYTES + 5;
    handle.send([Bytes::from_static(b"hello"), vec![7; bytes - 5].into()]);
    while hoard.taken() < FLUSH_BYTES {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.take_sent(), 0);
    assert!(handle.await_written());
    assert_eq!(hoard.taken(), FLUSH_BYTES, "no more at once");
    hoard.lets_go.store(true, Ordering::SeqCst);
    let mut sent = 0;
    while sent < bytes {
        assert!(matches!(events.recv().await, Some((LINK, LinkEvent::Sent))));
        sent += handle.take_sent();
    }
    assert_eq!((sent, hoard.taken()), (bytes, bytes));
}

#[tokio::test]
async fn frames_that_wait_share_a_flush() {
    let (hoard, (tell, mut events)) = (Hoard::default(), mpsc::channel(8));
    hoard.lets_go.store(true, Ordering::SeqCst);
    let (handle, task) = LinkHandle::new(LINK, hoard.clone(), LIMITS, tell);
    let (head, payload) = (Bytes::from_static(b"head"), Bytes::from(vec![7; 1 << 10]));
    for _ in 0..20 {
        handle.send([head.clone(), payload.clone()]);
    }
    tokio::spawn(task);
    assert!(matches!(events.recv().await, Some((LINK, LinkEvent::Sent))));
    assert_eq!(handle.take_sent(), 20 * (4 + (1 << 10)));
    assert_eq!(hoard.flushes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_finds_nothing_being_written_is_not_told_of_what_is_written_later() {
    use tokio_util::compat::TokioAsyncReadCompatExt;
    let (near, far) = tokio::io::duplex(1024);
    let (tell, mut events) = mpsc::channel(8);
    let limits = LinkLimits {
        report_bytes: 1 << 20,
        ..LIMITS
    };
    let (handle, task) = LinkHandle::new(LINK, near.compat(), limits, tell);
    tokio::spawn(task);
    let mut far = far.compat();
    let mut got = [0; 5];
    assert!(!handle.await_written());
    handle.send([Bytes::from_static(b"hello"), Bytes::new()]);
    far.read_exact(&mut got).await.expect("reads");
    // Who does find something is told once.
    handle.send([Bytes::from_static(b"world"), Bytes::new()]);
    assert!(handle.await_written());
    far.read_exact(&mut got).await.expect("reads");
    assert!(matches!(events.recv().await, Some((LINK, LinkEvent::Sent))));
    assert_eq!(handle.take_sent(), 10);
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn what_comes_is_handed_on_and_its_end_told() {
    let (handle, mut events, mut far) = link();
    far.write_all(b"hello").await.expect("writes");
    far.close().await.expect("closes");
    let mut got = Vec::new();
    loop {
        match events.recv().await.expect("the link tells its end").1 {
            LinkEvent::Bytes(bytes) => got.extend_from_slice(&bytes),
            LinkEvent::Sent => panic!("nothing was sent"),
            LinkEvent::Lost => break,
        }
    }
    assert_eq!(got, b"hello");
    drop(handle);
}

#[tokio::test]
async fn closing_writes_what_is_queued() {
    let (handle, mut events, mut far) = link();
    let payload = Bytes::from(vec![9; 100_000]);
    handle.send([payload.clone(), Bytes::new()]);
    handle.close();
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.expect("reads to the end");
    assert_eq!(got, payload);
    drop(far);
    while !matches!(events.recv().await, Some((LINK, LinkEvent::Lost))) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_cannot_keep_a_closed_link() {
    let (handle, mut events, far) = link();
    handle.send([Bytes::from(vec![9; 100_000]), Bytes::new()]);
    handle.close();
    while !matches!(events.recv().await, Some((LINK, LinkEvent::Lost))) {}
    drop(far);
}

#[tokio::test]
async fn a_dropped_link_ends_at_once() {
    let (handle, mut events, mut far) = link();
    drop(handle);
    assert!(matches!(events.recv().await, Some((LINK, LinkEvent::Lost))));
    let mut got = Vec::new();
    assert_eq!(far.read_to_end(&mut got).await.expect("ends"), 0);
}

#[tokio::test(start_paused = true)]
async fn links_that_end_while_the_driver_is_busy_leave_its_inbox_open() {
    use tokio_util::compat::TokioAsyncReadCompatExt;
    const OTHER: LinkId = LinkId(2);
    let (tell, mut events) = mpsc::channel(1);
    let full = tell.try_send((OTHER, LinkEvent::Sent));
    full.expect("there is room for one");
    let (near, far) = tokio::io::duplex(1024);
    let (handle, task) = LinkHandle::new(LINK, near.compat(), LIMITS, tell);
    let task = tokio::spawn(task);
    let mut far = far.compat();
    far.write_all(b"read, and never told")
        .await
        .expect("writes");
    // The clock stands still until everybody waits: the read for its turn to be told.
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(handle);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let next = async |events: &mut Events| {
        let patience = Duration::from_secs(5);
        let next = tokio::time::timeout(patience, events.recv()).await;
        next.expect("the inbox goes on").expect("the link tells")
    };
    assert!(matches!(next(&mut events).await, (OTHER, LinkEvent::Sent)));
    assert!(matches!(next(&mut events).await, (LINK, LinkEvent::Lost)));
    task.await.expect("ends");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_brings_too_much_is_read_no_faster_than_is_asked_for() {
    let (handle, mut events, mut far) = link();
    let writing = tokio::spawn(async move {
        // The other end is made to wait: the pipe holds 1 KiB.
        for _ in 0..64 {
            far.write_all(&[7; 1 << 10]).await.expect("writes");
        }
        far
    });
    let start = tokio::time::Instant::now();
    let mut got = 0;
    while got < 64 << 10 {
        let (_, event) = events.recv().await.expect("the link lives");
        let LinkEvent::Bytes(bytes) = event else {
            panic!("{event:?}")
        };
        got += bytes.len();
        handle.slow(bytes.len());
    }
    // A sixteenth of what may be read in a second, the last of it not yet made up for.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(50) && took < Duration::from_millis(80));
    writing.await.expect("ends");
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_when_what_came_can_be_passed_on() {
    let (handle, mut events, mut far) = link();
    far.write_all(&[7; 1 << 10]).await.expect("writes");
    events.recv().await.expect("the link lives");
    // A hundred milliseconds, the longest pause.
    handle.slow(LIMITS.backpressure_bytes_per_s);
    far.write_all(&[7; 1 << 10]).await.expect("writes");
    events.recv().await.expect("the link lives");
    let start = tokio::time::Instant::now();
    far.write_all(&[7; 1 << 10]).await.expect("writes");
    let resumes = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        handle.resume();
    };
    let (event, ()) = future::join(events.recv(), resumes).await;
    event.expect("the link lives");
    assert!(start.elapsed() < Duration::from_millis(10));
}
