//! A connection that is closed however it is left.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection, ConnectionState, ErrorKind};
use tokio::{runtime::Handle, time::timeout};

/// Longest wait for the broker to take note of the end.
const CLOSE: Duration = Duration::from_secs(5);

/// A connection that is closed when it is dropped.
///
/// lapin 4.12 closes one by itself once nobody has it any more; but if a request is cut short just
/// when its answer comes, somebody has it for ever. With it stays the subscription that was asked for,
/// and as the single active consumer it is given all messages.
#[derive(Debug)]
pub(super) struct Closing(Option<Arc<Connection>>);

impl Closing {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Some(Arc::new(connection)))
    }

    /// Opens a channel. Who asks need not wait for it in the company of the connection.
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

    /// Closes it, and waits until the broker knows.
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
    // A broker that gives no answer has lost it anyway.
    let _ = timeout(CLOSE, closing).await;
}
