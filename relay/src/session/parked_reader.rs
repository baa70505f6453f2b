//! The task that reads parked rows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    answer,
    capture::Position,
    error::RelayError,
    events,
    message::Message,
    publish::{KeyRequest, ParkedRow},
    sql::{
        page::PageLimit,
        parked::{self, DueRow},
    },
};

/// Most due rows looked at together.
const DUE_ROWS: usize = 500;

/// Rows that became due so long ago have been seen: what makes them due mostly commits within this.
const SLACK: Duration = Duration::from_mins(1);

/// How often all are looked at nevertheless: a commit may have taken longer, or the database's clock may
/// have gone back.
const ALL_AGAIN: Duration = Duration::from_secs(30);

/// How often all are counted. It takes a hundredth of the time at most.
const COUNT_AGAIN: Duration = Duration::from_secs(30);
const COUNT_SHARE: u32 = 100;

/// Most looks for one answer. A key many of whose rows are due fills the first.
const LOOKS: usize = 8;

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Look for rows that are due and not in hand.
    Poll { in_hand: HashSet<Position> },
    /// Read the rows of a key.
    ReadKey(KeyRequest),
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
    KeyRows {
        request: KeyRequest,
        rows: Vec<ParkedRow<Message>>,
        more: bool,
    },
    /// Reading failed; nothing more will come.
    Lost(RelayError),
}

/// Reads `outbox.parked`.
#[derive(Debug)]
pub(super) struct ParkedReader {
    connection: PgConnection,
    lane: i16,
    limit: PageLimit,
    /// Longest wait for an answer.
    answer_timeout: Duration,
    /// The database's clock when all rows were last looked at, and how long ago that is.
    began: (DateTime<Utc>, Instant),
    /// Rows due before this have been seen since; none, if it is none.
    seen: Option<DateTime<Utc>>,
    /// When all are to be counted.
    count_at: Instant,
}

impl ParkedReader {
    pub(super) async fn new(
        mut connection: PgConnection,
        lane: i16,
        limit: PageLimit,
        answer_timeout: Duration,
    ) -> Result<Self, RelayError> {
        let began = (parked::now(&mut connection).await?, Instant::now());
        let limit = PageLimit::new(limit.rows.min(500), limit.bytes / 2);
        Ok(Self {
            connection,
            lane,
            limit,
            answer_timeout,
            began,
            seen: None,
            count_at: Instant::now(),
        })
    }

    /// Runs until the commands end or reading fails.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        loop {
            let done = tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    let executed = answer::within(self.answer_timeout, self.execute(command)).await;
                    executed.map(Some)
                }
                () = sleep_until(self.count_at) => {
                    let counted = answer::within(self.answer_timeout, self.count()).await;
                    counted.map(|()| None)
                }
            };
            let lost = done.is_err();
            let event = done.unwrap_or_else(|error| Some(Event::Lost(error)));
            if let Some(event) = event
                && (events.send(event).await.is_err() || lost)
            {
                return;
            }
        }
    }

    /// Tells how many rows are parked, if they can be counted in time.
    async fn count(&mut self) -> Result<(), RelayError> {
        let began = Instant::now();
        let counted = parked::count(&mut self.connection, self.lane).await?;
        if let Some(counts) = counted {
            events::Parked { counts }.emit();
        }
        let wait = COUNT_AGAIN.max(began.elapsed() * COUNT_SHARE);
        self.count_at = Instant::now() + wait;
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<Event, RelayError> {
        match command {
            Command::Poll { in_hand } => self.poll(&in_hand).await,
            Command::ReadKey(request) => self.read_key(request).await,
        }
    }

    async fn poll(&mut self, in_hand: &HashSet<Position>) -> Result<Event, RelayError> {
        if self.began.1.elapsed() >= ALL_AGAIN {
            self.began = (parked::now(&mut self.connection).await?, Instant::now());
            self.seen = None;
        }
        let now = self.began.0 + self.began.1.elapsed();
        // Those in hand are due as long as they are: they must not hide the others.
        let most = (DUE_ROWS + in_hand.len()) as i64;
        let mut found = Found::default();
        let mut all = false;
        for _ in 0..LOOKS {
            let (connection, keys) = (&mut self.connection, found.keys.as_slice());
            let due = parked::due(connection, self.lane, self.seen, keys, most).await?;
            let few = (due.len() as i64) < most;
            all = found.add(due, in_hand) && few;
            if few || found.len() >= DUE_ROWS {
                break;
            }
        }
        let Found { keys, positions } = found;
        let singles = if positions.is_empty() {
            Vec::new()
        } else {
            parked::by_position(&mut self.connection, &positions, self.limit.bytes).await?
        };
        // A page that its bytes cut short leaves rows for the next look.
        all &= singles.len() == positions.len();
        if all {
            self.seen = self.seen.max(Some(now - SLACK));
        }
        let more = !all;
        Ok(Event::Due {
            keys,
            singles,
            more,
        })
    }

    async fn read_key(&mut self, request: KeyRequest) -> Result<Event, RelayError> {
        let (connection, limit) = (&mut self.connection, self.limit);
        let (rows, more) = parked::by_key(connection, self.lane, &request, limit).await?;
        Ok(Event::KeyRows {
            request,
            rows,
            more,
        })
    }
}

/// What is to be fetched: keys, each once, and rows that stand for themselves.
#[derive(Debug, Default)]
struct Found {
    keys: Vec<Arc<str>>,
    positions: Vec<Position>,
}

impl Found {
    fn len(&self) -> usize {
        self.keys.len() + self.positions.len()
    }

    /// Adds rows that are due: not the ones in hand, and no more than a page altogether. Tells whether
    /// that is all of them.
    fn add(&mut self, due: Vec<DueRow>, in_hand: &HashSet<Position>) -> bool {
        let mut known: HashSet<Arc<str>> = self.keys.iter().cloned().collect();
        for row in due {
            if self.len() == DUE_ROWS {
                return false;
            }
            match row {
                DueRow::Key(position, _) | DueRow::Single(position)
                    if in_hand.contains(&position) => {}
                DueRow::Single(position) => self.positions.push(position),
                DueRow::Key(_, key) => {
                    if known.insert(Arc::clone(&key)) {
                        self.keys.push(key);
                    }
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{DUE_ROWS, Found};
    use crate::sql::parked::DueRow;

    #[test]
    fn rows_in_hand_do_not_hide_those_that_are_due_after_them() {
        let page = DUE_ROWS as i64;
        let in_hand: HashSet<_> = (0..page).collect();
        let due = |last| (0..last).map(DueRow::Single).collect();
        let mut found = Found::default();
        assert!(found.add(due(page + 3), &in_hand));
        assert_eq!(found.positions, (page..page + 3).collect::<Vec<_>>());
        let mut found = Found::default();
        assert!(!found.add(due(2 * page + 1), &in_hand));
        assert_eq!(found.len(), DUE_ROWS);
    }

    #[test]
    fn a_key_is_found_once_however_many_of_its_rows_are_due() {
        let mut found = Found::default();
        let rows = |key: &str| {
            let rows = 0..DUE_ROWS as i64;
            rows.map(|row| DueRow::Key(row, key.into())).collect()
        };
        assert!(found.add(rows("a"), &HashSet::new()));
        assert!(found.add(rows("b"), &HashSet::new()));
        assert!(found.add(rows("a"), &HashSet::new()));
        assert_eq!(found.keys, ["a".into(), "b".into()]);
    }
}
