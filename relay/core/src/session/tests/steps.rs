//! Events of the simulated world.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    broker::QUEUES,
    message::{Harm, Time},
};
use crate::{
    publish::{Backoff, Settings, TopicPatterns},
    session::Limits,
};

pub(super) const TOPICS: [&str; 4] = ["a", "b", "c", "dropped"];

#[derive(Debug, Clone)]
pub(super) enum Step {
    Write {
        key: Option<u8>,
        topic: usize,
        time: Time,
        harm: Harm,
        stay_open: bool,
    },
    Commit(Option<u8>),
    Capture(bool),
    Read(usize),
    Settle(usize, Option<u8>),
    Unsend(usize),
    Record,
    Ask,
    Answer(usize),
    Poll,
    Tick(u64),
    Bind(usize, usize),
    Unbind(usize, usize),
    Fill(usize, bool),
    Silence(usize),
    Resume(usize, u8),
    Lock(usize),
    Revive(usize),
    Discard(usize),
    Crash(u8, bool),
    BeginStop,
    Reconnect(u8),
    Block(bool),
    Silent(bool),
    Stop(bool),
    StopWithin(usize, bool),
}

fn write() -> impl Strategy<Value = Step> {
    let key = prop::option::weighted(0.85, 0_u8..2);
    let topic = prop_oneof![8 => 0_usize..3, 1 => Just(3)];
    let time = prop_oneof![
        16 => Just(Time::Any),
        1 => (0_u64..200).prop_map(Time::After),
        1 => (0_u64..200).prop_map(Time::Until),
    ];
    let harm = prop_oneof![
        20 => Just(Harm::None),
        1 => Just(Harm::Closes),
        1 => Just(Harm::TooLarge),
    ];
    (key, topic, time, harm, prop::bool::weighted(0.1)).prop_map(
        |(key, topic, time, harm, stay_open)| Step::Write {
            key,
            topic,
            time,
            harm,
            stay_open,
        },
    )
}

/// Generates an event of any kind, with any arguments.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let (topic, queue) = (0..TOPICS.len(), 0..QUEUES);
    prop_oneof![
        12 => write(),
        1 => prop::option::of(0_u8..2).prop_map(Step::Commit),
        4 => any::<bool>().prop_map(Step::Capture),
        10 => (1_usize..6).prop_map(Step::Read),
        10 => (0_usize..4, prop::option::weighted(0.1, any::<u8>()))
            .prop_map(|(which, lost)| Step::Settle(which, lost)),
        1 => (0_usize..4).prop_map(Step::Unsend),
        12 => Just(Step::Record),
        6 => Just(Step::Ask),
        6 => (0_usize..3).prop_map(Step::Answer),
        5 => Just(Step::Poll),
        4 => (1_u64..40).prop_map(Step::Tick),
        1 => (topic.clone(), queue.clone()).prop_map(|(topic, queue)| Step::Bind(topic, queue)),
        1 => (topic, queue.clone()).prop_map(|(topic, queue)| Step::Unbind(topic, queue)),
        2 => (queue.clone(), prop::bool::weighted(0.4)).prop_map(|(queue, full)| Step::Fill(queue, full)),
        2 => queue.clone().prop_map(Step::Silence),
        2 => (queue, any::<u8>()).prop_map(|(queue, kept)| Step::Resume(queue, kept)),
        2 => (0_usize..8).prop_map(Step::Lock),
        1 => (0_usize..8).prop_map(Step::Revive),
        1 => (0_usize..8).prop_map(Step::Discard),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(reached, merge)| Step::Crash(reached, merge)),
        1 => Just(Step::BeginStop),
        2 => any::<u8>().prop_map(Step::Reconnect),
        2 => prop::bool::weighted(0.3).prop_map(Step::Block),
        2 => prop::bool::weighted(0.3).prop_map(Step::Silent),
        1 => any::<bool>().prop_map(Step::Stop),
        1 => (0_usize..20, any::<bool>()).prop_map(|(rounds, merge)| Step::StopWithin(rounds, merge)),
    ]
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    (1_usize..12, 1_usize..5, 2_usize..40)
        .prop_map(|(rows, of_key, span)| settings_of(rows, of_key, span))
}

pub(super) fn settings_of(window_rows: usize, key_rows: usize, span: usize) -> Settings {
    Settings {
        window_rows,
        window_bytes: usize::MAX,
        key_rows,
        span,
        isolated_batches: 2,
        backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(80)),
        drop_unroutable: TopicPatterns::new(vec!["dropped".to_owned()]),
    }
}

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    (1_usize..5, prop_oneof![Just(0_u64), Just(20)]).prop_map(|(batch, interval)| Limits {
        batch,
        checkpoint_interval: Duration::from_millis(interval),
        lease_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_hours(1),
    })
}
