//! The client's connection: a socket, with or without TLS, whose input passes the [`FrameFilter`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};
use lapin::uri::AMQPScheme;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::{TcpStream, ToSocketAddrs},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{Address, frames::FrameFilter, server::Greeting, tls::explained};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection to a broker, in which the client can read every frame.
#[derive(Debug)]
pub(crate) struct BrokerStream {
    socket: Socket,
    filter: FrameFilter,
    /// Buffer for bytes from the socket.
    received: Box<[u8]>,
    /// Filtered bytes for the client.
    readable: Vec<u8>,
    /// Number of bytes of `readable` that the client has read.
    taken: usize,
}

/// The socket, with or without TLS.
#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl BrokerStream {
    /// Connects to a broker, with TLS if the URL's scheme is `amqps`. Stores the broker's greeting in `greeting`.
    pub(crate) async fn connect(address: &Address, greeting: Greeting) -> io::Result<Self> {
        let uri = address.uri();
        let host = uri.authority.host.as_str();
        let connecting = async {
            let stream = connect_tcp((host, uri.authority.port)).await?;
            Ok::<_, io::Error>(match uri.scheme {
                AMQPScheme::AMQP => Socket::Plain(stream),
                AMQPScheme::AMQPS => {
                    Socket::Tls(Box::new(address.tls().handshake(stream, host).await?))
                }
            })
        };
        let socket = match address.connection_timeout() {
            Some(longest) => timeout(longest, connecting).await?,
            None => connecting.await,
        }?;
        let filter = FrameFilter::new(uri.query.frame_max, greeting);
        Ok(Self::new(socket, filter))
    }

    pub(crate) async fn connect_plain(address: impl ToSocketAddrs) -> io::Result<Self> {
        let socket = Socket::Plain(connect_tcp(address).await?);
        Ok(Self::new(socket, FrameFilter::default()))
    }

    fn new(socket: Socket, filter: FrameFilter) -> Self {
        Self {
            socket,
            filter,
            received: vec![0; READ_BYTES].into_boxed_slice(),
            readable: Vec::with_capacity(READ_BYTES),
            taken: 0,
        }
    }
}

async fn connect_tcp(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncRead for BrokerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while this.taken == this.readable.len() {
            // A server that wants a client certificate says so after the handshake (TLS 1.3).
            let count = ready!(this.socket.poll_read(cx, &mut this.received)).map_err(explained)?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.readable.clear();
            this.taken = 0;
            this.filter
                .filter(&this.received[..count], &mut this.readable)?;
        }
        let rest = &this.readable[this.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        this.taken += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for BrokerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
