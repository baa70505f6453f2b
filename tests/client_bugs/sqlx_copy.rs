//! sqlx 0.9.0 leaves `TCP_NODELAY` unset. A `COPY` is two small writes, and the second waits until the
//! server's kernel acknowledges the first, which it delays by some 40 ms. So many messages are written
//! with `unnest`: one write. The test needs a server that is reached by TCP.

use std::time::{Duration, Instant};

use postroom_testkit::{Database, Login};
use sqlx::PgConnection;

/// Calls of each kind; the middle one counts, so that a busy machine does not matter.
const CALLS: usize = 21;

async fn by_copy(connection: &mut PgConnection) {
    let mut copy = connection
        .copy_in_raw("COPY written (n) FROM STDIN")
        .await
        .unwrap();
    copy.send(&b"1\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
}

async fn by_unnest(connection: &mut PgConnection) {
    sqlx::query("INSERT INTO written SELECT * FROM unnest($1::bigint[])")
        .bind(vec![1_i64])
        .execute(connection)
        .await
        .unwrap();
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_copy_waits_for_a_delayed_acknowledgement_and_unnest_does_not() {
    let database = Database::new().await;
    database
        .ddl("CREATE UNLOGGED TABLE written (n bigint)")
        .await;
    let mut connection = database.connect(Login::Owner).await;
    let (mut copies, mut unnests) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let began = Instant::now();
        by_copy(&mut connection).await;
        copies.push(began.elapsed());
        let began = Instant::now();
        by_unnest(&mut connection).await;
        unnests.push(began.elapsed());
    }
    let (copy, unnest) = (middle(copies), middle(unnests));
    assert!(
        copy > unnest * 3,
        "a COPY takes {copy:?} and unnest {unnest:?}: if sqlx sets TCP_NODELAY now, publish_all may copy"
    );
}
