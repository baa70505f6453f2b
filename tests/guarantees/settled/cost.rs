//! The cost of the proof when everything has settled already.

use std::time::Instant;

use inbox::{Context, HandlerError};
use postroom_testkit::{Settled, VirtualHost};

use crate::world::{Placed, Running, Service, bound, proven};

async fn accept(_: Context, _: Placed) -> Result<(), HandlerError> {
    Ok(())
}

/// Run with `--run-ignored all --no-capture`: prints the seconds of one call.
#[tokio::test]
#[ignore = "a measurement, which asserts nothing"]
#[allow(clippy::print_stdout)] // Shown by `--no-capture`.
async fn seconds_of_a_call_when_everything_has_settled() {
    let broker = VirtualHost::new();
    let orders = Service::new("orders", &broker).await;
    let billing = Service::new("billing", &broker).await;
    let _relay = orders.relay().await;
    let running = Running::start(billing.consumer().await.on::<Placed, _, _>(accept));
    bound(&broker, "billing", "orders.placed").await;
    let everything = || {
        Settled::new()
            .outbox("orders", &orders.pool)
            .consumer(billing.takes("orders.#"))
    };
    for messages in [10, 100, 1_000, 10_000] {
        let published = Settled::position(&orders.pool).await.unwrap();
        orders
            .publish_sql(&format!(
                "'orders.placed', '{{\"n\": 1}}') FROM generate_series(1, {}",
                messages - published
            ))
            .await;
        proven(everything()).await;
        let began = Instant::now();
        for _ in 0..20 {
            proven(everything()).await;
        }
        let seconds = began.elapsed().as_secs_f64() / 20.0;
        println!("{messages} messages: {seconds:.4} s a call");
    }
    running.stop().await;
}
