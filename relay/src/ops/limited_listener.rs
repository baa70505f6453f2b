//! Who asks over HTTP: some dozens at a time, each for so long.
//!
//! Whoever connects and says nothing, or half of it, would keep a file descriptor for good; when these run out
//! the relay can reach neither database nor broker again.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Most that are listened to at a time. Others wait in the kernel's queue, where they cost the relay nothing.
const MOST: usize = 32;

/// So long after connecting, or after the last answer, a request must have come and its answer been taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts callers.
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }
}

impl Listener for LimitedListener {
    type Io = Caller;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Caller, SocketAddr) {
        // Nobody closes the semaphore; without a place the caller would be served all the same.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let caller = Caller {
            stream,
            answer_timeout: Box::pin(sleep(ANSWER_TIMEOUT)),
            _place: place,
        };
        (caller, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over, and its place.
#[derive(Debug)]
pub(super) struct Caller {
    stream: TcpStream,
    answer_timeout: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Caller {
    /// Fails what would have to wait if the time is over; or wakes then.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_pending() && self.answer_timeout.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        done
    }
}

impl AsyncRead for Caller {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = pin!(&mut this.stream).poll_read(context, buffer);
        this.bounded(context, read)
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = pin!(&mut this.stream).poll_write(context, bytes);
        if written.is_ready() {
            // The next request of this caller may take as long again.
            this.answer_timeout
                .as_mut()
                .reset(Instant::now() + ANSWER_TIMEOUT);
        }
        this.bounded(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
