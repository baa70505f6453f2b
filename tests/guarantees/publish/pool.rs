//! sqlx 0.9.0: a pool keeps the place of a connection that is returned until its server has answered,
//! and there is no end to that if the server went without a word. `outbox::pool::options` ends it.

use std::time::Duration;

use postroom_testkit::{Database, Login, Proxy, Wire, eventually};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// A pool of one connection, which is taken as long as that has its place.
async fn pool(options: PgPoolOptions, url: &str) -> PgPool {
    let options = options.max_connections(1);
    let options = options.acquire_timeout(Duration::from_millis(100));
    options.connect(url).await.unwrap()
}

async fn is_free(pool: &PgPool) -> bool {
    pool.acquire().await.is_ok()
}

#[tokio::test]
async fn sqlx_pools_keep_connections_without_a_server_and_ours_do_not() {
    let database = Database::new().await;
    let url = database.url(Login::Producer);
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    let theirs = pool(PgPoolOptions::new(), &through).await;
    let ours = pool(outbox::pool::options(), &through).await;
    assert!(is_free(&theirs).await && is_free(&ours).await);

    let in_theirs = outbox::transaction::begin(&theirs).await.unwrap();
    let in_ours = outbox::transaction::begin(&ours).await.unwrap();
    wire.silence(1..=wire.accepted());
    drop((in_theirs, in_ours));
    eventually("a new connection takes the place", async || {
        is_free(&ours).await
    })
    .await;
    assert!(!is_free(&theirs).await, "sqlx gives it up by itself now");
}
