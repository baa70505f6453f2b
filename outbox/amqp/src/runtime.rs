//! The runtime that the AMQP client runs on: tokio, with [`BrokerStream`] as its connections.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use async_rs::{
    Tokio,
    traits::{Executor, Reactor, RuntimeKit},
    util::Task,
};
use futures_core::Stream;

use crate::stream::BrokerStream;

/// Tokio's runtime for the client, with another type of connections.
#[derive(Debug, Clone)]
pub(crate) struct TokioKit(Tokio);

impl TokioKit {
    /// Uses the current tokio runtime; call it within one.
    pub(crate) fn current() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for TokioKit {}

impl Executor for TokioKit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        function: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(function)
    }
}

impl Reactor for TokioKit {
    type TcpStream = BrokerStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Refuses: the client never registers a socket, and the bound on sockets cannot be named here.
    #[expect(refining_impl_trait, reason = "nothing is ever returned")]
    fn register<H: Read + Write + Send + 'static>(&self, _: H) -> io::Result<BrokerStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    #[expect(clippy::manual_async_fn, reason = "the trait's future borrows nothing")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<BrokerStream>> + Send + 'static {
        async move { BrokerStream::connect_plain(address).await }
    }
}
