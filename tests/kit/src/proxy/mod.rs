//! A wire between a client and a server that can be cut in several ways.

mod connection;

use std::{io, net::SocketAddr, ops::RangeInclusive, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use url::Url;

use crate::eventually;
use connection::{Silence, connection};

/// Behaviour of a [`Proxy`] towards new and open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Passes everything on, also bytes that a black hole held back.
    Forward,
    /// Passes everything on with this delay, in both directions.
    Slow(Duration),
    /// Nothing listens: connections are refused, open ones are closed.
    Refuse,
    /// Accepts connections, closes none, and passes nothing on in either direction.
    BlackHole,
    /// Passes on what clients say; holds back what the server says.
    Deaf,
    /// Accepts connections and resets them, open ones too.
    Reset,
}

/// A TCP forwarder on a port of its own, which it keeps also while it refuses.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    /// Host and port to which new connections lead.
    server: watch::Sender<(String, u16)>,
    /// Numbers, from 1 in the order of accepting, of the connections that pass nothing on any more.
    silent: watch::Sender<RangeInclusive<usize>>,
    /// Connections that were accepted so far.
    accepted: watch::Receiver<usize>,
    /// Behaviour of the port; follows `wire` with a delay.
    settled: watch::Receiver<Wire>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Puts a wire before the server of a URL, which must name a port.
    pub async fn new(url: &str, wire: Wire) -> Self {
        let (server, leads_to) = watch::channel(server_of(url));
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = socket.local_addr().expect("its address");
        let (wire, switched) = watch::channel(wire);
        let (count, accepted) = watch::channel(0);
        let (silent, silenced) = watch::channel(RangeInclusive::new(1, 0));
        let (settling, settled) = watch::channel(Wire::Refuse);
        let listening = Listening {
            address,
            connections: JoinSet::new(),
            leads_to,
            switched,
            silenced,
            count,
            settling,
        };
        let proxy = Self {
            address,
            wire,
            server,
            silent,
            accepted,
            settled,
            listening: tokio::spawn(listening.run(socket)),
        };
        proxy.settled().await;
        proxy
    }

    /// Switches; returns once the port behaves so, and what is to be cut is cut.
    pub async fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
        self.settled().await;
    }

    /// Some connections, numbered from 1 on in the order of accepting, pass nothing on from now on and are
    /// not closed, as if their packets were lost. All others are as before.
    pub fn silence(&self, connections: RangeInclusive<usize>) {
        self.silent.send_replace(connections);
    }

    /// Leads new connections to the server of another URL, as a load balancer would. Open
    /// connections stay.
    pub fn lead_to(&self, url: &str) {
        self.server.send_replace(server_of(url));
    }

    /// The URL that leads through this wire instead of to the server itself.
    pub fn url(&self, url: &str) -> String {
        let mut url: Url = url.parse().expect("a server's URL");
        let host = self.address.ip().to_string();
        url.set_host(Some(&host)).expect("a URL with a host");
        url.set_port(Some(self.address.port()))
            .expect("a URL with a host");
        url.into()
    }

    /// Number of connections accepted so far.
    pub fn accepted(&self) -> usize {
        *self.accepted.borrow()
    }

    async fn settled(&self) {
        eventually("the wire is switched", async || {
            *self.settled.borrow() == *self.wire.borrow()
        })
        .await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections end with the task.
        self.listening.abort();
    }
}

/// Host and port of a URL.
fn server_of(url: &str) -> (String, u16) {
    let url: Url = url.parse().expect("a server's URL");
    let host = url.host_str().expect("a URL with a host").to_owned();
    (host, url.port().expect("a URL with a port"))
}

/// Binds without listening: the port is taken, and connecting to it is refused.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

struct Listening {
    address: SocketAddr,
    connections: JoinSet<()>,
    leads_to: watch::Receiver<(String, u16)>,
    switched: watch::Receiver<Wire>,
    silenced: watch::Receiver<RangeInclusive<usize>>,
    count: watch::Sender<usize>,
    settling: watch::Sender<Wire>,
}

impl Listening {
    async fn run(mut self, mut bound: TcpSocket) {
        loop {
            if *self.switched.borrow_and_update() != Wire::Refuse {
                let listener = bound.listen(1024).expect("listening");
                self.accept(&listener).await;
                drop(listener);
                bound = self.bind_again().await;
            }
            self.cut().await;
            self.settling.send_replace(Wire::Refuse);
            if self
                .switched
                .wait_for(|w| *w != Wire::Refuse)
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Accepts until connections are to be refused.
    async fn accept(&mut self, listener: &TcpListener) {
        loop {
            let wire = *self.switched.borrow_and_update();
            if wire == Wire::Refuse {
                return;
            }
            if wire == Wire::Reset {
                self.cut().await;
            }
            self.settling.send_replace(wire);
            tokio::select! {
                changed = self.switched.changed() => if changed.is_err() { return },
                accepted = listener.accept() => {
                    let (near, _) = accepted.expect("accepting");
                    self.count.send_modify(|count| *count += 1);
                    let server = self.leads_to.borrow().clone();
                    let number = *self.count.borrow();
                    let silence = Silence { number, range: self.silenced.clone() };
                    self.connections.spawn(connection(near, server, self.switched.clone(), silence));
                }
                Some(_) = self.connections.join_next() => {}
            }
        }
    }

    /// Waits for connections that end by what the wire is now: the next switch would hide it from them.
    async fn cut(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }

    async fn bind_again(&self) -> TcpSocket {
        loop {
            match bind(self.address) {
                Ok(socket) => return socket,
                // The kernel has not let go of the listener yet.
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }
}
