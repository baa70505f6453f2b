//! A connection that is closed when it is dropped, also after an error or a cancellation.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection, ConnectionState, ErrorKind};
use tokio::{runtime::Handle, time::timeout};

/// Longest wait for the broker to confirm the close.
const CLOSE: Duration = Duration::from_secs(5);

/// A connection that is closed when it is dropped.
///
/// lapin 4.12 closes a connection when its last handle is dropped; but a request that is cancelled just as its
/// answer arrives leaks a handle. The connection then stays open with its subscription, which as the single
/// active consumer would receive all messages.
#[derive(Debug)]
pub(super) struct Closing(Option<Arc<Connection>>);

impl Closing {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Some(Arc::new(connection)))
    }

    /// Opens a channel. The future does not borrow the connection.
    pub(super) fn create_channel(
        &self,
    ) -> impl Future<Output = Result<Channel, lapin::Error>> + Send + use<> {
        let connection = self.0.clone();
        async move {
            match connection {
                Some(connection) => connection.create_channel().await,
                None => Err(ErrorKind::InvalidConnectionState(ConnectionState::Closed).into()),
            }
        }
    }

    /// Closes the connection and waits for the broker's confirmation, for at most [`CLOSE`].
    pub(super) async fn close(mut self) {
        if let Some(connection) = self.0.take() {
            close(connection).await;
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let (Some(connection), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(close(connection));
        }
    }
}

async fn close(connection: Arc<Connection>) {
    let closing = connection.close(200, "consumer stops".into());
    // A broker that does not answer has lost the connection anyway.
    let _ = timeout(CLOSE, closing).await;
}
