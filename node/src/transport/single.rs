//! A connection that carries one stream, and therefore nothing to multiplex.
//!
//! A link is one stream for as long as its connection stands, so a multiplexer would only be in
//! its way: of frames within frames, each passed from one task to another and copied on the way.
//! Here the link's task reads and writes the encrypted connection itself, and libp2p's task of
//! the connection sleeps until either is done: when the stream goes, the connection ends, and the
//! other way round. To libp2p this is a [`StreamMuxer`] of which the dialler may open one stream,
//! which the other end is given.

use futures::future::{self, Ready};
use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use std::convert::Infallible;
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// What both ends say in place of a multiplexer's name.
const PROTOCOL: &str = "/hedgerow/single/1";

/// Makes a connection one of a single stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade;

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Single<C>;
    type Error = Infallible;
    type Future = Ready<Result<Single<C>, Infallible>>;

    fn upgrade_inbound(self, connection: C, _: &'static str) -> Self::Future {
        future::ok(Single::new(connection, false))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Single<C>;
    type Error = Infallible;
    type Future = Ready<Result<Single<C>, Infallible>>;

    fn upgrade_outbound(self, connection: C, _: &'static str) -> Self::Future {
        future::ok(Single::new(connection, true))
    }
}

/// The connection as libp2p holds it. When it goes, the stream ends.
#[derive(Debug)]
pub(super) struct Single<C> {
    /// Not given out yet.
    stream: Option<SoleStream<C>>,
    dialled: bool,
    end: Arc<End>,
}

/// Whether either is done, the connection or its stream, and who waits for that.
#[derive(Debug, Default)]
struct End {
    ended: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    connection: AtomicWaker,
}

impl End {
    fn set(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for waiting in [&self.reader, &self.writer, &self.connection] {
            waiting.wake();
        }
    }

    fn error(&self) -> Option<io::Error> {
        let ended = self.ended.load(Ordering::SeqCst);
        ended.then(|| io::ErrorKind::ConnectionAborted.into())
    }

    /// `polled`, or that it is over; if neither, `waiting` is woken when it is.
    fn or_over<T>(
        &self,
        polled: Poll<io::Result<T>>,
        waiting: &AtomicWaker,
        context: &Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            waiting.register(context.waker());
            if let Some(error) = self.error() {
                return Poll::Ready(Err(error));
            }
        }
        polled
    }
}

impl<C> Single<C> {
    fn new(connection: C, dialled: bool) -> Self {
        let end = Arc::<End>::default();
        let stream = SoleStream {
            connection,
            end: end.clone(),
        };
        Self {
            stream: Some(stream),
            dialled,
            end,
        }
    }

    /// The stream if this end is to have it in this way; there is never a second one.
    fn take(&mut self, dialled: bool) -> Poll<io::Result<SoleStream<C>>> {
        let stream = self.stream.take_if(|_| self.dialled == dialled);
        stream.map_or(Poll::Pending, |stream| Poll::Ready(Ok(stream)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Single<C> {
    type Substream = SoleStream<C>;
    type Error = io::Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        self.get_mut().take(false)
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        self.get_mut().take(true)
    }

    /// Whoever holds the stream says goodbye; here it only ends.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.set();
        Poll::Ready(Ok(()))
    }

    /// The stream's holder sees what happens to the connection; it is over when they let go.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let end = &self.end;
        end.or_over(Poll::Pending, &end.connection, context)
    }
}

impl<C> Drop for Single<C> {
    fn drop(&mut self) {
        self.end.set();
    }
}

/// The one stream: the connection's own bytes. Dropped, it closes the socket and ends the connection.
#[derive(Debug)]
pub(super) struct SoleStream<C> {
    connection: C,
    end: Arc<End>,
}

impl<C> Drop for SoleStream<C> {
    fn drop(&mut self) {
        self.end.set();
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for SoleStream<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_read(context, buffer);
        this.end.or_over(polled, &this.end.reader, context)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for SoleStream<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(error) = this.end.error() {
            return Poll::Ready(Err(error));
        }
        let polled = Pin::new(&mut this.connection).poll_write(context, bytes);
        this.end.or_over(polled, &this.end.writer, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_flush(context);
        this.end.or_over(polled, &this.end.writer, context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.connection).poll_close(context);
        this.end.or_over(polled, &this.end.writer, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt, AsyncWriteExt};
    use libp2p::core::muxing::StreamMuxerExt;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    type Pipe = Compat<tokio::io::DuplexStream>;

    fn pair() -> (Single<Pipe>, Single<Pipe>) {
        let (near, far) = tokio::io::duplex(1 << 10);
        let near = Single::new(near.compat(), true);
        (near, Single::new(far.compat(), false))
    }

    async fn opened(dialler: &mut Single<Pipe>) -> SoleStream<Pipe> {
        let stream = future::poll_fn(|context| dialler.poll_outbound_unpin(context)).await;
        stream.expect("a stream")
    }

    async fn given(listener: &mut Single<Pipe>) -> SoleStream<Pipe> {
        let stream = future::poll_fn(|context| listener.poll_inbound_unpin(context)).await;
        stream.expect("a stream")
    }

    #[tokio::test]
    async fn each_end_has_one_stream_and_no_second() {
        let (mut dialler, mut listener) = pair();
        let mut context = Context::from_waker(std::task::Waker::noop());
        // Neither way round.
        assert!(dialler.poll_inbound_unpin(&mut context).is_pending());
        assert!(listener.poll_outbound_unpin(&mut context).is_pending());
        let (mut near, mut far) = (opened(&mut dialler).await, given(&mut listener).await);
        near.write_all(b"hello").await.expect("writes");
        let mut got = [0; 5];
        far.read_exact(&mut got).await.expect("reads");
        assert_eq!(&got, b"hello");
        for end in [&mut dialler, &mut listener] {
            assert!(end.poll_inbound_unpin(&mut context).is_pending());
            assert!(end.poll_outbound_unpin(&mut context).is_pending());
        }
    }

    #[tokio::test]
    async fn closing_the_connection_ends_a_read_that_waits_and_every_write() {
        let (mut dialler, _listener) = pair();
        let mut stream = opened(&mut dialler).await;
        let closes = async {
            tokio::task::yield_now().await;
            dialler.close().await.expect("closes");
        };
        let mut buffer = [0];
        let (read, ()) = future::join(stream.read(&mut buffer), closes).await;
        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(read.expect_err("it is over").kind(), aborted);
        let written = stream.write(b"late").await;
        assert_eq!(written.expect_err("it is over").kind(), aborted);
    }

    #[tokio::test]
    async fn a_write_that_waits_ends_when_the_connection_is_dropped() {
        let (mut dialler, _listener) = pair();
        let mut stream = opened(&mut dialler).await;
        let drops = async {
            tokio::task::yield_now().await;
            drop(dialler);
        };
        // The pipe holds less, and nobody reads.
        let (written, ()) = future::join(stream.write_all(&[7; 4 << 10]), drops).await;
        let error = written.expect_err("it is over");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_dropped_stream_ends_its_connection_and_tells_the_other_end() {
        let (mut dialler, mut listener) = pair();
        let (near, mut far) = (opened(&mut dialler).await, given(&mut listener).await);
        let drops = async {
            tokio::task::yield_now().await;
            drop(near);
        };
        // As libp2p's task of the connection waits.
        let polls = future::poll_fn(|context| dialler.poll_unpin(context));
        let (polled, ()) = future::join(polls, drops).await;
        polled.expect_err("it is over");
        assert_eq!(far.read(&mut [0]).await.expect("reads the end"), 0);
    }
}
