//! The future of a handler.

use std::future::Future;

use super::HandlerError;

/// The future that a handler returns.
///
/// Implemented for each future that can move between threads and results in `Result<(), E>`, with an `E` that converts
/// into [`HandlerError`]: any error, an `anyhow::Error`, or [`HandlerError`] itself.
#[diagnostic::on_unimplemented(
    message = "a handler returned `{Self}`, which is no future",
    label = "not an async function",
    note = "a handler is an `async fn`, or a closure that returns an `async` block"
)]
pub trait HandlerFuture {
    /// Waits for the result.
    fn finish(self) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<Work, Error> HandlerFuture for Work
where
    Work: Future<Output = Result<(), Error>> + Send,
    Error: Into<HandlerError>,
{
    async fn finish(self) -> Result<(), HandlerError> {
        self.await.map_err(Into::into)
    }
}
