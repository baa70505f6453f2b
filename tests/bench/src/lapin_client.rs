//! The limit of the client: the same messages published with lapin alone, in the fastest known way, which
//! is the relay's.

use std::time::Instant;

use chrono::Utc;
use futures_util::{
    FutureExt as _,
    future::{join_all, maybe_done},
};
use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use outbox::Headers;
use postroom_testkit::{Stack, short};
use uuid::Uuid;

use crate::process;

/// Number of messages issued before their confirms are awaited.
const CHUNK: usize = 128;

/// Number of channels, each with its own task.
const CHANNELS: u64 = 8;

/// Measurement of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
}

/// Returns the properties that the relay would set.
pub(crate) fn properties(id: Uuid, key: Option<&str>, topic: &str) -> BasicProperties {
    let message = amqp::Outgoing {
        message_id: id,
        topic,
        key,
        type_name: topic,
        content_type: "application/json",
        headers: &Headers::new(),
        occurred_at: Utc::now(),
        source: "bench",
        user_id: None,
    };
    amqp::encode(&message).map_or_else(|_| BasicProperties::default(), |wire| wire.properties)
}

/// Opens a channel with publisher confirms.
pub(crate) async fn confirming(connection: &lapin::Connection) -> anyhow::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Publishes `count` messages to the queue and waits for all confirms.
pub(crate) async fn publish(
    stack: &Stack,
    topic: &'static str,
    count: u64,
    keys: u64,
    body: &[u8],
) -> anyhow::Result<Published> {
    let connection = stack.broker.connect().await;
    let mut tasks = Vec::new();
    for task in 0..CHANNELS {
        let numbers = (count * task / CHANNELS)..(count * (task + 1) / CHANNELS);
        let messages: Vec<BasicProperties> = numbers
            .map(|n| properties(Uuid::now_v7(), Some(&format!("key-{}", n % keys)), topic))
            .collect();
        tasks.push((confirming(&connection).await?, messages));
    }
    let (cpu, began) = (process::cpu_seconds(std::process::id())?, Instant::now());
    let tasks = tasks
        .into_iter()
        .map(|(channel, messages)| tokio::spawn(chunks(channel, topic, messages, body.to_vec())));
    for published in join_all(tasks).await {
        published??;
    }
    let took = began.elapsed().as_secs_f64();
    let cpu = process::cpu_seconds(std::process::id())? - cpu;
    Ok(Published {
        per_second: count as f64 / took,
        cpu_us: cpu * 1e6 / count as f64,
    })
}

async fn chunks(
    channel: Channel,
    topic: &'static str,
    messages: Vec<BasicProperties>,
    body: Vec<u8>,
) -> anyhow::Result<()> {
    let mut messages = messages.into_iter();
    loop {
        let mut issued = Vec::with_capacity(CHUNK);
        for properties in messages.by_ref().take(CHUNK) {
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let (exchange, key) = (short("postroom"), short(topic));
            let publish = channel.basic_publish(exchange, key, options, &body, properties);
            let mut publish = Box::pin(maybe_done(publish));
            let _ = publish.as_mut().now_or_never();
            issued.push(publish);
        }
        if issued.is_empty() {
            return Ok(());
        }
        let mut confirms = Vec::with_capacity(issued.len());
        for mut publish in issued {
            publish.as_mut().await;
            confirms.extend(publish.as_mut().take_output().transpose()?);
        }
        for confirm in confirms {
            anyhow::ensure!(confirm.await?.is_ack(), "the broker refused a message");
        }
    }
}
