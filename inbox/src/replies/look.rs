//! The question for replies that are kept.

use std::collections::HashMap;

use sqlx::PgPool;
use statement::Statements;
use uuid::Uuid;

use crate::{
    polling::{Look, Progress, ProgressOf},
    sql::replies::{self, Kept},
};

/// Looks for replies among those that a consumer keeps.
#[derive(Debug)]
pub(super) struct KeptRows {
    pub(super) pool: PgPool,
    pub(super) statements: Statements,
    pub(super) consumer: String,
}

impl Look for KeptRows {
    /// Id of a request.
    type Key = Uuid;
    type End = Kept;
    type State = ();

    async fn look(&self, requests: &[Uuid]) -> Result<Vec<ProgressOf<Self>>, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let found = replies::find(&mut link, &self.consumer, requests).await?;
        tx.commit().await?;
        let found: HashMap<Uuid, Kept> = found
            .into_iter()
            .map(|kept| (kept.request_id, kept))
            .collect();
        // Several may wait for one reply.
        let progress = requests.iter().map(|request| match found.get(request) {
            Some(kept) => Progress::Ended(kept.clone()),
            None => Progress::Open(()),
        });
        Ok(progress.collect())
    }
}
