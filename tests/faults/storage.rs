//! The database's disk is full, and has room again.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Login, PgServer, Stack, Tap, Volume, eventually};
use sqlx::{Connection as _, PgConnection};
use support::{judged, load::Load};

/// Some 3 MB that cannot be compressed. In no ledger, so it is rolled back.
const WRITE: &str = "
BEGIN;
SELECT outbox.publish('probe', (
    SELECT to_jsonb(string_agg(md5(random()::text), '')) FROM generate_series(1, 3000)
    WHERE row IS NOT NULL))
FROM generate_series(1, 30) AS row;
ROLLBACK";

/// Makes the log go on to its next file, which must be made.
const NEXT_LOG: &str = "SELECT pg_logical_emit_message(false, 'probe', 'x'), pg_switch_wal()";

/// Tries a statement on a session of its own.
async fn tries(stack: &Stack, login: Login, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut session = PgConnection::connect(&stack.database.url(login)).await?;
    sqlx::raw_sql(sql).execute(&mut session).await?;
    session.close().await
}

/// Runs the load while the disk is filled until `sql` fails, twice, with these words in the log of
/// the server.
async fn full(login: Login, sql: &'static str, means: &[&str]) {
    let volume = Volume::make(220);
    let mut postgres = PgServer::start_on(&volume);
    let stack = Stack::on(&postgres, None).await;
    let tap = Tap::open(&stack.broker, "tap", "load").await;
    let relay = stack.relay_with(&[("POSTROOM_LEASE_TIMEOUT", "2s")]).await;
    let load = Load {
        slow: false,
        ..Load::new(0)
    };
    load.prepare(&stack.database).await;
    tries(&stack, login, sql).await.expect("there is room");
    let fault = async {
        for round in 1..=2 {
            tap.distinct(round * 200).await;
            eventually("there is no room", async || {
                volume.fill();
                tries(&stack, login, sql).await.is_err()
            })
            .await;
            let said = postgres.logged();
            assert!(means.iter().all(|part| said.contains(part)), "{said}");
            volume.free();
            // If there was none for its log, it may have ended itself.
            eventually("there is room again", async || {
                if postgres.has_ended() {
                    postgres.resume();
                }
                tries(&stack, Login::Producer, WRITE).await.is_ok()
            })
            .await;
        }
        let before = tap.ids().len();
        tap.distinct(before + 100).await;
    };
    load.during(&stack.database, fault).await;
    load.end_orphans(&stack.database).await;
    judged(&stack.database, &tap).await.assert_clean();
    relay.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_the_databases_disk_has_no_room_for_rows() {
    full(Login::Producer, WRITE, &["No space left on device"]).await;
}

/// Then the server ends all sessions and, if it finds no room to recover, itself.
#[tokio::test(flavor = "multi_thread")]
async fn g3_the_databases_disk_has_no_room_for_its_log() {
    full(
        Login::Admin,
        NEXT_LOG,
        &["No space left on device", "PANIC"],
    )
    .await;
}
