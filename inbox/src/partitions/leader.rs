//! The leader's work at the broker: it declares the layout, and changes it step by step.
//!
//! Each step can be repeated. After a kill, the next leader begins the step that is recorded anew.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::state::{Change, LayoutState, Step};
use crate::{
    intake::{Layouts, RabbitMq, source::SourceError},
    layout::Layout,
};

/// Time between two declarations of a layout: the broker does not report that a queue, an exchange or a binding was
/// deleted.
const REPEAT: Duration = Duration::from_secs(5);

/// Wait between a change of bindings and the next step, so that all nodes of a cluster know the bindings.
const SETTLE: Duration = Duration::from_secs(1);

/// Change of the row in `inbox.partitions`, which is written only while this process still is the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// The consumer's first layout.
    Create(Layout),
    /// The beginning of a change.
    Begin(Layout),
    /// A step of the change.
    Advance(Step, Step),
    /// The end of the change.
    Finish,
    /// The queue of a partition of the previous layout is read to its end, or is to be read again.
    Drained(u8, bool),
}

/// Reason why the leader postpones a change of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Members ask for different layouts.
    Disagreement,
    /// A process that asks for no partitions reads the plain queue.
    PlainReader,
}

/// Result of the leader's work.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) records: Vec<Record>,
    pub(super) waiting: Option<Waiting>,
}

impl Done {
    fn record(record: Record) -> Self {
        Self {
            records: vec![record],
            waiting: None,
        }
    }

    fn waits(waiting: Waiting) -> Self {
        Self {
            records: Vec::new(),
            waiting: Some(waiting),
        }
    }
}

/// The leader.
#[derive(Debug)]
pub(super) struct Leader {
    broker: RabbitMq,
    layouts: Option<Layouts>,
    /// Last declaration of a layout, with the generation and the step for which it was made.
    declared: Option<(Instant, (i64, Option<Step>))>,
    /// Generation whose new queues are bound, and since when.
    bound: Option<(i64, Instant)>,
    /// Generation whose old queues are unbound, and since when.
    unbound: Option<(i64, Instant)>,
}

impl Leader {
    pub(super) const fn new(broker: RabbitMq) -> Self {
        Self {
            broker,
            layouts: None,
            declared: None,
            bound: None,
            unbound: None,
        }
    }

    /// Does what is due. `wishes` are the layouts that members ask for, the leader's first.
    ///
    /// # Errors
    /// Fails if the broker refuses, or the connection is lost; the next call connects anew.
    pub(super) async fn tend(
        &mut self,
        state: Option<&LayoutState>,
        wishes: &[Layout],
        stop: &CancellationToken,
    ) -> Result<Done, SourceError> {
        let layouts = match self.layouts.take() {
            Some(layouts) => layouts,
            None => match Layouts::connect(&self.broker, stop).await? {
                Some(layouts) => layouts,
                None => return Ok(Done::default()),
            },
        };
        let done = match state {
            None => create(&layouts, wishes).await,
            Some(state) => match &state.change {
                None => self.keep(&layouts, state, wishes).await,
                Some(change) => match change.step {
                    Step::Binding => self.bind(&layouts, state, change).await,
                    Step::Draining => self.drain(&layouts, state, change).await,
                    Step::Retiring => self.retire(&layouts, state, change).await,
                },
            },
        };
        if done.is_ok() {
            self.layouts = Some(layouts);
        } else {
            // The broker has closed the channel.
            layouts.close().await;
            self.declared = None;
        }
        done
    }

    /// Declares the layout again if it is time; returns `true` if it was declared.
    async fn declare(
        &mut self,
        layouts: &Layouts,
        state: &LayoutState,
    ) -> Result<bool, SourceError> {
        let step = state.change.as_ref().map(|change| change.step);
        let made_for = (state.generation, step);
        let is_fresh = |(at, other): (Instant, _)| other == made_for && at.elapsed() < REPEAT;
        if self.declared.is_some_and(is_fresh) {
            return Ok(false);
        }
        layouts.declare(state.layout).await?;
        if !state.layout.is_plain() {
            // A process that could not ask the database for the layout may have bound the plain queue.
            layouts.unbind(Layout::PLAIN).await?;
        }
        self.declared = Some((Instant::now(), made_for));
        Ok(true)
    }

    /// Keeps the layout declared. Begins a change once all members ask for the same other layout.
    async fn keep(
        &mut self,
        layouts: &Layouts,
        state: &LayoutState,
        wishes: &[Layout],
    ) -> Result<Done, SourceError> {
        self.declare(layouts, state).await?;
        if wishes.iter().all(|&wish| wish == state.layout) {
            return Ok(Done::default());
        }
        let Some(wish) = agreed(wishes) else {
            return Ok(Done::waits(Waiting::Disagreement));
        };
        if state.layout.is_plain() && has_plain_reader(layouts).await? {
            return Ok(Done::waits(Waiting::PlainReader));
        }
        Ok(Done::record(Record::Begin(wish)))
    }

    /// Binds the new queues, then unbinds the old ones, then marks the ends of the old ones. During the overlap a message
    /// may be in both; the second copy is a duplicate.
    async fn bind(
        &mut self,
        layouts: &Layouts,
        state: &LayoutState,
        change: &Change,
    ) -> Result<Done, SourceError> {
        // A process that has subscribed before it could see the change.
        if change.previous.is_plain() && has_plain_reader(layouts).await? {
            return Ok(Done::waits(Waiting::PlainReader));
        }
        let since = |at: Option<(i64, Instant)>| {
            let at = at.filter(|(generation, _)| *generation == state.generation);
            at.map(|(_, at)| at.elapsed())
        };
        if since(self.bound).is_none() {
            layouts.declare(state.layout).await?;
            self.bound = Some((state.generation, Instant::now()));
            self.unbound = None;
        } else if since(self.bound) >= Some(SETTLE) && since(self.unbound).is_none() {
            layouts.unbind(change.previous).await?;
            self.unbound = Some((state.generation, Instant::now()));
        } else if since(self.unbound) >= Some(SETTLE) {
            layouts.declare_queues(change.previous).await?;
            for partition in change.previous.partitions() {
                layouts.mark(partition, change.token).await?;
            }
            return Ok(Done::record(Record::Advance(Step::Binding, Step::Draining)));
        }
        Ok(Done::default())
    }

    /// Waits until all old queues are read to their ends.
    async fn drain(
        &mut self,
        layouts: &Layouts,
        state: &LayoutState,
        change: &Change,
    ) -> Result<Done, SourceError> {
        if change.undrained().next().is_none() {
            return Ok(Done::record(Record::Advance(
                Step::Draining,
                Step::Retiring,
            )));
        }
        let mut records = Vec::new();
        if self.declare(layouts, state).await? {
            layouts.unbind(change.previous).await?;
            for partition in change.undrained() {
                // The queue was deleted by hand, so nothing is left to read in it.
                if layouts.counts(partition).await?.is_none() {
                    records.push(Record::Drained(partition.number(), true));
                }
            }
        }
        Ok(Done {
            records,
            waiting: None,
        })
    }

    /// Deletes the old queues. A queue in which messages have arrived after its marker is marked and read again.
    async fn retire(
        &mut self,
        layouts: &Layouts,
        state: &LayoutState,
        change: &Change,
    ) -> Result<Done, SourceError> {
        self.declare(layouts, state).await?;
        if state.age < SETTLE {
            return Ok(Done::default());
        }
        layouts.unbind(change.previous).await?;
        let mut records = Vec::new();
        let mut are_gone = true;
        for partition in change.previous.partitions() {
            let Some(counts) = layouts.counts(partition).await? else {
                continue;
            };
            if !change.drained.contains(&partition.number()) || counts.consumers > 0 {
                are_gone = false;
            } else if counts.ready == 0 {
                layouts.delete_queue(partition).await?;
            } else {
                are_gone = false;
                layouts.mark(partition, change.token).await?;
                records.push(Record::Drained(partition.number(), false));
            }
        }
        if are_gone {
            layouts.delete_exchanges(change.previous).await?;
            records.push(Record::Finish);
        }
        Ok(Done {
            records,
            waiting: None,
        })
    }
}

/// Decides the first layout: the plain one if its queue exists, else the one that the members ask for.
async fn create(layouts: &Layouts, wishes: &[Layout]) -> Result<Done, SourceError> {
    for partition in Layout::PLAIN.partitions() {
        if layouts.counts(partition).await?.is_some() {
            return Ok(Done::record(Record::Create(Layout::PLAIN)));
        }
    }
    let Some(wish) = agreed(wishes) else {
        return Ok(Done::waits(Waiting::Disagreement));
    };
    layouts.declare(wish).await?;
    Ok(Done::record(Record::Create(wish)))
}

/// Returns the layout that all members ask for; `None` if they ask for different ones.
fn agreed(wishes: &[Layout]) -> Option<Layout> {
    let first = *wishes.first()?;
    wishes.iter().all(|&wish| wish == first).then_some(first)
}

/// Returns `true` if a process reads the plain queue.
async fn has_plain_reader(layouts: &Layouts) -> Result<bool, SourceError> {
    for partition in Layout::PLAIN.partitions() {
        let counts = layouts.counts(partition).await?;
        if counts.is_some_and(|counts| counts.consumers > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}
