//! The database has no room for another session.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Login, PgServer, RelayProcess, Stack, Tap, eventually};
use sqlx::{Connection as _, PgConnection};
use support::{judged, load::Load};

struct Busy {
    relay: RelayProcess,
    tap: Tap,
    stack: Stack,
    postgres: PgServer,
    load: Load,
}

impl Busy {
    async fn new(settings: &str) -> Self {
        let postgres = PgServer::start_with(settings);
        let stack = Stack::on(&postgres, None).await;
        let tap = Tap::open(&stack.broker, "tap", "#").await;
        let relay = stack.relay_with(&[("POSTROOM_LEASE_TIMEOUT", "2s")]).await;
        let load = Load {
            slow: false,
            ..Load::new(0)
        };
        load.prepare(&stack.database).await;
        Self {
            relay,
            tap,
            stack,
            postgres,
            load,
        }
    }

    /// Ends the relay's sessions.
    async fn terminate(&self, admin: &mut PgConnection) {
        sqlx::raw_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'postroom-relay %'",
        )
        .execute(admin)
        .await
        .expect("terminating sessions");
    }

    /// The relay goes on, and so far nothing was lost.
    async fn goes_on(&self) {
        self.relay.ready().await;
        let before = self.tap.ids().len();
        self.tap.distinct(before + 100).await;
    }

    async fn judged(&self) {
        judged(&self.stack.database, &self.tap).await.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_the_server_has_no_room_for_the_relays_sessions() {
    // Enough for the load, the relay, and those that look.
    let busy = Busy::new("max_connections = 60").await;
    let (database, relay) = (&busy.stack.database, &busy.relay);
    let mut admin = database.connect(Login::Admin).await;
    let url = database.url(Login::Owner);
    let fault = async {
        busy.tap.distinct(200).await;
        let mut idle = Vec::new();
        eventually("the relay finds no room, and says so", async || {
            busy.terminate(&mut admin).await;
            while let Ok(session) = PgConnection::connect(&url).await {
                idle.push(session);
            }
            let said = relay.logged();
            said.contains("remaining connection slots") || said.contains("too many clients")
        })
        .await;
        assert_eq!(relay.health().map(|(ready, _)| ready), Some(false));
        drop(idle);
        busy.goes_on().await;
    };
    busy.load.during(database, fault).await;
    busy.judged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_the_relays_role_may_have_no_more_sessions() {
    let busy = Busy::new("").await;
    let (database, relay) = (&busy.stack.database, &busy.relay);
    let mut admin = database.connect(Login::Admin).await;
    let limit = |sessions: i32| {
        let role = "ALTER ROLE postroom_test_relay CONNECTION LIMIT";
        busy.postgres.sql("postgres", &format!("{role} {sessions}"));
    };
    let fault = async {
        for round in 1..=2 {
            busy.tap.distinct(round * 200).await;
            // First none, then fewer than it needs: it must give back what it got.
            limit(round as i32 - 1);
            busy.terminate(&mut admin).await;
            eventually("the relay is refused, and says so", async || {
                let refused = "too many connections for role";
                relay.logged().matches(refused).count() >= round
                    && relay.health().is_some_and(|(ready, _)| !ready)
            })
            .await;
            limit(-1);
            busy.goes_on().await;
        }
    };
    busy.load.during(database, fault).await;
    busy.judged().await;
}
