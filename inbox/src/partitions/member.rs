//! A member: reads its share of the partitions, and leads if no other member does.

use std::{sync::Arc, time::Duration};

use postroom_message::{Backoff, errors::chain};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    ReadError,
    leader::{Done, Leader, Record, Waiting},
    locks::{ConnectError, LockSession, Look},
    readers::Readers,
    state::LayoutState,
};
use crate::{
    engine::Engine,
    events,
    intake::{Intake, RabbitMq, source::SourceError},
    layout::{Layout, Partition},
};

/// Time between two looks at the other members, while nothing changes.
const CALM: Duration = Duration::from_secs(1);

/// Time between two looks while partitions move or the layout changes.
const BUSY: Duration = Duration::from_millis(200);

/// Waits between failed attempts of the leader.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));

/// Time between two log lines that say for what a change waits.
const REPORT: Duration = Duration::from_mins(1);

/// A process's part in reading partitions.
#[derive(Debug)]
pub(super) struct Member {
    broker: RabbitMq,
    /// The layout that the settings ask for.
    wish: Layout,
    engine: Arc<Engine>,
    readers: Readers,
    /// Last log line that says for what a change waits.
    reported: Option<(Instant, Waiting)>,
    /// Reason why the leader could not declare the layout.
    undeclared: Option<String>,
}

/// Reason why a session ended.
enum End {
    Stopped,
    /// The session is gone, and the locks with it.
    Lost(sqlx::Error),
    Refused(ReadError),
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Self::Lost(error)
    }
}

impl Member {
    pub(super) fn new(broker: RabbitMq, wish: Layout, intake: Intake) -> Self {
        Self {
            engine: Arc::clone(&intake.engine),
            readers: Readers::new(broker.clone(), intake),
            broker,
            wish,
            reported: None,
            undeclared: None,
        }
    }

    /// Runs until `stop` is cancelled. Connects anew if the session with the locks is lost.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), ReadError> {
        let mut tries = 0_u32;
        while !stop.is_cancelled() {
            let connecting = LockSession::connect(&self.engine.settings, self.wish);
            let Some(connected) = stop.run_until_cancelled(connecting).await else {
                return Ok(());
            };
            match connected {
                Ok(mut session) => {
                    tries = 0;
                    let end = self.serve(&mut session, stop).await;
                    // All partitions at once: other members may take them already. The broker serves the next
                    // subscription of a queue when this one has ended.
                    self.readers.release_all();
                    while self.readers.ended().await.is_some() {}
                    session.close().await;
                    match end {
                        End::Stopped => return Ok(()),
                        End::Refused(refused) => return Err(refused),
                        End::Lost(error) => self.lost(&error),
                    }
                }
                Err(ConnectError::Refused(refused)) => return Err(ReadError::Database(refused)),
                Err(ConnectError::Unavailable(error)) => {
                    let doing = "connecting for the locks of partitions";
                    self.engine.emit_unavailable(doing, &error);
                }
            }
            tries = tries.saturating_add(1);
            let wait = sleep(self.engine.limits.outage.wait(tries));
            stop.run_until_cancelled(wait).await;
        }
        Ok(())
    }

    fn lost(&self, error: &sqlx::Error) {
        events::LocksLost {
            consumer: self.engine.consumer(),
            error: &chain(error),
        }
        .emit();
    }

    /// Reads this member's share, until `stop` is cancelled or the session is lost.
    async fn serve(&mut self, session: &mut LockSession, stop: &CancellationToken) -> End {
        let mut leading = Leading::new(self.broker.clone());
        loop {
            let round = self.round(session, &mut leading, stop);
            let pause = match stop.run_until_cancelled(round).await {
                Some(Ok(pause)) => pause,
                Some(Err(end)) => return end,
                None => return End::Stopped,
            };
            let mut pause = std::pin::pin!(sleep(pause));
            loop {
                tokio::select! {
                    () = stop.cancelled() => return End::Stopped,
                    Some(ended) = self.readers.ended() => match ended {
                        Ok(partition) => if let Err(error) = session.release(partition).await {
                            return End::Lost(error);
                        },
                        Err(refused) => return End::Refused(refused.into()),
                    },
                    () = &mut pause => break,
                }
            }
        }
    }

    /// Looks at the other members, and does what is due; returns the time until the next look.
    async fn round(
        &mut self,
        session: &mut LockSession,
        leading: &mut Leading,
        stop: &CancellationToken,
    ) -> Result<Duration, End> {
        let markers: Vec<(Partition, usize)> = self
            .readers
            .markers()
            .map(|(partition, markers)| (partition, markers.held()))
            .collect();
        let look = session.look().await?;
        self.record_ends(session, &look, &markers).await?;
        if look.leader.is_none() && session.lead().await? {
            leading.is_leader = true;
        }
        let is_busy = self.share(session, &look, stop).await?;
        self.report_state();
        let is_changing = look
            .state
            .as_ref()
            .is_none_or(|state| state.change.is_some());
        if leading.is_leader {
            self.lead(session, leading, look, stop).await?;
        }
        Ok(if is_busy || is_changing { BUSY } else { CALM })
    }

    /// Reports the subscriptions of all partitions as the consumer's.
    fn report_state(&self) {
        let tracker = &self.engine.tracker;
        tracker.database_works();
        if let Some(problem) = self.readers.problem() {
            tracker.disconnected(&problem);
            return;
        }
        tracker.found_another(self.readers.held() == 0);
        tracker.subscribed();
        tracker.bound(self.undeclared.as_deref());
    }

    /// Judges the markers that partitions held before the look, and records which queues are read to their ends.
    async fn record_ends(
        &self,
        session: &mut LockSession,
        look: &Look,
        held: &[(Partition, usize)],
    ) -> Result<(), End> {
        let token = look.state.as_ref().and_then(LayoutState::token);
        for (partition, markers) in self.readers.markers() {
            let held = held.iter().find(|(other, _)| *other == partition);
            let is_read = markers.judge(held.map_or(0, |(_, held)| *held), token);
            let Some(state) = look.state.as_ref().filter(|_| is_read) else {
                continue;
            };
            if state.is_drainable(partition) {
                let generation = state.generation;
                session
                    .set_drained(generation, partition.number(), true)
                    .await?;
                markers.acknowledge();
            }
        }
        Ok(())
    }

    /// Takes and releases partitions; returns `true` if any moves.
    async fn share(
        &mut self,
        session: &mut LockSession,
        look: &Look,
        stop: &CancellationToken,
    ) -> Result<bool, End> {
        let state = look.state.as_ref();
        let is_plain = LayoutState::is_plain(state);
        let wanted = state.map(LayoutState::partitions).unwrap_or_default();
        let mut shares = look.shares.clone();
        // The plain queue is left to those who ask for it, until the layout is changed.
        let may_read = look
            .members
            .iter()
            .filter(|(_, wish)| wish.is_plain() || !is_plain);
        shares.members = may_read.map(|&(member, _)| member).collect();
        let releasing = self.readers.releasing();
        let moves = shares.moves(look.me, &wanted, &releasing);
        for &partition in &moves.release {
            self.readers.release(partition);
        }
        let (number, free) = moves.take;
        let mut taken = 0;
        for partition in free {
            if taken < number && session.take(partition).await? {
                self.readers.start(partition, stop);
                taken += 1;
            }
        }
        Ok(number > 0 || !moves.release.is_empty() || !releasing.is_empty())
    }

    /// Records what the leader has done, and has it do more if it is time.
    async fn lead(
        &mut self,
        session: &mut LockSession,
        leading: &mut Leading,
        look: Look,
        stop: &CancellationToken,
    ) -> Result<(), End> {
        let consumer = self.engine.consumer().to_owned();
        match leading.done().await {
            None => {}
            Some(Ok((state, done))) => {
                for record in done.records {
                    write(session, &consumer, state.as_ref(), record).await?;
                }
                if let Some(waiting) = done.waiting {
                    self.report(waiting);
                }
                self.undeclared = None;
                // The next work begins with a look at what was recorded.
                return Ok(());
            }
            Some(Err(SourceError::Refused(refused))) => return Err(End::Refused(refused.into())),
            Some(Err(lost)) => {
                let (consumer, error) = (&*consumer, &*chain(&lost));
                events::NotBound { consumer, error }.emit();
                self.undeclared = Some(format!("cannot declare the queues: {error}"));
            }
        }
        leading.begin(look, stop);
        Ok(())
    }

    /// Logs for what a change waits, at most once a minute.
    fn report(&mut self, waiting: Waiting) {
        let is_fresh = |(at, other): (Instant, Waiting)| other == waiting && at.elapsed() < REPORT;
        if self.reported.is_some_and(is_fresh) {
            return;
        }
        self.reported = Some((Instant::now(), waiting));
        events::LayoutWaits {
            consumer: self.engine.consumer(),
            reason: match waiting {
                Waiting::Disagreement => "processes ask for different numbers of partitions",
                Waiting::PlainReader => "a process without partitions reads the queue",
            },
        }
        .emit();
    }
}

/// Writes a record. It has no effect if another leader has gone on.
async fn write(
    session: &mut LockSession,
    consumer: &str,
    state: Option<&LayoutState>,
    record: Record,
) -> Result<(), End> {
    let generation = state.map_or(0, |state| state.generation);
    let layout = state.map_or(Layout::PLAIN, |state| state.layout);
    let (step, partitions) = match record {
        Record::Create(layout) => {
            session.create(layout).await?;
            ("ready", layout)
        }
        Record::Begin(layout) => {
            session.begin(generation, layout).await?;
            ("binding", layout)
        }
        Record::Advance(from, to) => {
            session.advance(generation, from, to).await?;
            (to.name(), layout)
        }
        Record::Finish => {
            session.finish(generation).await?;
            ("ready", layout)
        }
        Record::Drained(partition, is_drained) => {
            session
                .set_drained(generation, partition, is_drained)
                .await?;
            return Ok(());
        }
    };
    events::LayoutChanged {
        consumer,
        partitions: partitions.number(),
        step,
    }
    .emit();
    Ok(())
}

/// Result of the leader's work, with the state for which it was done.
type Worked = Result<(Option<LayoutState>, Done), SourceError>;

/// The leader, and its work under way. The work runs beside the looks, because the broker may answer late; it ends with
/// the session that holds the leader's lock.
struct Leading {
    is_leader: bool,
    idle: Option<Leader>,
    working: Option<AbortOnDropHandle<(Leader, Worked)>>,
    tries: u32,
    /// No work begins before.
    next_at: Instant,
}

impl Leading {
    fn new(broker: RabbitMq) -> Self {
        Self {
            is_leader: false,
            idle: Some(Leader::new(broker)),
            working: None,
            tries: 0,
            next_at: Instant::now(),
        }
    }

    /// Returns the result of the work if it has ended.
    async fn done(&mut self) -> Option<Worked> {
        let working = self.working.take_if(|working| working.is_finished())?;
        let (leader, worked) = match working.await {
            Ok(done) => done,
            // A panic in this crate: the consumer must not go on.
            Err(panicked) => match panicked.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return None,
            },
        };
        self.idle = Some(leader);
        self.tries = if worked.is_ok() {
            0
        } else {
            self.tries.saturating_add(1)
        };
        if worked.is_err() {
            self.next_at = Instant::now() + AGAIN.wait(self.tries);
        }
        Some(worked)
    }

    /// Begins to work, if the last work has ended and it is time.
    fn begin(&mut self, look: Look, stop: &CancellationToken) {
        if Instant::now() < self.next_at {
            return;
        }
        let Some(mut leader) = self.idle.take() else {
            return;
        };
        let (state, stop) = (look.state, stop.clone());
        let wishes: Vec<Layout> = look.members.iter().map(|&(_, wish)| wish).collect();
        self.working = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let done = leader.tend(state.as_ref(), &wishes, &stop).await;
            (leader, done.map(|done| (state, done)))
        })));
    }
}
