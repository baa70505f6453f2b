//! The task that reads parked rows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    capture::Position,
    error::RelayError,
    message::Message,
    publish::{DrainRequest, ParkedRow},
    sql::{
        page::PageLimit,
        parked::{self, DueRow},
    },
};

/// Most due rows looked at together.
const DUE_ROWS: usize = 500;

/// Rows that became due so long ago have been seen: an operator's change commits within this.
const SLACK: Duration = Duration::from_mins(1);

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Look for rows that are due and not in hand.
    Poll { in_hand: HashSet<Position> },
    /// Read the rows of a key.
    Drain(DrainRequest),
}

/// What the task reports.
#[derive(Debug)]
pub(super) enum Event {
    /// Rows that are due: keys to be drained, and rows that stand for themselves.
    Due {
        keys: Vec<Arc<str>>,
        singles: Vec<ParkedRow<Message>>,
        /// Whether there are more.
        more: bool,
    },
    /// Rows of a key.
    Drained {
        request: DrainRequest,
        rows: Vec<ParkedRow<Message>>,
        more: bool,
    },
    /// Reading failed; nothing more will come.
    Lost(RelayError),
}

/// Reads `outbox.parked`.
#[derive(Debug)]
pub(super) struct Retries {
    connection: PgConnection,
    lane: i16,
    limit: PageLimit,
    /// The database's clock when the session began, and how long ago that is.
    began: (DateTime<Utc>, Instant),
    /// Rows due before this have been seen.
    seen: DateTime<Utc>,
}

impl Retries {
    pub(super) async fn new(
        mut connection: PgConnection,
        lane: i16,
        limit: PageLimit,
    ) -> Result<Self, RelayError> {
        let began = (parked::now(&mut connection).await?, Instant::now());
        let limit = PageLimit::new(limit.rows.min(500), limit.bytes / 2);
        Ok(Self {
            connection,
            lane,
            limit,
            began,
            seen: DateTime::UNIX_EPOCH,
        })
    }

    /// Runs until the commands end or reading fails.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        while let Some(command) = commands.recv().await {
            let event = match command {
                Command::Poll { in_hand } => self.poll(&in_hand).await,
                Command::Drain(request) => self.drain(request).await,
            };
            let event = event.unwrap_or_else(Event::Lost);
            let lost = matches!(event, Event::Lost(_));
            if events.send(event).await.is_err() || lost {
                return;
            }
        }
    }

    async fn poll(&mut self, in_hand: &HashSet<Position>) -> Result<Event, RelayError> {
        let now = self.began.0 + self.began.1.elapsed();
        // Those in hand are due as long as they are: they must not hide the others.
        let most = (DUE_ROWS + in_hand.len()) as i64;
        let due = parked::due(&mut self.connection, self.lane, self.seen, most).await?;
        let mut all = (due.len() as i64) < most;
        let (mut keys, positions, left) = choose(due, in_hand);
        all &= !left;
        keys.dedup();
        let singles = if positions.is_empty() {
            Vec::new()
        } else {
            parked::by_position(&mut self.connection, &positions, self.limit.bytes).await?
        };
        // A page that its bytes cut short leaves rows for the next look.
        all &= singles.len() == positions.len();
        if all {
            self.seen = self.seen.max(now - SLACK);
        }
        let more = !all;
        Ok(Event::Due {
            keys,
            singles,
            more,
        })
    }

    async fn drain(&mut self, request: DrainRequest) -> Result<Event, RelayError> {
        let (connection, limit) = (&mut self.connection, self.limit);
        let (rows, more) =
            parked::by_key(connection, self.lane, &request.key, request.after, limit).await?;
        Ok(Event::Drained {
            request,
            rows,
            more,
        })
    }
}

/// Of rows that are due, those to be fetched: not the ones in hand, and no more than a page. The last
/// tells whether others are left.
fn choose(due: Vec<DueRow>, in_hand: &HashSet<Position>) -> (Vec<Arc<str>>, Vec<Position>, bool) {
    let (mut keys, mut singles) = (Vec::new(), Vec::new());
    for row in due {
        if keys.len() + singles.len() == DUE_ROWS {
            return (keys, singles, true);
        }
        match row {
            DueRow::Key(key) => keys.push(key),
            DueRow::Single(position) if in_hand.contains(&position) => {}
            DueRow::Single(position) => singles.push(position),
        }
    }
    (keys, singles, false)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{DUE_ROWS, choose};
    use crate::sql::parked::DueRow;

    #[test]
    fn rows_in_hand_do_not_hide_those_that_are_due_after_them() {
        let page = DUE_ROWS as i64;
        let in_hand: HashSet<_> = (0..page).collect();
        let due = |last| (0..last).map(DueRow::Single).collect();
        let (_, singles, left) = choose(due(page + 3), &in_hand);
        assert_eq!((singles, left), ((page..page + 3).collect(), false));
        let (_, singles, left) = choose(due(2 * page + 1), &in_hand);
        assert_eq!((singles.len(), left), (DUE_ROWS, true));
    }
}
