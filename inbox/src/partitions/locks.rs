//! The session that holds a member's locks.
//!
//! Locks of one consumer have the same class, made of the consumer's name. Each member holds one that says which layout it
//! asks for, one for each partition that it reads, and the leader one more.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use statement::Statements;

use super::{
    share::Shares,
    state::{self, LayoutState},
};
use crate::{
    DatabaseError,
    layout::{Layout, Partition},
    server_error,
    sql::partitions,
    transaction::{Settings, with_timeout},
};

/// Silence after which the server ends the session, so that a frozen or cut-off process loses its locks. A session that
/// cannot have this setting is one of a pooler, which would give the locks to other clients.
const SILENCE: &str = "30s";

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A lock, by its object number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Held by each member, with the layout that its settings ask for.
    Member(Layout),
    /// Held by the member that reads the partition.
    Partition(Partition),
    /// Held by the member that declares and changes the layout.
    Leader,
}

impl Lock {
    const fn object(self) -> i32 {
        match self {
            Self::Member(wish) => 1 << 24 | wish.number() as i32,
            Self::Partition(partition) => {
                2 << 24 | (partition.layout().number() as i32) << 8 | partition.number() as i32
            }
            Self::Leader => 3 << 24,
        }
    }

    /// Returns the lock with this number; `None` if there is none.
    fn of(object: i64) -> Option<Self> {
        let byte = |shift: u32| (object >> shift & 0xff) as u8;
        let layout = |number: u8| Layout::from_number(number.into());
        match object >> 24 {
            1 => Some(Self::Member(layout(byte(0))?)),
            2 => Some(Self::Partition(layout(byte(8))?.partition(byte(0))?)),
            3 => Some(Self::Leader),
            _ => None,
        }
    }
}

/// Returns the class of a consumer's locks.
fn class(consumer: &str) -> i32 {
    let hash: [u8; 32] = Sha256::digest(format!("postroom partitions {consumer}")).into();
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Error of making a session.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The database is unavailable now.
    Unavailable(sqlx::Error),
    /// Only an operator can help.
    Refused(DatabaseError),
}

/// A session of its own, which holds the locks of this process.
#[derive(Debug)]
pub(super) struct LockSession {
    connection: PgConnection,
    consumer: String,
    class: i32,
}

/// The members and the layout, as the database shows them.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) state: Option<LayoutState>,
    /// Number of this session.
    pub(super) me: i32,
    /// Each member with the layout that its settings ask for.
    pub(super) members: Vec<(i32, Layout)>,
    pub(super) shares: Shares,
    /// Number of the leader's session.
    pub(super) leader: Option<i32>,
}

impl LockSession {
    /// Connects and joins the members.
    pub(super) async fn connect(settings: &Settings, wish: Layout) -> Result<Self, ConnectError> {
        let consumer = settings.consumer.to_string();
        let options = settings.pool.connect_options();
        let options = options
            .as_ref()
            .clone()
            .application_name("postroom-inbox partitions")
            .options([
                ("idle_session_timeout", SILENCE),
                ("statement_timeout", "0"),
            ]);
        let connected = with_timeout(ANSWER, PgConnection::connect_with(&options)).await;
        let mut connection = connected.map_err(|error| {
            if is_pooler(&error) {
                ConnectError::Refused(DatabaseError::Pooler)
            } else if server_error::is_refused(&error) {
                ConnectError::Refused(DatabaseError::Refused(error))
            } else {
                ConnectError::Unavailable(error)
            }
        })?;
        let class = class(&consumer);
        let joining = async {
            let mut link = Statements::Prepared.on(&mut connection);
            let is_own = partitions::setting(&mut link).await? == SILENCE;
            let lock = (class, Lock::Member(wish).object());
            Ok(is_own && partitions::lock_shared(&mut link, lock).await?)
        };
        match with_timeout(ANSWER, joining).await {
            Ok(true) => Ok(Self {
                connection,
                consumer,
                class,
            }),
            Ok(false) => Err(ConnectError::Refused(DatabaseError::Pooler)),
            Err(error) => Err(ConnectError::Unavailable(error)),
        }
    }

    /// Looks at the layout and at all members.
    ///
    /// # Errors
    /// Also if this session does not hold its locks any more.
    pub(super) async fn look(&mut self) -> Result<Look, sqlx::Error> {
        let looking = async {
            let mut link = Statements::Prepared.on(&mut self.connection);
            let row = partitions::layout(&mut link, &self.consumer).await?;
            let locks = partitions::locks(&mut link, self.class).await?;
            Ok((state::known(row)?, locks))
        };
        let (state, locks) = with_timeout(ANSWER, looking).await?;
        let own = locks.iter().find(|lock| lock.is_own);
        let Some(me) = own.map(|lock| lock.pid) else {
            let problem = "the session lost its locks: a pooler gave it to another client";
            return Err(sqlx::Error::Protocol(problem.to_owned()));
        };
        let mut look = Look {
            state,
            me,
            members: Vec::new(),
            shares: Shares::default(),
            leader: None,
        };
        for lock in locks {
            match Lock::of(lock.object) {
                Some(Lock::Member(wish)) => look.members.push((lock.pid, wish)),
                Some(Lock::Partition(partition)) => {
                    look.shares.held.insert(partition, lock.pid);
                }
                Some(Lock::Leader) => look.leader = Some(lock.pid),
                None => {}
            }
        }
        Ok(look)
    }

    /// Tries to become the member that reads a partition.
    pub(super) async fn take(&mut self, partition: Partition) -> Result<bool, sqlx::Error> {
        self.lock(Lock::Partition(partition)).await
    }

    /// Tries to become the leader.
    pub(super) async fn lead(&mut self) -> Result<bool, sqlx::Error> {
        self.lock(Lock::Leader).await
    }

    async fn lock(&mut self, lock: Lock) -> Result<bool, sqlx::Error> {
        let mut link = Statements::Prepared.on(&mut self.connection);
        let locking = partitions::lock(&mut link, (self.class, lock.object()));
        with_timeout(ANSWER, locking).await
    }

    /// Gives a partition to other members.
    pub(super) async fn release(&mut self, partition: Partition) -> Result<(), sqlx::Error> {
        let object = Lock::Partition(partition).object();
        let mut link = Statements::Prepared.on(&mut self.connection);
        let unlocking = partitions::unlock(&mut link, (self.class, object));
        with_timeout(ANSWER, unlocking).await
    }

    /// Records the first layout of the consumer.
    pub(super) async fn create(&mut self, layout: Layout) -> Result<(), sqlx::Error> {
        let number = layout.number().into();
        let mut link = Statements::Prepared.on(&mut self.connection);
        let creating = partitions::create(&mut link, &self.consumer, number);
        with_timeout(ANSWER, creating).await
    }

    /// Records the beginning of a change. Has no effect if another one has begun.
    pub(super) async fn begin(&mut self, generation: i64, to: Layout) -> Result<(), sqlx::Error> {
        let (number, token) = (to.number().into(), uuid::Uuid::now_v7());
        let of = (self.consumer.as_str(), generation);
        let mut link = Statements::Prepared.on(&mut self.connection);
        let beginning = partitions::begin_change(&mut link, of, number, token);
        with_timeout(ANSWER, beginning).await?;
        Ok(())
    }

    /// Records a step of a change. Has no effect if the step has been recorded.
    pub(super) async fn advance(
        &mut self,
        generation: i64,
        from: state::Step,
        to: state::Step,
    ) -> Result<(), sqlx::Error> {
        let of = (self.consumer.as_str(), generation);
        let mut link = Statements::Prepared.on(&mut self.connection);
        let advancing = partitions::advance(&mut link, of, from.name(), to.name());
        with_timeout(ANSWER, advancing).await?;
        Ok(())
    }

    /// Records the end of a change.
    pub(super) async fn finish(&mut self, generation: i64) -> Result<(), sqlx::Error> {
        let of = (self.consumer.as_str(), generation);
        let mut link = Statements::Prepared.on(&mut self.connection);
        let finishing = partitions::finish(&mut link, of);
        with_timeout(ANSWER, finishing).await?;
        Ok(())
    }

    /// Records that the queue of a partition of the previous layout is read to its end, or is to be read again. Returns
    /// `false` if that was recorded before, or if the change has ended.
    pub(super) async fn set_drained(
        &mut self,
        generation: i64,
        partition: u8,
        is_drained: bool,
    ) -> Result<bool, sqlx::Error> {
        let of = (self.consumer.as_str(), generation);
        let mut link = Statements::Prepared.on(&mut self.connection);
        let setting = partitions::set_drained(&mut link, of, partition.into(), is_drained);
        Ok(with_timeout(ANSWER, setting).await? > 0)
    }

    /// Ends the session, and so releases the locks.
    pub(super) async fn close(self) {
        // Without an answer, the server notices the end of the connection.
        drop(with_timeout(ANSWER, self.connection.close()).await);
    }
}

/// Returns `true` for the answer of a pooler that refuses parameters at the start.
fn is_pooler(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.message().contains("unsupported startup parameter"))
}

#[cfg(test)]
mod tests {
    use super::{Lock, class};
    use crate::layout::Layout;

    #[test]
    fn every_lock_has_a_number_of_its_own() {
        let layouts = (0..=64).map(|number| Layout::from_number(number).unwrap());
        let locks = layouts.flat_map(|layout| {
            let partitions = layout.partitions().map(Lock::Partition);
            partitions.chain([Lock::Member(layout)])
        });
        for lock in locks.chain([Lock::Leader]) {
            assert_eq!(Lock::of(lock.object().into()), Some(lock));
        }
        assert_eq!(Lock::of(0), None);
        assert_eq!(Lock::of(2 << 24 | 4 << 8 | 4), None);
    }

    #[test]
    fn consumers_have_locks_of_their_own() {
        assert_ne!(class("billing"), class("shipping"));
    }
}
