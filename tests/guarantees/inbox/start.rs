//! Databases that do not serve a consumer, and pools that are taken from it.

use std::{error::Error as _, time::Duration};

use inbox::{Context, DatabaseError, HandlerError, QueueKind, RunError};
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use metrics_exporter_prometheus::PrometheusBuilder;
use migrations::SCHEMA_VERSION;
use postroom_testkit::{eventually, unique, variable};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};
use url::Url;

use crate::world::{Placed, Running, World, insert_effect, metric};

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

fn pool(url: &Url) -> PgPool {
    PgPoolOptions::new()
        .max_connections(12)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy(url.as_str())
        .unwrap()
}

/// Returns the error with which a consumer of this database ends.
async fn end(world: &World, url: &Url) -> DatabaseError {
    let builder = world.consumer().database(pool(url));
    let running = Running::spawn(builder.on::<Placed, _, _>(placed));
    match running.result().await {
        Err(RunError::Database { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let world = World::new().await;
    let name = unique("postroom_latin");
    let admin = &world.database.admin;
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(admin)
        .await
        .unwrap();
    let mut url: Url = variable("POSTROOM_DATABASE_URL").parse().unwrap();
    url.set_path(&name);
    let there = pool(&url);
    // As much as is asked for before: the migrations refuse such a database themselves.
    let schema = format!(
        "CREATE SCHEMA outbox;
         CREATE FUNCTION outbox.schema_version() RETURNS integer LANGUAGE sql AS $$ SELECT {SCHEMA_VERSION} $$"
    );
    sqlx::raw_sql(AssertSqlSafe(schema))
        .execute(&there)
        .await
        .unwrap();
    there.close().await;
    let refused = end(&world, &url).await;
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(admin)
        .await
        .unwrap();
    assert!(
        matches!(&refused, DatabaseError::Encoding(encoding) if encoding == "LATIN1"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_login_without_rights_or_with_another_password_is_refused() {
    let world = World::new().await;
    let mut url = world.database.url();
    let login = unique("postroom_nobody");
    let create = format!(
        "CREATE ROLE {login} LOGIN PASSWORD 'right'; GRANT USAGE ON SCHEMA outbox TO {login}"
    );
    let admin = &world.database.admin;
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(admin)
        .await
        .unwrap();
    url.set_username(&login).unwrap();
    url.set_password(Some("right")).unwrap();
    let without_rights = end(&world, &url).await;
    url.set_password(Some("wrong")).unwrap();
    let unknown = end(&world, &url).await;
    let drop = format!("DROP OWNED BY {login}; DROP ROLE {login}");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(admin)
        .await
        .unwrap();
    assert!(
        matches!(&without_rights, DatabaseError::Rights { user } if *user == login),
        "{without_rights}"
    );
    assert!(matches!(unknown, DatabaseError::Refused(_)), "{unknown}");
    let cause = unknown.source().unwrap().to_string();
    assert!(cause.contains("password"), "{cause}");
}

/// Otherwise the consumer would wait for connections for ever, and as the single active consumer keep others from
/// working.
#[tokio::test]
async fn a_consumer_whose_pool_is_closed_ends_and_another_takes_over() {
    let world = World::new().await;
    let pool = world.database.pool(12);
    let builder = world.consumer().database(pool.clone());
    let builder = builder.on::<Placed, _, _>(placed);
    let running = Running::start(&world.broker, "billing", builder).await;
    let standby = Running::spawn(world.consumer().on::<Placed, _, _>(placed));
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("the first is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    pool.close().await;
    world.broker.publish(&Placed::new("a", 2)).await;
    let ended = running.result().await;
    assert!(
        matches!(ended, Err(RunError::PoolClosed { .. })),
        "{ended:?}"
    );
    eventually("the second is handled", || async {
        world.database.effects("a").await == [1, 2]
    })
    .await;
    standby.stop().await;
}

/// The wait ends when the other client does.
#[tokio::test]
async fn a_queue_that_another_reads_alone_is_waited_for() {
    let world = World::new().await;
    let builder = || {
        let builder = world.consumer().queue_kind(QueueKind::Classic);
        let builder = builder.single_active_consumer(false);
        builder.on::<Placed, _, _>(placed)
    };
    let running = Running::start(&world.broker, "billing", builder()).await;
    running.stop().await;
    let (connection, channel) = world.broker.vhost.channel().await;
    let alone = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consuming =
        channel.basic_consume("billing".into(), "".into(), alone, FieldTable::default());
    let _consumer = consuming.await.unwrap();
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let running = Running::spawn(builder());
    eventually("it has tried", || async {
        let counted = recorder.handle().render();
        metric(&counted, "postroom_inbox_disconnected_total") > Some(0.0)
    })
    .await;
    connection.close(200, "".into()).await.unwrap();
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}
