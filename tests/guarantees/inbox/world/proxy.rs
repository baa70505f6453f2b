//! A wire that can be cut.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Forwards connections to a server, or refuses them.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    /// Cancelled to end the connections made so far.
    cut: Arc<Mutex<CancellationToken>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Makes a wire to a server; cut, if not `open`.
    pub(crate) async fn new(target: (String, u16), open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(open));
        let refused = Arc::new(AtomicUsize::new(0));
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let task = forward(
            listener,
            target,
            Arc::clone(&open),
            Arc::clone(&refused),
            Arc::clone(&cut),
        );
        Self {
            port,
            open,
            refused,
            cut,
            task: tokio::spawn(task),
        }
    }

    /// Ends all connections, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }

    /// Returns how many connections were refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Lets new connections through.
    pub(crate) fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    listener: TcpListener,
    target: (String, u16),
    open: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    cut: Arc<Mutex<CancellationToken>>,
) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let cut = cut.lock().unwrap().clone();
        if !open.load(Ordering::SeqCst) {
            refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let target = target.clone();
        tokio::spawn(async move {
            let mut far = TcpStream::connect(target).await.unwrap();
            tokio::select! {
                () = cut.cancelled() => {}
                _ = copy_bidirectional(&mut near, &mut far) => {}
            }
        });
    }
}
