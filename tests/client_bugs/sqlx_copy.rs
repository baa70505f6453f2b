//! sqlx 0.9.0 leaves `TCP_NODELAY` unset. A `COPY` is two small writes, and the second waits until the
//! server's kernel acknowledges the first, which it delays by some 40 ms. So many messages are written
//! with `unnest`: one write. The test needs a server that is reached by TCP.

use std::fs;

use postroom_testkit::{Database, Login, Proxy, Wire};
use rustix::{
    fd::OwnedFd,
    net::{SocketAddrAny, getpeername, sockopt::tcp_nodelay},
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};
use sqlx::{Connection as _, PgConnection};
use url::Url;

/// Sockets of this process that are connected to a port of this host.
fn sockets_to(port: u16) -> Vec<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Some are closed meanwhile.
    let copies = numbers.filter_map(|fd| pidfd_getfd(&this, fd, PidfdGetfdFlags::empty()).ok());
    copies
        .filter(|fd| getpeername(fd).is_ok_and(|peer| peer.and_then(port_of) == Some(port)))
        .collect()
}

fn port_of(address: SocketAddrAny) -> Option<u16> {
    let address = std::net::SocketAddr::try_from(address);
    address.ok().map(|address| address.port())
}

#[tokio::test]
async fn sqlx_leaves_tcp_nodelay_unset() {
    let database = Database::new().await;
    // Nothing else of this process is connected to the wire's port.
    let url = database.url(Login::Owner);
    let wire = Proxy::new(&url, Wire::Forward).await;
    let url: Url = wire.url(&url).parse().unwrap();
    let _connection = PgConnection::connect(url.as_str()).await.unwrap();
    let sockets = sockets_to(url.port().unwrap());
    let [socket] = &sockets[..] else {
        panic!("not one socket: {sockets:?}");
    };
    assert!(
        !tcp_nodelay(socket).unwrap(),
        "sqlx sets TCP_NODELAY now: publish_all may copy"
    );
}
