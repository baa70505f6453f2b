//! Tests of the checks.

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use tower::layer::util::Identity;

use crate::{
    BatchContext, BuildError, Consumer, ConsumerBuilder, Context, HandlerError, Received, Remember,
    handler::Router,
};

#[derive(Serialize, Deserialize)]
struct Ping;

impl outbox::Event for Ping {
    const TOPIC: &'static str = "ping";

    fn key(&self) -> Option<String> {
        None
    }
}

async fn pong(_: Context, _: Ping) -> Result<(), HandlerError> {
    Ok(())
}

fn builder(connections: u32) -> ConsumerBuilder {
    let pool = PgPoolOptions::new().max_connections(connections);
    Consumer::builder("pings")
        .database(
            pool.connect_lazy("postgres://nobody@localhost/none")
                .unwrap(),
        )
        .amqp_url("amqp://guest:secret@localhost/%2f")
        .on::<Ping, _, _>(pong)
}

fn error(builder: ConsumerBuilder) -> BuildError {
    builder.build().unwrap_err()
}

#[tokio::test]
async fn valid_settings_build_a_consumer() {
    let consumer = builder(10).build().unwrap();
    let topology = consumer.queue.topology();
    assert_eq!(topology.queue, "pings");
    assert!(topology.bindings.contains("ping"));
}

#[tokio::test]
async fn queue_arguments_that_drop_messages_are_refused() {
    let drops = |name, value: i64| {
        let refused = error(builder(10).queue_argument(name, value));
        assert!(
            matches!(refused, BuildError::DropsMessages { .. }),
            "{name}"
        );
        assert!(refused.to_string().contains(name));
        let builder = builder(10).queue_argument("x-dead-letter-exchange", "dead");
        builder.queue_argument(name, value).build().is_err()
    };
    assert!(!drops("x-delivery-limit", 5));
    assert!(!drops("x-max-length", 5));
    assert!(!drops("x-max-length-bytes", 5));
    assert!(!drops("x-message-ttl", 5));
    assert!(drops("x-expires", 5));
    let stream = error(builder(10).queue_argument("x-queue-type", "stream"));
    assert!(stream.to_string().contains("`queue_kind`"), "{stream}");
    let bounded = builder(10).queue_argument("x-max-length", 5);
    let bounded = bounded.queue_argument("x-overflow", "reject-publish");
    assert!(bounded.build().is_ok());
    let unlimited = builder(10).queue_argument("x-delivery-limit", -1);
    assert!(unlimited.build().is_ok());
}

#[tokio::test]
async fn layers_of_one_message_are_refused_where_a_call_or_a_transaction_has_many() {
    async fn many(_: BatchContext, _: Vec<Received<Ping>>) -> Result<(), HandlerError> {
        Ok(())
    }
    let batches = builder(10);
    let batches = ConsumerBuilder {
        router: Router::new(),
        ..batches
    };
    let batches = batches.on_many::<Ping, _, _>(many).layer(Identity::new());
    let refused = error(batches);
    assert!(matches!(refused, BuildError::LayerOfMany { .. }));
    let shared = || builder(10).admission_layer(Identity::new());
    let refused = error(shared().messages_per_transaction(2));
    assert!(matches!(refused, BuildError::AdmissionOfMany { .. }));
    assert!(shared().build().is_ok());
}

#[tokio::test]
async fn an_idempotency_key_needs_a_handler_of_its_event_and_one_function() {
    #[derive(Serialize, Deserialize)]
    struct Pong;

    impl outbox::Event for Pong {
        const TOPIC: &'static str = "ping";
        const VERSION: u32 = 2;

        fn key(&self) -> Option<String> {
            None
        }
    }
    async fn second(_: Context, _: Pong) -> Result<(), HandlerError> {
        Ok(())
    }
    let forever = Remember::Forever;
    let keyed = || builder(10).idempotency_key(forever, |_: &Ping| "one".to_owned());
    assert!(keyed().build().is_ok());
    // The function's place goes along with the handlers.
    let with_state = builder(10).with_state(7);
    let with_state = with_state.idempotency_key(forever, |_: &Ping| None::<String>);
    assert!(with_state.build().is_ok());
    let twice = error(keyed().idempotency_key(forever, |_: &Ping| "two".to_owned()));
    assert!(matches!(
        twice,
        BuildError::TwoIdempotencyKeys {
            type_name: "ping",
            ..
        }
    ));
    let useless = error(keyed().idempotency_key(forever, |_: &Pong| "one".to_owned()));
    assert!(matches!(useless, BuildError::UselessIdempotencyKey { .. }));
    let missing = error(keyed().on(second));
    assert!(matches!(missing, BuildError::MissingIdempotencyKey { .. }));
    let both = keyed().on(second);
    let both = both.idempotency_key(forever, |_: &Pong| "one".to_owned());
    assert!(both.build().is_ok());
    let never = Remember::For(std::time::Duration::ZERO);
    let zero = error(builder(10).idempotency_key(never, |_: &Ping| "one".to_owned()));
    assert!(matches!(zero, BuildError::Zero { .. }));
}

#[tokio::test]
async fn an_invalid_setting_is_named_in_the_error() {
    use BuildError::{
        Missing, Name, NoHandler, NobodyTrusted, Pool, Publisher, TwoHandlers, Url, Window, Zero,
    };
    let hours = std::time::Duration::from_hours;
    assert!(matches!(error(builder(9)), Pool { needed: 10, .. }));
    assert!(matches!(error(builder(10).workers(0)), Zero { .. }));
    assert!(matches!(error(builder(10).queue("")), Name { .. }));
    assert!(matches!(
        error(builder(10).on::<Ping, _, _>(pong)),
        TwoHandlers {
            type_name: "ping",
            ..
        }
    ));
    assert!(matches!(
        error(builder(10).dedup_window(hours(59 * 24))),
        Window { .. }
    ));
    let zero = std::time::Duration::ZERO;
    assert!(matches!(error(builder(10).dedup_window(zero)), Zero { .. }));
    assert!(matches!(
        error(builder(10).handler_timeout(zero)),
        Zero { .. }
    ));
    assert!(matches!(error(builder(10).queue("a\0b")), Name { .. }));
    let nobody = builder(10).trusted_publishers([""; 0]);
    assert!(matches!(error(nobody), NobodyTrusted { .. }));
    let invalid = error(builder(10).trusted_publishers(["*_relay", ""]));
    assert!(matches!(invalid, Publisher { .. }));
    assert!(builder(10).trusted_publishers(["*_relay"]).build().is_ok());
    assert!(matches!(error(Consumer::builder("pings")), NoHandler(_)));
    let bare = Consumer::builder("pings").on::<Ping, _, _>(pong);
    assert!(matches!(
        error(bare),
        Missing {
            setting: "amqp_url",
            ..
        }
    ));
    for url in ["http://guest:secret@localhost", "guest:secret@localhost"] {
        let refused = error(builder(10).amqp_url(url));
        assert!(matches!(refused, Url { .. }));
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn partitions_that_cannot_keep_order_or_have_no_names_are_refused() {
    let consumer = builder(10).partitions(64).build().unwrap();
    assert_eq!(consumer.layout.number(), 64);
    assert!(builder(10).build().unwrap().layout.is_plain());
    for partitions in [0, 65] {
        let refused = error(builder(10).partitions(partitions));
        assert!(
            matches!(refused, BuildError::Partitions { .. }),
            "{refused}"
        );
    }
    let shared = builder(10).partitions(4).single_active_consumer(false);
    assert!(matches!(error(shared), BuildError::PartitionsShared { .. }));
    let queue = "q".repeat(232);
    assert!(builder(10).partitions(4).queue(&queue).build().is_ok());
    let refused = error(builder(10).partitions(4).queue(queue + "q"));
    assert!(refused.to_string().contains("23 bytes longer"), "{refused}");
}
