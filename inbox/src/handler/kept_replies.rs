//! Keeping replies for those who wait for them, in the transaction that handles them.

use std::sync::Arc;

use sqlx::PgConnection;
use statement::Statements;
use uuid::Uuid;

use crate::{Delivery, sql::replies};

/// Keeps the replies to a consumer's requests.
#[derive(Debug, Clone)]
pub(crate) struct KeptReplies {
    consumer: Arc<str>,
    statements: Statements,
}

impl KeptReplies {
    pub(crate) const fn new(consumer: Arc<str>, statements: Statements) -> Self {
        Self {
            consumer,
            statements,
        }
    }

    /// Returns the id of the request that a delivery replies to; `None` if it is no reply to a request of ours, whose ids
    /// are UUIDs.
    pub(super) fn request(delivery: &Delivery) -> Option<Uuid> {
        let request = delivery.message().in_reply_to.as_deref()?;
        Uuid::try_parse(request).ok()
    }

    /// Keeps a reply, if it is the first to its request.
    pub(super) async fn keep(
        &self,
        connection: &mut PgConnection,
        request: Uuid,
        delivery: &Delivery,
    ) -> Result<(), sqlx::Error> {
        let mut link = self.statements.within(connection);
        replies::keep(&mut link, &self.consumer, request, delivery).await
    }
}
