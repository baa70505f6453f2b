//! sqlx 0.8.4 to 0.9.0: a `Pool::begin` that is cancelled leaves its transaction open, and the
//! next user of the connection writes into it. `outbox::transaction::begin` does not.

use std::time::{Duration, Instant};

use postroom_testkit::{Database, Login, Proxy, Wire, eventually};
use rand::Rng as _;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::timeout;

/// A pool of one connection, so that its next user meets what the last one left.
async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        // Or a cancelled `begin` would mostly be a cancelled ping.
        .test_before_acquire(false)
        .connect(url)
        .await
        .unwrap()
}

/// Returns `true` if the pool's connection is inside a transaction: two statements then have the same id.
async fn is_open(pool: &PgPool) -> bool {
    let id = "SELECT pg_current_xact_id()::text";
    let mut connection = pool.acquire().await.unwrap();
    let first: String = sqlx::query_scalar(id)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let second: String = sqlx::query_scalar(id)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    first == second
}

#[tokio::test]
async fn sqlx_begin_cancelled_leaks_its_transaction_and_ours_does_not() {
    let database = Database::new().await;
    let url = database.url(Login::Producer);
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    for ours in [false, true] {
        let pool = pool(&through).await;
        assert!(!is_open(&pool).await);
        eventually("the connection is back", async || pool.num_idle() == 1).await;
        // The server's answer comes after the caller has gone.
        wire.set(Wire::BlackHole).await;
        let patience = Duration::from_millis(50);
        if ours {
            assert!(
                timeout(patience, outbox::transaction::begin(&pool))
                    .await
                    .is_err()
            );
        } else {
            #[allow(clippy::disallowed_methods)] // The call under test.
            let cancelled = timeout(patience, pool.begin()).await;
            assert!(cancelled.is_err());
        }
        wire.set(Wire::Forward).await;
        assert_eq!(
            is_open(&pool).await,
            !ours,
            "if sqlx's own begin leaks nothing any more, outbox::transaction::begin may call it \
             directly, and clippy.toml need not ban it"
        );
    }
}

/// Passes a time shorter than the runtime's clock can measure.
async fn pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn our_begin_leaks_nothing_however_late_it_is_cancelled() {
    let database = Database::new().await;
    let pool = pool(&database.url(Login::Producer)).await;
    let mut cancelled = 0;
    for attempt in 0..400 {
        let micros = rand::rng().random_range(0..120);
        tokio::select! {
            biased;
            tx = outbox::transaction::begin(&pool) => tx.unwrap().rollback().await.unwrap(),
            () = pass(Duration::from_micros(micros)) => cancelled += 1,
        }
        assert!(!is_open(&pool).await, "attempt {attempt} after {micros} us");
    }
    assert!(cancelled >= 10, "only {cancelled} were cancelled");
}
