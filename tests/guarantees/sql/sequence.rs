//! A sequence that is read while it is advanced.

use postroom_testkit::{Database, Login, in_time};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use super::statement;

/// Sightings of the mistake that make it certain that ours would have been seen too.
const SIGHTINGS: i64 = 8;

/// Compares both ways of asking with the position that is handed out next.
fn comparison() -> String {
    format!(
        "CREATE FUNCTION pg_temp.compare(OUT looked bigint, OUT as_table bigint)
         LANGUAGE plpgsql AS $$
         DECLARE highest bigint; next bigint;
         BEGIN
             looked := 0;
             as_table := 0;
             FOR round IN 1..10000 LOOP
                 SELECT l.highest INTO highest FROM ({}) AS l (a, b, c, highest, e);
                 next := nextval('outbox.message_position');
                 looked := looked + (highest >= next)::int;
                 SELECT last_value INTO highest FROM outbox.message_position;
                 next := nextval('outbox.message_position');
                 as_table := as_table + (highest >= next)::int;
             END LOOP;
         END $$",
        statement("server::LOOK")
    )
}

async fn take_positions(mut connection: PgConnection, over: CancellationToken) {
    while !over.is_cancelled() {
        connection
            .execute(
                "SELECT count(nextval('outbox.message_position')) FROM generate_series(1, 10000)",
            )
            .await
            .unwrap();
    }
}

/// Positions that were given to no transaction yet, taken for handed out, would hide the rows that get them.
#[tokio::test(flavor = "multi_thread")]
async fn trap_a_sequence_read_as_a_table_shows_positions_that_nobody_was_given() {
    let database = Database::new().await;
    let over = CancellationToken::new();
    let _ends_with_the_test = over.clone().drop_guard();
    for _ in 0..2 {
        let connection = database.connect(Login::Admin).await;
        tokio::spawn(take_positions(connection, over.clone()));
    }
    let mut admin = database.connect(Login::Admin).await;
    admin.execute(AssertSqlSafe(comparison())).await.unwrap();
    let (mut too_high, mut as_table) = (0, 0);
    let admin = tokio::sync::Mutex::new(admin);
    in_time(async || {
        let compare = "SELECT looked, as_table FROM pg_temp.compare()";
        let mut admin = admin.lock().await;
        let (looked, seen): (i64, i64) = sqlx::query_as(compare)
            .fetch_one(&mut *admin)
            .await
            .unwrap();
        too_high += looked;
        as_table += seen;
        as_table >= SIGHTINGS
    })
    .await;
    assert!(
        as_table >= SIGHTINGS,
        "the mistake was seen only {as_table} times: this shows nothing"
    );
    assert_eq!(
        too_high, 0,
        "of looks; the mistake was seen {as_table} times"
    );
}

#[tokio::test]
async fn the_highest_position_is_known_of_a_sequence_that_was_made_used_and_restarted() {
    let database = Database::new().await;
    let mut admin = database.connect(Login::Admin).await;
    let look = format!(
        "SELECT highest FROM ({}) AS l (a, b, c, highest, e)",
        statement("server::LOOK")
    );
    for (change, expected) in [
        ("SELECT", 0),
        ("SELECT nextval('outbox.message_position')", 1),
        ("SELECT setval('outbox.message_position', 70)", 70),
        ("SELECT setval('outbox.message_position', 90, false)", 89),
        ("SELECT nextval('outbox.message_position')", 90),
        (
            "ALTER SEQUENCE outbox.message_position RESTART WITH 500",
            499,
        ),
    ] {
        admin.execute(change).await.unwrap();
        let highest: i64 = sqlx::query_scalar(AssertSqlSafe(look.clone()))
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert_eq!(highest, expected, "{change}");
    }
}
