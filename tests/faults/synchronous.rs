//! A commit's wait for the synchronous standby can be cancelled. The commit is then visible on the primary, but lost
//! if the standby takes over.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use lapin::{BasicProperties, options::BasicPublishOptions};
use postroom_testkit::{Login, PgServer, RelayProcess, Stack, Tap, eventually, short};
use support::{judged, load::Load};

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

/// A primary with a synchronous standby, a relay, and what the queue sees.
struct Pair {
    relay: RelayProcess,
    tap: Tap,
    stack: Stack,
    standby: PgServer,
    primary: PgServer,
}

impl Pair {
    /// Starts servers and relay, and delivers some load.
    async fn new() -> Self {
        Self::with("").await
    }

    /// As [`Pair::new`], with additional settings of the primary.
    async fn with(settings: &str) -> Self {
        let primary = PgServer::start_with(settings);
        let standby = primary.standby();
        primary.configure("synchronous_standby_names = 'standby'");
        primary.reload();
        let stack = Stack::on(&primary, None).await;
        let tap = Tap::open(&stack.broker, "tap", "#").await;
        let relay = stack.relay_with(&[LEASE]).await;
        let load = load(8);
        load.prepare(&stack.database).await;
        load.run(&stack.database).await;
        judged(&stack.database, &tap).await.assert_clean();
        stack.delivered().await;
        Self {
            relay,
            tap,
            stack,
            standby,
            primary,
        }
    }

    fn query_primary(&self, sql: &str) -> String {
        self.primary.sql(&self.stack.database.name, sql)
    }

    /// Ends waits for the standby with `pg_cancel_backend` or `pg_terminate_backend`, those of the sessions whose
    /// application name matches the LIKE pattern `name`; returns their number.
    fn end_waits(&self, how: &str, name: &str) -> u32 {
        let ended = self.query_primary(&format!(
            "SELECT count({how}(pid)) FROM pg_stat_activity
             WHERE wait_event = 'SyncRep' AND application_name LIKE '{name}'"
        ));
        ended.parse().unwrap()
    }

    /// Commits a message while the standby is frozen, by cancelling the wait for it; returns the
    /// message's id. The row is visible and on the primary alone.
    async fn commit_without_the_standby(&self) -> uuid::Uuid {
        let id = uuid::Uuid::now_v7();
        let mut producer = self.stack.database.connect(Login::Producer).await;
        let commit = async {
            sqlx::raw_sql("SET application_name = 'cancelled'")
                .execute(&mut producer)
                .await
                .unwrap();
            sqlx::query("SELECT outbox.publish('load', '1', key => 'alone', message_id => $1)")
                .bind(id)
                .execute(&mut producer)
                .await
                .expect("a cancelled wait is only a warning");
        };
        let cancel = eventually("the producer waits for the standby", async || {
            self.end_waits("pg_cancel_backend", "cancelled") > 0
        });
        tokio::join!(commit, cancel);
        let visible = self.query_primary(&format!(
            "SELECT count(*) FROM outbox.message WHERE message_id = '{id}'"
        ));
        assert_eq!(visible, "1");
        id
    }

    /// Waits until the relay waits for the standby.
    async fn wait_for_relays_wait(&self) {
        eventually("the relay waits for the standby", async || {
            self.query_primary(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND application_name LIKE 'postroom-relay lane%'",
            ) == "1"
        })
        .await;
    }

    /// Ends the relay's wait for the standby so many times, and returns once the relay waits again.
    async fn end_waits_of_the_relay(&self, how: &str, times: u32) {
        for _ in 0..times {
            eventually("the relay waits for the standby", async || {
                self.end_waits(how, "postroom-relay lane%") > 0
            })
            .await;
        }
        self.wait_for_relays_wait().await;
    }

    /// Returns `true` if a message has been published: a mark that is published now would arrive behind the message.
    async fn is_published(&self, id: uuid::Uuid) -> bool {
        let (_connection, channel) = self.stack.broker.channel().await;
        let mark = uuid::Uuid::now_v7().to_string();
        let properties = BasicProperties::default().with_message_id(short(&mark));
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(short(""), short("tap"), options, b"", properties)
            .await
            .unwrap();
        eventually("the mark is seen", async || self.tap.ids().contains(&mark)).await;
        self.tap.ids().contains(&id.to_string())
    }

    /// Thaws the standby, and waits until the message is published and the relay is ready.
    async fn thaw_and_expect(&self, id: uuid::Uuid) {
        self.standby.signal("CONT");
        eventually("it is published once the standby has it", async || {
            self.tap.ids().contains(&id.to_string())
        })
        .await;
        self.relay.ready().await;
    }
}

impl Drop for Pair {
    /// Lets a test that failed end: dropping its database would wait for the standby.
    fn drop(&mut self) {
        self.primary.configure("synchronous_standby_names = ''");
        self.primary.signal("HUP");
        self.standby.signal("CONT");
    }
}

fn load(rounds: usize) -> Load {
    Load {
        slow: false,
        ..Load::new(rounds)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_a_commit_whose_wait_was_cancelled_is_published_when_the_standby_has_it() {
    let pair = Pair::new().await;
    pair.standby.signal("STOP");
    let id = pair.commit_without_the_standby().await;
    pair.wait_for_relays_wait().await;
    assert!(!pair.is_published(id).await);
    pair.thaw_and_expect(id).await;
}

/// If the relay's own wait is cancelled, its commit succeeds too: the success does not show that the standby has the
/// row.
#[tokio::test(flavor = "multi_thread")]
async fn g2_the_relay_does_not_believe_a_wait_of_its_own_that_was_cancelled() {
    let pair = Pair::new().await;
    pair.standby.signal("STOP");
    let id = pair.commit_without_the_standby().await;
    pair.end_waits_of_the_relay("pg_cancel_backend", 3).await;
    assert!(!pair.is_published(id).await);
    let is_logged = pair.relay.logged().contains("cancelled this relay's wait");
    assert!(is_logged, "it says why");
    pair.end_waits_of_the_relay("pg_terminate_backend", 3).await;
    assert!(!pair.is_published(id).await);
    pair.thaw_and_expect(id).await;
}

/// A cancelled wait is reported only as a warning, and this setting suppresses warnings.
#[tokio::test(flavor = "multi_thread")]
async fn g2_the_relay_hears_of_a_cancelled_wait_where_warnings_are_silenced() {
    let pair = Pair::with("client_min_messages = error").await;
    pair.standby.signal("STOP");
    let id = pair.commit_without_the_standby().await;
    pair.end_waits_of_the_relay("pg_cancel_backend", 3).await;
    assert!(!pair.is_published(id).await);
    pair.thaw_and_expect(id).await;
}

/// After a crash, commits that were still waiting for the standby are visible, the relay's checkpoints among them.
#[tokio::test(flavor = "multi_thread")]
async fn g2_a_primary_that_is_killed_shows_nothing_to_queues_before_the_standby_has_it() {
    let mut pair = Pair::new().await;
    pair.standby.signal("STOP");
    let id = pair.commit_without_the_standby().await;
    pair.wait_for_relays_wait().await;
    pair.primary.kill();
    pair.primary.resume();
    pair.wait_for_relays_wait().await;
    assert!(!pair.is_published(id).await);
    pair.thaw_and_expect(id).await;
}

/// A row that the standby lacks when it is promoted has not been published.
#[tokio::test(flavor = "multi_thread")]
async fn g2_a_standby_lacks_no_published_message_when_it_is_promoted() {
    let mut pair = Pair::new().await;
    // Killed, because a frozen standby would still receive what is in its socket when it goes on.
    pair.standby.kill();
    let id = pair.commit_without_the_standby().await;
    pair.end_waits_of_the_relay("pg_cancel_backend", 2).await;
    pair.primary.kill();
    pair.standby.resume();
    pair.standby.promote();
    let promoted = Stack {
        database: pair.stack.database.at(&pair.standby.url()),
        broker: pair.stack.broker.sibling(),
    };
    let held = format!("SELECT count(*) FROM outbox.message WHERE message_id = '{id}'");
    assert_eq!(pair.standby.sql(&promoted.database.name, &held), "0");
    let _relay = promoted.relay_with(&[LEASE]).await;
    load(8).run(&promoted.database).await;
    judged(&promoted.database, &pair.tap).await.assert_clean();
}
