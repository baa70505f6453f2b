//! The relay runs on a host of its own, whose packets are dropped without a word.

use postroom_testkit::{Login, Namespace, PgServer, RabbitNode, RelayProcess, Stack, Tap};
use support::judged;

use crate::{LEASE, load, more, without_broker, without_lease};

/// Servers on this host that the host apart reaches too.
struct World {
    namespace: Namespace,
    postgres: PgServer,
    rabbitmq: RabbitNode,
    stack: Stack,
}

impl World {
    async fn new() -> Self {
        let namespace = Namespace::make();
        let host = namespace.host;
        let postgres = PgServer::start_with(&format!("listen_addresses = '127.0.0.1,{host}'"));
        let inside = namespace.inside;
        // The server itself writes beside its configuration.
        postgres.sql(
            "postgres",
            &format!(
                "COPY (SELECT 'host all all {inside}/32 trust') TO PROGRAM 'cat >>pg_hba.conf'"
            ),
        );
        postgres.reload();
        let rabbitmq = RabbitNode::start_on(&[host]);
        let stack = Stack::on(&postgres, Some(&rabbitmq)).await;
        Self {
            namespace,
            postgres,
            rabbitmq,
            stack,
        }
    }

    /// Starts a relay on the host apart.
    async fn relay_apart(&self) -> RelayProcess {
        let mut environment = self.stack.environment();
        for (name, value) in &mut environment {
            if name.ends_with("_URL") {
                *value = self.namespace.url(value);
            }
        }
        environment.push((LEASE.0.to_owned(), LEASE.1.to_owned()));
        let relay = RelayProcess::start_in(&self.namespace, &environment);
        relay.ready().await;
        relay
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_relay_cut_off_from_everything_loses_its_lease_and_another_takes_over() {
    let world = World::new().await;
    let stack = &world.stack;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let apart = world.relay_apart().await;
    apart.role("active").await;
    let here = stack.relay_with(&[LEASE]).await;
    here.role("standby").await;
    let load = load();
    load.prepare(&stack.database).await;
    load.during(&stack.database, async {
        more(&tap, 200).await;
        world
            .namespace
            .cut(&[world.postgres.port, world.rabbitmq.port]);
        here.role("active").await;
        apart.role("starting").await;
        more(&tap, 200).await;
        world.namespace.heal();
        apart.role("standby").await;
        more(&tap, 200).await;
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g7_a_relay_cut_off_from_one_server_and_then_the_other_goes_on_when_it_is_healed() {
    let world = World::new().await;
    let stack = &world.stack;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let apart = world.relay_apart().await;
    let admin = stack.database.pool(Login::Admin).await;
    let load = load();
    load.prepare(&stack.database).await;
    load.during(&stack.database, async {
        more(&tap, 200).await;
        world.namespace.cut(&[world.postgres.port]);
        without_lease(&apart, &admin).await;
        world.namespace.heal();
        apart.ready().await;
        more(&tap, 200).await;
        world.namespace.cut(&[world.rabbitmq.port]);
        without_broker(&apart).await;
        world.namespace.heal();
        apart.ready().await;
        more(&tap, 200).await;
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}
