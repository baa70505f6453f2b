//! The libraries leave the TLS of their host program alone.

use tokio_rustls::rustls::ClientConfig;

use crate::{Log, assert_says, consumer};

/// With two crypto providers in a program, rustls cannot choose and panics.
#[test]
fn a_program_with_the_libraries_can_use_tls_without_naming_a_provider() {
    let _ = ClientConfig::builder();
}

/// The pool is the service's own, so the consumer only warns.
#[tokio::test]
async fn a_consumer_warns_of_a_pool_whose_server_is_not_proven() {
    for (url, warns) in [
        ("postgres://u@192.0.2.1:1/d", true),
        ("postgres://u@192.0.2.1:1/d?sslmode=require", true),
        ("postgres://u@192.0.2.1:1/d?sslmode=verify-full", false),
        ("postgres://u@127.0.0.1:1/d", false),
    ] {
        let log = Log::default();
        let guard = log.set();
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(10);
        let pool = options.connect_lazy(url).unwrap();
        let consumer = consumer("amqp://localhost:1")
            .database(pool)
            .build()
            .unwrap();
        // Its first steps are taken before it waits for a server.
        let mut running = std::pin::pin!(consumer.run(std::future::pending()));
        let _ = futures_util::poll!(&mut running);
        drop(guard);
        assert_eq!(
            log.text().contains("not safe on their way"),
            warns,
            "{url}: {}",
            log.text()
        );
        if warns {
            assert_says(&log.text(), &["192.0.2.1:1", "sslmode=verify-full"]);
        }
    }
}
