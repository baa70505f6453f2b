//! The question whether a consumer has handled messages.

use sqlx::PgPool;
use statement::Statements;

use super::NotHandled;
use crate::{
    dedup::Id,
    polling::{Look, Progress, ProgressOf},
    sql::waiting::{self, Found},
};

/// Looks for messages among a consumer's records.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) pool: PgPool,
    pub(super) statements: Statements,
    pub(super) consumer: String,
}

impl Look for Records {
    /// Text of an id, and the parsed id.
    type Key = (String, Id);
    /// Handled, or dead for a reason.
    type End = Result<(), String>;
    type State = NotHandled;

    async fn look(&self, ids: &[(String, Id)]) -> Result<Vec<ProgressOf<Self>>, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let found = waiting::look(&mut link, &self.consumer, ids).await?;
        tx.commit().await?;
        Ok(found.into_iter().map(progress).collect())
    }
}

fn progress(found: Found) -> ProgressOf<Records> {
    let reason = found.reason.unwrap_or_default();
    match (found.is_recorded, found.state.as_deref()) {
        (true, None) => Progress::Ended(Ok(())),
        (true, Some("dead")) => Progress::Ended(Err(reason)),
        (true, Some(_)) => Progress::Open(NotHandled::Parked(reason)),
        // A row without a record is that of a message that was never admitted.
        (false, _) => Progress::Open(NotHandled::NotArrived),
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, NotHandled, Progress, progress};

    #[test]
    fn a_message_is_handled_if_it_is_recorded_and_not_parked() {
        let found = |is_recorded, state: Option<&str>| {
            progress(Found {
                is_recorded,
                state: state.map(Into::into),
                reason: state.map(|_| "failed".into()),
            })
        };
        let reason = || "failed".to_owned();
        assert_eq!(found(true, None), Progress::Ended(Ok(())));
        assert_eq!(found(true, Some("dead")), Progress::Ended(Err(reason())));
        let parked = Progress::Open(NotHandled::Parked(reason()));
        assert_eq!(found(true, Some("waiting")), parked);
        let not_arrived = || Progress::Open(NotHandled::NotArrived);
        assert_eq!(found(false, None), not_arrived());
        assert_eq!(found(false, Some("dead")), not_arrived());
    }
}
