//! HTTP listener with a limit on the number of connections and on the time of each request.
//!
//! A client that connects and sends nothing, or half a request, would occupy a file descriptor for ever.
//! Without free descriptors the relay could no longer reconnect to the database or the broker.

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

/// Largest number of open connections. Further clients wait in the kernel's queue at no cost to the relay.
const MAX_CONNECTIONS: usize = 32;

/// Longest time from connecting, or from the last answer, until a request has arrived and its answer is
/// written.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Listener that accepts a limited number of connections.
#[derive(Debug)]
pub(super) struct LimitedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl Listener for LimitedListener {
    type Io = LimitedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedConnection, SocketAddr) {
        // The semaphore is never closed. Without a permit the connection would be served all the same.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = LimitedConnection {
            stream,
            deadline: Box::pin(sleep(ANSWER_TIMEOUT)),
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails after its deadline and holds a permit of the listener.
#[derive(Debug)]
pub(super) struct LimitedConnection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl LimitedConnection {
    /// Fails a pending operation if the deadline has passed; else the task is woken at the deadline.
    fn fail_if_late<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_pending() && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        done
    }
}

impl AsyncRead for LimitedConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = pin!(&mut this.stream).poll_read(context, buffer);
        this.fail_if_late(context, read)
    }
}

impl AsyncWrite for LimitedConnection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = pin!(&mut this.stream).poll_write(context, bytes);
        if written.is_ready() {
            // The next request on this connection gets a new deadline.
            this.deadline
                .as_mut()
                .reset(Instant::now() + ANSWER_TIMEOUT);
        }
        this.fail_if_late(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
